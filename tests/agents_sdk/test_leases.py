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


REPLAY = "rpl_" + "8" * 32
HOST_ID = "hst_" + "9" * 32
HOST = {
    "id": HOST_ID,
    "object": "host",
    "status": "ACTIVE",
    "valid_count": 3,
    "class_key": "cpu torch=2.13",
    "sandbox_level": "bwrap-cpu",
}
MONEY = {"amount": "0.42", "currency": "USD"}


def listed(number: int, status: str = "PAID") -> dict[str, Any]:
    return {
        "id": f"rpl_{number:032x}",
        "status": "VALID",
        "money_status": status,
        "pay": MONEY,
        "reason": None,
        "untrusted": {"title": "faster\x1b[2J loss"},
    }


def test_a_replay_goes_from_lease_to_end() -> None:
    market = replies.FakeMarket(
        replies.ok({"items": [ITEM | {"id": REPLAY, "kind": "replay"}]}),
        replies.ok({}),
        replies.ok({"status": "SEALED", "is_reveal_due": True, "retry_after_s": 5}),
        replies.ok({"status": "REVEALED", "wanted_checkpoints": [0, 4]}),
        replies.ok({}),
        replies.ok({"status": "DONE"}),
    )
    one = client(market)
    (item,) = one.lease_replays(1, holder="host-1", class_key="cpu", host_id=HOST_ID, idempotency_key="ask-1").items
    one.keep(item.id, item.token, lease_s=120, step=40, steps=200)
    assert one.seal(item.id, item.token, "ab" * 32).is_reveal_due
    assert one.reveal(item.id, item.token, report={"steps": 200}, salt="cd").wanted_checkpoints == (0, 4)
    one.upload(item.id, item.token, 4, b"\x00checkpoint", idempotency_key="up-4")
    one.finish(item.id, item.token)
    steps = ["heartbeat", "seal", "complete", "artefacts?token=3&index=4", "finish"]
    assert market.paths == ["POST /v1/leases", *(f"POST /v1/leases/{REPLAY}/{step}" for step in steps)]
    asked, kept, _, revealed, uploaded, _ = market.requests
    assert replies.sent_json(asked) == {
        "kind": "replay", "limit": 1, "holder": "host-1", "lease_s": 120, "class_key": "cpu", "host_id": HOST_ID,
    }  # fmt: skip
    assert asked.headers["Idempotency-Key"] == "ask-1"
    assert replies.sent_json(kept) == {"token": 3, "lease_s": 120, "progress": {"step": 40, "steps": 200}}
    assert replies.sent_json(revealed) == {"token": 3, "report": {"steps": 200}, "salt": "cd"}
    assert (uploaded.content, uploaded.headers["Content-Type"]) == (b"\x00checkpoint", "application/octet-stream")
    assert uploaded.headers["Idempotency-Key"] == "up-4"


def test_an_upload_sends_the_same_bytes_and_key_again() -> None:
    market = replies.FakeMarket(httpx.ReadError("x"), replies.ok({}))
    client(market).upload(REPLAY, 3, 0, b"weights")
    first, second = market.requests
    assert (first.content, first.headers["Idempotency-Key"]) == (second.content, second.headers["Idempotency-Key"])


def test_a_checkpoint_that_is_too_large_is_not_sent() -> None:
    market = replies.FakeMarket(replies.ok({}))
    with pytest.raises(errors.ConfigurationError, match="64 MiB"):
        client(market).upload(REPLAY, 3, 0, bytes(leases.LARGEST_ARTEFACT_BYTES + 1))
    assert market.requests == []


def test_work_in_part_is_given_back_with_its_steps() -> None:
    market = replies.FakeMarket(replies.ok({}))
    client(market).give_back(REPLAY, 3, "paused " * 100, steps_done=120)
    sent = replies.sent_json(market.requests[0])
    assert (market.paths, sent["steps_done"], len(sent["reason"])) == ([f"POST /v1/leases/{REPLAY}/fail"], 120, 200)


def test_trusted_jobs_are_leased_and_handed_in() -> None:
    job = "job_" + "6" * 32
    market = replies.FakeMarket(replies.ok({"items": [ITEM | {"id": job, "kind": "audit"}]}), replies.ok({}))
    one = client(market)
    (item,) = one.lease_trusted(2, holder="pool-1").items
    one.hand_in(item.id, item.token, {"is_exact": True}, idempotency_key="job-1")
    assert (item.id, item.kind) == (job, "audit")
    assert replies.sent_json(market.requests[0]) == {"kind": "trusted", "limit": 2, "holder": "pool-1", "lease_s": 600}
    assert replies.sent_json(market.requests[1]) == {"token": 3, "readings": {"is_exact": True}}


def test_a_host_registers_and_reads_the_demand_of_its_class() -> None:
    demand = {"open_runs": 7, "pay_p50": MONEY, "seconds_p50": 61.5, "n": 12}
    market = replies.FakeMarket(replies.ok(HOST), replies.ok({"data": [HOST]}), replies.ok(demand))
    one = client(market)
    host = one.register_host("desk", class_key="cpu torch=2.13", sandbox_level="bwrap-cpu", facts={"cores": 4})
    assert [host] == list(one.hosts())
    found = one.demand("cpu torch=2.13")
    assert (found.open_runs, found.pay_p50 and str(found.pay_p50), found.seconds_p50, found.n) == (7, "0.42 USD", 61.5, 12)
    assert dict(market.requests[2].url.params) == {"class_key": "cpu torch=2.13"}


def test_runs_come_page_by_page_with_their_sums_and_without_control_characters() -> None:
    totals = [{"paid": MONEY, "pending": MONEY | {"amount": "0.84"}}]
    market = replies.FakeMarket(
        replies.ok({"data": [listed(3)], "next_cursor": "c2", "totals": totals}),
        replies.ok({"data": [listed(2, "PENDING")], "next_cursor": "", "totals": totals}),
        replies.ok(listed(2)),
    )
    one = client(market)
    pages = list(one.replays())
    assert [(run.id[-1], run.money_status, run.reason) for page in pages for run in page.data] == [("3", "PAID", ""), ("2", "PENDING", "")]
    assert str(pages[0].totals[0].pending) == "0.84 USD"
    assert pages[0].data[0].untrusted.title == "faster[2J loss"
    assert one.replay(f"rpl_{2:032x}").untrusted.title == "faster[2J loss"
    with pytest.raises(errors.ConfigurationError):
        one.replay("../keys")


@pytest.mark.parametrize("answer", [{"status": "SEALED", "retry_after_s": float(10**9)}, {"status": "a sentence of words"}, {}])
def test_a_malformed_answer_to_a_seal_is_refused(answer: dict[str, Any]) -> None:
    with pytest.raises(errors.MalformedResponse):
        client(replies.FakeMarket(replies.ok(answer))).seal(REPLAY, 3, "ab" * 32)


def test_a_report_that_comes_early_is_a_conflict_with_its_code() -> None:
    with pytest.raises(errors.Conflict) as refused:
        client(replies.FakeMarket(replies.problem(409, "reveal_too_early"))).reveal(REPLAY, 3, report={}, salt="cd")
    assert refused.value.code == "reveal_too_early"


def test_replay_answers_that_went_to_another_are_named() -> None:
    one = client(replies.FakeMarket(replies.problem(409, "stale_lease")))
    for step in (
        lambda: one.seal(REPLAY, 3, "ab" * 32),
        lambda: one.reveal(REPLAY, 3, report={}, salt="cd"),
        lambda: one.upload(REPLAY, 3, 0, b""),
        lambda: one.finish(REPLAY, 3),
        lambda: one.keep(REPLAY, 3, lease_s=60, step=1, steps=2),
        lambda: one.give_back(REPLAY, 3, "paused", steps_done=0),
    ):
        with pytest.raises(leases.StaleLease):
            step()
