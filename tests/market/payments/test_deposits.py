import datetime
import uuid

import pytest

from market.accounts.models import Agent, User
from market.common.money import Money
from market.payments import deposits, queries, sweeping
from market.payments.models import Deposit, TestBankEntry
from market.payments.providers import base, registry, test_money
from tasks import clock
from tests.market.payments.purses import clearing

pytestmark = pytest.mark.django_db

HUNDRED = Money(10_000, "USD")


@pytest.fixture
def poor() -> Agent:
    """An agent without money."""
    owner = User.objects.create_user(username="owner")
    return Agent.objects.create(owner=owner, name="poor", mode="test")


def test_test_deposit_is_there_at_once(poor: Agent) -> None:
    now = clock.now()
    deposit = deposits.request(agent=poor, amount=HUNDRED, now=now)
    assert (deposit.status, deposit.confirmed_at, deposit.provider_ref) == ("CONFIRMED", now, f"bank-deposit-{deposit.pk.hex}")
    assert (queries.agent_balance(poor), clearing()) == ({"USD": 10_000}, -10_000)


@pytest.mark.parametrize(
    ("source", "at_once", "later", "failure"),
    [
        ("test_ok", "CONFIRMED", "CONFIRMED", ""),
        ("test_twice", "CONFIRMED", "CONFIRMED", ""),
        ("test_lost_answer", "CONFIRMED", "CONFIRMED", ""),
        ("test_slow", "REQUESTED", "CONFIRMED", ""),
        ("test_returned", "REQUESTED", "CONFIRMED", ""),
        ("test_refused", "FAILED", "FAILED", "refused_by_bank"),
        ("test_failed", "REQUESTED", "FAILED", "account_closed"),
    ],
)
def test_every_source_ends_as_it_says(poor: Agent, source: str, at_once: str, later: str, failure: str) -> None:
    now = clock.now()
    deposit = deposits.request(agent=poor, amount=HUNDRED, now=now, source=source)
    assert deposit.status == at_once
    for _ in range(2):
        sweeping.sweep(now=now + test_money.SETTLES_AFTER)
    deposit.refresh_from_db()
    assert (deposit.status, deposit.failure) == (later, failure)
    assert queries.agent_balance(poor) == ({"USD": 10_000} if later == "CONFIRMED" else {})


def test_slow_deposit_comes_at_its_time_and_not_before(poor: Agent) -> None:
    now = clock.now()
    deposit = deposits.request(agent=poor, amount=HUNDRED, now=now, source="test_slow")
    sweeping.sweep(now=now + test_money.SETTLES_AFTER - datetime.timedelta(microseconds=1))
    assert queries.agent_balance(poor) == {}
    sweeping.sweep(now=now + test_money.SETTLES_AFTER)
    deposit.refresh_from_db()
    assert deposit.status == "CONFIRMED"


def test_same_request_is_the_same_deposit(poor: Agent) -> None:
    request_id = uuid.uuid4()
    first = deposits.request(agent=poor, amount=HUNDRED, now=clock.now(), request_id=request_id)
    assert deposits.request(agent=poor, amount=HUNDRED, now=clock.now(), request_id=request_id).pk == first.pk
    with pytest.raises(deposits.RequestReused):
        deposits.request(agent=poor, amount=Money(9_999, "USD"), now=clock.now(), request_id=request_id)
    assert (queries.agent_balance(poor), Deposit.objects.count()) == ({"USD": 10_000}, 1)


def test_strangers_request_id_is_his_own(poor: Agent) -> None:
    request_id = uuid.uuid4()
    other = Agent.objects.create(owner=poor.owner, name="other", mode="test")
    mine = deposits.request(agent=poor, amount=HUNDRED, now=clock.now(), request_id=request_id)
    assert deposits.request(agent=other, amount=HUNDRED, now=clock.now(), request_id=request_id).pk != mine.pk


def test_without_a_request_id_each_is_another(poor: Agent) -> None:
    deposits.request(agent=poor, amount=HUNDRED, now=clock.now())
    deposits.request(agent=poor, amount=HUNDRED, now=clock.now())
    assert queries.agent_balance(poor) == {"USD": 20_000}


@pytest.mark.parametrize("minor", [0, deposits.MAX_DEPOSIT_MINOR + 1])
def test_amount_out_of_range_is_refused(poor: Agent, minor: int) -> None:
    with pytest.raises(deposits.NotDepositable):
        deposits.request(agent=poor, amount=Money(minor, "USD"), now=clock.now())
    assert not Deposit.objects.exists()


def test_unknown_source_is_refused(poor: Agent) -> None:
    with pytest.raises(base.UnknownCounterpart):
        deposits.request(agent=poor, amount=HUNDRED, now=clock.now(), source="4242 4242 4242 4242")
    assert not Deposit.objects.exists()


def test_live_money_is_refused(poor: Agent) -> None:
    live = Agent.objects.create(owner=poor.owner, name="live", mode="live")
    with pytest.raises(registry.LiveMoneyUnavailable):
        deposits.request(agent=live, amount=HUNDRED, now=clock.now())
    assert not Deposit.objects.exists()


def test_deposit_whose_request_died_before_the_bank_was_asked_is_asked_for_later(poor: Agent) -> None:
    died_at = clock.now() - datetime.timedelta(minutes=5)
    deposit = Deposit.objects.create(
        agent=poor, mode="test", provider="test_money", source="test_ok", amount_minor=700, currency="USD", created_at=died_at
    )
    assert not TestBankEntry.objects.exists()
    sweeping.sweep(now=clock.now())
    deposit.refresh_from_db()
    assert (deposit.status, queries.agent_balance(poor)) == ("CONFIRMED", {"USD": 700})


class _Silent(test_money.Bank):
    """A bank that gives no answer."""

    name = "silent"

    def collect(self, *, key: str, money: Money, source: str, now: datetime.datetime) -> str:
        raise base.OutcomeUnknown("No answer.")


def test_deposits_that_are_never_answered_keep_none_waiting_behind_them(poor: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    providers = {"silent": _Silent(), "test_money": test_money.Bank()}
    monkeypatch.setattr(registry, "named", providers.__getitem__)
    now = clock.now()
    for minutes, provider in ((9, "gone"), (8, "silent"), (7, "test_money")):
        created_at = now - datetime.timedelta(minutes=minutes)
        Deposit.objects.create(
            agent=poor, mode="test", provider=provider, source="test_ok", amount_minor=700, currency="USD", created_at=created_at
        )
    with pytest.raises(ExceptionGroup, match="1 of 2 failed"):
        deposits.collect_due(now=now, limit=2)
    assert deposits.collect_due(now=now, limit=2) == 1
    assert list(Deposit.objects.exclude(provider_ref="").values_list("provider", flat=True)) == ["test_money"]
    # They have rested: the one that is silent is asked again, and says nothing once more.
    with pytest.raises(ExceptionGroup, match="1 of 2 failed"):
        deposits.collect_due(now=now + datetime.timedelta(seconds=2), limit=2)


def test_deposit_in_its_first_minute_is_left_to_its_request(poor: Agent) -> None:
    now = clock.now()
    Deposit.objects.create(
        agent=poor, mode="test", provider="test_money", source="test_ok", amount_minor=700, currency="USD", created_at=now
    )
    assert deposits.collect_due(now=now + datetime.timedelta(seconds=59)) == 0
    assert deposits.collect_due(now=now + datetime.timedelta(seconds=60)) == 1
