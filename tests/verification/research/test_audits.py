"""Audits, replicas and ringers: a forger ..."""

import secrets

import pytest

from tests.verification.research import scenes
from verification.replay import policy
from verification.research import agreement, auditing, eligible, reasons, ringers, rules, runs
from verification.research.models import Candidate, Host, Run, TrustedJob

pytestmark = pytest.mark.django_db
_Stage = Run.Stage


def own_run(machine: Host, task_audit: float = 0.0, **changes: object) -> Run:
    """Return a candidate's run, leased to a machine."""
    scenes.begin(scenes.post(audit_share=task_audit, **changes))  # type: ignore[arg-type]
    return scenes.lease_one(machine, Run.Kind.CANDIDATE)


def test_is_audited_while_he_is_new_and_by_the_tasks_share_later() -> None:
    for valid_count, share, is_audited in ((0, 0.0, True), (9, 0.0, True), (10**9, 0.0, False), (10**9, 1.0, True)):
        run = own_run(scenes.open_host(valid_count=valid_count), share)
        scenes.train(run)
        run.refresh_from_db()
        assert bool(run.audited_segments) is is_audited
        assert run.wanted_checkpoints == [10] or is_audited


def test_is_audited_one_time_in_as_many_as_he_has_valid_results(monkeypatch: pytest.MonkeyPatch) -> None:
    run = own_run(scenes.open_host(valid_count=20))
    report = scenes.report_of(run)
    for drawn, is_audited in ((0.049, True), (0.051, False)):
        monkeypatch.setattr(auditing, "_random", _Fixed(drawn))
        assert bool(auditing.plan(run=run, report=report).segments) is is_audited


class _Fixed(secrets.SystemRandom):
    """A die that shows what the test says."""

    def __init__(self, drawn: float) -> None:
        super().__init__()
        self._drawn = drawn

    def random(self) -> float:
        return self._drawn


def test_decides_nothing_and_his_run_is_asked_of_somebody_else() -> None:
    forger, others = scenes.open_host(valid_count=0), [scenes.open_host() for _ in range(3)]
    candidate = scenes.begin(scenes.post(), 1.40)
    forged = scenes.lease_one(forger, Run.Kind.CANDIDATE)
    scenes.train(forged, scenes.leaves_of(forged, forged_from=1, flavour="no work"))
    scenes.work_pool()
    forged.refresh_from_db()
    assert (forged.stage, forged.reason_code) == (_Stage.INVALID, reasons.AUDIT_FAILED)
    scenes.advance(candidate)
    again = Run.objects.get(kind=Run.Kind.CANDIDATE, replica=1)
    assert (again.seed, again.tree_id, again.class_text) == (forged.seed, forged.tree_id, forged.class_text)
    assert again not in eligible.for_host(host=forger, owner=forger.owner, modes=scenes.BOTH)
    assert again in eligible.for_host(host=others[0], owner=others[0].owner, modes=scenes.BOTH)
    assert scenes.play(candidate, others).status == Candidate.Status.ACCEPTED


def test_gets_no_more_after_some() -> None:
    machine = scenes.open_host(valid_count=0)
    for _ in range(rules.SUSPENDED_AFTER_INVALID):
        run = own_run(machine)
        scenes.train(run, scenes.leaves_of(run, forged_from=1, flavour="x"))
        scenes.work_pool()
    machine.refresh_from_db()
    assert (machine.invalid_count, machine.valid_count, machine.is_suspended) == (3, 0, True)


def test_is_looked_at_where_he_first_differs_from_another_owner() -> None:
    """Neither would have been audited by chance; one of the two is wrong, and the segment says which."""
    honest, forger = scenes.open_host(valid_count=10**9), scenes.open_host(valid_count=10**9)
    scenes.begin(scenes.post())
    first, _ = sorted(scenes.lease(honest, limit=8), key=lambda run: run.kind)
    second = scenes.lease_one(forger, Run.Kind.BASELINE)
    leaves = scenes.leaves_of(second, forged_from=4, flavour="mine")
    for run, told in ((first, None), (second, leaves)):
        scenes.seal(run, told)
    scenes.seal(Run.objects.get(kind=Run.Kind.CANDIDATE))
    assert scenes.reveal(first).audited_segments == []
    revealed = scenes.reveal(second, leaves)
    assert 3 in revealed.audited_segments, "from the last checkpoint that both have to the first that differs"
    scenes.hand_in(first)
    scenes.hand_in(second)
    scenes.work_pool()
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.stage, second.stage) == (_Stage.VALID, _Stage.INVALID)


def test_is_looked_at_where_his_weights_jump() -> None:
    machines = [scenes.open_host(valid_count=10**9) for _ in range(3)]
    candidate = scenes.begin(scenes.post(), 1.47)
    scenes.advance(candidate)
    scenes.work_hosts(machines)
    scenes.advance(candidate)
    valid = Run.objects.get(kind=Run.Kind.CANDIDATE, stage=_Stage.VALID, seed_index=candidate.seed_indexes[0])
    report = scenes.report_of(valid)
    other = Run(task=valid.task, kind=valid.kind, tree=valid.tree, seed=valid.seed + 1, class_text=valid.class_text, host=valid.host)
    plan = auditing.plan(run=other, report=scenes.report_of(valid, norms=(*report.norms[:5], 5000.0, *report.norms[6:])))
    assert 5 in plan.segments
    assert auditing.plan(run=other, report=report).segments == []


def test_cannot_make_a_baseline_count_without_a_stranger_who_agrees() -> None:
    machines = [scenes.open_host() for _ in range(2)]
    candidate = scenes.begin(scenes.post())
    first = scenes.lease_one(machines[0], Run.Kind.BASELINE)
    tip, index = candidate.parent, candidate.seed_indexes[0]
    assert tip is not None
    scenes.train(first)
    scenes.work_pool()
    assert Run.objects.get(pk=first.pk).stage == _Stage.VALID
    assert agreement.baseline(tip=tip, seed_index=index, class_text=scenes.CLASS) is None
    evaluations = TrustedJob.objects.filter(kind="EVALUATE").count()
    second = scenes.lease_one(machines[1], Run.Kind.BASELINE)
    scenes.train(second)
    second.refresh_from_db()
    agreed = agreement.baseline(tip=tip, seed_index=index, class_text=scenes.CLASS)
    assert agreed is not None
    assert agreed.pk in (first.pk, second.pk)
    assert (second.stage, second.holdout_score) == (_Stage.VALID, agreed.holdout_score)
    assert TrustedJob.objects.filter(kind="EVALUATE").count() == evaluations, "the same weights are evaluated once"


def test_is_overruled_by_the_pool_where_two_valid_runs_differ() -> None:
    """Other bits, and no audit that failed: only the trusted pool's own run decides."""
    machines = [scenes.open_host(valid_count=10**9) for _ in range(2)]
    candidate = scenes.begin(scenes.post())
    for machine, flavour in zip(machines, ("", "odd"), strict=True):
        run = scenes.lease_one(machine, Run.Kind.BASELINE)
        scenes.train(run, scenes.leaves_of(run, forged_from=10, flavour=flavour))
    for job in scenes.lease_jobs():
        scenes.complete(job, {"is_passed": True} if job.kind == "AUDIT" else None)
    assert set(Run.objects.filter(kind=Run.Kind.BASELINE).values_list("stage", flat=True)) == {_Stage.VALID}
    scenes.advance(candidate)
    [trusted_run] = Run.objects.filter(kind=Run.Kind.BASELINE, is_trusted_only=True)
    owner = scenes.open_host()
    assert trusted_run not in eligible.for_host(host=owner, owner=owner.owner, modes=scenes.BOTH)
    scenes.work_pool()
    tip = candidate.parent
    assert tip is not None
    agreed = agreement.baseline(tip=tip, seed_index=candidate.seed_indexes[0], class_text=scenes.CLASS)
    assert agreed is not None
    assert agreed.pk == trusted_run.pk


# -- Ringers ----------------------------------------------------------------------------------------------------------
def known_outcomes() -> None:
    """Let two owners agree on baselines."""
    machines = [scenes.open_host() for _ in range(3)]
    scenes.play(scenes.begin(scenes.post(), 1.40), machines)


def ringer_for(machine: Host, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Let the die fall on a ringer."""
    scenes.begin(scenes.post())
    monkeypatch.setattr(ringers, "_random", _Fixed(policy.RINGER_SHARE - 1e-9))
    [run] = scenes.lease(machine)
    monkeypatch.setattr(ringers, "_random", _Fixed(1.0))
    assert run.kind == Run.Kind.RINGER
    return run


@pytest.fixture
def _no_ringers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ringers, "_random", _Fixed(1.0))


@pytest.mark.usefixtures("_no_ringers")
def test_passes_a_ringer_by_work_alone_and_costs_the_pool_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    known_outcomes()
    machine = scenes.open_host(valid_count=0)
    run = ringer_for(machine, monkeypatch)
    before = TrustedJob.objects.count()
    assert run.candidate_id is None
    assert run.seed == Run.objects.filter(kind=Run.Kind.BASELINE, tree=run.tree_id, seed_index=run.seed_index).values_list("seed")[0][0]
    scenes.train(run)
    run.refresh_from_db()
    machine.refresh_from_db()
    assert (run.stage, run.wanted_checkpoints, machine.valid_count) == (_Stage.VALID, [], 1)
    assert TrustedJob.objects.count() == before


@pytest.mark.usefixtures("_no_ringers")
def test_is_found_out_by_a_ringer(monkeypatch: pytest.MonkeyPatch) -> None:
    known_outcomes()
    machine = scenes.open_host(valid_count=10**9)
    run = ringer_for(machine, monkeypatch)
    scenes.train(run, scenes.leaves_of(run, forged_from=6, flavour="no work"))
    scenes.work_pool()
    run.refresh_from_db()
    assert (run.stage, run.reason_code) == (_Stage.INVALID, reasons.AUDIT_FAILED)


@pytest.mark.usefixtures("_no_ringers")
def test_gets_no_ringer_that_he_has_trained_nor_without_work(monkeypatch: pytest.MonkeyPatch) -> None:
    known_outcomes()
    monkeypatch.setattr(ringers, "_random", _Fixed(0.0))
    assert scenes.lease(scenes.open_host()) == [], "no work, so no ringer"
    trainer = Host.objects.filter(runs__kind=Run.Kind.BASELINE, runs__stage=_Stage.VALID)[0]
    Host.objects.exclude(pk=trainer.pk).update(is_suspended=True)
    monkeypatch.setattr(ringers, "_random", _Fixed(1.0))
    scenes.begin(scenes.post())
    monkeypatch.setattr(ringers, "_random", _Fixed(0.0))
    taken = scenes.lease(trainer, limit=8)
    assert taken
    for run in taken:
        assert not Run.objects.filter(owner=trainer.owner, tree=run.tree_id, seed=run.seed).exclude(pk=run.pk).exists()


@pytest.mark.usefixtures("_no_ringers")
def test_is_compared_with_no_report_of_old_that_lacks_its_leaves() -> None:
    old, machine = scenes.open_host(), scenes.open_host()
    scenes.begin(scenes.post())
    scenes.train(scenes.lease_one(old, Run.Kind.BASELINE))
    scenes.work_pool()
    assert Run.objects.filter(stage=_Stage.VALID).update(report={"root": "00" * 32}) == 1
    run = scenes.lease_one(machine, Run.Kind.BASELINE)
    assert auditing.plan(run=run, report=scenes.report_of(run)).segments == []


@pytest.mark.usefixtures("_no_ringers")
def test_is_made_no_ringer_of_the_trusted_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    known_outcomes()
    pool = scenes.open_host(scenes.pool_user())
    scenes.begin(scenes.post())
    Run.objects.filter(stage=_Stage.OPEN).update(is_trusted_only=True)
    monkeypatch.setattr(ringers, "_random", _Fixed(0.0))
    found = runs.hand_out(
        key_id=scenes.POOL_KEY, user=pool.owner, host=pool, holder="pool", limit=8, lease_s=60, modes=scenes.BOTH, is_trusted=True
    )
    assert found
    assert not Run.objects.filter(kind=Run.Kind.RINGER).exists()
