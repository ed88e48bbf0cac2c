"""Candidates as they come in: the task ..."""

import datetime

import pytest

from market.accounts.models import User
from tasks import clock
from tests import people
from tests.verification.research import scenes
from verification.replay import trees as shapes
from verification.research import alpha, candidates, posting, reasons, rules, tips
from verification.research.models import Candidate, ResearchTask, Tree

pytestmark = pytest.mark.django_db
SALT = "0f" * 16


def announce(task: ResearchTask, files: dict[str, str], claimant: User, *, now: datetime.datetime | None = None) -> Candidate:
    digest = shapes.tree_digest(shapes.apply(scenes.BASE, files))
    sealed = candidates.seal_of(tree_digest=digest, salt=SALT)
    return candidates.announce(task=task, claimant=claimant, sealed_sha256=sealed, now=now or clock.now())


def test_keeps_a_commit_with_its_tree_and_place() -> None:
    task = scenes.post()
    first, second = scenes.submit(task, 1.40), scenes.submit(task, 1.41)
    assert (first.place, second.place) == (1, 2)
    assert (first.status, first.parent_id) == (Candidate.Status.RECEIVED, tips.current(task).pk)
    assert first.tree is not None
    assert first.tree.untrusted_files["README.md"] == scenes.BASE["README.md"]
    assert first.untrusted_note == "wider"


@pytest.mark.parametrize(
    ("edited", "code"),
    [
        ({"README.md": "mine\n"}, "path_not_editable"),
        ({"../train.py": "x = 1\n"}, "malformed_path"),
        ({"train.py": "x = 1\0\n"}, "not_text"),
        ({"train.py": scenes.BASE["train.py"]}, "identical_tree"),
        ({"train.py": "x = '" + "ab" * 2000 + "'\n"}, "opaque_text"),
    ],
)
def test_refuses_what_the_gate_refuses_and_keeps_nothing(edited: dict[str, str], code: str) -> None:
    task = scenes.post()
    before = Tree.objects.count()
    with pytest.raises(candidates.GateRefused) as refused:
        scenes.submit(task, edited=edited)
    assert code in {refusal.code for refusal in refused.value.refusals}
    assert (Candidate.objects.count(), Tree.objects.count()) == (0, before)


def test_takes_each_tree_once_from_whomever() -> None:
    task = scenes.post()
    scenes.submit(task, edited=scenes.edit(1.4, mark="one"))
    with pytest.raises(candidates.DuplicateTree):
        scenes.submit(task, edited=scenes.edit(1.4, mark="one"))
    assert Candidate.objects.count() == 1
    scenes.submit(scenes.post(), edited=scenes.edit(1.4, mark="one"))


def test_takes_nothing_from_its_poster() -> None:
    task = scenes.post()
    with pytest.raises(candidates.OwnTask):
        scenes.submit(task, claimant=task.owner)
    with pytest.raises(candidates.OwnTask):
        announce(task, scenes.edit(1.4), task.owner)


def test_takes_nothing_before_it_is_listed_nor_from_its_close_on() -> None:
    now = clock.now()
    task = scenes.post(is_listed=False, now=now)
    with pytest.raises(candidates.NotListed):
        scenes.submit(task)
    posting.list_task(task=task)
    with pytest.raises(candidates.NotListed):
        scenes.submit(task, now=task.closes_at)
    scenes.submit(task, now=task.closes_at - datetime.timedelta(microseconds=1))
    assert posting.close_task(task=task)
    assert not posting.close_task(task=task)
    with pytest.raises(candidates.NotListed):
        scenes.submit(task)
    with pytest.raises(posting.NotDraft):
        posting.list_task(task=task)


def test_takes_only_its_own_tips_as_parents() -> None:
    task, other = scenes.post(), scenes.post(base={**scenes.BASE, "README.md": "another\n"})
    for parent in ("0" * 64, tips.current(other).tree_id):
        with pytest.raises(candidates.UnknownParent):
            scenes.submit(task, parent=parent)


def test_keeps_a_place_for_what_is_announced() -> None:
    task, maker, files = scenes.post(), people.open_user("maker"), scenes.edit(1.4)
    sealed = announce(task, files, maker)
    assert announce(task, files, maker).pk == sealed.pk, "the same again"
    quick = scenes.submit(task, 1.3)
    kept = scenes.submit(task, claimant=maker, edited=files, announced=sealed, salt=SALT)
    assert (kept.pk, kept.place, kept.status, quick.place) == (sealed.pk, 1, Candidate.Status.RECEIVED, 2)


def test_takes_nothing_else_for_what_was_announced() -> None:
    task, maker, files = scenes.post(), people.open_user("maker"), scenes.edit(1.4)
    sealed = announce(task, files, maker)
    wrong = [
        {"edited": scenes.edit(1.3), "salt": SALT, "claimant": maker},
        {"edited": files, "salt": "0e" * 16, "claimant": maker},
        {"edited": files, "salt": SALT, "claimant": people.open_user("thief")},
        {"edited": files, "salt": SALT, "claimant": maker, "now": sealed.reveal_until},
    ]
    for sent in wrong:
        with pytest.raises(candidates.NotAnnounced):
            scenes.submit(task, announced=sealed, **sent)  # type: ignore[arg-type]
    with pytest.raises(candidates.MalformedSeal):
        scenes.submit(task, announced=sealed, edited=files, salt="short", claimant=maker)
    assert Candidate.objects.get().status == Candidate.Status.SEALED


def test_lets_what_is_never_sent_lapse_at_its_time() -> None:
    now = clock.now()
    task, maker = scenes.post(now=now), people.open_user("maker")
    sealed = announce(task, scenes.edit(1.4), maker, now=now)
    assert candidates.lapse_due(now=now + rules.REVEAL_WITHIN - datetime.timedelta(microseconds=1)) == 0
    assert candidates.lapse_due(now=now + rules.REVEAL_WITHIN) == 1
    assert candidates.lapse_due(now=now + rules.REVEAL_WITHIN) == 0
    sealed.refresh_from_db()
    assert (sealed.status, sealed.reason_code) == (Candidate.Status.LAPSED, reasons.NEVER_REVEALED)


def test_keeps_one_place_at_a_time_and_few_that_lapse() -> None:
    at = clock.now()
    task, maker = scenes.post(now=at), people.open_user("maker")
    for _ in range(rules.MAX_LAPSED_PER_DAY):
        announce(task, scenes.edit(1.4), maker, now=at)
        with pytest.raises(candidates.AnnouncedBefore):
            announce(task, scenes.edit(1.4), maker, now=at)
        at += rules.REVEAL_WITHIN
    with pytest.raises(candidates.AnnouncedBefore):
        announce(task, scenes.edit(1.4), maker, now=at)
    candidates.lapse_due(now=at)
    with pytest.raises(candidates.AnnouncedBefore):
        announce(task, scenes.edit(1.4), maker, now=at)
    announce(task, scenes.edit(1.4), maker, now=at + datetime.timedelta(days=1))


def test_stops_a_claimant_whose_candidates_gain_nothing() -> None:
    task, maker = scenes.post(), people.open_user("maker")
    left = alpha.budget(task=task, claimant=maker).tries_left
    assert left == 9
    for _ in range(left):
        scenes.submit(task, 1.5, claimant=maker)
    with pytest.raises(alpha.AlphaSpent):
        scenes.submit(task, 1.5, claimant=maker)
    with pytest.raises(alpha.AlphaSpent):
        announce(task, scenes.edit(1.4), maker)
    # One that never got to a pair costs nothing.
    spent = Candidate.objects.filter(claimant=maker)[0]
    Candidate.objects.filter(pk=spent.pk).update(status=Candidate.Status.SMOKE)
    Candidate.objects.filter(pk=spent.pk).update(status=Candidate.Status.REJECTED, decided_at=clock.now())
    scenes.submit(task, 1.5, claimant=maker)
    scenes.submit(scenes.post(), 1.5, claimant=maker)


def test_is_made_only_with_its_own_base_and_data() -> None:
    owner = people.open_user("poster")
    spec = scenes.spec_json(owner)
    common = {"mode": "test", "title": "t", "description": "", "closes_at": clock.now() + datetime.timedelta(days=1), "now": clock.now()}
    with pytest.raises(posting.OtherBase):
        posting.create(owner=owner, spec_json=spec, base_files={"train.py": "x = 1\n"}, **common)  # type: ignore[arg-type]
    with pytest.raises(posting.MissingData) as missing:
        posting.create(owner=people.open_user("other"), spec_json=spec, base_files=scenes.BASE, **common)  # type: ignore[arg-type]
    assert missing.value.names == ["text.bin", "seen.bin", "secret.bin"]
    assert ResearchTask.objects.count() == 0
