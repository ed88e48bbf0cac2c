"""What the audit asks of deposits and payouts: the ledger has moved exactly what they say."""

from django.db.models import Sum

from market.common import account_paths
from market.ledger import audit, balances
from market.payments.models import Deposit, Payout, ProviderEvent
from tasks import leases


@audit.check
def in_transit_matches() -> list[str]:
    """Compare every worker's money in transit with his payouts that have not ended."""
    under_way = Payout.objects.filter(status__in=(Payout.Status.REQUESTED, Payout.Status.SENT))
    rows = under_way.values_list("mode", "worker_id", "currency").annotate(Sum("amount_minor"))
    expected = {
        account_paths.worker_in_transit(mode=mode, worker_id=worker_id, currency=currency): minor
        for mode, worker_id, currency, minor in rows
    }
    found = balances.guarded_like(":worker:", ":in_transit:")
    return [
        f"in transit differs: {path}: payouts say {expected.get(path, 0)}, the ledger {found.get(path, 0)}"
        for path in sorted(expected.keys() | found.keys())
        if expected.get(path, 0) != found.get(path, 0)
    ]


@audit.check
def clearing_matches() -> list[str]:
    """Compare every clearing account with the deposits that came and the payouts that arrived."""
    expected: dict[str, int] = {}
    deposits = Deposit.objects.filter(status=Deposit.Status.CONFIRMED)
    payouts = Payout.objects.filter(status=Payout.Status.PAID)
    for sign, rows in ((-1, deposits), (1, payouts)):
        for mode, provider, currency, minor in rows.values_list("mode", "provider", "currency").annotate(Sum("amount_minor")):
            path = account_paths.clearing(mode=mode, provider=provider, currency=currency)
            expected[path] = expected.get(path, 0) + sign * minor
    found = {**dict.fromkeys(expected, 0), **balances.shared_like(":clearing:")}
    return [
        f"clearing differs: {path}: deposits and payouts say {expected.get(path, 0)}, the ledger {minor}"
        for path, minor in sorted(found.items())
        if minor != expected.get(path, 0)
    ]


@audit.check
def nothing_is_stuck() -> list[str]:
    """Name payouts that were given up while their money waits, and provider events that had no effect."""
    given_up = Payout.objects.filter(lease_state=leases.LeaseState.DEAD, status=Payout.Status.REQUESTED).order_by("pk")
    silent = ProviderEvent.objects.exclude(error="").order_by("pk")
    return [f"payout was given up: {payout}: after {payout.attempts} attempts" for payout in given_up] + [
        f"event had no effect: {event}: {event.error}" for event in silent
    ]
