"""Paying: what owners earn by runs, whatever the verdict, and what a forged run takes from their stakes."""

import datetime
import statistics
import uuid
from fractions import Fraction

from django.db.models import Exists, OuterRef, Q, QuerySet

from market.bounties import maturing as deposit_maturing
from market.bounties.research import locks, news, pricing, reserving, rules
from market.bounties.research.models import CaseReserve, Forfeit, ResearchBounty, ResearchSettlement, RunPayment
from market.common import account_paths, money, retrying
from market.escrow import holds, platform, stakes
from tasks import batches, ids
from tasks.models import WorkerProfile
from verification.replay.spec import Spec
from verification.research import reasons
from verification.research.models import Appeal, Host, Run

_Stage = Run.Stage
_Reason = RunPayment.Reason

# A run that an owner worked on when the market ended it: who gave it back, or let his lease end, holds it no more.
_CUT_SHORT = Q(stage=_Stage.CANCELLED, reason_code=reasons.NOT_NEEDED) & ~Q(lease_holder="")
_BEGUN = Q(reported_step__gt=0) | Q(sealed_at__isnull=False)
_UNJUDGED = Q(stage=_Stage.CANCELLED, reason_code=reasons.NOT_EVALUATED, handed_in_at__isnull=False)
_FORGED = Q(stage=_Stage.INVALID, reason_code__in=rules.FORGERIES)
# What the platform's own pool got wrong, its fees pay: neither the poster, nor whoever trained the run anew.
_OVERTURNED = Q(stage=_Stage.INVALID, appeal__status=Appeal.Status.OVERTURNED)
_DESERTED = Q(stage=_Stage.CANCELLED, reason_code__in=rules.DESERTIONS, revealed_at__isnull=False)

# Of an appeal that ended like this, what the finding cost is put back (`appealing`).
UNCONFIRMED = (Appeal.Status.OVERTURNED, Appeal.Status.UNDECIDED)

# What a run takes is known from so many that were valid.
_RUNS_TO_TIME = 20


def unpaid() -> QuerySet[Run]:
    """Return the runs of research bounties that ended and are to be paid. The trusted pool is the platform's own and is not."""
    ended = Run.objects.filter(Q(stage=_Stage.VALID) | _UNJUDGED | (_CUT_SHORT & _BEGUN) | _OVERTURNED)
    theirs = ended.filter(owner__isnull=False, is_trusted_only=False, payment__isnull=True)
    return theirs.exclude(kind=Run.Kind.CALIBRATION).filter(task__bounty__isnull=False)


def unpaid_calibrations() -> QuerySet[Run]:
    """Return each valid calibration of a host that was never paid for one."""
    paid = RunPayment.objects.filter(run__host=OuterRef("host"), reason=_Reason.CALIBRATION)
    first = Run.objects.filter(kind=Run.Kind.CALIBRATION, owner__isnull=False, host__isnull=False)
    valid = first.filter(Q(stage=_Stage.VALID) | _OVERTURNED)
    return valid.filter(is_trusted_only=False).exclude(Exists(paid))


def unforfeited() -> QuerySet[Run]:
    """Return the runs that were forged, or left when they were to be audited, and have cost their owners no stake yet."""
    found = Run.objects.filter(_FORGED | _DESERTED, owner__isnull=False, is_trusted_only=False, forfeit__isnull=True)
    return found.exclude(appeal__status__in=UNCONFIRMED)


def pay_runs_due(*, now: datetime.datetime, limit: int = 200) -> int:
    """Pay every run that ended, the owner's stake first; return how many."""
    due = unpaid().order_by("judged_at", "pk")

    def work(pk: uuid.UUID) -> bool:
        return retrying.in_transaction(lambda: _pay(pk, now))

    return sum(batches.drive(sweep="research runs paid", due=due, work=work, limit=limit, now=now))


def pay_calibrations_due(*, now: datetime.datetime, limit: int = 200) -> int:
    """Pay every host's first valid run from the platform's fees, once a host; return how many."""
    due = unpaid_calibrations().order_by("judged_at", "pk")

    def work(pk: uuid.UUID) -> bool:
        return retrying.in_transaction(lambda: _pay_calibration(pk, now))

    return sum(batches.drive(sweep="calibrations paid", due=due, work=work, limit=limit, now=now))


def forfeit_due(*, now: datetime.datetime, limit: int = 200) -> int:
    """Take the stake of every owner who handed in a forged run, or left one when it was to be audited; return how many."""
    due = unforfeited().order_by("judged_at")

    def work(pk: uuid.UUID) -> bool:
        return retrying.in_transaction(lambda: _forfeit(pk, now))

    return sum(batches.drive(sweep="stakes forfeited", due=due, work=work, limit=limit, now=now))


def profile_of(user_id: uuid.UUID, mode: str) -> WorkerProfile:
    """Return the worker that a user earns as; one who only ever replayed or posted gets his profile now."""
    return WorkerProfile.objects.get_or_create(user_id=user_id, defaults={"mode": mode})[0]


def forfeit_stake(*, run: Run, currency: str, challenger_path: str | None, now: datetime.datetime) -> tuple[int, int]:
    """Take the stake of a run's owner for that run, once; return what was lost and the challenger's part of it.

    Call it in the transaction of whatever found the run out.
    """
    assert run.owner_id is not None, f"{run} was never leased."
    worker = profile_of(run.owner_id, run.mode)
    fees = account_paths.platform_fees(mode=run.mode, currency=currency)
    forfeit, is_new = Forfeit.objects.get_or_create(
        run=run, defaults={"worker": worker, "amount_minor": 0, "currency": currency, "forfeited_at": now}
    )
    if not is_new:
        return 0, 0
    won_minor = 0

    def divide(amount_minor: int) -> list[holds.Part]:
        nonlocal won_minor
        if challenger_path is None:
            return [holds.Part(fees, amount_minor, "stake_forfeited")]
        won_minor = money.times_rounded_down(amount_minor, rules.CHALLENGER_SHARE)
        return [holds.Part(challenger_path, won_minor, "stake_won"), holds.Part(fees, amount_minor - won_minor, "stake_forfeited")]

    lost_minor = stakes.lose(mode=run.mode, worker_id=worker.pk, currency=currency, divide=divide, effect=ids.encode("rpl", run.pk))
    Forfeit.objects.filter(pk=forfeit.pk).update(amount_minor=lost_minor)
    return lost_minor, won_minor


def _pay(run_id: uuid.UUID, now: datetime.datetime) -> bool:
    run = Run.objects.select_related("task").get(pk=run_id)
    assert run.task_id is not None
    assert run.owner_id is not None
    bounty = locks.lock_bounty_of_task(run.task_id)
    if RunPayment.objects.filter(run=run).exists():
        return False
    reserve = CaseReserve.objects.filter(candidate=run.candidate_id, released_at=None).first() if run.candidate_id else None
    amount_minor = _pay_minor(run, bounty)
    is_overturned = run.stage == _Stage.INVALID
    held_minor = min(amount_minor, _spendable_minor(bounty, reserve)) if reserve and not is_overturned else 0
    worker = profile_of(run.owner_id, run.mode)
    staked_minor = stakes.fill(
        mode=bounty.mode,
        worker_id=worker.pk,
        currency=bounty.currency,
        pay_minor=amount_minor,
        full_minor=rules.FULL_STAKE_IN_RUNS * bounty.run_fee_minor,
    )
    payment = RunPayment.objects.create(
        run=run,
        bounty=bounty,
        worker=worker,
        reason=_reason(run),
        amount_minor=amount_minor,
        staked_minor=staked_minor,
        platform_minor=amount_minor - held_minor,
        currency=bounty.currency,
        paid_at=now,
        matures_at=_matures_at(run, bounty, now),
    )
    _move(bounty, reserve, payment, held_minor, now)
    if held_minor:
        news.tell_of_run(bounty, payment, type="run.paid", actor="machine")
    return True


def _move(bounty: ResearchBounty, reserve: CaseReserve | None, payment: RunPayment, held_minor: int, now: datetime.datetime) -> None:
    stake = stakes.path(mode=bounty.mode, worker_id=payment.worker_id, currency=bounty.currency)
    earned = account_paths.worker_earned(mode=bounty.mode, worker_id=payment.worker_id, currency=bounty.currency)
    effect = ids.encode("rpl", payment.run_id)
    # The bounty's money goes into the stake first, and whatever it can't pay is the platform's.
    held_stake = min(payment.staked_minor, held_minor)
    platform_stake = payment.staked_minor - held_stake
    from_bounty = [holds.Part(stake, held_stake, "run_staked"), holds.Part(earned, held_minor - held_stake, "run_paid")]
    from_platform = [
        holds.Part(stake, platform_stake, "run_staked"),
        holds.Part(earned, payment.platform_minor - platform_stake, "run_paid"),
    ]
    if reserve and held_minor:
        reserving.capture(bounty=bounty, reserve=reserve, parts=from_bounty, effect=effect, now=now)
    platform.pay(mode=bounty.mode, currency=bounty.currency, parts=from_platform, effect=effect)


def _pay_calibration(run_id: uuid.UUID, now: datetime.datetime) -> bool:
    run = Run.objects.get(pk=run_id)
    assert run.owner_id is not None
    assert run.host_id is not None
    # Two calibrations of one host meet here.
    Host.objects.select_for_update(no_key=True).get(pk=run.host_id)
    if not unpaid_calibrations().filter(pk=run_id).exists():
        return False
    worker, pay = profile_of(run.owner_id, run.mode), rules.CALIBRATION_PAY
    RunPayment.objects.create(
        run=run,
        worker=worker,
        reason=_Reason.CALIBRATION,
        amount_minor=pay.amount_minor,
        platform_minor=pay.amount_minor,
        currency=pay.currency,
        paid_at=now,
        matures_at=now + rules.CALIBRATION_WINDOW,
    )
    earned = account_paths.worker_earned(mode=run.mode, worker_id=worker.pk, currency=pay.currency)
    part = holds.Part(earned, pay.amount_minor, "calibration_paid")
    platform.pay(mode=run.mode, currency=pay.currency, parts=[part], effect=ids.encode("rpl", run.pk))
    return True


def _forfeit(run_id: uuid.UUID, now: datetime.datetime) -> bool:
    run = Run.objects.get(pk=run_id)
    bounty = ResearchBounty.objects.filter(task_id=run.task_id).first() if run.task_id else None
    if bounty:
        bounty = locks.lock_bounty(bounty.pk)
    currency = bounty.currency if bounty else rules.CALIBRATION_PAY.currency
    # Its appeal may be decided at this moment.
    Run.objects.select_for_update(no_key=True).get(pk=run_id)
    if not unforfeited().filter(pk=run_id).exists():
        return False
    forfeit_stake(run=run, currency=currency, challenger_path=None, now=now)
    return True


def _reason(run: Run) -> RunPayment.Reason:
    if run.stage == _Stage.VALID:
        return _Reason.VALID
    if run.stage == _Stage.INVALID:
        return _Reason.OVERTURNED
    return _Reason.UNJUDGED if run.reason_code == reasons.NOT_EVALUATED else _Reason.PARTIAL


def _pay_minor(run: Run, bounty: ResearchBounty) -> int:
    if _reason(run) != _Reason.PARTIAL:
        return bounty.run_fee_minor
    return max(1, money.times_rounded_down(bounty.run_fee_minor, _part_done(run)))


def _part_done(run: Run) -> Fraction:
    """Return the part of a cancelled run that is paid: the steps its owner reported, and no more than its time allowed.

    The steps are his word alone. The time is ours: what valid runs of this task took, or else the limit of one run.
    """
    spec = Spec.from_json(run.spec)
    steps = Fraction(1) if run.sealed_at else Fraction(min(run.reported_step, spec.steps), spec.steps)
    until = run.sealed_at or run.judged_at
    assert until is not None
    assert run.leased_at is not None
    usual_s = _usual_s(run)
    if usual_s is None and run.sealed_at:
        return steps  # The first runs of a task: there is nothing to compare a finished one with.
    worked_s = max(0.0, (until - run.leased_at).total_seconds())
    return min(steps, Fraction(worked_s) / Fraction(usual_s or spec.wall_s))


def _usual_s(run: Run) -> float | None:
    valid = Run.objects.filter(task=run.task_id, class_text=run.class_text, stage=_Stage.VALID)
    times = valid.order_by("-judged_at").values_list("leased_at", "sealed_at")[:_RUNS_TO_TIME]
    took = [(sealed_at - leased_at).total_seconds() for leased_at, sealed_at in times if leased_at and sealed_at]
    return statistics.median(took) if took and statistics.median(took) > 0 else None


def _spendable_minor(bounty: ResearchBounty, reserve: CaseReserve) -> int:
    """Return what a candidate's reserve may pay for runs: until its verdict is paid, the reward stays untouched."""
    left_minor = reserve.amount_minor - reserve.spent_minor
    if ResearchSettlement.objects.filter(candidate=reserve.candidate_id).exists():
        return left_minor
    return left_minor - pricing.reward_with_fee_minor(bounty.cap_minor, bounty.fee_bps)


def _matures_at(run: Run, bounty: ResearchBounty, now: datetime.datetime) -> datetime.datetime:
    deposits = deposit_maturing.deposits_mature_at(agent_id=bounty.agent_id, settled_at=now)
    settled = ResearchSettlement.objects.filter(candidate=run.candidate_id).first() if run.candidate_id else None
    window = settled.final_at if settled else now + datetime.timedelta(seconds=bounty.challenge_window_s)
    return max(deposits, window)
