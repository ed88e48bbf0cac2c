"""When the answer to a POST is lost ..."""

from typing import Any

import httpx
import pytest

from agents_sdk import errors
from tests.agents_sdk import replies

ASK: dict[str, Any] = {"at": (52.52, 13.405), "within_m": 50, "reward": "1.00", "by": "2h"}


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("loss", [httpx.ReadTimeout("x"), httpx.ReadError("x"), httpx.RemoteProtocolError("x"), httpx.WriteError("x")])
def test_it_says_with_which_key_to_ask_again(kind: replies.Kind, loss: httpx.TransportError) -> None:
    market = replies.FakeMarket(loss)
    with pytest.raises(errors.OutcomeUnknown) as caught:
        market.ask(kind, lambda m: m.ask_photo("Show it, please.", **ASK))
    assert caught.value.idempotency_key == market.requests[0].headers["Idempotency-Key"]
    assert caught.value.idempotency_key in caught.value.next_step


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_named_key_brings_the_first_answer(kind: replies.Kind) -> None:
    market = replies.FakeMarket(httpx.ReadError("x"), httpx.ReadError("x"), httpx.ReadError("x"), replies.ok(replies.bounty(), 201))
    with pytest.raises(errors.OutcomeUnknown) as caught:
        market.ask(kind, lambda m: m.ask_photo("Show it, please.", **ASK))
    again = market.ask(kind, lambda m: m.ask_photo("Show it, please.", **ASK, idempotency_key=caught.value.idempotency_key))
    assert again.id == replies.BOUNTY_ID
    assert len({(r.headers["Idempotency-Key"], r.content) for r in market.requests}) == 1


def test_a_connection_that_never_stood_did_nothing() -> None:
    market = replies.FakeMarket(httpx.ConnectError("x"))
    with pytest.raises(errors.APIConnectionError) as caught:
        market.ask("sync", lambda m: m.ask_photo("Show it, please.", **ASK))
    assert not isinstance(caught.value, errors.OutcomeUnknown)


def test_one_lost_answer_among_failed_connections_is_enough_to_doubt() -> None:
    market = replies.FakeMarket(httpx.ReadError("x"), httpx.ConnectError("x"))
    with pytest.raises(errors.OutcomeUnknown):
        market.ask("sync", lambda m: m.ask_photo("Show it, please.", **ASK))


def test_a_gateway_in_front_of_the_market_does_not_know_either() -> None:
    market = replies.FakeMarket(httpx.Response(504, content=b"<html>gateway timeout</html>"))
    with pytest.raises(errors.OutcomeUnknown):
        market.ask("sync", lambda m: m.ask_photo("Show it, please.", **ASK))


def test_the_markets_own_failure_is_known() -> None:
    market = replies.FakeMarket(replies.problem(500, "internal_error", retryable=True))
    with pytest.raises(errors.ServerError) as caught:
        market.ask("sync", lambda m: m.ask_photo("Show it, please.", **ASK))
    assert caught.value.request_id == "req_1"


def test_a_refusal_after_a_lost_answer_is_a_refusal() -> None:
    market = replies.FakeMarket(httpx.ReadError("x"), replies.problem(402, "insufficient_funds"))
    with pytest.raises(errors.InsufficientFunds):
        market.ask("sync", lambda m: m.ask_photo("Show it, please.", **ASK))


def test_a_read_that_timed_out_has_no_outcome_to_doubt() -> None:
    market = replies.FakeMarket(httpx.ReadTimeout("x"))
    with pytest.raises(errors.APITimeoutError):
        market.ask("sync", lambda m: m.balance())
