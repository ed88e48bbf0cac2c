"""Deposits and payouts over HTTP: asked for once, shown with their status, never across modes or owners."""

import pytest

from market.accounts.models import Agent
from market.bounties import maturing
from market.payments.models import Deposit, Payout
from market.payments.sweeping import sweep
from tasks import clock
from tasks.models import WorkerProfile
from tests import people, stories
from tests.market.api.caller import Caller, calling_as

pytestmark = pytest.mark.django_db


def usd(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "USD"}


def test_deposits_test_money() -> None:
    agent = people.open_agent()
    caller = calling_as(agent)
    deposit = caller.post("deposits", {"amount": usd("25.00")}).ok(201)
    assert (deposit["object"], deposit["status"], deposit["amount"]) == ("deposit", "CONFIRMED", usd("25.00"))
    assert caller.get("balance").ok()["available"] == [usd("25.00")]
    assert caller.get("deposits").ok()["data"] == [deposit]


def test_repeats_no_deposit() -> None:
    caller = calling_as(people.open_agent())
    first = caller.post("deposits", {"amount": usd("25.00")}, key="again")
    second = caller.post("deposits", {"amount": usd("25.00")}, key="again")
    assert (second.body, second.is_replay) == (first.body, True)
    caller.post("deposits", {"amount": usd("26.00")}, key="again").refused(409, "idempotency_key_reused")
    assert Deposit.objects.count() == 1


def test_refuses_odd_deposits() -> None:
    caller = calling_as(people.open_agent())
    caller.post("deposits", {"amount": usd("0.00")}).refused(422, "invalid_parameter")
    caller.post("deposits", {"amount": usd("90071992547409.92")}).refused(422, "invalid_parameter")
    caller.post("deposits", {"amount": usd("1.00"), "source": "moon"}).refused(422, "unknown_counterpart")
    assert not Deposit.objects.exists()


def test_has_no_live_money_yet() -> None:
    live = people.open_agent("live", mode="live")
    calling_as(live).post("deposits", {"amount": usd("1.00")}).refused(501, "live_money_unavailable")


def test_pays_out_what_is_payable(agent: Agent, worker: WorkerProfile, as_worker: Caller) -> None:
    stories.accepted(stories.post_photo_bounty(agent), worker)
    as_worker.post("payouts", {"amount": usd("10.00"), "destination": "test_ok"}).refused(409, "nothing_payable")
    maturing.mature_due(now=clock.now())
    payout = as_worker.post("payouts", {"amount": usd("10.00"), "destination": "test_ok"}).ok(201)
    assert (payout["status"], payout["amount"]) == ("REQUESTED", usd("10.00"))
    for _ in range(3):
        sweep(now=clock.now())
    (shown,) = as_worker.get("payouts").ok()["data"]
    assert shown["status"] in ("SENT", "PAID")
    assert Payout.objects.count() == 1
