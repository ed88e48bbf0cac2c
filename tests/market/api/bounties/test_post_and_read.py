"""An agent quotes, posts, funds, improves, cancels and reads its bounties."""

import pytest

from market.bounties.models import Bounty
from market.events.models import Event
from tests.market.api import bodies
from tests.market.api.caller import Caller

pytestmark = pytest.mark.django_db


def usd(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "USD"}


def test_posts_and_funds_at_once(as_agent: Caller) -> None:
    body = as_agent.post("bounties", bodies.bounty(slots=2)).ok(201)
    assert body["object"] == "bounty"
    assert body["id"].startswith("bty_")
    assert (body["status"], body["mode"], body["slots"]) == ("OPEN", "test", 2)
    assert (body["reward"], body["fee"], body["reserve"]) == (usd("10.00"), usd("1.00"), usd("5.00"))
    assert body["held"] == {"funded": usd("27.00"), "captured": usd("0.00"), "returned": usd("0.00"), "held": usd("27.00")}
    assert [criterion["code"] for criterion in body["criteria"]][:3] == ["in_place", "in_time", "sharp"]
    assert body["policy"]["is_allowed"] is True
    assert body["created_at"].endswith("Z")
    assert as_agent.get(f"bounties/{body['id']}").ok() == body
    balance = as_agent.get("balance").ok()
    assert (balance["available"], balance["held"]) == ([usd("973.00")], [usd("27.00")])


def test_quotes_without_a_trace(as_agent: Caller) -> None:
    quote = as_agent.post("bounties?dry_run=true", bodies.bounty(slots=2)).ok()
    assert quote["object"] == "quote"
    assert (quote["price"], quote["fee"], quote["reserve"], quote["total"]) == (usd("20.00"), usd("2.00"), usd("5.00"), usd("27.00"))
    assert quote["policy"]["is_allowed"] is True
    assert quote["expected_time_to_claim_s"] is None
    assert not Bounty.objects.exists()


def test_leaves_unfunded_where_asked(as_agent: Caller) -> None:
    body = as_agent.post("bounties", bodies.bounty(fund=False)).ok(201)
    assert (body["status"], body["funded_at"]) == ("SCREENED", None)
    funded = as_agent.post(f"bounties/{body['id']}/fund").ok()
    assert funded["status"] == "OPEN"
    assert funded["terms_hash"]


def test_says_what_policy_forbids_and_keeps_it_on_record(as_agent: Caller) -> None:
    question = "Log in to my bank account with my password and read me the one-time code from the SMS. Show the code."
    answer = as_agent.post("bounties", bodies.bounty(question=question))
    problem = answer.refused(422, "blocked_by_policy")
    assert problem["policy_codes"]
    assert Bounty.objects.get().status == Bounty.Status.BLOCKED
    assert Event.objects.filter(type="bounty.blocked").exists()
    assert as_agent.get("balance").ok()["held"] == []


def test_undoes_posting_where_money_is_short(as_agent: Caller) -> None:
    body = bodies.bounty(reward=usd("950.00"))
    as_agent.post("bounties", body).refused(402, "insufficient_funds")
    assert not Bounty.objects.exists()
    assert as_agent.get("balance").ok()["available"] == [usd("1000.00")]


def test_improves_and_cancels(as_agent: Caller) -> None:
    bounty = as_agent.post("bounties", bodies.bounty()).ok(201)
    better = as_agent.post(f"bounties/{bounty['id']}/improve", {"reward": usd("12.00")}).ok()
    assert (better["reward"], better["offer_version"]) == (usd("12.00"), 2)
    as_agent.post(f"bounties/{bounty['id']}/improve", {"reward": usd("11.00")}).refused(409, "not_improvable")
    ended = as_agent.post(f"bounties/{bounty['id']}/cancel").ok()
    assert (ended["status"], ended["closed_because"]) == ("CANCELLED", "CANCELLED")
    assert ended["held"]["returned"] == usd("18.20")
    as_agent.post(f"bounties/{bounty['id']}/fund").refused(409, "not_fundable")


def test_lists_newest_first_and_by_status(as_agent: Caller) -> None:
    first = as_agent.post("bounties", bodies.bounty()).ok(201)["id"]
    second = as_agent.post("bounties", bodies.bounty(fund=False)).ok(201)["id"]
    assert [row["id"] for row in as_agent.get("bounties").ok()["data"]] == [second, first]
    assert [row["id"] for row in as_agent.get("bounties", status="OPEN").ok()["data"]] == [first]
    as_agent.get("bounties", status="open").refused(422, "invalid_parameter")


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"question": "short"}, "question"),
        ({"question": 5}, "question"),
        ({"reward": {"amount": 10, "currency": "USD"}}, "reward.amount"),
        ({"reward": {"amount": "1e3", "currency": "USD"}}, "reward"),
        ({"reward": {"amount": "10.001", "currency": "USD"}}, "reward"),
        ({"reward": {"amount": "-10", "currency": "USD"}}, "reward"),
        ({"reward": {"amount": "9223372036854775808", "currency": "USD"}}, "reward"),
        ({"reward": {"amount": "10.00", "currency": "XAU"}}, "reward"),
        ({"reward": {"amount": "10.00"}}, "reward.currency"),
        ({"slots": "2"}, "slots"),
        ({"slots": True}, "slots"),
        ({"slots": 101}, "slots"),
        ({"place": {"latitude": 95, "longitude": 0, "within_m": 50}}, "place.latitude"),
        ({"place": {"latitude": 52, "longitude": 13, "within_m": 50, "country": "DE"}}, "place.country"),
        ({"deadline": "tomorrow", "deadline_in_s": None}, "deadline"),
        ({"deadline": "2030-01-01T00:00:00", "deadline_in_s": None}, "deadline"),
        ({"deadline": "2099-01-01T00:00:00Z", "deadline_in_s": None}, "deadline"),
        ({"deadline": "2030-01-01T00:00:00Z"}, "deadline"),
        ({"deadline_in_s": None}, "deadline"),
        ({"deadline_in_s": 2**62}, "deadline_in_s"),
        ({"max_false_accept": 0.9}, "max_false_accept"),
        ({"status": "SETTLED"}, "status"),
        ({"mode": "live"}, "mode"),
        ({"agent": "agt_0"}, "agent"),
        ({"fee": {"amount": "0.00", "currency": "USD"}}, "fee"),
        ({"version": 1}, "version"),
        ({"negative_fee": {"amount": "11.00", "currency": "USD"}}, "negative_fee"),
        ({"must_show": []}, "must_show"),
        ({"simulate": "explode"}, "simulate"),
        ({"fund": "yes"}, "fund"),
    ],
)
def test_names_the_wrong_field(as_agent: Caller, changes: dict[str, object], param: str) -> None:
    problem = as_agent.post("bounties", bodies.bounty(**changes)).refused(422, "invalid_parameter")
    assert param in [error["param"] for error in problem["errors"]] or problem["param"] == param, problem
    assert not Bounty.objects.exists()
