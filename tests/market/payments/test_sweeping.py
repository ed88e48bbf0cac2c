import dataclasses
import datetime
import functools
import uuid

import pytest
from django.core.management import call_command
from django.db import connection

from market.ledger import audit, transfers
from market.payments import jobs, notices, payouts, sweeping
from market.payments.models import Payout, ProviderEvent, TestBankEntry
from tasks import clock
from tasks.leases import LeaseState
from tests import processes, racing
from tests.market import in_turn
from tests.market.books import OUTSIDE
from tests.market.payments.purses import ask, clearing, purse_of, worker_with


@pytest.mark.django_db
def test_command_says_what_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    ask(worker_with(1000))
    call_command("sweep_payments")
    assert capsys.readouterr().out == "0 deposits asked for again, 1 payouts tried, 0 events stored, 0 processed.\n"


@pytest.mark.django_db
def test_jobs_take_what_later_versions_may_send() -> None:
    payout = ask(worker_with(1000))
    jobs.send(unknown_word=1)
    payout.refresh_from_db()
    assert payout.status == "SENT"
    jobs.sweep(unknown_word=1)
    assert (jobs.send.name, jobs.sweep.name) == ("payments.send", "payments.sweep")


@pytest.mark.django_db(transaction=True)
def test_same_request_at_once_is_one_payout() -> None:
    worker, request_id = worker_with(1500), uuid.uuid4()
    outcomes = in_turn.second_waits_for(lambda: ask(worker, request_id=request_id), lambda: ask(worker, request_id=request_id))
    assert [type(outcome) for outcome in outcomes] == [Payout, Payout]
    assert (Payout.objects.count(), purse_of(worker)) == (1, (500, 1000))


@pytest.mark.django_db(transaction=True)
def test_two_requests_for_the_same_money_one_is_refused() -> None:
    worker = worker_with(1000)
    first, second = in_turn.second_waits_for(lambda: ask(worker), lambda: ask(worker))
    assert (type(first), type(second)) == (Payout, payouts.NothingPayable)
    assert (Payout.objects.count(), purse_of(worker)) == (1, (0, 1000))


@pytest.mark.django_db(transaction=True)
def test_eight_sweepers_at_once_send_and_settle_once() -> None:
    workers = [worker_with(1000) for _ in range(6)]
    for worker, destination in zip(
        workers, ["test_ok", "test_twice", "test_returned", "test_failed", "test_refused", "test_ok"], strict=True
    ):
        ask(worker, destination)
    for minute in range(4):
        now = clock.now() + datetime.timedelta(minutes=minute)
        outcomes = racing.together([functools.partial(sweeping.sweep, now=now)] * 8)
        assert all(isinstance(outcome, sweeping.Swept) for outcome in outcomes), outcomes
    assert sorted(Payout.objects.values_list("destination", "status")) == [
        ("test_failed", "FAILED"),
        ("test_ok", "PAID"),
        ("test_ok", "PAID"),
        ("test_refused", "FAILED"),
        ("test_returned", "FAILED"),
        ("test_twice", "PAID"),
    ]
    assert [purse_of(worker) for worker in workers] == [(0, 0), (0, 0), (1000, 0), (1000, 0), (1000, 0), (0, 0)]
    assert (clearing(), TestBankEntry.objects.count()) == (3000, 5)
    assert not ProviderEvent.objects.exclude(error="").exists()


KILLED = """
from market.payments import payouts
from market.payments.models import Payout
from market.payments.providers import registry
from market.common.money import Money
from market.payments import notices
from tasks import clock
[payout] = Payout.objects.hand_out(limit=1, holder="dies", lease_s=60)
if AFTER_THE_CALL:
    registry.named("test_money").pay(key=notices.key_of(payout), money=Money(1000, "USD"), destination=payout.destination, now=clock.now())
tell("dying")
input()
"""


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_after_the_call", [False, True])
def test_payout_whose_sender_was_killed_is_sent_once(is_after_the_call: bool) -> None:
    worker = worker_with(1000)
    payout = ask(worker)
    with processes.python(f"AFTER_THE_CALL = {is_after_the_call}\n{KILLED}") as child:
        processes.wait_for_word(child, "dying")
        child.kill()
        child.wait()
    assert payouts.sweep(now=clock.now()) == 0  # The dead sender's lease still runs.
    let_the_lease_end()
    assert payouts.sweep(now=clock.now()) == 1
    payout.refresh_from_db()
    assert (payout.status, payout.attempts, TestBankEntry.objects.count(), purse_of(worker)) == ("SENT", 2, 1, (0, 1000))


@pytest.mark.django_db
@pytest.mark.broken_books
def test_payout_whose_senders_always_die_is_given_up_and_named_by_the_audit() -> None:
    worker = worker_with(1000)
    payout = ask(worker)
    Payout.objects.filter(pk=payout.pk).update(attempts=payouts.MAX_ATTEMPTS - 1)
    Payout.objects.hand_out(limit=1, holder="dies", lease_s=0)
    assert payouts.sweep(now=clock.now()) == 0
    payout.refresh_from_db()
    assert (payout.lease_state, payout.status, purse_of(worker)) == (LeaseState.DEAD, "REQUESTED", (0, 1000))
    assert audit.audit().breaches == (f"payout was given up: {payout}: after 50 attempts",)


@pytest.mark.django_db
@pytest.mark.broken_books
def test_bad_rows_hold_up_no_others() -> None:
    """A payout of a provider that is gone, and news whose transfer the ledger refuses, each before a good one."""
    gone, bad, good = (ask(worker_with(1000)) for _ in range(3))
    Payout.objects.filter(pk=gone.pk).update(provider="gone")
    later = clock.now() + datetime.timedelta(minutes=2)
    with pytest.raises(ExceptionGroup):
        sweeping.sweep(now=later)
    assert set(Payout.objects.filter(pk__in=(bad.pk, good.pk)).values_list("status", flat=True)) == {"SENT"}
    paid = notices.request_leg(bad)
    transfers.post([dataclasses.replace(paid, id=transfers.effect_id("payout", bad.pk.hex, "paid"), amount_minor=1, source=OUTSIDE)])
    with pytest.raises(ExceptionGroup):
        sweeping.sweep(now=later + datetime.timedelta(minutes=1))
    good.refresh_from_db()
    assert good.status == "PAID"
    assert list(ProviderEvent.objects.filter(processed_at=None).values_list("event_id", flat=True)) == [f"payout-{bad.pk.hex}:payout.paid"]


@pytest.mark.django_db
@pytest.mark.broken_books
def test_rows_that_say_other_than_the_ledger_are_named() -> None:
    worker = worker_with(1000)
    payout = ask(worker)
    Payout.objects.filter(pk=payout.pk).update(amount_minor=999)
    assert [line.partition(": ")[0] for line in audit.audit().breaches] == ["in transit differs"]
    Payout.objects.filter(pk=payout.pk).update(amount_minor=1000, status="SENT")
    Payout.objects.filter(pk=payout.pk).update(status="PAID")
    assert sorted(line.partition(": ")[0] for line in audit.audit().breaches) == ["clearing differs", "in transit differs"]


def let_the_lease_end() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE payments_payout SET lease_until = now() - interval '1 second'")
