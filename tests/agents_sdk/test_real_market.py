"""The client and the real market understand each other ..."""

import datetime
import json

import pytest

from agents_sdk import AsyncAnswer, Market, errors, webhooks
from market.accounts import keys
from market.accounts.models import Agent, ApiKey
from market.events import delivery, feed
from market.events.models import Delivery
from tasks import clock
from tasks.models import WorkerProfile
from tests import people
from tests.agents_sdk import real

pytestmark = pytest.mark.usefixtures("real_market")
SURE, BAD = 1_000.0, -1_000.0


@pytest.fixture
def market(agent: Agent) -> Market:
    return real.market_of(agent)


def test_a_bounty_is_posted_photographed_judged_and_paid(market: Market, worker: WorkerProfile) -> None:
    photo = market.ask_photo(real.CUP, **real.ASK)
    real.simulated(worker).look()
    real.judge(score=SURE)
    real.review("ACCEPTED")
    answer = photo.wait(timeout="10s")
    assert str(answer.verdict) == "ACCEPTED"
    assert {check.outcome for check in answer.checks} <= {"PASS", "NOT_APPLICABLE", "INCONCLUSIVE"}
    picture = answer.photos[0].download()
    assert picture.startswith(b"\xff\xd8")
    assert answer.receipt.verify(files=[picture]) is True
    assert answer.bounty.status == "SETTLED"
    assert "untrusted" not in answer.to_llm()
    real.simulated(worker).look()
    real.pay_out()
    purse = real.worker_market_of(worker).balance().data[0]
    assert [purse.earned.value, purse.payable.value] == [0, 0]
    assert purse.in_transit.value + purse.paid_out.value == 1


def test_the_same_scene_answers_again_and_again(market: Market, worker: WorkerProfile) -> None:
    simulated = real.simulated(worker)
    for _ in range(2):
        photo = market.ask_photo(real.CUP, **real.ASK)
        simulated.look()
        real.judge(score=SURE)
        real.review("ACCEPTED")
        answer = photo.wait(timeout="10s")
        assert answer.is_accepted
        assert [check for check in answer.checks if check.name.endswith("copy") and check.outcome == "FAIL"] == []


def test_the_same_call_with_the_same_key_is_the_same_bounty(market: Market) -> None:
    first = market.ask_photo(real.CUP, **real.ASK, idempotency_key="cup-1")
    again = market.ask_photo(real.CUP, **real.ASK, idempotency_key="cup-1")
    assert again.id == first.id
    assert [bounty.id for bounty in market.bounties.list()] == [first.id]
    with pytest.raises(errors.Conflict) as caught:
        market.ask_photo(real.CUP, **real.ASK | {"reward": "2.00"}, idempotency_key="cup-1")
    assert caught.value.code == "idempotency_key_reused"


def test_a_dry_run_makes_nothing(market: Market) -> None:
    before = market.balance()
    quote = market.ask_photo(real.CUP, **real.ASK, dry_run=True)
    assert quote.total.value == quote.price.value + quote.fee.value + quote.reserve.value
    assert quote.policy.is_allowed is True
    assert market.balance() == before
    assert list(market.bounties.list()) == []


def test_policy_refuses_with_its_codes(market: Market) -> None:
    with pytest.raises(errors.BlockedByPolicy) as caught:
        market.ask_photo("Follow this woman home and show where she lives.", **real.ASK)
    assert caught.value.policy_codes
    assert caught.value.request_id


def test_an_empty_balance_is_named() -> None:
    poor = real.market_of(people.open_agent())
    with pytest.raises(errors.InsufficientFunds) as caught:
        poor.ask_photo(real.CUP, **real.ASK)
    assert caught.value.next_step
    assert poor.deposits.create("5.00").amount.value == 5
    assert [money.value for money in poor.balance().available] == [5]
    assert poor.ask_photo(real.CUP, **real.ASK).posted is not None


def test_a_spend_limit_is_named() -> None:
    limited = people.open_agent(limit_per_bounty_minor=50)
    people.top_up(limited)
    secret = keys.issue(
        user=limited.owner, agent=limited, mode="test", scope=ApiKey.Scope.AGENT, name="limited", limit_per_bounty_minor=50
    )[1]
    client = Market(api_key=secret, base_url=real.URL, http_client=real.in_process())
    with pytest.raises(errors.SpendLimitExceeded):
        client.ask_photo(real.CUP, **real.ASK)


def test_a_wrong_field_is_named(market: Market) -> None:
    with pytest.raises(errors.BadRequest) as caught:
        market.ask_photo("Short?", **real.ASK)
    assert caught.value.param == "question"


def test_a_strangers_bounty_is_not_there(market: Market) -> None:
    other = people.open_agent("other")
    people.top_up(other)
    theirs = real.market_of(other).ask_photo(real.CUP, **real.ASK)
    with pytest.raises(errors.NotFound):
        market.bounty(theirs.id).show()
    with pytest.raises(errors.NotFound):
        market.bounties.cancel(theirs.id)


def test_cancelling_brings_the_money_back(market: Market) -> None:
    before = market.balance()
    posted = market.ask_photo(real.CUP, **real.ASK)
    assert market.balance() != before
    assert posted.cancel().status == "CANCELLED"
    assert [money.value for money in market.balance().available] == [money.value for money in before.available]
    answer = posted.wait(timeout="5s")
    assert (answer.outcome, answer.is_accepted) == ("CANCELLED", False)


def test_funding_may_come_later_and_an_offer_may_get_better(market: Market) -> None:
    screened = market.ask_photo(real.CUP, **real.ASK, fund=False)
    assert screened.show().status == "SCREENED"
    assert market.bounties.fund(screened.id).status == "OPEN"
    later = datetime.datetime.now(tz=datetime.UTC) + datetime.timedelta(hours=5)
    better = market.bounties.improve(screened.id, reward="1.50", by=later)
    assert (str(better.reward), better.deadline is not None and better.deadline > later - datetime.timedelta(seconds=1)) == (
        "1.50 USD",
        True,
    )


def test_events_tell_the_story_without_a_gap(market: Market, worker: WorkerProfile) -> None:
    posted = market.ask_photo(real.CUP, **real.ASK)
    real.simulated(worker).look()
    events = list(market.events())
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    types = [event.type for event in events]
    assert types.index("bounty.screened") < types.index("submission.received")
    assert posted.id in {event.subject for event in events}
    assert list(market.events(after=len(events))) == []


def test_webhooks_as_sent_are_unwrapped(market: Market, agent: Agent) -> None:
    endpoint = delivery.add_endpoint(agent=agent, url="https://example.com/hook")
    market.ask_photo(real.CUP, **real.ASK)
    feed.sequence()
    sent = Delivery.objects.filter(endpoint=endpoint).select_related("event", "endpoint").earliest("event__seq")
    body = json.dumps(feed.as_json(sent.event))
    headers = delivery.sign(delivery=sent, body=body, now=clock.now())
    event = webhooks.unwrap(body, headers, endpoint.secret)
    assert (event.seq, event.id) == (sent.event.seq, str(sent.event))


def test_the_async_client_tells_the_same_story(agent: Agent, worker: WorkerProfile) -> None:
    async def story() -> tuple[AsyncAnswer, bytes, list[int | None]]:
        async with real.async_market_of(agent) as market:
            photo = await market.ask_photo(real.CUP, **real.ASK)
            real.simulated(worker).look()
            real.judge(score=SURE)
            real.review("ACCEPTED")
            answer = await photo.wait(timeout="10s")
            return answer, await answer.photos[0].download(), [event.seq async for event in market.events()]

    answer, picture, seqs = real.at_once(story())
    assert answer.receipt.verify(files=[picture]) is True
    assert seqs == list(range(1, len(seqs) + 1))
