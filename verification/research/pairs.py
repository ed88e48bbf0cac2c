"""The two sides of one pair: a run of the candidate and one of the tip, on one seed and class; asked, asked again, and found."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import QuerySet

from tasks import leases
from verification import dispatch
from verification.replay import policy, sequential
from verification.replay.spec import Spec
from verification.research import agreement, demand, reasons, rounds, rules, runs, seeding
from verification.research.models import Candidate, Run

_Stage = Run.Stage


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a pair: its score (bits per byte on the hold-out), why there will be none, or neither yet."""

    score: float | None = None
    failure: str = ""


def candidate_side(*, candidate: Candidate, spec: Spec, seed_index: int, now: datetime.datetime) -> Side:
    """Return the candidate's side of a pair, and ask for what it still needs.

    One run counts alone if its host has a record; else a second owner must come to the same root. Where the tree failed or has no
    score, the trusted pool confirms it: nobody's word alone decides against the claimant.
    """
    asked = Run.objects.filter(kind=Run.Kind.CANDIDATE, candidate=candidate, tree=candidate.tree_id, seed_index=seed_index)
    found = _settle(asked.filter(class_text=candidate.class_text), now)
    trusted = next((run for run in found.valid if run.is_trusted_only), None)
    if trusted is not None:
        return Side(trusted.holdout_score, "" if trusted.holdout_score is not None else reasons.EVALUATION_FAILED)
    if found.pool_failure:
        return Side(failure=found.pool_failure)
    if found.living:
        return Side()
    usable = _usable(found.valid, _owners_needed(found.valid, candidate, spec, now))
    if usable is not None and usable.holdout_score is not None:
        return Side(usable.holdout_score)
    is_for_pool = usable is not None or found.is_for_pool or _disagree(found.valid)
    _ask(
        candidate=candidate,
        spec=spec,
        seed_index=seed_index,
        kind=Run.Kind.CANDIDATE,
        replicas=[found.next_replica],
        is_for_pool=is_for_pool,
    )
    return Side()


def baseline_side(*, candidate: Candidate, spec: Spec, seed_index: int, now: datetime.datetime) -> Side:
    """Return the tip's side of a pair, from the cache or asked: two unrelated owners who agree, or the trusted pool."""
    assert candidate.parent is not None
    agreed = agreement.baseline(tip=candidate.parent, seed_index=seed_index, class_text=candidate.class_text)
    if agreed is not None:
        return Side(agreed.holdout_score, "" if agreed.holdout_score is not None else reasons.TIP_NOT_EVALUATED)
    asked = Run.objects.filter(agreement.of_tip(candidate.parent), seed_index=seed_index, class_text=candidate.class_text)
    found = _settle(asked, now)
    if found.pool_failure:
        return Side(failure=reasons.TIP_NOT_EVALUATED)
    is_for_pool = found.is_for_pool or _disagree(found.valid) or _owners(candidate, spec, now) < 2
    needed = 1 if is_for_pool else 2 - len(found.valid)
    missing = max(0, needed - len(found.living))
    replicas = list(range(found.next_replica, found.next_replica + missing))
    if replicas:
        _ask(candidate=candidate, spec=spec, seed_index=seed_index, kind=Run.Kind.BASELINE, replicas=replicas, is_for_pool=is_for_pool)
    return Side()


def cached_scores(candidate: Candidate) -> tuple[float, ...]:
    """Return the tip's scores in the candidate's class on seeds that are not its own, from runs that owners agreed on."""
    assert candidate.parent is not None
    known = agreement.baselines(tip=candidate.parent, class_text=candidate.class_text)
    others = [known[index].holdout_score for index in sorted(known.keys() - set(candidate.seed_indexes))]
    return tuple(score for score in others if score is not None)[: sequential.MAX_BASELINES]


@dataclass(frozen=True, slots=True)
class _Found:
    valid: list[Run]
    living: list[Run]
    next_replica: int
    # Owners have tried often enough, or several of them could not do it.
    is_for_pool: bool
    # Why the trusted pool could not do it either.
    pool_failure: str


def _settle(asked: QuerySet[Run], now: datetime.datetime) -> _Found:
    """Look at the runs of one side; those that nobody finished are ended, so that they are asked anew."""
    found = list(asked.select_related("host").order_by("replica"))
    dead = [run for run in found if run.stage == _Stage.OPEN and run.lease_state == leases.LeaseState.DEAD]
    for run in dead:
        runs.cancel(run=run, reason_code=reasons.NEVER_FINISHED, now=now)
    unfinished = [run for run in found if run in dead or run.reason_code == reasons.NEVER_FINISHED]
    tried = [run for run in found if run.reason_code != reasons.NOT_NEEDED]
    return _Found(
        valid=[run for run in found if run.stage == _Stage.VALID],
        living=[run for run in found if run.stage not in runs.ENDED and run not in dead and not _is_slow(run, now)],
        next_replica=max((run.replica for run in found), default=-1) + 1,
        is_for_pool=len(tried) >= rules.MAX_REPLICAS or bool(unfinished),
        pool_failure=next((_pool_failure(run) for run in unfinished if run.is_trusted_only), ""),
    )


def _is_slow(run: Run, now: datetime.datetime) -> bool:
    """Tell whether a sealed run could have been revealed long ago; else one owner could hold up every verdict for a day."""
    was_sealed = run.sealed_at is not None and run.sealed_at <= now - rules.REVEAL_PATIENCE
    return was_sealed and run.stage in (_Stage.SEALED, _Stage.REVEALED) and rounds.is_reveal_due(run)


def _pool_failure(run: Run) -> str:
    return reasons.RUN_FAILED if run.reported_failure in reasons.TREE_FAULTS else reasons.TOOK_TOO_LONG


def _usable(valid: Sequence[Run], owners_needed: int) -> Run | None:
    if owners_needed == 1:
        return valid[0] if valid else None
    return next((run for run in valid for other in valid if agreement.agree(run, other)), None)


def _owners_needed(valid: Sequence[Run], candidate: Candidate, spec: Spec, now: datetime.datetime) -> int:
    if not valid or valid[0].host is None or _owners(candidate, spec, now) < 2:
        # Nobody else is there to repeat it; a new host's run was audited.
        return 1
    return policy.replicas(valid[0].host.valid_count)


def _owners(candidate: Candidate, spec: Spec, now: datetime.datetime) -> int:
    return demand.owner_count(candidate=candidate, spec=spec, class_text=candidate.class_text, now=now)


def _disagree(valid: Sequence[Run]) -> bool:
    return len({agreement.root_of(run) for run in valid}) > 1


def _ask(*, candidate: Candidate, spec: Spec, seed_index: int, kind: Run.Kind, replicas: Sequence[int], is_for_pool: bool) -> None:
    """Ask for runs of one side. Twice at once asks once: the replica's number is unique."""
    assert candidate.parent is not None
    tree_id = candidate.tree_id if kind == Run.Kind.CANDIDATE else candidate.parent.tree_id
    assert tree_id is not None
    asked = [
        Run(
            task=candidate.task,
            mode=candidate.task.mode,
            kind=kind,
            candidate=candidate,
            tip=candidate.parent,
            tree_id=tree_id,
            spec=candidate.task.spec,
            replica=replica,
            seed_index=seed_index,
            seed=seeding.seed(task=candidate.task, class_text=candidate.class_text, index=seed_index),
            class_text=candidate.class_text,
            hardware=list(spec.hardware),
            level=spec.sandbox_level,
            is_trusted_only=is_for_pool,
        )
        for replica in replicas
    ]
    Run.objects.bulk_create(asked, ignore_conflicts=True)
    dispatch.ring_replay()
