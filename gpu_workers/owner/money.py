"""What work pays and costs: ranges with their n, net of electricity, and the sums of earnings. Exact decimals; no I/O."""

import dataclasses
import datetime
import decimal
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from agents_sdk import leases, models
from gpu_workers.owner import limits

_HOUR_S = Decimal(3600)
_WATTS_A_KILOWATT = Decimal(1000)
# Below this a range of own runs says little: it is shown with its n all the same.
CENT = Decimal("0.01")


@dataclass(frozen=True)
class Experience:
    """One run of this machine that ended: what it paid and the seconds it took."""

    pay: Decimal
    currency: str
    seconds: float
    # What was expected of it when it was leased, in pay per hour; None where nothing was known.
    expected_per_hour: Decimal | None = None
    ended_at: float = 0.0

    @property
    def per_hour(self) -> Decimal:
        """Its pay per hour of training."""
        return self.pay * _HOUR_S / Decimal(str(max(self.seconds, 0.001)))


@dataclass(frozen=True)
class Estimate:
    """Expected pay per hour of training: from `low` to `high`, in the middle `p50`, out of `n` runs of `whose`."""

    low: Decimal
    p50: Decimal
    high: Decimal
    currency: str
    n: int
    whose: str

    def less(self, cost_per_hour: Decimal) -> "Estimate":
        """Return the same after an hour's cost."""
        return Estimate(self.low - cost_per_hour, self.p50 - cost_per_hour, self.high - cost_per_hour, self.currency, self.n, self.whose)

    def per_kwh(self, watts: float) -> "Estimate":
        """Return the same per kWh, at so many watts."""
        factor = _WATTS_A_KILOWATT / Decimal(str(watts))
        return Estimate(self.low * factor, self.p50 * factor, self.high * factor, self.currency, self.n, self.whose)


def estimate(demand: leases.Demand | None, own: Sequence[Experience]) -> Estimate | None:
    """Return what an hour of work pays; None where nobody knows.

    Three own runs or more give their 10th to 90th percentile. Else the market's middle values of the class do, from half to twice as
    much: its machines differ, and what it tells is the middle alone.
    """
    if own:
        currency = own[-1].currency
        hours = sorted(run.per_hour for run in own if run.currency == currency)
        if len(hours) >= 3:
            return Estimate(_quantile(hours, 0.1), statistics.median(hours), _quantile(hours, 0.9), currency, len(hours), "this machine")
    if demand is None or demand.pay_p50 is None or demand.seconds_p50 is None or not demand.n:
        return None
    middle = demand.pay_p50.value * _HOUR_S / Decimal(str(demand.seconds_p50))
    return Estimate(middle / 2, middle, middle * 2, demand.pay_p50.currency, demand.n, "machines of this class")


def cost_per_hour(price_per_kwh: limits.Price | None, watts: float) -> limits.Price | None:
    """Return what an hour at so many watts costs; None where no price is known."""
    if price_per_kwh is None:
        return None
    return limits.Price(price_per_kwh.amount * Decimal(str(watts)) / _WATTS_A_KILOWATT, price_per_kwh.currency)


def net(expected: Estimate, price_per_kwh: limits.Price | None, watts: float) -> Estimate | None:
    """Return the pay per hour after electricity; None if the price is in another currency, which can't be compared."""
    cost = cost_per_hour(price_per_kwh, watts)
    if cost is None:
        return expected
    return expected.less(cost.amount) if cost.currency == expected.currency else None


def too_low(owner: limits.Limits, expected: Estimate | None, watts: float) -> limits.Obstacle | None:
    """Return the obstacle of a pay that is below the owner's minimum, or below the price of its electricity."""
    if expected is None or (owner.min_pay_per_hour is None and owner.price_per_kwh is None):
        return None
    left = net(expected, owner.price_per_kwh, watts)
    least = owner.min_pay_per_hour.amount if owner.min_pay_per_hour and owner.min_pay_per_hour.currency == expected.currency else Decimal(0)
    if left is None or left.p50 >= least:
        return None
    what = f"An hour pays about {shown(left.p50)} {left.currency} after electricity (n={left.n}); the least you take is {shown(least)}."
    change = "Lower min_pay_per_hour, correct price_per_kwh, or wait for better paid runs: it looks again every five minutes."
    return limits.Obstacle("price_too_low", what, change, ends_work=False)


def error_of_estimates(own: Iterable[Experience], *, since: float) -> tuple[Decimal, int] | None:
    """Return the median of |expected - real| / real of the pay per hour, and n, over runs that ended after `since`."""
    errors = [
        abs(run.expected_per_hour - run.per_hour) / run.per_hour
        for run in own
        if run.expected_per_hour is not None and run.ended_at >= since and run.per_hour > 0
    ]
    return (statistics.median(errors), len(errors)) if errors else None


@dataclass(frozen=True)
class Sums:
    """Money of all runs in one currency."""

    paid: Decimal = Decimal(0)
    pending: Decimal = Decimal(0)


def sums(runs: Iterable[leases.Replay]) -> dict[str, Sums]:
    """Add up what is paid and what is pending, by currency; what failed pays nothing."""
    found: dict[str, Sums] = {}
    for run in runs:
        if run.pay is None:
            continue
        old = found.get(run.pay.currency, Sums())
        if run.money_status == "PAID":
            found[run.pay.currency] = Sums(old.paid + run.pay.value, old.pending)
        elif run.money_status == "PENDING":
            found[run.pay.currency] = Sums(old.paid, old.pending + run.pay.value)
    return found


@dataclass(frozen=True)
class Window:
    """What the runs brought that were judged within the last `days`, in one currency."""

    days: int
    currency: str
    earned: Decimal = Decimal(0)
    pending: Decimal = Decimal(0)
    lost: Decimal = Decimal(0)


def windows(runs: Iterable[leases.Replay], *, now: datetime.datetime, spans: Sequence[int] = (7, 30)) -> list[Window]:
    """Add up by currency what was earned, is pending and was lost within each of the last so many days (UTC), today among them."""
    found: dict[tuple[str, int], Window] = {}
    for run in runs:
        if run.judged_at is None:
            continue
        age = (now.astimezone(datetime.UTC).date() - run.judged_at.astimezone(datetime.UTC).date()).days
        for name, amount in _moved(run):
            for span in spans:
                old = found.get((amount.currency, span), Window(span, amount.currency))
                grown = {name: getattr(old, name) + amount.value} if age < span else {}
                found[amount.currency, span] = dataclasses.replace(old, **grown)
    return [found[key] for key in sorted(found)]


def _moved(run: leases.Replay) -> Iterator[tuple[str, models.Money]]:
    name = {"PAID": "earned", "PENDING": "pending"}.get(run.money_status)
    if name is not None and run.pay is not None:
        yield name, run.pay
    if run.lost is not None:
        yield "lost", run.lost


def shown(amount: Decimal) -> str:
    """Write an amount with two digits; smaller ones with as many as it takes to see them."""
    if amount and abs(amount) < CENT:
        return f"{amount:.6f}".rstrip("0")
    return str(amount.quantize(CENT, rounding=decimal.ROUND_HALF_EVEN))


def _quantile(ordered: Sequence[Decimal], share: float) -> Decimal:
    return ordered[round(share * (len(ordered) - 1))]
