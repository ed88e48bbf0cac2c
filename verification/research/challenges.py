"""Challenges: every run behind an accepted candidate is trained again by the trusted pool. What was staked is not known here."""

import datetime
import enum
import statistics
from collections.abc import Iterable

from django.db import transaction
from django.db.models import Max

from tasks import leases
from verification import dispatch
from verification.replay.spec import Spec
from verification.research import agreement, reasons, rules, runs
from verification.research.models import Candidate, Finding, Run, Tip

CHECK = "rerun"


class Outcome(enum.StrEnum):
    """What a challenge has come to."""

    OPEN = "OPEN"
    STANDS = "STANDS"
    FALLS = "FALLS"
    UNKNOWN = "UNKNOWN"


def ask(*, candidate: Candidate) -> None:
    """Ask the trusted pool for every run of an accepted candidate and of its tip that it has not trained itself; again asks nothing new."""
    for run in _to_check(candidate):
        if not _trusted_of(run).exists():
            _ask_again(run)
    dispatch.ring_replay()


def conclude(*, candidate: Candidate, since: datetime.datetime, now: datetime.datetime) -> Outcome:
    """Say what the trusted runs show, once all of them have ended; write the findings of a verdict that falls, and withdraw its tip.

    It falls by a run whose weights are not those that the trusted pool came to on the same class, by a commit that the pool can't
    score, or where the gain by the trusted scores is below half the smallest effect, which the test would have refused. Where the
    pool could not train enough to tell, it is UNKNOWN. ``since`` is when the challenge began: an earlier finding is none of it.
    """
    with transaction.atomic():
        # Two that look at once write one finding.
        locked = Candidate.objects.select_for_update(no_key=True).select_related("task").get(pk=candidate.pk)
        against = Finding.objects.filter(candidate=locked, source=Finding.Source.CHALLENGE, is_upheld=False, created_at__gte=since)
        if against.exists():
            return Outcome.FALLS
        checked = _to_check(locked)
        trusted = [_trusted_of(run).first() for run in checked]
        lost = [run for run, again in zip(checked, trusted, strict=True) if again is not None and _is_lost(again)]
        for run in lost:
            _ask_again(run)
        if lost or any(again is None or _is_living(again) for again in trusted):
            return Outcome.OPEN
        pairs = [(run, again) for run, again in zip(checked, trusted, strict=True) if again is not None and again.stage == Run.Stage.VALID]
        forged = [run for run, again in pairs if _class_of(run) == _class_of(again) and agreement.root_of(run) != agreement.root_of(again)]
        is_scored = all(again.holdout_score is not None for run, again in pairs if run.tree_id == locked.tree_id)
        gain = _gain(locked, (again for _, again in pairs))
        if not forged and is_scored and (gain is None or len(pairs) < len(checked)):
            return Outcome.UNKNOWN
        if not forged and is_scored and gain is not None and gain >= Spec.from_json(locked.task.spec).min_effect / 2:
            return Outcome.STANDS
        for run in forged:
            _find(locked, run, reasons.OTHER_ROOT, now)
        if not forged:
            _find(locked, None, reasons.NO_GAIN if is_scored else reasons.EVALUATION_FAILED, now)
        Tip.objects.filter(candidate=locked, withdrawn_at__isnull=True).update(withdrawn_at=now)
        return Outcome.FALLS


def _to_check(candidate: Candidate) -> list[Run]:
    """Return the valid runs of owners that decided: the candidate's own, and the tip's on the same seeds and classes."""
    valid = Run.objects.filter(stage=Run.Stage.VALID, is_trusted_only=False).order_by("pk")
    own = list(valid.filter(kind=Run.Kind.CANDIDATE, candidate=candidate, tree=candidate.tree_id))
    places = {(run.seed_index, run.class_text) for run in own}
    assert candidate.parent is not None
    tips = valid.filter(agreement.of_tip(candidate.parent), seed_index__in={index for index, _ in places})
    return own + [run for run in tips if (run.seed_index, run.class_text) in places]


def _trusted_of(run: Run) -> leases.LeasedQuerySet[Run]:
    same = Run.objects.filter(kind=run.kind, tree=run.tree_id, tip=run.tip_id, seed_index=run.seed_index, class_text=run.class_text)
    return same.filter(is_trusted_only=True).order_by("-replica")


def _ask_again(run: Run) -> None:
    same = Run.objects.filter(kind=run.kind, tip=run.tip_id, tree=run.tree_id, seed_index=run.seed_index, class_text=run.class_text)
    replica: int = same.aggregate(newest=Max("replica"))["newest"] + 1
    again = Run(
        task_id=run.task_id,
        mode=run.mode,
        kind=run.kind,
        candidate_id=run.candidate_id,
        tip_id=run.tip_id,
        tree_id=run.tree_id,
        spec=run.spec,
        replica=max(replica, rules.MAX_REPLICAS),
        seed_index=run.seed_index,
        seed=run.seed,
        class_text=run.class_text,
        hardware=run.hardware,
        level=run.level,
        is_trusted_only=True,
    )
    # Twice at once asks once: the replica's number is unique.
    Run.objects.bulk_create([again], ignore_conflicts=True)


def _is_living(run: Run) -> bool:
    return run.stage not in runs.ENDED and run.lease_state != leases.LeaseState.DEAD


def _is_lost(again: Run) -> bool:
    """Tell whether the pool was killed over a finished training; nobody's stake hangs on that, until it happens again and again."""
    is_left = again.stage == Run.Stage.CANCELLED and again.reason_code in (reasons.VANISHED, reasons.GAVE_UP)
    return is_left and _trusted_of(again).count() < rules.MAX_ATTEMPTS


def _class_of(run: Run) -> str:
    """Return the class that a run was trained on: the trusted pool may have another one of the same hardware."""
    assert run.report is not None
    return str(run.report.get("class_text", run.class_text))


def _gain(candidate: Candidate, trusted: Iterable[Run]) -> float | None:
    """Return the mean difference of trusted scores, tip minus candidate, over the seeds that have both; None if none has."""
    own: dict[tuple[int, str], float] = {}
    of_tip: dict[tuple[int, str], float] = {}
    for run in trusted:
        if run.holdout_score is not None:
            side = own if run.tree_id == candidate.tree_id else of_tip
            side[(run.seed_index, run.class_text)] = run.holdout_score
    differences = [of_tip[place] - own[place] for place in sorted(own.keys() & of_tip.keys())]
    return statistics.fmean(differences) if differences else None


def _find(candidate: Candidate, run: Run | None, reason_code: str, now: datetime.datetime) -> None:
    # A name for each run, so that each is found once.
    name = f"{CHECK}_{run.pk.hex}" if run else CHECK
    Finding.objects.get_or_create(
        candidate=candidate,
        source=Finding.Source.CHALLENGE,
        check_name=name,
        check_version=1,
        defaults={"run": run, "is_upheld": False, "reason_code": reason_code, "created_at": now},
    )
