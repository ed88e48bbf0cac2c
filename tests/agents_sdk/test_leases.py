"""Machine workers lease, keep and hand in ..."""

import hashlib
from typing import Any

import httpx
import pytest

from agents_sdk import errors, leases
from tests.agents_sdk import replies

RUN = "run_" + "7" * 32
ITEM = {
    "id": RUN,
    "object": "lease_item",
    "token": 3,
    "lease_until": "2030-01-01T00:00:00Z",
    "kind": "vision",
    "params": {"phrases": ["a cup of coffee"]},
    "inputs": [{"sha256": hashlib.sha256(replies.PHOTO).hexdigest(), "url": "https://public.test/v1/lease_files/x", "role": "evidence"}],
}


def client(market: replies.FakeMarket) -> leases.LeaseClient:
    made = leases.LeaseClient(replies.URL, "test_vision_x", http_client=httpx.Client(transport=httpx.MockTransport(market.handle)))
    made._http.sleep = market.slept_s.append
    return made


def test_items_come_typed() -> None:
    market = replies.FakeMarket(replies.ok({"object": "lease", "items": [ITEM], "retry_after_s": 0.0}))
    lease = client(market).lease("vision", 32, holder="host-1", lease_s=90)
    assert lease.items[0].params == {"phrases": ["a cup of coffee"]}
    assert (lease.items[0].token, lease.items[0].inputs[0].role) == (3, "evidence")
    assert replies.sent_json(market.requests[0]) == {"kind": "vision", "limit": 32, "holder": "host-1", "lease_s": 90}


def test_no_work_says_when_to_ask_again() -> None:
    lease = client(replies.FakeMarket(replies.ok({"items": [], "retry_after_s": 2.5}))).lease("vision", 1, holder="x")
    assert (lease.items, lease.retry_after_s) == ((), 2.5)


def test_each_step_is_one_idempotent_post() -> None:
    market = replies.FakeMarket(httpx.ReadError("x"), replies.ok({"id": RUN, "status": "LEASED"}))
    one = client(market)
    one.heartbeat(RUN, 3, lease_s=30)
    one.complete(RUN, 3, {"labels": []}, model_hash="ab" * 32, preprocessing="v1")
    one.fail(RUN, 3, "no memory " * 100)
    assert market.paths == [f"POST /v1/leases/{RUN}/{step}" for step in ("heartbeat", "heartbeat", "complete", "fail")]
    assert len({request.headers["Idempotency-Key"] for request in market.requests}) == 3
    assert replies.sent_json(market.requests[2]) == {
        "token": 3,
        "readings": {"labels": []},
        "model_hash": "ab" * 32,
        "preprocessing": "v1",
    }
    assert len(replies.sent_json(market.requests[3])["reason"]) == 200


@pytest.mark.parametrize("step", ["heartbeat", "complete", "fail"])
def test_a_lease_that_went_to_another_is_named(step: str) -> None:
    one = client(replies.FakeMarket(replies.problem(409, "stale_lease")))
    steps: dict[str, Any] = {
        "heartbeat": lambda: one.heartbeat(RUN, 3),
        "complete": lambda: one.complete(RUN, 3, {}, model_hash="", preprocessing=""),
        "fail": lambda: one.fail(RUN, 3, "x"),
    }
    with pytest.raises(leases.StaleLease):
        steps[step]()


def test_files_are_checked_and_fetched_where_the_market_is_called() -> None:
    market = replies.FakeMarket(lambda _: httpx.Response(200, content=replies.PHOTO))
    item = leases.LeaseItem.model_validate(ITEM)
    assert client(market).fetch(item.inputs[0].url, sha256=item.inputs[0].sha256) == replies.PHOTO
    # The address names the market by its public name; this host knows it by another.
    assert str(market.requests[0].url) == "https://market.test/v1/lease_files/x"
    assert market.requests[0].headers["Authorization"] == "Bearer test_vision_x"


def test_changed_and_oversized_files_are_refused() -> None:
    market = replies.FakeMarket(lambda _: httpx.Response(200, content=replies.PHOTO))
    with pytest.raises(errors.DigestMismatch):
        client(market).fetch("/v1/lease_files/x", sha256="0" * 64)
    with pytest.raises(errors.MalformedResponse, match="larger than 5 bytes"):
        client(market).fetch("/v1/lease_files/x", largest_bytes=5)


def test_an_ended_lease_has_no_files() -> None:
    with pytest.raises(errors.NotFound):
        client(replies.FakeMarket(replies.problem(404, "lease_ended"))).fetch("/v1/lease_files/x")


@pytest.mark.parametrize("change", [{"id": "x"}, {"token": "many"}, {"inputs": [{"sha256": "x", "url": "y"}]}, {"params": None}])
def test_a_malformed_item_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(errors.MalformedResponse):
        client(replies.FakeMarket(replies.ok({"items": [ITEM | change]}))).lease("vision", 1, holder="x")
