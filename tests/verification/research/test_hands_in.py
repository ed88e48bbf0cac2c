"""A leased run on its way back: it ..."""

import datetime
import io
import uuid

import pytest
from django.db.models.functions import Now

from tasks import clock, leases
from tests.verification.research import scenes
from verification.replay import reports
from verification.research import files, hosts, reasons, rounds, rules, runs
from verification.research.models import Artefact, Candidate, Host, Run, TrustedJob

pytestmark = pytest.mark.django_db


def two_of_a_round() -> tuple[Run, Run]:
    """Return both replicas of one baseline, leased to two owners."""
    machines = [scenes.open_host(valid_count=9) for _ in range(2)]
    scenes.begin(scenes.post())
    found = [run for machine in machines for run in scenes.lease(machine, limit=8)]
    [first, second] = [run for run in found if run.kind == Run.Kind.BASELINE]
    [own] = [run for run in found if run.kind == Run.Kind.CANDIDATE]
    scenes.seal(own)
    return first, second


def test_is_revealed_only_when_all_of_its_round_are_sealed() -> None:
    first, second = two_of_a_round()
    assert scenes.seal(first) == runs.Sealed(False, 2.0)
    with pytest.raises(runs.RevealTooEarly):
        scenes.reveal(first)
    assert Run.objects.get(pk=first.pk).report is None
    assert scenes.seal(second).is_reveal_due
    assert scenes.seal(first).is_reveal_due, "sealing again tells"
    assert not rounds.is_public(first)
    assert scenes.reveal(first).stage == Run.Stage.REVEALED
    assert not rounds.is_public(first), "the other one could still be made of it"
    scenes.reveal(second)
    scenes.reveal(Run.objects.get(kind=Run.Kind.CANDIDATE))
    assert rounds.is_public(first)


def test_is_revealed_when_the_other_owners_lease_has_ended() -> None:
    first, second = two_of_a_round()
    scenes.seal(first)
    Run.objects.filter(pk=second.pk).update(lease_until=Now())
    assert scenes.reveal(first).stage == Run.Stage.REVEALED


def test_takes_every_step_twice() -> None:
    first, second = two_of_a_round()
    assert scenes.seal(second) == scenes.seal(second)
    scenes.seal(first)
    revealed = scenes.reveal(first)
    again = scenes.reveal(first)
    assert (again.wanted_checkpoints, again.audited_segments) == (revealed.wanted_checkpoints, revealed.audited_segments)
    scenes.hand_in(first)
    scenes.hand_in(first)
    assert scenes.reveal(first).wanted_checkpoints == revealed.wanted_checkpoints
    assert scenes.seal(first).is_reveal_due
    assert Artefact.objects.filter(run=first).count() == len(revealed.wanted_checkpoints)
    assert TrustedJob.objects.filter(run=first).count() == 2
    done = Run.objects.get(pk=first.pk)
    assert (done.stage, done.lease_state, done.reported_step) == (Run.Stage.HANDED_IN, leases.LeaseState.DONE, 200)


def test_keeps_its_first_seal() -> None:
    first, _ = two_of_a_round()
    scenes.seal(first)
    with pytest.raises(runs.OtherSeal):
        scenes.seal(first, scenes.leaves_of(first, forged_from=3, flavour="x"))
    with pytest.raises(runs.MalformedSeal):
        runs.seal(run_id=first.pk, token=first.token, key_id=scenes.key_id_of(first), seal="A" * 64, now=clock.now())
    assert Run.objects.get(pk=first.pk).seal == reports.seal(scenes.report_of(first), scenes.SALT)


def test_takes_no_other_report_than_the_sealed_one() -> None:
    first, second = two_of_a_round()
    for run in (first, second):
        scenes.seal(run)
    with pytest.raises(reports.MalformedReport, match="seal was made of"):
        scenes.reveal(first, scenes.leaves_of(first, forged_from=5, flavour="later thought"))
    with pytest.raises(reports.MalformedReport):
        scenes.reveal(first, scenes.leaves_of(second)[:-1])
    assert Run.objects.get(pk=first.pk).stage == Run.Stage.SEALED


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("run_id", "rpl_" + "0" * 32),
        ("spec_digest", "0" * 64),
        ("tree_digest", "0" * 64),
        ("seed", 7),
        ("steps", 100),
        ("class_text", scenes.SECOND_CLASS),
        ("norms", (float("nan"),) * 10),
        ("root", "0" * 64),
        ("sandbox_level", "none"),
        ("curve", ((1, 1.0),) * 201),
    ],
)
def test_takes_no_report_of_something_else(field: str, value: object) -> None:
    first, second = two_of_a_round()
    for run in (first, second):
        scenes.seal(run)
    told = {**scenes.report_of(first).to_json(), field: value}
    with pytest.raises(reports.MalformedReport):
        runs.reveal(run_id=first.pk, token=first.token, key_id=scenes.key_id_of(first), report=told, salt=scenes.SALT, now=clock.now())
    kept = Run.objects.get(pk=first.pk)
    assert (kept.stage, kept.report, kept.wanted_checkpoints) == (Run.Stage.SEALED, None, [])


@pytest.mark.parametrize("hostile", [None, [], "x", {"run_id": {"$gt": ""}}, {"leaves": ["0" * 64] * 5000}])
def test_takes_no_hostile_report(hostile: object) -> None:
    first, second = two_of_a_round()
    for run in (first, second):
        scenes.seal(run)
    with pytest.raises(reports.MalformedReport):
        runs.reveal(run_id=first.pk, token=first.token, key_id=scenes.key_id_of(first), report=hostile, salt=scenes.SALT, now=clock.now())


def test_asks_for_what_an_audit_needs_and_takes_nothing_else() -> None:
    first, second = two_of_a_round()
    for run in (first, second):
        scenes.seal(run)
    send = {"run_id": first.pk, "token": first.token, "key_id": scenes.key_id_of(first), "now": clock.now()}
    with pytest.raises(runs.NotWanted):
        runs.keep_artefact(index=0, stream=io.BytesIO(b"early"), **send)  # type: ignore[arg-type]
    with pytest.raises(runs.NotSealed):
        runs.finish(**send)  # type: ignore[arg-type]
    run = scenes.reveal(first)
    assert 2 <= len(run.audited_segments) <= 3
    assert 9 in run.audited_segments, "the last segment"
    assert {0, 9, 10} <= set(run.wanted_checkpoints), "the start, and both ends of the last"
    assert set(run.wanted_checkpoints) == {0, 10} | set(run.audited_segments) | {index + 1 for index in run.audited_segments}
    unwanted = next(index for index in range(11) if index not in run.wanted_checkpoints)
    with pytest.raises(runs.NotWanted):
        runs.keep_artefact(index=unwanted, stream=io.BytesIO(b"more"), **send)  # type: ignore[arg-type]
    with pytest.raises(runs.CheckpointsMissing) as missing:
        runs.finish(**send)  # type: ignore[arg-type]
    assert missing.value.missing == run.wanted_checkpoints
    kept = runs.keep_artefact(index=0, stream=io.BytesIO(b"bytes"), **send)  # type: ignore[arg-type]
    assert runs.keep_artefact(index=0, stream=io.BytesIO(b"bytes"), **send).pk == kept.pk  # type: ignore[arg-type]
    with pytest.raises(runs.OtherCheckpoint):
        runs.keep_artefact(index=0, stream=io.BytesIO(b"other"), **send)  # type: ignore[arg-type]
    with pytest.raises(files.EmptyFile):
        runs.keep_artefact(index=10, stream=io.BytesIO(b""), **send)  # type: ignore[arg-type]
    assert Artefact.objects.filter(run=first).count() == 1


def test_refuses_a_checkpoint_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = two_of_a_round()
    for run in (first, second):
        scenes.seal(run)
    scenes.reveal(first)
    monkeypatch.setattr(rules, "MAX_CHECKPOINT_BYTES", 10)
    send = {"run_id": first.pk, "token": first.token, "key_id": scenes.key_id_of(first), "now": clock.now()}
    with pytest.raises(files.TooLarge):
        runs.keep_artefact(index=0, stream=io.BytesIO(b"elevenbytes"), **send)  # type: ignore[arg-type]
    runs.keep_artefact(index=0, stream=io.BytesIO(b"ten bytes!"), **send)  # type: ignore[arg-type]


def test_gives_a_stranger_nothing() -> None:
    first, _ = two_of_a_round()
    stranger = {"token": first.token, "key_id": uuid.uuid4(), "now": clock.now()}
    for call in (
        lambda: runs.seal(run_id=first.pk, seal="0" * 64, **stranger),  # type: ignore[arg-type]
        lambda: runs.reveal(run_id=first.pk, report={}, salt="", **stranger),  # type: ignore[arg-type]
        lambda: runs.keep_artefact(run_id=first.pk, index=0, stream=io.BytesIO(b"x"), **stranger),  # type: ignore[arg-type]
        lambda: runs.finish(run_id=first.pk, **stranger),  # type: ignore[arg-type]
        lambda: runs.fail(run_id=first.pk, reason="mine", steps_done=0, **stranger),  # type: ignore[arg-type]
        lambda: runs.seal(run_id=uuid.uuid4(), seal="0" * 64, **stranger),  # type: ignore[arg-type]
    ):
        with pytest.raises(runs.NoRun):
            call()
    assert Run.objects.get(pk=first.pk).stage == Run.Stage.OPEN


def test_is_asked_of_another_owner_when_its_own_vanishes_with_the_seal() -> None:
    first, second = two_of_a_round()
    scenes.seal(first)
    scenes.seal(second)
    scenes.train(second)
    candidate = Candidate.objects.get()
    until = Run.objects.get(pk=first.pk).lease_until
    assert until is not None
    assert datetime.timedelta(hours=23) < until - clock.now() <= datetime.timedelta(hours=24)
    assert runs.sweep(now=clock.now()) == 0
    Run.objects.filter(pk=first.pk).update(lease_until=Now() - datetime.timedelta(seconds=1))
    assert runs.sweep(now=clock.now()) == 1
    assert runs.sweep(now=clock.now()) == 0
    gone = Run.objects.get(pk=first.pk)
    assert (gone.stage, gone.reason_code) == (Run.Stage.CANCELLED, reasons.VANISHED)
    with pytest.raises(leases.StaleLease):
        scenes.reveal(first)
    scenes.advance(candidate)
    scenes.advance(candidate)
    again = Run.objects.get(kind=Run.Kind.BASELINE, replica=2)
    assert (again.stage, again.seed, again.tree_id) == (Run.Stage.OPEN, gone.seed, gone.tree_id)
    assert Run.objects.filter(kind=Run.Kind.BASELINE).count() == 3
    assert [run.pk for host in Host.objects.filter(owner__in=(first.owner_id, second.owner_id)) for run in scenes.lease(host)] == []
    assert [run.pk for run in scenes.lease(scenes.open_host())] == [again.pk]


def test_holds_nobody_up_who_waits_for_it_to_be_revealed() -> None:
    first, second = two_of_a_round()
    scenes.seal(first)
    now = clock.now()
    candidate, others = Candidate.objects.get(), Run.objects.filter(kind=Run.Kind.BASELINE, replica__gt=1)
    Run.objects.filter(pk=first.pk).update(sealed_at=now - rules.REVEAL_PATIENCE)
    scenes.advance(candidate, now=now)
    assert not others.exists(), "it may not be revealed yet"
    scenes.train(second)
    scenes.advance(candidate, now=now - datetime.timedelta(microseconds=1))
    assert not others.exists()
    scenes.advance(candidate, now=now)
    scenes.advance(candidate, now=now)
    assert [run.stage for run in others] == [Run.Stage.OPEN]
    assert Run.objects.get(pk=first.pk).stage == Run.Stage.SEALED
    scenes.reveal(first)
    assert scenes.hand_in(first).stage == Run.Stage.HANDED_IN, "it is taken and paid when it comes"


def test_is_asked_anew_when_its_owner_gives_up_after_the_seal() -> None:
    first, second = two_of_a_round()
    scenes.seal(first)
    runs.fail(run_id=first.pk, token=first.token, key_id=scenes.key_id_of(first), reason="disk", steps_done=200, now=clock.now())
    with pytest.raises(leases.StaleLease):
        scenes.seal(first)
    assert Run.objects.get(pk=first.pk).reason_code == reasons.GAVE_UP
    assert Host.objects.get(runs=first).valid_count == 0
    scenes.train(second)
    scenes.advance(Candidate.objects.get())
    assert Run.objects.filter(kind=Run.Kind.BASELINE, replica=2, stage=Run.Stage.OPEN).exists()


def test_ends_a_deserted_run_together_with_its_hosts_record_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process killed between the two would spare the deserter the audits of a new host."""
    machine = scenes.open_host()
    scenes.begin(scenes.post())
    run = scenes.lease_one(machine, Run.Kind.CANDIDATE)
    scenes.seal(run)
    Run.objects.filter(pk=run.pk).update(lease_until=Now() - datetime.timedelta(seconds=1))

    def die(*, run: Run) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(hosts, "note_deserted", die)
        with pytest.raises(KeyboardInterrupt):
            runs.sweep(now=clock.now())
    run.refresh_from_db()
    assert run.stage == Run.Stage.SEALED
    assert runs.sweep(now=clock.now()) == 1
    machine.refresh_from_db()
    assert machine.valid_count == 0
