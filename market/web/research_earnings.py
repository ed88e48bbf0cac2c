"""What a GPU owner's runs earned, are about to earn and failed to earn, run by run; sums are those of the ledger. Changes nothing."""

import collections
import dataclasses
import datetime
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from django.db.models import F, Q, QuerySet, Sum
from django.db.models.functions import TruncDate

from market.bounties.research import queries
from market.bounties.research.models import Challenge, Forfeit, ResearchSettlement, Restitution, RunPayment
from market.common.money import Money
from market.escrow.models import Stake
from market.web import owner_plots, plots, research_replays
from tasks.models import WorkerProfile
from verification.research.models import Appeal, Run

# "ready": paid and free to be paid out; "earned": paid, and waits for its challenge window; "due": under way; "failed": not paid.
State = Literal["ready", "earned", "due", "failed"]
_Stage = Run.Stage
_CHUNK = 500
_UNSTAKED = F("amount_minor") - F("staked_minor")
_APPEALS: dict[str, str] = {
    Appeal.Status.OPEN: " Your appeal is open.",
    Appeal.Status.OVERTURNED: " Overturned by your appeal; its pay is on the way.",
    Appeal.Status.STANDS: " Your appeal did not change that.",
    Appeal.Status.UNDECIDED: " Your appeal could not be decided; what your stake lost is put back.",
}
_UNDER_WAY = {
    _Stage.OPEN: "Training.",
    _Stage.SEALED: "Sealed; the others of its round are not done yet.",
    _Stage.REVEALED: "Its checkpoints are asked for.",
    _Stage.HANDED_IN: "Handed in; it is being judged.",
    _Stage.VALID: "Valid; its pay is on the way.",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Earning:
    """One run: what it pays or paid, the part that went into the stake, what the stake lost by it, and why."""

    run: Run
    state: State
    pay: Money | None
    staked: Money | None
    lost: Money | None
    why: str
    # When its pay is ready at the earliest; it waits for its candidate to be final too.
    matures_at: datetime.datetime | None
    is_early: bool
    # For an hour of training, by the owner's own clock.
    per_hour: Money | None


@dataclasses.dataclass(frozen=True, slots=True)
class Sums:
    """All of an owner's runs in one currency; ``ready`` + ``earned`` + ``staked`` is what was paid for them."""

    ready: Money
    earned: Money
    staked: Money
    lost: Money
    # What backs him now.
    stake: Money
    # For accepted commits and upheld challenges.
    rewards: Money

    @property
    def paid(self) -> Money:
        """All pay for runs."""
        minor = self.ready.amount_minor + self.earned.amount_minor + self.staked.amount_minor
        return Money(minor, self.ready.currency)


@dataclasses.dataclass(frozen=True, slots=True)
class Counts:
    """How many runs ended how."""

    paid: int
    due: int
    failed: int


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """What the runs that were judged in the last days brought: payable or paid out, still to come, and lost."""

    days: int
    earned: Money
    pending: Money
    lost: Money


@dataclasses.dataclass(frozen=True, slots=True)
class Windows:
    """The short and the long window in one currency, and the long one day by day."""

    currency: str
    spans: list[Window]
    plot: plots.Plot


SHORT_DAYS, LONG_DAYS = 7, 30
DAYS_HEADER = ("day", "currency", "earned", "pending", "lost")
HEADER = ("run", "started", "state", "pay", "into_stake", "lost_from_stake", "currency", "ready_at", "pay_per_hour", "reason")


def runs_of(worker: WorkerProfile) -> QuerySet[Run]:
    """Return every run that an owner holds or held to its end, newest first."""
    mine = Run.objects.filter(owner=worker.pk, mode=worker.mode)
    whole = mine.defer("report", "spec").annotate(wall_s=F("report__wall_s"))
    return whole.select_related("payment", "forfeit", "restitution", "appeal").order_by("-id")


def earnings_of(runs: Iterable[Run], *, now: datetime.datetime) -> list[Earning]:
    """Return what each run paid, pays or did not pay, and why."""
    rows = list(runs)
    pay = queries.pay_of_runs(rows)
    return [_earning(run, pay[run.pk], now) for run in rows]


def sums_of(worker: WorkerProfile) -> list[Sums]:
    """Return the sums over all of an owner's runs and accepted commits, one line a currency."""
    sums: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    payments = RunPayment.objects.filter(worker=worker, run__mode=worker.mode)
    # Of pay that was taken back the stake's part stayed where it was, to be lost from there.
    parts = payments.values_list("currency").annotate(
        ready=Sum(_UNSTAKED, filter=Q(matured_at__isnull=False), default=0),
        earned=Sum(_UNSTAKED, filter=Q(matured_at=None, taken_back_at=None), default=0),
        staked=Sum("staked_minor"),
    )
    for currency, ready, earned, staked in parts:
        sums[currency].update(ready=ready, earned=earned, staked=staked)
    forfeits = Forfeit.objects.filter(worker=worker, run__mode=worker.mode)
    for currency, lost in forfeits.values_list("currency").annotate(Sum("amount_minor")):
        sums[currency].update(lost=lost)
    made_good = Restitution.objects.filter(worker=worker, run__mode=worker.mode)
    for currency, restored in made_good.values_list("currency").annotate(Sum("amount_minor")):
        sums[currency].update(lost=-restored)
    for stake in Stake.objects.filter(worker_id=worker.pk, mode=worker.mode):
        sums[stake.currency].update(stake=stake.left_minor)
    settled = ResearchSettlement.objects.filter(worker=worker, bounty__mode=worker.mode, reward_minor__gt=0, taken_back_at=None)
    for currency, reward in settled.values_list("currency").annotate(Sum("reward_minor")):
        sums[currency].update(rewards=reward)
    won = Challenge.objects.filter(challenger=worker.pk, bounty__mode=worker.mode, award_minor__gt=0)
    for currency, award in won.values_list("bounty__currency").annotate(Sum("award_minor")):
        sums[currency].update(rewards=award)
    names = [field.name for field in dataclasses.fields(Sums)]
    return [Sums(**{name: Money(sums[currency][name], currency) for name in names}) for currency in sorted(sums)]


def windows_of(worker: WorkerProfile, *, now: datetime.datetime) -> list[Windows]:
    """Return what the runs judged in the last days brought, one line a currency; days are those of UTC, today is the last one."""
    first = now.astimezone(datetime.UTC).date() - datetime.timedelta(days=LONG_DAYS - 1)
    since = datetime.datetime.combine(first, datetime.time(), tzinfo=datetime.UTC)
    sums: dict[str, dict[datetime.date, collections.Counter[str]]] = {}
    for currency, date, name, minor in _daily(worker, since):
        sums.setdefault(currency, collections.defaultdict(collections.Counter))[date][name] += minor
    dates = [first + datetime.timedelta(days=number) for number in range(LONG_DAYS)]
    return [_windows(currency, [_day(date, sums[currency][date], currency) for date in dates]) for currency in sorted(sums)]


def _daily(worker: WorkerProfile, since: datetime.datetime) -> Iterator[tuple[str, datetime.date, str, int]]:
    day = TruncDate("run__judged_at", tzinfo=datetime.UTC)
    mine = {"worker": worker, "run__mode": worker.mode, "run__judged_at__gte": since}
    payments = RunPayment.objects.filter(**mine).annotate(day=day).values_list("currency", "day")
    parts = payments.annotate(
        earned=Sum("amount_minor", filter=Q(matured_at__isnull=False), default=0),
        pending=Sum("amount_minor", filter=Q(matured_at=None, taken_back_at=None), default=0),
        # What of it was in the stake is lost by a forfeit, or not at all.
        lost=Sum(_UNSTAKED, filter=Q(taken_back_at__isnull=False), default=0),
    )
    for currency, date, *minors in parts:
        yield from ((currency, date, name, minor) for name, minor in zip(("earned", "pending", "lost"), minors, strict=True))
    for currency, date, minor in (
        Forfeit.objects.filter(**mine).annotate(day=day).values_list("currency", "day").annotate(Sum("amount_minor"))
    ):
        yield currency, date, "lost", minor
    for currency, date, minor in (
        Restitution.objects.filter(**mine).annotate(day=day).values_list("currency", "day").annotate(Sum("amount_minor"))
    ):
        yield currency, date, "lost", -minor


def _day(date: datetime.date, found: collections.Counter[str], currency: str) -> owner_plots.Day:
    return owner_plots.Day(date, *(Money(found[name], currency) for name in ("earned", "pending", "lost")))


def _windows(currency: str, found: Sequence[owner_plots.Day]) -> Windows:
    spans = []
    for count in (SHORT_DAYS, LONG_DAYS):
        last = found[-count:]
        amounts = ([getattr(day, name).amount_minor for day in last] for name in ("earned", "pending", "lost"))
        spans.append(Window(count, *(Money(sum(minors), currency) for minors in amounts)))
    return Windows(currency, spans, owner_plots.days(found, key=f"days-{currency.lower()}"))


def counts_of(worker: WorkerProfile) -> Counts:
    """Return how many runs were paid, are under way and failed."""
    mine = Run.objects.filter(owner=worker.pk, mode=worker.mode)
    paid = mine.filter(payment__taken_back_at=None, payment__isnull=False).count()
    under_way = (_Stage.OPEN, _Stage.SEALED, _Stage.REVEALED, _Stage.HANDED_IN, _Stage.VALID)
    due = mine.filter(stage__in=under_way, payment=None).count()
    return Counts(paid=paid, due=due, failed=mine.count() - paid - due)


def rows_of(worker: WorkerProfile, *, now: datetime.datetime) -> Iterator[tuple[object, ...]]:
    """Write every run as a row under `HEADER`, newest first."""
    last: uuid.UUID | None = None
    while True:
        found = list((runs_of(worker).filter(pk__lt=last) if last else runs_of(worker))[:_CHUNK])
        yield from (_row(earning) for earning in earnings_of(found, now=now))
        if len(found) < _CHUNK:
            return
        last = found[-1].pk


def _earning(run: Run, fee: Money, now: datetime.datetime) -> Earning:
    payment: RunPayment | None = getattr(run, "payment", None)
    forfeit: Forfeit | None = getattr(run, "forfeit", None)
    pay, staked, matures_at = fee, None, None
    if payment is not None:
        pay, staked = Money(payment.amount_minor, payment.currency), Money(payment.staked_minor, payment.currency)
        matures_at = payment.matures_at
    state = _state(run, payment)
    return Earning(
        run=run,
        state=state,
        pay=None if state == "failed" else pay,
        staked=staked if staked and staked.amount_minor else None,
        lost=_lost(forfeit, getattr(run, "restitution", None)),
        why=_why(run, payment),
        matures_at=matures_at,
        is_early=matures_at is not None and matures_at > now,
        per_hour=_per_hour(pay, getattr(run, "wall_s", None)) if payment is not None else None,
    )


def _lost(forfeit: Forfeit | None, restitution: Restitution | None) -> Money | None:
    if forfeit is None:
        return None
    left_minor = forfeit.amount_minor - (restitution.amount_minor if restitution else 0)
    return Money(left_minor, forfeit.currency) if left_minor or restitution is None else None


def _state(run: Run, payment: RunPayment | None) -> State:
    if payment is None:
        return "failed" if run.stage in (_Stage.INVALID, _Stage.CANCELLED) else "due"
    if payment.taken_back_at is not None:
        return "failed"
    return "ready" if payment.matured_at else "earned"


def _why(run: Run, payment: RunPayment | None) -> str:
    if payment is not None and payment.taken_back_at is not None:
        return "A later audit found a fault; its pay went back before it was ready."
    if payment is not None:
        return f"{payment.get_reason_display().capitalize()}."
    if run.reason_code and run.stage in (_Stage.INVALID, _Stage.CANCELLED):
        return f"{research_replays.sentence(run.reason_code)}{_APPEALS.get(_appeal_of(run), '')}"
    return _UNDER_WAY.get(_Stage(run.stage), "Not needed any more.")


def _appeal_of(run: Run) -> str:
    appeal: Appeal | None = getattr(run, "appeal", None)
    return appeal.status if appeal else ""


def _per_hour(pay: Money | None, wall_s: object) -> Money | None:
    if pay is None or not isinstance(wall_s, int | float) or wall_s < 1:
        return None
    return Money(round(pay.amount_minor * 3600 / wall_s), pay.currency)


def _row(earning: Earning) -> tuple[object, ...]:
    amounts = (earning.pay, earning.staked, earning.lost)
    currency = next((amount.currency for amount in amounts if amount), "")
    ready_at = earning.matures_at.isoformat(timespec="seconds") if earning.matures_at else ""
    return (
        *(str(earning.run), earning.run.created_at.isoformat(timespec="seconds"), earning.state),
        *(amount.decimal_text() if amount else "" for amount in amounts),
        *(currency, ready_at, earning.per_hour.decimal_text() if earning.per_hour else "", earning.why),
    )
