"""A candidate's way through replays: it ..."""

import datetime

import pytest
from django.db.models.functions import Now

from tasks import clock, leases
from tests.verification.research import scenes
from verification.replay.sequential import Sequential
from verification.research import advancing, reasons, rules, runs, sweeping, tips, trusted
from verification.research.models import Candidate, Host, Run, TrustedJob

pytestmark = pytest.mark.django_db
_Status = Candidate.Status


def test_becomes_the_tip_when_its_gain_is_verified() -> None:
    task = scenes.post()
    machines = [scenes.open_host() for _ in range(3)]
    candidate = scenes.play(scenes.begin(task, 1.40), machines)
    assert (candidate.status, candidate.reason_code) == (_Status.ACCEPTED, reasons.GAIN_VERIFIED)
    assert candidate.gain == pytest.approx(0.1, abs=0.002)
    assert candidate.gain is not None
    assert candidate.shrunk_gain is not None
    assert 0 < candidate.shrunk_gain <= candidate.gain
    tip = tips.current(task)
    assert (tip.number, tip.tree_id, tip.candidate_id) == (1, candidate.tree_id, candidate.pk)
    assert set(Run.objects.values_list("stage", flat=True)) == {Run.Stage.VALID}
    pairs = Sequential.from_json(candidate.test).pairs
    assert Run.objects.count() == 3 * len(pairs), "one of its own and two of the tip for each pair"
    scenes.advance(candidate)
    assert tips.current(task).number == 1


def test_is_rejected_when_it_gains_nothing() -> None:
    task = scenes.post()
    machines = [scenes.open_host() for _ in range(3)]
    candidate = scenes.play(scenes.begin(task, 1.50), machines)
    assert (candidate.status, candidate.reason_code) == (_Status.REJECTED, reasons.NO_GAIN)
    assert (tips.current(task).number, candidate.shrunk_gain) == (0, None)


def test_is_compared_with_baselines_that_an_earlier_one_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "SEED_POOL", 2)
    task = scenes.post(max_pairs=2)
    machines = [scenes.open_host() for _ in range(3)]
    first = scenes.play(scenes.begin(task, 1.50), machines)
    pairs = len(Sequential.from_json(first.test).pairs)
    assert Run.objects.filter(kind=Run.Kind.BASELINE).count() == 2 * pairs
    for _ in range(3):
        scenes.play(scenes.begin(task, 1.50), machines)
    used = set(Run.objects.filter(kind=Run.Kind.BASELINE).values_list("seed_index", flat=True))
    assert Run.objects.filter(kind=Run.Kind.BASELINE).count() == 2 * len(used), "each seed once by two owners"
    assert Run.objects.filter(kind=Run.Kind.CANDIDATE).count() > len(used)


def test_is_rejected_when_its_smoke_run_fails() -> None:
    candidate = scenes.submit(scenes.post())
    scenes.advance(candidate)
    [job] = scenes.lease_jobs()
    scenes.complete(job, {"is_passed": False, "codes": ["interface_missing"]})
    scenes.advance(candidate)
    assert (candidate.status, candidate.reason_code) == (_Status.REJECTED, reasons.SMOKE_FAILED)
    assert Run.objects.count() == 0


@pytest.mark.parametrize("how", ["late", "given up"])
def test_ends_inconclusive_when_nobody_does_its_smoke_run(how: str) -> None:
    now = clock.now()
    candidate = scenes.submit(scenes.post())
    scenes.advance(candidate, now=now)
    if how == "late":
        assert scenes.advance(candidate, now=now + rules.SMOKE_WAIT - datetime.timedelta(microseconds=1)).status == _Status.SMOKE
        scenes.advance(candidate, now=now + rules.SMOKE_WAIT)
    else:
        TrustedJob.objects.update(attempts=rules.TRUSTED_ATTEMPTS)
        [job] = scenes.lease_jobs()
        trusted.fail(job_id=job.pk, token=job.token, key_id=scenes.POOL_KEY, reason="down", now=now)
        scenes.advance(candidate, now=now)
    assert (candidate.status, candidate.reason_code) == (_Status.INCONCLUSIVE, reasons.SMOKE_NOT_RUN)


def test_ends_inconclusive_when_no_host_ever_comes_and_lets_the_next_one_pass() -> None:
    now = clock.now()
    task = scenes.post()
    candidate, second = scenes.begin(task), scenes.begin(task, 1.41)
    assert second.wait_until is None, "its time begins when it is its turn"
    until = candidate.wait_until
    assert until is not None
    assert now + rules.HOST_WAIT <= until <= clock.now() + rules.HOST_WAIT
    assert scenes.advance(candidate, now=until - datetime.timedelta(microseconds=1)).status == _Status.WAITING
    scenes.advance(candidate, now=until)
    assert (candidate.status, candidate.reason_code) == (_Status.INCONCLUSIVE, reasons.NO_HOSTS)
    assert scenes.advance(second, now=until).wait_until == until + rules.HOST_WAIT


def test_ends_inconclusive_when_its_runs_are_never_done_and_cancels_them() -> None:
    machines = [scenes.open_host() for _ in range(2)]
    candidate = scenes.begin(scenes.post())
    [own] = [run for run in scenes.lease(machines[0], limit=8) if run.kind == Run.Kind.CANDIDATE]
    until = candidate.wait_until
    assert until is not None
    scenes.advance(candidate, now=until)
    assert (candidate.status, candidate.reason_code) == (_Status.INCONCLUSIVE, reasons.TOOK_TOO_LONG)
    assert set(Run.objects.values_list("stage", "reason_code")) == {(Run.Stage.CANCELLED, reasons.NOT_NEEDED)}
    with pytest.raises(leases.StaleLease):
        scenes.seal(own)


def test_is_rejected_for_failing_only_by_the_pools_own_word() -> None:
    machines = [scenes.open_host() for _ in range(3)]
    candidate = scenes.begin(scenes.post())
    for machine in machines[:2]:
        Run.objects.update(available_at=Now())
        run = scenes.lease_one(machine, Run.Kind.CANDIDATE)
        runs.fail(run_id=run.pk, token=run.token, key_id=scenes.key_id_of(run), reason="raised", steps_done=150, now=clock.now())
        assert scenes.advance(candidate).status == _Status.REPLAYING
    [pools] = scenes.lease_trusted_runs()
    runs.fail(run_id=pools.pk, token=pools.token, key_id=scenes.POOL_KEY, reason="raised", steps_done=150, now=clock.now())
    scenes.advance(candidate)
    assert (candidate.status, candidate.reason_code) == (_Status.REJECTED, reasons.RUN_FAILED)


def test_is_not_rejected_when_the_pool_itself_is_at_fault() -> None:
    scenes.open_host()
    candidate = scenes.begin(scenes.post())
    Run.objects.filter(kind=Run.Kind.BASELINE).delete()
    Run.objects.filter(kind=Run.Kind.CANDIDATE).update(is_trusted_only=True, attempts=rules.MAX_ATTEMPTS)
    [pools] = scenes.lease_trusted_runs()
    runs.fail(run_id=pools.pk, token=pools.token, key_id=scenes.POOL_KEY, reason="no_gpu", steps_done=0, now=clock.now())
    scenes.advance(candidate)
    assert (candidate.status, candidate.reason_code) == (_Status.INCONCLUSIVE, reasons.TOOK_TOO_LONG)


@pytest.mark.parametrize("failed", ["refusal", "probe"])
def test_is_rejected_for_its_weights_only_when_the_pool_trained_them_too(failed: str) -> None:
    machines = [scenes.open_host() for _ in range(3)]
    candidate = scenes.begin(scenes.post())

    def look(job: TrustedJob) -> None:
        found = scenes.readings_of(job)
        if job.run is not None and job.run.kind == Run.Kind.CANDIDATE and job.kind == "EVALUATE":
            bad = {**scenes.score_of(job.run).to_json(), "probes": [vars(one) for one in scenes.probes("truncated")]}
            found = {**found, "score": bad} if failed == "probe" else {**found, "score": None, "refusal": "logits_not_finite"}
        scenes.complete(job, found)

    for machine in machines:
        for run in scenes.lease(machine):
            scenes.train(run)
    for job in scenes.lease_jobs():
        look(job)
    own = Run.objects.get(kind=Run.Kind.CANDIDATE)
    expected = "probe_truncated" if failed == "probe" else "logits_not_finite"
    assert (own.stage, own.holdout_score, own.reason_code) == (Run.Stage.VALID, None, expected), "its owner did his work"
    assert scenes.advance(candidate).status == _Status.REPLAYING
    [pools] = scenes.lease_trusted_runs()
    scenes.train(pools)
    for job in scenes.lease_jobs():
        look(job)
    scenes.advance(candidate)
    if candidate.status != _Status.REJECTED:
        scenes.advance(candidate)
    assert (candidate.status, candidate.reason_code) == (_Status.REJECTED, reasons.EVALUATION_FAILED)


def test_is_repeated_by_a_second_owner_while_its_first_one_is_new() -> None:
    machines = [scenes.open_host(valid_count=0) for _ in range(3)]
    candidate = scenes.play(scenes.begin(scenes.post(), 1.40), machines)
    assert candidate.status == _Status.ACCEPTED
    first = candidate.seed_indexes[0]
    own = Run.objects.filter(kind=Run.Kind.CANDIDATE, seed_index=first)
    assert own.count() == 2
    assert len({run.owner_id for run in own}) == 2


def test_needs_no_second_owner_where_there_is_one_only() -> None:
    machines = [scenes.open_host(valid_count=0)]
    candidate = scenes.play(scenes.begin(scenes.post(), 1.40), machines)
    assert candidate.status == _Status.ACCEPTED
    baselines = Run.objects.filter(kind=Run.Kind.BASELINE)
    assert set(baselines.values_list("is_trusted_only", flat=True)) == {True}


def test_is_confirmed_on_a_second_class_and_paid_the_smaller_gain() -> None:
    task = scenes.post(is_confirmed_on_second_class=True)
    machines = [scenes.open_host() for _ in range(3)]
    candidate = scenes.play(scenes.begin(task, 1.40), machines)
    assert (candidate.status, candidate.first_test) == (_Status.REPLAYING, None)
    first = candidate.test
    others = [scenes.open_host(class_text=scenes.SECOND_CLASS) for _ in range(2)]
    scenes.advance(candidate)
    assert (candidate.class_text, candidate.first_class_text, candidate.test) == (scenes.SECOND_CLASS, scenes.CLASS, None)
    scenes.play(candidate, others)
    assert (candidate.status, candidate.first_test) == (_Status.ACCEPTED, first)
    both = [Sequential.from_json(one) for one in (candidate.test, candidate.first_test)]
    assert candidate.gain == min(one.gain for one in both)
    assert candidate.shrunk_gain == min(one.shrunk_gain for one in both)


def test_ends_inconclusive_when_no_second_class_comes() -> None:
    candidate = scenes.play(scenes.begin(scenes.post(is_confirmed_on_second_class=True), 1.40), [scenes.open_host() for _ in range(3)])
    until = candidate.wait_until
    assert until is not None
    assert scenes.advance(candidate, now=until - datetime.timedelta(microseconds=1)).status == _Status.REPLAYING
    scenes.advance(candidate, now=until)
    assert (candidate.status, candidate.reason_code) == (_Status.INCONCLUSIVE, reasons.NO_SECOND_CLASS)


def test_chooses_the_class_with_the_most_owners_not_the_most_names() -> None:
    crowd = scenes.open_host(class_text=scenes.SECOND_CLASS)
    for number in range(5):
        scenes.open_host(crowd.owner, class_text=scenes.SECOND_CLASS, name=f"machine {number}")
    for _ in range(2):
        scenes.open_host()
    assert scenes.begin(scenes.post()).class_text == scenes.CLASS
    Host.objects.filter(class_text=scenes.CLASS).update(last_seen_at=clock.now() - rules.HOST_LIVES - datetime.timedelta(seconds=1))
    assert scenes.begin(scenes.post()).class_text == scenes.SECOND_CLASS


def test_is_taken_on_by_another_process_when_one_dies() -> None:
    candidate = scenes.submit(scenes.post())
    [held] = Candidate.objects.filter(pk=candidate.pk).hand_out(limit=1, holder="killed", lease_s=60)
    advancing.advance(candidate_id=candidate.pk, now=clock.now())
    candidate.refresh_from_db()
    assert candidate.status == _Status.RECEIVED
    Candidate.objects.update(lease_until=Now())
    Candidate.objects.sweep(max_attempts=advancing.MAX_ATTEMPTS)
    assert sweeping.sweep(now=clock.now())["candidates advanced"] == 1
    candidate.refresh_from_db()
    assert (candidate.status, TrustedJob.objects.count()) == (_Status.SMOKE, 1)
    with pytest.raises(leases.StaleLease):
        Candidate.objects.give_back(pk=held.pk, token=held.token, status=_Status.WAITING)


def test_ends_inconclusive_when_it_kills_process_after_process() -> None:
    candidate = scenes.submit(scenes.post())
    for _ in range(advancing.MAX_ATTEMPTS):
        Candidate.objects.update(available_at=Now())
        assert Candidate.objects.hand_out(limit=1, holder="killed", lease_s=60)
        Candidate.objects.update(lease_until=Now())
        Candidate.objects.sweep(max_attempts=advancing.MAX_ATTEMPTS)
    advancing.advance_due(now=clock.now())
    candidate.refresh_from_db()
    assert (candidate.status, candidate.reason_code) == (_Status.INCONCLUSIVE, reasons.TOOK_TOO_LONG)


def test_says_every_reason_in_words() -> None:
    codes = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    assert codes == set(reasons.MESSAGES)
