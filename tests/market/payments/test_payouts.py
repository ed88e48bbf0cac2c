import datetime
import uuid

import pytest
from django.db import transaction

from market.common.money import Money
from market.payments import payouts, sweeping
from market.payments.models import Payout, ProviderEvent, TestBankEntry
from market.payments.providers import base, registry, test_money
from tasks import clock
from tasks.leases import LeaseState
from tests.market.payments.purses import TEN, ask, clearing, purse_of, worker_with

pytestmark = pytest.mark.django_db

MINUTE = datetime.timedelta(minutes=1)


def pass_over(count: int = 4) -> None:
    """Sweep a few times, a minute apart by the bank's clock; a lost answer is asked for again at once."""
    for minute in range(count):
        Payout.objects.filter(lease_state=LeaseState.READY).update(available_at=clock.now() - MINUTE)
        sweeping.sweep(now=clock.now() + minute * MINUTE)


@pytest.mark.parametrize(
    ("destination", "status", "failure", "payable", "out"),
    [
        ("test_ok", "PAID", "", 500, 1000),
        ("test_slow", "PAID", "", 500, 1000),
        ("test_twice", "PAID", "", 500, 1000),
        ("test_lost_answer", "PAID", "", 500, 1000),
        ("test_refused", "FAILED", "refused_by_bank", 1500, 0),
        ("test_failed", "FAILED", "account_closed", 1500, 0),
        ("test_returned", "FAILED", "returned_by_receiving_bank", 1500, 0),
    ],
)
def test_every_destination_ends_as_it_says(destination: str, status: str, failure: str, payable: int, out: int) -> None:
    worker = worker_with(1500)
    payout = ask(worker, destination)
    assert (purse_of(worker), clearing()) == ((500, 1000), 0)
    pass_over()
    payout.refresh_from_db()
    assert (payout.status, payout.failure, payout.lease_state) == (status, failure, "DONE")
    assert (purse_of(worker), clearing()) == ((payable, 0), out)
    assert TestBankEntry.objects.count() == (0 if destination == "test_refused" else 1)
    pass_over(2)
    assert (purse_of(worker), clearing()) == ((payable, 0), out)


def test_payout_goes_step_by_step() -> None:
    worker = worker_with(1000)
    payout = ask(worker)
    now = clock.now()
    sweeping.sweep(now=now)
    payout.refresh_from_db()
    assert (payout.status, payout.sent_at, payout.ended_at, payout.provider_ref) == ("SENT", now, None, f"bank-payout-{payout.pk.hex}")
    assert (purse_of(worker), clearing()) == ((0, 1000), 0)
    just_before = now + test_money.SETTLES_AFTER - datetime.timedelta(microseconds=1)
    sweeping.sweep(now=just_before)
    payout.refresh_from_db()
    assert payout.status == "SENT"
    sweeping.sweep(now=now + test_money.SETTLES_AFTER)
    payout.refresh_from_db()
    assert (payout.status, payout.ended_at) == ("PAID", now + test_money.SETTLES_AFTER)
    assert (purse_of(worker), clearing()) == ((0, 0), 1000)


def test_returned_payout_was_paid_before() -> None:
    worker = worker_with(1000)
    payout = ask(worker, "test_returned")
    now = clock.now()
    sweeping.sweep(now=now)
    sweeping.sweep(now=now + test_money.SETTLES_AFTER)
    payout.refresh_from_db()
    assert (payout.status, purse_of(worker), clearing()) == ("PAID", (0, 0), 1000)
    sweeping.sweep(now=now + 2 * test_money.SETTLES_AFTER)
    payout.refresh_from_db()
    assert (payout.status, purse_of(worker), clearing()) == ("FAILED", (1000, 0), 0)
    # What came back may be asked for again.
    ask(worker)
    assert purse_of(worker) == (0, 1000)


def test_same_request_is_the_same_payout() -> None:
    worker, request_id = worker_with(1500), uuid.uuid4()
    first = ask(worker, request_id=request_id)
    assert ask(worker, request_id=request_id).pk == first.pk
    pass_over()
    assert ask(worker, request_id=request_id).status == "PAID"
    assert (Payout.objects.count(), purse_of(worker)) == (1, (500, 0))


def test_request_of_a_failed_payout_stays_that_payout() -> None:
    worker, request_id = worker_with(1500), uuid.uuid4()
    ask(worker, "test_refused", request_id=request_id)
    pass_over(1)
    assert ask(worker, "test_refused", request_id=request_id).status == "FAILED"
    assert purse_of(worker) == (1500, 0)


@pytest.mark.parametrize(("destination", "amount"), [("test_ok", Money(999, "USD")), ("test_ok", Money(1000, "EUR")), ("test_slow", TEN)])
def test_request_id_for_something_else_is_refused(destination: str, amount: Money) -> None:
    worker, request_id = worker_with(1500), uuid.uuid4()
    ask(worker, request_id=request_id)
    with pytest.raises(payouts.RequestReused):
        ask(worker, destination, amount, request_id=request_id)
    assert purse_of(worker) == (500, 1000)


def test_strangers_request_id_is_his_own() -> None:
    worker, stranger, request_id = worker_with(1000), worker_with(1000), uuid.uuid4()
    assert ask(worker, request_id=request_id).pk != ask(stranger, request_id=request_id).pk
    assert (purse_of(worker), purse_of(stranger)) == ((0, 1000), (0, 1000))


def test_nothing_is_requested_twice_from_payable() -> None:
    worker = worker_with(1000)
    ask(worker)
    with pytest.raises(payouts.NothingPayable):
        ask(worker, amount=Money(1, "USD"))
    assert (Payout.objects.count(), purse_of(worker)) == (1, (0, 1000))


@pytest.mark.parametrize("amount", [Money(0, "USD"), Money(1001, "USD"), Money(1, "EUR")])
def test_more_than_is_payable_is_refused(amount: Money) -> None:
    worker = worker_with(1000)
    with pytest.raises(payouts.NothingPayable):
        ask(worker, amount=amount)
    assert (Payout.objects.count(), purse_of(worker)) == (0, (1000, 0))


@pytest.mark.parametrize(("country", "code"), [("", "country_unknown"), ("KP", "embargoed"), ("ZZ", "country_unknown")])
def test_country_is_checked_again_at_payout(country: str, code: str) -> None:
    worker = worker_with(1000, country=country)
    with pytest.raises(payouts.PayoutDenied) as denied:
        ask(worker)
    assert denied.value.codes == (code,)
    assert purse_of(worker) == (1000, 0)


@pytest.mark.parametrize("destination", ["", "DE89370400440532013000", "test_ok ", "\x00", "test_ok'--"])
def test_unknown_destination_is_refused(destination: str) -> None:
    worker = worker_with(1000)
    with pytest.raises(base.UnknownCounterpart):
        ask(worker, destination)
    assert purse_of(worker) == (1000, 0)


def test_live_money_is_refused() -> None:
    worker = worker_with(1000)
    with pytest.raises(registry.LiveMoneyUnavailable, match="test key"):
        payouts.request(worker=worker, mode="live", destination="test_ok", amount=TEN, request_id=uuid.uuid4(), now=clock.now())
    assert not Payout.objects.exists()


def test_lost_answer_is_looked_for_before_a_second_try() -> None:
    worker = worker_with(1000)
    payout = ask(worker, "test_lost_answer")
    sweeping.sweep(now=clock.now())
    payout.refresh_from_db()
    # The bank has it; we don't know, and wait before we ask.
    assert (payout.status, payout.lease_state, payout.attempts) == ("REQUESTED", "READY", 1)
    assert payout.available_at > clock.now()
    assert TestBankEntry.objects.count() == 1
    pass_over(1)
    payout.refresh_from_db()
    assert (payout.status, payout.attempts, TestBankEntry.objects.count()) == ("SENT", 2, 1)


def test_news_that_overtakes_the_answer_ends_the_payout() -> None:
    worker = worker_with(1000)
    payout = ask(worker, "test_lost_answer")
    sweeping.sweep(now=clock.now())
    sweeping.sweep(now=clock.now() + MINUTE)
    payout.refresh_from_db()
    assert (payout.status, payout.lease_state, purse_of(worker), clearing()) == ("PAID", "READY", (0, 0), 1000)
    pass_over(1)
    payout.refresh_from_db()
    assert (payout.status, payout.lease_state, purse_of(worker), clearing()) == ("PAID", "DONE", (0, 0), 1000)


def test_sender_who_was_too_slow_changes_nothing() -> None:
    worker = worker_with(1000)
    payout = ask(worker)
    [slow] = Payout.objects.hand_out(limit=1, holder="slow", lease_s=0)
    payouts.sweep(now=clock.now(), holder="next")
    payouts._send(slow, clock.now())
    payout.refresh_from_db()
    assert (payout.status, payout.lease_holder, payout.token, TestBankEntry.objects.count()) == ("SENT", "next", 2, 1)


def test_crash_between_row_and_transfer_leaves_neither() -> None:
    worker = worker_with(1000)

    def crash() -> None:
        with transaction.atomic():
            ask(worker)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        crash()
    assert (Payout.objects.count(), purse_of(worker)) == (0, (1000, 0))


def test_every_event_is_stored_raw_and_once() -> None:
    worker = worker_with(1000)
    payout = ask(worker, "test_twice")
    pass_over()
    key = f"payout-{payout.pk.hex}"
    stored = ProviderEvent.objects.order_by("event_id")
    assert [(event.event_id, event.error) for event in stored] == [(f"{key}:payout.paid", ""), (f"{key}:payout.paid:again", "")]
    assert bytes(stored[0].raw_body).startswith(b'{"id":"payout-')
    assert all(event.processed_at for event in stored)
