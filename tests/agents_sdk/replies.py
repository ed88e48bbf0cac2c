"""A market in one function: what it answers, what was asked of it, and how long the client slept in between."""

import asyncio
import base64
import hashlib
import inspect
import json
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import httpx
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents_sdk import AsyncMarket, Market

URL = "https://market.test"
KEY = "test_agent_0123456789"
Reply = httpx.Response | httpx.TransportError | Callable[[httpx.Request], httpx.Response]
Kind = Literal["sync", "async"]

BOUNTY_ID = "bty_" + "1" * 32
SUBMISSION_ID = "sub_" + "2" * 32
TERMS_HASH = "ab" * 32
PHOTO = b"\xff\xd8 a photograph"


class FakeMarket:
    """Answers requests with the given replies in order, the last one for ever, and keeps what it saw."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.requests: list[httpx.Request] = []
        self.slept_s: list[float] = []

    def handle(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, httpx.TransportError):
            raise reply
        return reply(request) if callable(reply) else httpx.Response(reply.status_code, headers=reply.headers, content=reply.content)

    def ask(self, kind: Kind, do: Callable[[Any], Any], **options: Any) -> Any:
        """Run ``do`` with a client of either kind and return what comes back; lists are collected."""
        if kind == "sync":
            return self._sync(do, options)
        # In a thread of its own: a browser's loop may run in this one.
        with ThreadPoolExecutor(1) as alone:
            return alone.submit(asyncio.run, self._async(do, options)).result()

    def _sync(self, do: Callable[[Any], Any], options: dict[str, Any]) -> Any:
        client = httpx.Client(transport=httpx.MockTransport(self.handle))
        market = Market(api_key=KEY, base_url=URL, http_client=client, **options)
        market._http.sleep = self.slept_s.append
        result = do(market)
        return list(result) if inspect.isgenerator(result) else result

    async def _async(self, do: Callable[[Any], Any], options: dict[str, Any]) -> Any:
        async def handle(request: httpx.Request) -> httpx.Response:
            return self.handle(request)

        async def sleep(seconds: float) -> None:
            self.slept_s.append(seconds)

        async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
            market = AsyncMarket(api_key=KEY, base_url=URL, http_client=client, **options)
            market._http.sleep = sleep
            result = do(market)
            if inspect.isasyncgen(result):
                return [item async for item in result]
            return await result if isinstance(result, Awaitable) else result

    @property
    def paths(self) -> list[str]:
        return [f"{request.method} {request.url.raw_path.decode()}" for request in self.requests]


def ok(body: object, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=body)


def problem(status: int, code: str, *, retryable: bool = False, **more: Any) -> httpx.Response:
    headers = {"Retry-After": str(more.pop("retry_after"))} if "retry_after" in more else {}
    body = {"code": code, "detail": "It says why.", "next_step": "Do this.", "retryable": retryable, "request_id": "req_1", **more}
    return httpx.Response(status, json=body, headers=headers)


def page(*data: object, next_cursor: str = "") -> dict[str, Any]:
    return {"object": "list", "data": list(data), "has_more": bool(next_cursor), "next_cursor": next_cursor}


def bounty(status: str = "OPEN", *, submissions: Sequence[dict[str, Any]] = (), **more: Any) -> dict[str, Any]:
    summaries = [{"id": s["id"], "status": s["status"], "kind": s["kind"], "verdict": s["verdict"]} for s in submissions]
    return {
        "id": BOUNTY_ID,
        "object": "bounty",
        "mode": "test",
        "status": status,
        "closed_because": "",
        "kind": "photo",
        "title": "Coffee",
        "question": "Is coffee served? Show a cup of coffee on a table.",
        "criteria": [{"code": "in_place", "text": "Taken within 50 m of the place."}],
        "place": {"latitude": 52.52, "longitude": 13.405, "within_m": 50},
        "reward": {"amount": "1.00", "currency": "USD"},
        "slots": 1,
        "deadline": "2030-01-01T12:00:00Z",
        "terms_hash": TERMS_HASH,
        "submissions": summaries,
        "url": f"{URL}/bounties/1",
        **more,
    }


def submission(status: str = "ACCEPTED", **more: Any) -> dict[str, Any]:
    outcome = status if status in ("ACCEPTED", "REJECTED", "INCONCLUSIVE") else None
    verdict = {"outcome": outcome, "decided_by": "MACHINE", "criteria": [{"criterion": "in_place", "outcome": "PASS", "reason_code": ""}]}
    return {
        "id": SUBMISSION_ID,
        "object": "submission",
        "bounty": BOUNTY_ID,
        "status": status,
        "number": 1,
        "kind": "EVIDENCE",
        "negative_reason": "",
        "verdict": verdict if outcome else None,
        "checks": [{"name": "geofence", "version": 1, "criterion": "in_place", "outcome": "PASS", "reason_code": ""}],
        "evidence": [
            {
                "id": "evd_" + "3" * 32,
                "sha256": "cd" * 32,
                "display_sha256": sha256(PHOTO),
                "width_px": 900,
                "height_px": 600,
                "url": "/v1/media/abc",
                "preview": False,
            }
        ],
        "place": {"latitude": 52.52, "longitude": 13.405, "accuracy_m": 8.0},
        "times": {"claimed_at": None, "captured_at": None, "received_at": "2029-12-31T00:00:00Z", "decided_at": None},
        "receipt": None,
        "untrusted": {"note": "", "statement": ""},
        "is_retake_offered": False,
        "appeal": None,
        **more,
    }


def event(seq: int) -> dict[str, Any]:
    return {
        "id": f"evt_{seq:032x}",
        "object": "event",
        "seq": seq,
        "type": "bounty.opened",
        "subject": BOUNTY_ID,
        "actor": "agent",
        "timestamp": "2029-12-31T00:00:00.000Z",
        "data": {"seq": seq},
    }


SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC_KEY = base64.urlsafe_b64encode(SIGNING_KEY.public_key().public_bytes_raw()).rstrip(b"=").decode()
KEYS = page({"key_id": "key-1", "algorithm": "Ed25519", "public_key": PUBLIC_KEY})


def receipt(**changes: Any) -> dict[str, Any]:
    """Sign a receipt of `submission` as the market does."""
    payload: dict[str, Any] = {
        "version": 1,
        "bounty": BOUNTY_ID,
        "submission": SUBMISSION_ID,
        "terms_hash": TERMS_HASH,
        "evidence": ["cd" * 32],
        "display": [sha256(PHOTO)],
        "verdict": {"outcome": "ACCEPTED", "decided_by": "MACHINE", "criteria": []},
        "place": {"latitude": 52.52, "longitude": 13.405, "accuracy_m": 8.0},
        "times": {"received_at": "2029-12-31T00:00:00Z"},
        "checks": [{"name": "geofence", "version": 1, "criterion": "in_place", "outcome": "PASS"}],
        **changes,
    }
    signature = base64.urlsafe_b64encode(SIGNING_KEY.sign(rfc8785.dumps(payload))).rstrip(b"=").decode()
    return {"payload": payload, "key_id": "key-1", "signature": signature}


def by_path(routes: dict[str, Any]) -> Callable[[httpx.Request], httpx.Response]:
    """Answer each path with its body; lists give one after the other, the last for ever."""
    left = {path: list(body) if isinstance(body, list) else [body] for path, body in routes.items()}

    def handle(request: httpx.Request) -> httpx.Response:
        bodies = left[request.url.path]
        body = bodies.pop(0) if len(bodies) > 1 else bodies[0]
        if isinstance(body, httpx.TransportError):
            raise body
        if isinstance(body, httpx.Response):
            return body
        return httpx.Response(200, content=body) if isinstance(body, bytes) else ok(body)

    return handle


def sent_json(request: httpx.Request) -> Any:
    return json.loads(request.content)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
