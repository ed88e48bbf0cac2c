"""Jobs of the trusted pool: it ..."""

import datetime
import hashlib
import uuid

import pytest
from django.db.models.functions import Now

from tasks import clock, leases
from tests import people
from tests.verification.research import scenes
from verification.research import inputs, readings, reasons, rules, runs, trusted
from verification.research.models import Candidate, Host, Run, TrustedJob

pytestmark = pytest.mark.django_db


def handed_in(*, valid_count: int = 0) -> Run:
    """Return a candidate's run that waits for its evaluation and, of a new host, its audit."""
    machine = scenes.open_host(valid_count=valid_count)
    scenes.begin(scenes.post())
    run = scenes.lease_one(machine, Run.Kind.CANDIDATE)
    return scenes.train(run)


def jobs() -> dict[str, TrustedJob]:
    """Lease every job; return them by kind."""
    return {job.kind: job for job in scenes.lease_jobs()}


def test_reads_the_hold_out_for_an_evaluation_and_the_training_text_for_an_audit() -> None:
    run = handed_in()
    leased = jobs()
    evaluation, audit = leased["EVALUATE"], leased["AUDIT"]
    assert [one.role for one in inputs.of_job(evaluation)] == [
        "tree",
        "checkpoint:10",
        "validation:seen.bin",
        "holdout:secret.bin",
    ]
    wanted = [f"checkpoint:{index}" for index in run.wanted_checkpoints]
    assert [one.role for one in inputs.of_job(audit)] == ["tree", *wanted, "train:text.bin"]
    assert [one.role for one in inputs.of_run(run)] == ["tree", "train:text.bin"], "an owner sees no hold-out"
    for one in inputs.of_job(evaluation) + inputs.of_job(audit):
        with inputs.open_input(one) as content:
            assert hashlib.sha256(content.read()).hexdigest() == one.sha256
    told = trusted.params_of(audit)
    assert (told["segments"], told["seed"], told["report"]) == (run.audited_segments, run.seed, run.report)
    assert "report" not in trusted.params_of(evaluation)


def test_smoke_tests_a_tree_on_public_files() -> None:
    candidate = scenes.submit(scenes.post())
    scenes.advance(candidate)
    [job] = scenes.lease_jobs()
    assert [one.role for one in inputs.of_job(job)] == ["tree", "train:text.bin"]
    assert trusted.params_of(job)["tree_digest"] == candidate.tree_id


def test_makes_a_run_valid_once_by_evaluation_and_audit() -> None:
    run = handed_in()
    leased = jobs()
    scenes.complete(leased["EVALUATE"])
    run.refresh_from_db()
    assert run.stage == Run.Stage.HANDED_IN
    scenes.complete(leased["AUDIT"])
    run.refresh_from_db()
    assert (run.stage, run.reason_code, run.holdout_score) == (Run.Stage.VALID, reasons.VALID, scenes.score_of(run).holdout)
    for job in leased.values():
        scenes.complete(job)
        scenes.complete(job, {"leaf": "0" * 64, "refusal": "later"})
    host = Host.objects.get(runs=run)
    assert (host.valid_count, host.invalid_count) == (1, 0)


@pytest.mark.parametrize("order", [("EVALUATE", "AUDIT"), ("AUDIT", "EVALUATE")])
def test_finds_a_run_invalid_whose_audit_fails(order: tuple[str, str]) -> None:
    run = handed_in()
    leased = jobs()
    found: dict[str, dict[str, object] | None] = {"AUDIT": {"is_passed": False, "code": "differs"}, "EVALUATE": None}
    for kind in order:
        scenes.complete(leased[kind], found[kind])
    run.refresh_from_db()
    assert (run.stage, run.reason_code, run.holdout_score) == (Run.Stage.INVALID, reasons.AUDIT_FAILED, None)
    host = Host.objects.get(runs=run)
    assert (host.valid_count, host.invalid_count) == (0, 1)
    assert Candidate.objects.get().status == Candidate.Status.REPLAYING


def test_finds_a_run_invalid_whose_scored_weights_are_not_at_its_last_leaf() -> None:
    run = handed_in(valid_count=scenes.TRUSTED)
    [job] = scenes.lease_jobs()
    scenes.complete(job, {**scenes.readings_of(job), "leaf": "0" * 64})
    run.refresh_from_db()
    assert (run.stage, run.reason_code, run.holdout_score) == (Run.Stage.INVALID, reasons.OTHER_WEIGHTS, None)


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"leaf": "x", "refusal": "raised"},
        {"leaf": "0" * 64},
        {"leaf": "0" * 64, "score": {"public": 1.0}},
        {"leaf": "0" * 64, "score": {"public": float("nan"), "holdout": 1.0, "parameter_count": 1, "probes": []}},
        {"leaf": "0" * 64, "refusal": "a word; DROP"},
        {"is_passed": True},
    ],
)
def test_is_refused_readings_of_another_shape(sent: dict[str, object]) -> None:
    run = handed_in(valid_count=scenes.TRUSTED)
    [job] = scenes.lease_jobs()
    with pytest.raises(readings.MalformedReadings):
        scenes.complete(job, sent)
    assert TrustedJob.objects.get(pk=job.pk).lease_state == leases.LeaseState.LEASED
    assert Run.objects.get(pk=run.pk).stage == Run.Stage.HANDED_IN


def test_gives_a_stranger_nothing() -> None:
    handed_in(valid_count=scenes.TRUSTED)
    [job] = scenes.lease_jobs()
    stranger = {"job_id": job.pk, "token": job.token, "key_id": uuid.uuid4()}
    with pytest.raises(trusted.NoJob):
        trusted.complete(readings_json={}, now=clock.now(), **stranger)  # type: ignore[arg-type]
    with pytest.raises(trusted.NoJob):
        trusted.fail(reason="mine", now=clock.now(), **stranger)  # type: ignore[arg-type]
    with pytest.raises(leases.StaleLease):
        trusted.heartbeat(lease_s=60, **stranger)  # type: ignore[arg-type]
    with pytest.raises(leases.StaleLease):
        scenes.complete(TrustedJob(pk=job.pk, kind=job.kind, run=job.run, params=job.params, token=job.token - 1))


def test_gets_no_job_that_concerns_its_own_user() -> None:
    owner, maker, poster = (people.open_user(name) for name in ("owner", "maker", "poster"))
    machine = scenes.open_host(owner)
    scenes.begin(scenes.post(poster), claimant=maker)
    scenes.train(scenes.lease_one(machine, Run.Kind.CANDIDATE))
    for user in (owner, maker, poster):
        taken = trusted.hand_out(key_id=uuid.uuid4(), user=user, holder="mine", limit=8, lease_s=60, modes=scenes.BOTH)
        assert taken == []
    assert len(scenes.lease_jobs()) == 1
    assert trusted.hand_out(key_id=uuid.uuid4(), user=people.open_user("p"), holder="x", limit=0, lease_s=60, modes=("test",)) == []


def test_answers_itself_for_what_it_cannot_evaluate() -> None:
    run = handed_in(valid_count=scenes.TRUSTED)
    for _ in range(rules.TRUSTED_ATTEMPTS):
        TrustedJob.objects.update(available_at=Now())
        [job] = scenes.lease_jobs()
        code = trusted.fail(job_id=job.pk, token=job.token, key_id=scenes.POOL_KEY, reason="Out of DISK!", now=clock.now())
        assert code == "out_of_disk_"
    run.refresh_from_db()
    assert (run.stage, run.reason_code, run.reported_step) == (Run.Stage.CANCELLED, reasons.NOT_EVALUATED, 200)
    assert Host.objects.get(runs=run).valid_count == scenes.TRUSTED
    scenes.advance(Candidate.objects.get())
    assert Run.objects.filter(kind=Run.Kind.CANDIDATE, replica=1, stage=Run.Stage.OPEN).exists()


def test_ends_what_a_dead_process_left_given_up() -> None:
    """The last attempt lapsed: no call says so, the sweep finds it."""
    run = handed_in(valid_count=scenes.TRUSTED)
    TrustedJob.objects.filter(run=run).update(attempts=rules.TRUSTED_ATTEMPTS - 1)
    [_] = scenes.lease_jobs()
    TrustedJob.objects.filter(run=run).update(lease_until=Now() - datetime.timedelta(seconds=1))
    assert trusted.sweep(now=clock.now()) == 1
    run.refresh_from_db()
    assert (run.stage, run.reason_code) == (Run.Stage.CANCELLED, reasons.NOT_EVALUATED)


def test_keeps_its_own_sealed_training_no_longer_than_it_says_that_it_lives() -> None:
    # One owner alone: the tip is for the pool to train.
    scenes.open_host()
    scenes.begin(scenes.post())
    (run,) = scenes.lease_trusted_runs()
    scenes.seal(run)
    run.refresh_from_db()
    soon = clock.now() + datetime.timedelta(seconds=60)
    assert run.lease_until is not None
    assert run.lease_until <= soon
    runs.heartbeat(run_id=run.pk, token=run.token, key_id=scenes.POOL_KEY, lease_s=600)
    before = run.lease_until
    run.refresh_from_db()
    assert run.lease_until - before > datetime.timedelta(seconds=500)
    Run.objects.update(lease_until=Now() - datetime.timedelta(seconds=1))
    runs.sweep(now=clock.now())
    run.refresh_from_db()
    assert (run.stage, run.reason_code) == (Run.Stage.CANCELLED, reasons.VANISHED)
    # Another machine of the pool trains it anew.
    scenes.advance(Candidate.objects.get())
    (again,) = scenes.lease_trusted_runs()
    assert (again.tree_id, again.seed) == (run.tree_id, run.seed)
    assert scenes.train(again).stage == Run.Stage.HANDED_IN
