"""Money out: a worker's payouts, sent from leased rows. What the provider tells of them later is applied in `notices`."""

import contextlib
import datetime
import uuid
from collections.abc import Iterator

import structlog
from django.db import transaction
from django.db.models.functions import Now

from market.common.money import Money
from market.ledger import transfers
from market.payments import doorbell, notices
from market.payments.models import Payout
from market.payments.providers import base, registry
from market.policy import countries
from tasks import batches, leases
from tasks.models import WorkerProfile

# Longer than any call to a provider may take.
LEASE_S = 60
# Only a payout whose sender dies every time gets here; the audit names it, and a person takes it up again (`retry_given_up`).
MAX_ATTEMPTS = 50
# What a payout says that an operator failed because its provider never had it.
GIVEN_UP = "given_up"
_MAX_DELAY_S = 3600

_log = structlog.get_logger(__name__)


class NothingPayable(Exception):
    """The worker has less payable than he asks for, or asks for nothing; nothing moved."""


class PayoutDenied(Exception):
    """Policy doesn't allow a payout to where the worker lives; ``codes`` say why."""

    def __init__(self, worker: WorkerProfile, codes: tuple[str, ...]) -> None:
        super().__init__(f"No payout for worker {worker.pk} in {worker.country or 'no country'}: {', '.join(codes)}. Nothing moved.")
        self.codes = codes


class NotGivenUp(Exception):
    """The payout was not given up: its sender is at work, or it has ended."""


class RequestReused(Exception):
    """The request id was used before for another payout; use a new one."""


def request(*, worker: WorkerProfile, mode: str, destination: str, amount: Money, request_id: uuid.UUID, now: datetime.datetime) -> Payout:
    """Take money out of the worker's payable balance and have it sent; the same request again returns the first payout.

    Raises:
        NothingPayable: less is payable, or the amount is 0.
        PayoutDenied: the country table denies payouts to the worker's country, or he named none.
        RequestReused: the worker used the request id for another amount or destination.
        providers.base.UnknownCounterpart: the provider has no such destination.
        providers.registry.LiveMoneyUnavailable: live mode.
    """
    provider = registry.for_mode(mode)
    pk = transfers.effect_id("payout", worker.pk.hex, mode, request_id.hex)
    earlier = Payout.objects.filter(pk=pk).first()
    if earlier is not None:
        return _same(earlier, amount, destination)
    provider.check_counterpart(destination)
    if not amount.amount_minor:
        raise NothingPayable("A payout is at least one minor unit of its currency.")
    # As it is now: the request's worker was read along with his key, before his body came.
    worker.refresh_from_db(fields=["country"])
    decision = countries.decide(worker.country, "payout")
    if not decision.is_allowed:
        raise PayoutDenied(worker, decision.codes)
    wanted = Payout(
        pk=pk,
        worker=worker,
        mode=mode,
        provider=provider.name,
        destination=destination,
        amount_minor=amount.amount_minor,
        currency=amount.currency,
        created_at=now,
    )
    with transaction.atomic():
        # Of two at once the second waits here and gets the first one's row.
        Payout.objects.bulk_create([wanted], ignore_conflicts=True)
        payout = _same(Payout.objects.get(pk=pk), amount, destination)
        try:
            transfers.post_all([notices.request_leg(payout)])
        except transfers.Overdrawn as refused:
            raise NothingPayable(f"Less than {amount} is payable to worker {worker.pk}.") from refused
        doorbell.ring_after_commit()
    return payout


def send_due(*, holder: str, now: datetime.datetime, limit: int = 20) -> int:
    """Hand requested payouts to their provider; return how many were tried. No transaction is open during the calls.

    Raises:
        ExceptionGroup: what went wrong with single payouts, after all others had their turn; those are tried again.
    """
    return len(batches.for_each(_handed_out(limit, holder), lambda payout: _send(payout, now)))


def sweep(*, now: datetime.datetime, holder: str = "sweeper") -> int:
    """Take back payouts whose sender died and send what is due; return how many were tried."""
    Payout.objects.sweep(max_attempts=MAX_ATTEMPTS)
    return send_due(holder=holder, now=now)


def retry_given_up(*, payout_id: uuid.UUID, holder: str, is_to_fail: bool = False, now: datetime.datetime) -> Payout:
    """Take a payout up again that was given up: the provider is asked for it first, and only if he has none it is sent again.

    With ``is_to_fail`` a payout that the provider does not have is failed instead, and its money is payable again.

    Raises:
        NotGivenUp: it is under way, or it has ended.
        providers.base.OutcomeUnknown: only with ``is_to_fail``: the provider does not say whether he has it; nothing moved, and
            it stays given up.
    """
    with transaction.atomic():
        given_up = Payout.objects.filter(pk=payout_id, status=Payout.Status.REQUESTED, lease_state=leases.LeaseState.DEAD)
        # One attempt is behind it, so that the next one asks the provider first. What is to fail has all but one behind it:
        # if we die in the middle it is given up again, and not sent.
        attempts = MAX_ATTEMPTS - 1 if is_to_fail else 1
        if not given_up.update(lease_state=leases.LeaseState.READY, attempts=attempts, available_at=Now()):
            raise NotGivenUp(f"Payout {payout_id} is under way or has ended: there is nothing to take up again.")
        [payout] = Payout.objects.filter(pk=payout_id).hand_out(limit=1, holder=holder, lease_s=LEASE_S)
    if is_to_fail:
        _fail_unless_found(payout, now)
    else:
        _send(payout, now)
    payout.refresh_from_db()
    return payout


def given_up() -> list[Payout]:
    """Return the payouts that were given up while their money is in transit, oldest first."""
    return list(Payout.objects.filter(status=Payout.Status.REQUESTED, lease_state=leases.LeaseState.DEAD).order_by("created_at", "pk"))


def _handed_out(limit: int, holder: str) -> Iterator[Payout]:
    for _ in range(limit):
        # One at a time: a sender that dies keeps no others waiting for the end of their lease.
        handed = Payout.objects.hand_out(limit=1, holder=holder, lease_s=LEASE_S)
        if not handed:
            return
        yield handed[0]


def _same(payout: Payout, amount: Money, destination: str) -> Payout:
    if (payout.amount_minor, payout.currency, payout.destination) != (amount.amount_minor, amount.currency, destination):
        raise RequestReused(f"This request is payout {payout} of {Money(payout.amount_minor, payout.currency)} to {payout.destination}.")
    return payout


def _send(payout: Payout, now: datetime.datetime) -> None:
    provider = registry.named(payout.provider)
    key, money = notices.key_of(payout), Money(payout.amount_minor, payout.currency)
    try:
        # An earlier attempt may have got through without its answer.
        found = provider.find(key=key) if payout.attempts > 1 else None
        provider_ref = found or provider.pay(key=key, money=money, destination=payout.destination, now=now)
    except base.OutcomeUnknown as unknown:
        _log.warning("payout_outcome_unknown", payout=str(payout), attempts=payout.attempts, error=str(unknown))
        _give_back(payout)
    except base.Refused as refused:
        _finish(payout, provider_ref="", failure=refused.reason, now=now)
    else:
        _finish(payout, provider_ref=provider_ref, failure="", now=now)


def _fail_unless_found(payout: Payout, now: datetime.datetime) -> None:
    try:
        found = registry.named(payout.provider).find(key=notices.key_of(payout))
    except base.OutcomeUnknown:
        # Sent later, it would be what the operator wanted failed. If its lease ran out meanwhile, a sweeper gave it up.
        with contextlib.suppress(leases.StaleLease):
            Payout.objects.give_up(pk=payout.pk, token=payout.token)
        raise
    _finish(payout, provider_ref=found or "", failure="" if found else GIVEN_UP, now=now)


def _finish(payout: Payout, *, provider_ref: str, failure: str, now: datetime.datetime) -> None:
    try:
        with transaction.atomic():
            # First, so that a sender who was too slow changes nothing: the next one has found the same effect.
            Payout.objects.finish(pk=payout.pk, token=payout.token)
            if failure:
                notices.fail_payout(payout=payout, reason=failure, now=now)
            else:
                notices.mark_sent(payout=payout, provider_ref=provider_ref, now=now)
    except leases.StaleLease:
        _log.warning("payout_sent_by_another", payout=str(payout), token=payout.token)


def _give_back(payout: Payout) -> None:
    # 4 s, 16 s, ... to an hour.
    delay_s = min(_MAX_DELAY_S, 4 ** min(payout.attempts, 8))
    try:
        Payout.objects.give_back(pk=payout.pk, token=payout.token, delay_s=delay_s)
    except leases.StaleLease:
        _log.warning("payout_sent_by_another", payout=str(payout), token=payout.token)
