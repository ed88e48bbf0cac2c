"""The client tries again ..."""

import datetime
import email.utils
from typing import Any

import httpx
import pytest

from agents_sdk import _core, errors
from tests.agents_sdk import replies

ASK: dict[str, Any] = {"at": (52.52, 13.405), "within_m": 50, "reward": "1.00", "by": "2h"}
BALANCE = {"available": [{"amount": "5.00", "currency": "USD"}], "held": []}
KINDS: list[replies.Kind] = ["sync", "async"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_it_retries_twice_what_may_pass_on(kind: replies.Kind, status: int) -> None:
    market = replies.FakeMarket(replies.problem(status, "x"), replies.problem(status, "x"), replies.ok(BALANCE))
    assert str(market.ask(kind, lambda m: m.balance()).available[0]) == "5.00 USD"
    assert len(market.requests) == 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", [httpx.ConnectError("x"), httpx.ReadTimeout("x"), httpx.RemoteProtocolError("x"), httpx.ReadError("x")])
def test_it_retries_a_lost_connection(kind: replies.Kind, loss: httpx.TransportError) -> None:
    market = replies.FakeMarket(loss, replies.ok(BALANCE))
    market.ask(kind, lambda m: m.balance())
    assert len(market.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 422])
def test_it_does_not_retry_what_stays_wrong(status: int) -> None:
    market = replies.FakeMarket(replies.problem(status, "x"))
    with pytest.raises(errors.APIStatusError):
        market.ask("sync", lambda m: m.balance())
    assert len(market.requests) == 1
    assert market.slept_s == []


def test_it_retries_a_conflict_that_the_market_calls_retryable() -> None:
    market = replies.FakeMarket(replies.problem(409, "idempotency_key_in_use", retryable=True), replies.ok(replies.bounty(), 201))
    assert market.ask("sync", lambda m: m.ask_photo("Show it, please.", **ASK)).id == replies.BOUNTY_ID


@pytest.mark.parametrize("kind", KINDS)
def test_it_keeps_key_and_bytes_over_all_retries_and_changes_them_with_each_call(kind: replies.Kind) -> None:
    market = replies.FakeMarket(httpx.ReadError("x"), replies.problem(503, "x"), replies.ok(replies.bounty(), 201))
    market.ask(kind, lambda m: m.ask_photo("Show it, please.", **ASK))
    market.ask(kind, lambda m: m.ask_photo("Show it, please.", **ASK))
    keys = [request.headers["Idempotency-Key"] for request in market.requests]
    assert keys[0] == keys[1] == keys[2] != keys[3]
    assert len({request.content for request in market.requests[:3]}) == 1


def test_it_sends_the_callers_own_key() -> None:
    market = replies.FakeMarket(replies.ok(replies.bounty(), 201))
    market.ask("sync", lambda m: m.ask_photo("Show it, please.", **ASK, idempotency_key="bakery-1"))
    market.ask("sync", lambda m: m.ask_photo("Show it, please.", **ASK, idempotency_key="bakery-1"))
    first, second = market.requests
    # The whole request is the same, so that the market knows it again after a crash: a relative deadline stays relative.
    assert (first.headers["Idempotency-Key"], first.content) == (second.headers["Idempotency-Key"], second.content)


def test_it_waits_as_long_as_the_market_asks() -> None:
    market = replies.FakeMarket(replies.problem(429, "rate_limited", retry_after=7), replies.ok(BALANCE))
    market.ask("sync", lambda m: m.balance())
    assert market.slept_s == [7.0]


def test_it_reads_a_date_in_retry_after() -> None:
    until = datetime.datetime.now(tz=datetime.UTC) + datetime.timedelta(seconds=30)
    reply = httpx.Response(503, headers={"Retry-After": email.utils.format_datetime(until, usegmt=True)})
    market = replies.FakeMarket(reply, replies.ok(BALANCE))
    market.ask("sync", lambda m: m.balance())
    assert 25 < market.slept_s[0] <= 30


@pytest.mark.parametrize("text", ["", "soon", "-5", "1e9", "٣", "9" * 400])
def test_it_ignores_a_retry_after_that_says_nothing(text: str) -> None:
    market = replies.FakeMarket(httpx.Response(503, headers={b"Retry-After": text.encode()}), replies.ok(BALANCE))
    market.ask("sync", lambda m: m.balance())
    assert market.slept_s[0] <= 0.5


def test_it_hands_a_long_retry_after_to_the_caller() -> None:
    market = replies.FakeMarket(replies.problem(429, "rate_limited", retry_after=3600))
    with pytest.raises(errors.RateLimited) as caught:
        market.ask("sync", lambda m: m.balance())
    assert caught.value.retry_after_s == 3600
    assert len(market.requests) == 1


def test_it_doubles_the_longest_delay_from_half_a_second_to_eight() -> None:
    longest = [_core.backoff_s(attempt, uniform=lambda _, most: most) for attempt in range(8)]
    assert longest == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 8.0]
    assert _core.backoff_s(3, uniform=lambda least, _: least) == 0


def test_it_retries_as_often_as_its_options_say() -> None:
    market = replies.FakeMarket(replies.problem(503, "x"))
    with pytest.raises(errors.ServerError):
        market.ask("sync", lambda m: m.with_options(max_retries=5, timeout_s=3).balance())
    assert len(market.requests) == 6
    assert market.requests[0].extensions["timeout"]["read"] == 3
