"""A candidate's way to its verdict, step by step; every step can be cut off anywhere and run again."""

import datetime
import os
import socket
import uuid

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from tasks import batches, leases
from verification import dispatch
from verification.replay import gate
from verification.replay.sequential import Pair, Sequential
from verification.replay.spec import Spec
from verification.research import demand, merging, pairs, readings, reasons, rules, runs, seeding, tips, trees, trusted
from verification.research.models import Candidate, ResearchTask, Run, Tip, TrustedJob

MAX_ATTEMPTS = 6
# Steps of one candidate in one go: received, smoke, waiting, a round, decided; rebased in between.
_MAX_STEPS = 12

_Status = Candidate.Status


def advance_due(*, now: datetime.datetime, limit: int = 50) -> int:
    """Take every candidate that is due as far as it goes; return how many were looked at.

    Raises:
        ExceptionGroup: what went wrong with single candidates, after all others had their turn.
    """
    undecided = Candidate.objects.filter(status__in=Candidate.UNDECIDED)
    undecided.sweep(max_attempts=MAX_ATTEMPTS, delay_s=lambda attempts: float(2 ** min(attempts, 6)))
    is_due = Q(lease_state=leases.LeaseState.READY, available_at__lte=Now())
    due = undecided.filter(is_due | Q(lease_state=leases.LeaseState.DEAD)).order_by("available_at", "place")
    return len(batches.drive(sweep="candidates", due=due, work=lambda pk: advance(candidate_id=pk, now=now), limit=limit, now=now))


def advance(*, candidate_id: uuid.UUID, now: datetime.datetime) -> None:
    """Take one candidate as far as it goes at this moment; one that waits, is decided or is being worked on stays as it is."""
    for _ in range(_MAX_STEPS):
        undecided = Candidate.objects.filter(pk=candidate_id, status__in=Candidate.UNDECIDED)
        _give_up(undecided, now)
        leased = undecided.hand_out(limit=1, holder=f"{socket.gethostname()}:{os.getpid()}"[:80], lease_s=rules.CANDIDATE_LEASE_S)
        if not leased:
            return
        candidate = Candidate.objects.select_related("task", "parent__tree", "tree").get(pk=candidate_id)
        try:
            _STEPS[_Status(candidate.status)](candidate, now)
        except leases.StaleLease:
            # We took longer than the lease: whoever has the candidate now goes on.
            return


# -- Received, smoke --------------------------------------------------------------------------------------------------
def _ask_smoke(candidate: Candidate, now: datetime.datetime) -> None:
    with transaction.atomic():
        _move(candidate, _Status.SMOKE, wait_until=now + rules.SMOKE_WAIT)
        trusted.ask_smoke(candidate)


def _read_smoke(candidate: Candidate, now: datetime.datetime) -> None:
    job = TrustedJob.objects.get(kind=TrustedJob.Kind.SMOKE, subject=trusted.smoke_subject(candidate))
    if job.lease_state == leases.LeaseState.DONE:
        if readings.Smoke.model_validate(job.readings).is_passed:
            _move(candidate, _Status.WAITING, wait_until=None)
        else:
            _decide(candidate, _Status.REJECTED, reasons.SMOKE_FAILED, now)
    elif job.lease_state == leases.LeaseState.DEAD or _is_late(candidate, now):
        _decide(candidate, _Status.INCONCLUSIVE, reasons.SMOKE_NOT_RUN, now)
    else:
        _wait(candidate)


# -- Its turn ---------------------------------------------------------------------------------------------------------
def _take_turn(candidate: Candidate, now: datetime.datetime) -> None:
    """Begin the replays of the first in line, on the tip of this moment."""
    earlier = Candidate.objects.filter(task=candidate.task_id, place__lt=candidate.place)
    if earlier.filter(Q(status__in=Candidate.UNDECIDED) | Q(status=_Status.SEALED, reveal_until__gt=now)).exists():
        _wait(candidate)
        return
    tip = tips.current(candidate.task)
    if candidate.parent_id != tip.pk:
        _rebase(candidate, tip, now)
    elif earlier.filter(tree=candidate.tree_id).exists():
        # What was sent before was rebased into the same tree, and judged.
        _decide(candidate, _Status.REJECTED, reasons.DUPLICATE_TREE, now)
    else:
        _begin(candidate, now, apart_from=())


def _begin(candidate: Candidate, now: datetime.datetime, *, apart_from: tuple[str, ...], **fields: object) -> None:
    """Fix the hardware class and the seeds of a candidate, once: from now on nothing of it can change."""
    spec = Spec.from_json(candidate.task.spec)
    class_text = demand.best_class(candidate=candidate, spec=spec, apart_from=apart_from, now=now)
    if class_text is None:
        _wait_for_hosts(candidate, now, reasons.NO_SECOND_CLASS if apart_from else reasons.NO_HOSTS)
        return
    assert candidate.parent is not None
    indexes = seeding.draw(candidate=candidate, tip=candidate.parent, class_text=class_text, count=spec.max_pairs)
    limit = now + rules.round_limit(spec)
    _move(candidate, _Status.REPLAYING, class_text=class_text, seed_indexes=indexes, test=None, wait_until=limit, **fields)


def _wait_for_hosts(candidate: Candidate, now: datetime.datetime, code: str) -> None:
    if _is_late(candidate, now):
        _decide(candidate, _Status.INCONCLUSIVE, code, now)
    else:
        _wait(candidate, wait_until=candidate.wait_until or now + rules.HOST_WAIT)


def _rebase(candidate: Candidate, tip: Tip, now: datetime.datetime) -> None:
    """Put the candidate's changes on the newest tip: another tree, which is smoke-tested again and keeps its place."""
    assert candidate.parent is not None
    assert candidate.tree is not None
    base, ours = candidate.parent.tree.untrusted_files, tip.tree.untrusted_files
    try:
        merged = merging.merge(base=base, ours=ours, theirs=candidate.tree.untrusted_files)
    except merging.Conflict:
        _decide(candidate, _Status.REJECTED, reasons.REBASE_CONFLICT, now)
        return
    changed = {path: text for path, text in merged.items() if ours.get(path) != text}
    refusals = gate.refusals(Spec.from_json(candidate.task.spec), ours, changed)
    if refusals:
        is_same = not changed
        _decide(candidate, _Status.REJECTED, reasons.NOTHING_NEW if is_same else reasons.REBASE_REFUSED, now)
        return
    tree = trees.keep(merged)
    earlier = Candidate.objects.filter(task=candidate.task_id, place__lt=candidate.place, tree=tree)
    if earlier.exists() or Tip.objects.filter(task=candidate.task_id, tree=tree).exists():
        _decide(candidate, _Status.REJECTED, reasons.DUPLICATE_TREE, now)
        return
    with transaction.atomic():
        _move(candidate, _Status.RECEIVED, parent=tip, tree=tree, rebase_count=candidate.rebase_count + 1, wait_until=None, **_UNJUDGED)
        _cancel_open_runs(candidate, now)


# -- Replays ----------------------------------------------------------------------------------------------------------
# What a candidate that is rebased forgets: another tree is another test.
_UNJUDGED: dict[str, object] = {"class_text": "", "seed_indexes": [], "test": None, "first_class_text": "", "first_test": None}


def _replay(candidate: Candidate, now: datetime.datetime) -> None:
    """Look at the pair that is under way; judge it when both sides are here, and ask for the next one or decide."""
    tip = tips.current(candidate.task)
    if candidate.parent_id != tip.pk:
        # A finding took its parent away.
        _rebase(candidate, tip, now)
        return
    spec = Spec.from_json(candidate.task.spec)
    test = _test(candidate, spec)
    if test.decision != "CONTINUE":
        # It won on its first class, and waits for a second one.
        _confirm(candidate, now)
        return
    seed_index = candidate.seed_indexes[len(test.pairs)]
    of_tip = pairs.baseline_side(candidate=candidate, spec=spec, seed_index=seed_index, now=now)
    own = pairs.candidate_side(candidate=candidate, spec=spec, seed_index=seed_index, now=now)
    failure = of_tip.failure or own.failure
    if failure:
        blamed = failure in (reasons.RUN_FAILED, reasons.EVALUATION_FAILED)
        _decide(candidate, _Status.REJECTED if blamed else _Status.INCONCLUSIVE, failure, now)
    elif of_tip.score is not None and own.score is not None:
        _conclude(candidate, spec, test.after(Pair(tip_score=of_tip.score, candidate_score=own.score)), now)
    elif _is_late(candidate, now):
        _decide(candidate, _Status.INCONCLUSIVE, reasons.TOOK_TOO_LONG, now)
    else:
        _wait(candidate)


def _conclude(candidate: Candidate, spec: Spec, test: Sequential, now: datetime.datetime) -> None:
    """Keep the test after one more pair, and act on what it says."""
    written = test.to_json()
    if test.decision == "CONTINUE":
        _move(candidate, _Status.REPLAYING, test=written, wait_until=now + rules.round_limit(spec))
    elif test.decision == "INCONCLUSIVE":
        _decide(candidate, _Status.INCONCLUSIVE, reasons.PAIRS_SPENT, now, test=written, gain=test.gain)
    elif test.decision == "REJECT" or test.shrunk_gain <= 0:
        code = reasons.NOT_CONFIRMED if candidate.first_test is not None else reasons.NO_GAIN
        _decide(candidate, _Status.REJECTED, code, now, test=written, gain=test.gain)
    elif spec.is_confirmed_on_second_class and candidate.first_test is None:
        _move(candidate, _Status.REPLAYING, test=written, wait_until=now + rules.HOST_WAIT)
    else:
        _accept(candidate, test, now)


def _confirm(candidate: Candidate, now: datetime.datetime) -> None:
    """Begin again on a second class, with seeds of its own; the smaller of the two gains is paid."""
    won = {"first_class_text": candidate.class_text, "first_test": candidate.test}
    _begin(candidate, now, apart_from=(candidate.class_text,), **won)


def _accept(candidate: Candidate, test: Sequential, now: datetime.datetime) -> None:
    """Make the candidate the tip, in the transaction that accepts it."""
    tests = [test] if candidate.first_test is None else [test, Sequential.from_json(candidate.first_test)]
    fields = {"test": test.to_json(), "gain": min(one.gain for one in tests), "shrunk_gain": min(one.shrunk_gain for one in tests)}
    with transaction.atomic():
        task = ResearchTask.objects.select_for_update(no_key=True).get(pk=candidate.task_id)
        if tips.current(task).pk != candidate.parent_id:
            # A finding took its parent away in this moment: the next look rebases it.
            _wait(candidate, delay_s=0)
            return
        _decide(candidate, _Status.ACCEPTED, reasons.GAIN_VERIFIED, now, **fields)
        tips.extend(candidate=candidate)


def _test(candidate: Candidate, spec: Spec) -> Sequential:
    if candidate.test is not None:
        return Sequential.from_json(candidate.test)
    return Sequential(
        min_effect=spec.min_effect,
        unpaired_sd=spec.unpaired_sd,
        paired_sd=spec.paired_sd,
        max_pairs=spec.max_pairs,
        baselines=pairs.cached_scores(candidate),
    )


# -- Moves ------------------------------------------------------------------------------------------------------------
def _wait(candidate: Candidate, *, delay_s: float = rules.LOOK_AGAIN_S, **fields: object) -> None:
    """Leave the candidate as it is, to be looked at again."""
    Candidate.objects.give_back(pk=candidate.pk, token=candidate.token, delay_s=delay_s, attempts=0, **fields)


def _move(candidate: Candidate, status: Candidate.Status, **fields: object) -> None:
    """Move the candidate on and end our lease, in one conditional update; it is looked at again at once.

    Raises:
        leases.StaleLease: the lease ran out and somebody else has the candidate.
    """
    Candidate.objects.give_back(pk=candidate.pk, token=candidate.token, delay_s=0, attempts=0, status=status, **fields)


def _decide(candidate: Candidate, status: Candidate.Status, code: str, now: datetime.datetime, **fields: object) -> None:
    """End the candidate's way, once; runs that nobody needs any more are cancelled, and the next in line has its turn.

    Raises:
        leases.StaleLease: the lease ran out and somebody else has the candidate.
    """
    with transaction.atomic():
        decided = {"status": status, "reason_code": code, "decided_at": now, "wait_until": None, **fields}
        Candidate.objects.finish(pk=candidate.pk, token=candidate.token, lease_holder="", **decided)
        _after_decision(candidate, now)


def _after_decision(candidate: Candidate, now: datetime.datetime) -> None:
    _cancel_open_runs(candidate, now)
    Candidate.objects.filter(task=candidate.task_id, status=_Status.WAITING).update(available_at=Now())
    dispatch.nudge_research()
    dispatch.nudge_research_verdicts()


def _cancel_open_runs(candidate: Candidate, now: datetime.datetime) -> None:
    # Sealed ones are whole: they are judged, and paid as such.
    for run in Run.objects.filter(candidate=candidate, stage=Run.Stage.OPEN).order_by("pk"):
        runs.cancel(run=run, reason_code=reasons.NOT_NEEDED, now=now)


def _give_up(undecided: leases.LeasedQuerySet[Candidate], now: datetime.datetime) -> None:
    """End a candidate that ended our processes again and again: an error of ours must not keep anybody's money waiting."""
    with transaction.atomic():
        given_up = undecided.filter(lease_state=leases.LeaseState.DEAD)
        for candidate in given_up.select_for_update(no_key=True):
            given_up.update(
                status=_Status.INCONCLUSIVE, reason_code=reasons.TOOK_TOO_LONG, decided_at=now, lease_state=leases.LeaseState.DONE
            )
            _after_decision(candidate, now)


def _is_late(candidate: Candidate, now: datetime.datetime) -> bool:
    return candidate.wait_until is not None and candidate.wait_until <= now


_STEPS = {
    _Status.RECEIVED: _ask_smoke,
    _Status.SMOKE: _read_smoke,
    _Status.WAITING: _take_turn,
    _Status.REPLAYING: _replay,
}
