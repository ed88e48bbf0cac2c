"""What a provider's news do to deposits and payouts: the same end whatever order, and however often, they arrive in."""

import datetime
import uuid

from market.common import account_paths
from market.common.money import Money
from market.ledger import transfers
from market.payments.models import Deposit, Payout
from market.payments.providers import base
from tasks import ids

_Kind = base.NoticeKind


class UnknownKey(Exception):
    """The news is of an effect that we never asked for; nothing moved."""


class Contradiction(Exception):
    """The news can't be true beside what we know: another amount, or paid after failed. Nothing moved; a person must look."""


def key_of(row: Deposit | Payout) -> str:
    """Return the idempotency key that a deposit or payout is asked for with, the same at every try."""
    return f"{'deposit' if isinstance(row, Deposit) else 'payout'}-{row.pk.hex}"


def apply(*, provider_name: str, notice: base.Notice, now: datetime.datetime) -> None:
    """Apply one notice; must run inside a transaction, which a failure leaves to be rolled back.

    Raises:
        UnknownKey: no deposit or payout of this provider has the notice's key.
        Contradiction: another amount, or an end that excludes the one we know.
    """
    if notice.kind in (_Kind.DEPOSIT_CONFIRMED, _Kind.DEPOSIT_FAILED):
        deposit = Deposit.objects.select_for_update(no_key=True).filter(pk=_pk_from(notice.key, "deposit"), provider=provider_name).first()
        _check(deposit, notice)
        assert deposit is not None
        if notice.kind == _Kind.DEPOSIT_CONFIRMED:
            _confirm(deposit, notice.provider_ref, now)
        else:
            fail_deposit(deposit=deposit, reason=notice.reason)
        return
    payout = Payout.objects.select_for_update(no_key=True).filter(pk=_pk_from(notice.key, "payout"), provider=provider_name).first()
    _check(payout, notice)
    assert payout is not None
    # News can overtake the answer to our own call.
    mark_sent(payout=payout, provider_ref=notice.provider_ref, now=now)
    if notice.kind == _Kind.PAYOUT_PAID:
        _pay(payout, now)
    elif notice.kind == _Kind.PAYOUT_FAILED:
        fail_payout(payout=payout, reason=notice.reason, now=now)
    else:
        _take_back(payout, notice.reason, now)


def mark_sent(*, payout: Payout, provider_ref: str, now: datetime.datetime) -> None:
    """Note that the provider has the payout; one that has gone further stays as it is."""
    Payout.objects.filter(pk=payout.pk, status=Payout.Status.REQUESTED).update(
        status=Payout.Status.SENT, sent_at=now, provider_ref=provider_ref
    )
    payout.refresh_from_db()


def fail_deposit(*, deposit: Deposit, reason: str) -> None:
    """Note that a deposit will not come.

    Raises:
        Contradiction: it came.
    """
    moved = Deposit.objects.filter(pk=deposit.pk, status=Deposit.Status.REQUESTED).update(
        status=Deposit.Status.FAILED, failure=reason or "no_reason_given"
    )
    deposit.refresh_from_db()
    if not moved and deposit.status != Deposit.Status.FAILED:
        raise Contradiction(f"Deposit {deposit.pk} failed after it was confirmed.")


def fail_payout(*, payout: Payout, reason: str, now: datetime.datetime) -> None:
    """Give a payout that never arrived back to the worker's payable balance.

    Raises:
        Contradiction: it was paid (a paid one is returned, not failed).
    """
    moved = Payout.objects.filter(pk=payout.pk, status__in=(Payout.Status.REQUESTED, Payout.Status.SENT)).update(
        status=Payout.Status.FAILED, failure=reason or "no_reason_given", ended_at=now
    )
    payout.refresh_from_db()
    failed = _leg(payout, "failed", _in_transit(payout), _payable(payout))
    if moved:
        transfers.post_all([failed])
    elif not transfers.are_recorded([failed]):
        raise Contradiction(f"Payout {payout.pk} failed after it was paid.")


def request_leg(payout: Payout) -> transfers.Entry:
    """Return the transfer that takes a payout out of the payable balance."""
    return _leg(payout, "requested", _payable(payout), _in_transit(payout))


def _confirm(deposit: Deposit, provider_ref: str, now: datetime.datetime) -> None:
    moved = Deposit.objects.filter(pk=deposit.pk, status=Deposit.Status.REQUESTED).update(
        status=Deposit.Status.CONFIRMED, confirmed_at=now, provider_ref=provider_ref
    )
    deposit.refresh_from_db()
    if not moved and deposit.status != Deposit.Status.CONFIRMED:
        raise Contradiction(f"Deposit {deposit.pk} was confirmed after it failed.")
    if moved:
        transfers.post_all([_deposit_leg(deposit)])


def _pay(payout: Payout, now: datetime.datetime) -> None:
    moved = Payout.objects.filter(pk=payout.pk, status=Payout.Status.SENT).update(status=Payout.Status.PAID, ended_at=now)
    paid = _paid_leg(payout)
    if moved:
        transfers.post_all([paid])
    elif not transfers.are_recorded([paid]):
        raise Contradiction(f"Payout {payout.pk} was paid after it failed.")


def _take_back(payout: Payout, reason: str, now: datetime.datetime) -> None:
    returned = _leg(payout, "returned", _clearing(payout), _payable(payout))
    moved = Payout.objects.filter(pk=payout.pk, status__in=(Payout.Status.SENT, Payout.Status.PAID)).update(
        status=Payout.Status.FAILED, failure=reason or "no_reason_given", ended_at=now
    )
    if moved:
        # Where the news of the return overtook the news of the payment, this is both.
        transfers.post_all([_paid_leg(payout), returned])
    elif not transfers.are_recorded([returned]):
        raise Contradiction(f"Payout {payout.pk} was returned after it failed.")


def _check(row: Deposit | Payout | None, notice: base.Notice) -> None:
    if row is None:
        raise UnknownKey(f"{notice.kind}: we asked for nothing with the key {notice.key!r}.")
    if notice.money != Money(row.amount_minor, row.currency):
        raise Contradiction(f"{notice.kind} of {notice.money}, but {row.pk} is {Money(row.amount_minor, row.currency)}.")


def _pk_from(key: str, kind: str) -> uuid.UUID:
    """Return the row's id in a key made by `key_of`."""
    found, _, digits = key.partition("-")
    if found != kind or len(digits) != 32 or not set(digits) <= set("0123456789abcdef"):
        raise UnknownKey(f"{key!r} is no key of a {kind} of ours.")
    return uuid.UUID(hex=digits)


def _deposit_leg(deposit: Deposit) -> transfers.Entry:
    return transfers.Entry(
        transfers.effect_id("deposit", deposit.pk.hex, "confirmed"),
        account_paths.clearing(mode=deposit.mode, provider=deposit.provider, currency=deposit.currency),
        account_paths.agent_available(mode=deposit.mode, agent_id=deposit.agent_id, currency=deposit.currency),
        deposit.amount_minor,
        deposit.currency,
        "deposit_confirmed",
        ids.encode("dep", deposit.pk),
    )


def _paid_leg(payout: Payout) -> transfers.Entry:
    return _leg(payout, "paid", _in_transit(payout), _clearing(payout))


def _leg(payout: Payout, step: str, source: str, destination: str) -> transfers.Entry:
    return transfers.Entry(
        transfers.effect_id("payout", payout.pk.hex, step),
        source,
        destination,
        payout.amount_minor,
        payout.currency,
        f"payout_{step}",
        ids.encode("pay", payout.pk),
    )


def _payable(payout: Payout) -> str:
    return account_paths.worker_payable(mode=payout.mode, worker_id=payout.worker_id, currency=payout.currency)


def _in_transit(payout: Payout) -> str:
    return account_paths.worker_in_transit(mode=payout.mode, worker_id=payout.worker_id, currency=payout.currency)


def _clearing(payout: Payout) -> str:
    return account_paths.clearing(mode=payout.mode, provider=payout.provider, currency=payout.currency)
