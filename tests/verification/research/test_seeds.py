"""The secret seeds of pairs: they ..."""

import hashlib

import pytest
from django.test import override_settings

from tests.verification.research import scenes
from verification.research import rules, seeding
from verification.research.models import Run

pytestmark = pytest.mark.django_db


def test_follow_from_the_candidate_and_a_secret_of_their_own() -> None:
    candidate = scenes.submit(scenes.post())
    tip = candidate.parent
    assert tip is not None
    common = {"candidate": candidate, "tip": tip, "class_text": scenes.CLASS}
    first = seeding.draw(**common, count=8)  # type: ignore[arg-type]
    assert seeding.draw(**common, count=8) == first  # type: ignore[arg-type]
    assert len(set(first)) == 8
    assert set(first) <= set(range(rules.SEED_POOL))
    assert seeding.draw(**{**common, "class_text": scenes.SECOND_CLASS}, count=8) != first  # type: ignore[arg-type]
    other = scenes.submit(candidate.task)
    assert seeding.draw(**{**common, "candidate": other}, count=8) != first  # type: ignore[arg-type]
    seed = seeding.seed(tip=tip, class_text=scenes.CLASS, index=first[0])
    with override_settings(RECEIPT_SEED=hashlib.sha256(b"another").digest()):
        assert seeding.draw(**common, count=8) != first  # type: ignore[arg-type]
        assert seeding.seed(tip=tip, class_text=scenes.CLASS, index=first[0]) != seed


def test_are_the_same_for_the_tip_and_the_candidate() -> None:
    scenes.open_host()
    scenes.open_host()
    candidate = scenes.begin(scenes.post())
    assert len(set(Run.objects.values_list("seed", "seed_index"))) == 1
    assert Run.objects.filter(seed_index=candidate.seed_indexes[0]).count() == 3


def test_are_retired_after_so_many_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "SEED_POOL", 8)
    monkeypatch.setattr(rules, "SEED_USES", 2)
    task = scenes.post()
    candidate = scenes.submit(task)
    tip = candidate.parent
    assert tip is not None
    for number, index in enumerate([0, 0, 1]):
        maker = scenes.submit(task)
        Run.objects.create(
            task=task, mode="test", kind=Run.Kind.CANDIDATE, candidate=maker, tip=tip, tree_id=str(maker.tree_id), spec=task.spec,
            seed_index=index, seed=number, class_text=scenes.CLASS, level="bwrap-cpu",
        )  # fmt: skip
    drawn = seeding.draw(candidate=candidate, tip=tip, class_text=scenes.CLASS, count=8)
    assert sorted(drawn) == [1, 2, 3, 4, 5, 6, 7, 8], "one is worn out, and the pool has grown by one"
    assert sorted(seeding.draw(candidate=candidate, tip=tip, class_text=scenes.SECOND_CLASS, count=8)) == list(range(8))
