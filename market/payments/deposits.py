"""Money in: an agent's deposits. What the provider tells of them later is applied in `notices`."""

import contextlib
import datetime
import functools
import uuid

import structlog

from market.accounts.models import Agent
from market.common.money import Money
from market.payments import inbox, notices
from market.payments.models import Deposit
from market.payments.providers import base, registry
from tasks import batches, ids

# Ten billion dollars: far above any real deposit, and a thousand of them still fit a balance.
MAX_DEPOSIT_MINOR = 10**12
# Longer than any call to a provider may take.
_ASK_AGAIN_AFTER = datetime.timedelta(seconds=60)

_log = structlog.get_logger(__name__)


class NotDepositable(Exception):
    """The amount is nothing, or more than one deposit may be."""


class RequestReused(Exception):
    """The request id was used before for another deposit; use a new one."""


def request(
    *, agent: Agent, amount: Money, now: datetime.datetime, source: str = "test_ok", request_id: uuid.UUID | None = None
) -> Deposit:
    """Ask the provider of the agent's mode for money; return the deposit, which in test mode is usually CONFIRMED already.

    ``request_id`` is the caller's own; the same one again returns the first deposit.

    Raises:
        NotDepositable: nothing, or more than `MAX_DEPOSIT_MINOR`.
        RequestReused: the agent used the request id for another amount or source.
        providers.base.UnknownCounterpart: the provider has no such source.
        providers.registry.LiveMoneyUnavailable: live mode.
    """
    provider = registry.for_mode(agent.mode)
    provider.check_counterpart(source)
    if not 0 < amount.amount_minor <= MAX_DEPOSIT_MINOR:
        raise NotDepositable(f"A deposit is from 1 to {MAX_DEPOSIT_MINOR} minor units of its currency, not {amount.amount_minor}.")
    pk = uuid.uuid5(agent.pk, f"deposit {request_id}") if request_id else ids.new_id()
    wanted = Deposit(
        pk=pk,
        agent=agent,
        mode=agent.mode,
        provider=provider.name,
        source=source,
        amount_minor=amount.amount_minor,
        currency=amount.currency,
        created_at=now,
    )
    Deposit.objects.bulk_create([wanted], ignore_conflicts=True)
    deposit = Deposit.objects.get(pk=pk)
    if (deposit.amount_minor, deposit.currency, deposit.source) != (amount.amount_minor, amount.currency, source):
        raise RequestReused(f"Request {request_id} is deposit {deposit} of {deposit.amount_minor} minor units of {deposit.currency}.")
    if deposit.status == Deposit.Status.REQUESTED:
        with contextlib.suppress(base.OutcomeUnknown):
            _collect(deposit, provider, now)
        inbox.fetch(provider=provider, now=now)
        inbox.process_due(now=now)
        deposit.refresh_from_db()
    return deposit


def collect_due(*, now: datetime.datetime, limit: int = 100) -> int:
    """Ask again for deposits to which no answer came, oldest first; return how many were answered.

    One that is not answered again waits longer each time, so that such deposits keep no others from their turn.

    Raises:
        ExceptionGroup: what went wrong with single deposits, after all others had their turn.
    """
    due = Deposit.objects.filter(status=Deposit.Status.REQUESTED, provider_ref="", created_at__lte=now - _ASK_AGAIN_AFTER)
    work = functools.partial(_collect_again, now=now)
    return len(batches.drive(sweep="deposits asked", due=due.order_by("created_at"), work=work, limit=limit, now=now))


def _collect_again(deposit_id: uuid.UUID, *, now: datetime.datetime) -> None:
    deposit = Deposit.objects.get(pk=deposit_id)
    try:
        _collect(deposit, registry.named(deposit.provider), now)
    except base.OutcomeUnknown as unknown:
        raise batches.TryLater from unknown


def _collect(deposit: Deposit, provider: base.Provider, now: datetime.datetime) -> None:
    """Ask for the money and note the answer.

    Raises:
        base.OutcomeUnknown: there was none; the log says so.
    """
    money = Money(deposit.amount_minor, deposit.currency)
    try:
        # The key makes a second call the same effect, so no lease is needed.
        provider_ref = provider.collect(key=notices.key_of(deposit), money=money, source=deposit.source, now=now)
    except base.Refused as refused:
        notices.fail_deposit(deposit=deposit, reason=refused.reason)
    except base.OutcomeUnknown as unknown:
        _log.warning("deposit_outcome_unknown", deposit=str(deposit), error=str(unknown))
        raise
    else:
        Deposit.objects.filter(pk=deposit.pk, status=Deposit.Status.REQUESTED, provider_ref="").update(provider_ref=provider_ref)
