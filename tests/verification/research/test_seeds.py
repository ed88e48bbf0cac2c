"""The secret seeds of pairs: they ..."""

import collections
import hashlib

import pytest
from django.test import override_settings

from tests.verification.research import scenes
from verification.replay import seeds
from verification.replay.sequential import Sequential
from verification.research import agreement, rules, seeding, tips
from verification.research.models import Candidate, Run

pytestmark = pytest.mark.django_db


def test_follow_from_the_candidate_and_a_secret_of_their_own() -> None:
    candidate = scenes.submit(scenes.post())
    tip = candidate.parent
    assert tip is not None
    common = {"candidate": candidate, "tip": tip, "class_text": scenes.CLASS}
    first = seeding.draw(**common, count=8)  # type: ignore[arg-type]
    assert seeding.draw(**common, count=8) == first  # type: ignore[arg-type]
    assert len(set(first)) == 8
    assert set(first) <= set(range(rules.SEED_POOL)), "the tip was never trained: all of them are new"
    assert seeding.draw(**{**common, "class_text": scenes.SECOND_CLASS}, count=8) != first  # type: ignore[arg-type]
    other = scenes.submit(candidate.task)
    assert seeding.draw(**{**common, "candidate": other}, count=8) != first  # type: ignore[arg-type]
    seed = seeding.seed(task=candidate.task, class_text=scenes.CLASS, index=first[0])
    with override_settings(RECEIPT_SEED=hashlib.sha256(b"another").digest()):
        assert seeding.draw(**common, count=8) != first  # type: ignore[arg-type]
        assert seeding.seed(task=candidate.task, class_text=scenes.CLASS, index=first[0]) != seed


def test_are_the_same_for_the_tip_and_the_candidate() -> None:
    scenes.open_host()
    scenes.open_host()
    candidate = scenes.begin(scenes.post())
    assert len(set(Run.objects.values_list("seed", "seed_index"))) == 1
    assert Run.objects.filter(seed_index=candidate.seed_indexes[0]).count() == 3


def test_are_those_the_tip_was_trained_with_but_for_every_third() -> None:
    task = scenes.post()
    machines = [scenes.open_host() for _ in range(3)]
    accepted = scenes.play(scenes.begin(task, 1.40), machines)
    trained = {run.seed_index for run in Run.objects.filter(kind=Run.Kind.CANDIDATE)}
    assert len(trained) >= 2
    candidate = scenes.submit(task)
    tip = tips.current(task)
    assert tip.candidate_id == accepted.pk
    drawn = seeding.draw(candidate=candidate, tip=tip, class_text=scenes.CLASS, count=8)
    places = [0, 2, 3, 5, 6][: len(trained)]
    assert {drawn[place] for place in places} == trained
    assert not trained & {drawn[place] for place in range(8) if place not in places}
    assert len(set(drawn)) == 8
    elsewhere = seeding.draw(candidate=candidate, tip=tip, class_text=scenes.SECOND_CLASS, count=8)
    assert set(elsewhere) <= set(range(rules.SEED_POOL)), "baselines are of one class"


def test_are_retired_after_so_many_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "SEED_USES", 3)
    task = scenes.post()
    machines = [scenes.open_host() for _ in range(3)]
    used: list[set[int]] = []
    for _ in range(8):
        candidate = scenes.play(scenes.begin(task, 1.50), machines)
        used.append({run.seed_index for run in Run.objects.filter(kind=Run.Kind.CANDIDATE, candidate=candidate)})
    uses = collections.Counter(index for one in used for index in one)
    assert max(uses.values()) == 3
    worn = {index for index, times in uses.items() if times == 3}
    drawn = seeding.draw(candidate=scenes.submit(task), tip=tips.current(task), class_text=scenes.CLASS, count=8)
    assert not worn & set(drawn)


def test_serve_the_next_tip_by_the_runs_that_it_was_accepted_by() -> None:
    """Whoever made the tip has paid for its baselines: only pairs on new seeds ask for runs of the tip."""
    task = scenes.post()
    machines = [scenes.open_host() for _ in range(3)]
    scenes.play(scenes.begin(task, 1.40), machines)
    second = scenes.play(scenes.begin(task, 1.30), machines)
    assert second.status == Candidate.Status.ACCEPTED
    pairs = Sequential.from_json(second.test).pairs
    fresh = {index for place, index in enumerate(second.seed_indexes[: len(pairs)]) if seeds.is_fresh(place)}
    asked = Run.objects.filter(kind=Run.Kind.BASELINE, candidate=second)
    assert {run.seed_index for run in asked} == fresh
    assert asked.count() == 2 * len(fresh)
    assert Run.objects.filter(candidate=second).count() == len(pairs) + 2 * len(fresh)


def test_ask_for_the_tip_again_where_its_own_runs_disagree() -> None:
    task = scenes.post()
    machines = [scenes.open_host() for _ in range(3)]
    first = scenes.play(scenes.begin(task, 1.40), machines)
    tip = tips.current(task)
    own = Run.objects.filter(candidate=first, kind=Run.Kind.CANDIDATE).order_by("pk")[0]
    common = {"tip": tip, "seed_index": own.seed_index, "class_text": scenes.CLASS}
    assert agreement.baseline(**common) == own  # type: ignore[arg-type]
    Run.objects.create(
        task=task, mode="test", kind=Run.Kind.BASELINE, stage=Run.Stage.VALID, candidate=scenes.submit(task), tip=tip, tree_id=own.tree_id,
        spec=task.spec, seed_index=own.seed_index, seed=own.seed, class_text=scenes.CLASS, level="bwrap-cpu", owner=machines[2].owner,
        seal="ab", report={**(own.report or {}), "root": "ff" * 32}, holdout_score=1.0,
    )  # fmt: skip
    assert agreement.baseline(**common) is None  # type: ignore[arg-type]
    assert own.seed_index not in agreement.baselines(tip=tip, class_text=scenes.CLASS)
