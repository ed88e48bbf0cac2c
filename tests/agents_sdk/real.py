"""The real market in this process: clients that call its WSGI application, and what its jobs would do in between."""

import base64
import hashlib
from collections.abc import Coroutine
from typing import Any, TypeVar

import httpx
import numpy as np
from django.core.handlers.wsgi import WSGIHandler

from agents_sdk import AsyncMarket, Market, _core, leases, scenes, simulated_worker, worker
from market.accounts import keys
from market.accounts.models import Agent, ApiKey, User
from market.bounties import maturing, settlement
from market.payments import payouts, sweeping
from tasks import clock
from tasks.models import WorkerProfile
from tests import people
from verification import calibration, pipeline, reviews
from verification.models import Case, Review

URL = "http://127.0.0.1:8000"
CUP = "Is coffee served? Show a cup of coffee on a table."
T = TypeVar("T")
ASK: dict[str, Any] = {"at": (52.5200, 13.4050), "within_m": 50, "reward": "1.00", "by": "2h"}


class InThisThread(httpx.AsyncBaseTransport):
    """Lets an async client call the WSGI application; nothing in it ever waits."""

    def __init__(self) -> None:
        self._wsgi = httpx.WSGITransport(WSGIHandler())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        response = self._wsgi.handle_request(request)
        return httpx.Response(response.status_code, headers=response.headers, content=response.read())


def at_once(story: Coroutine[None, None, T]) -> T:
    """Run a coroutine that never waits, without an event loop: under one, Django has other connections."""
    try:
        story.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("The story waits for something.")


def in_process() -> httpx.Client:
    return httpx.Client(transport=httpx.WSGITransport(WSGIHandler()))


def market_of(agent: Agent, **options: Any) -> Market:
    return Market(api_key=people.secret_of(agent), base_url=URL, http_client=in_process(), **options)


def async_market_of(agent: Agent) -> AsyncMarket:
    async def do_not_sleep(_: float) -> None:
        return

    market = AsyncMarket(api_key=people.secret_of(agent), base_url=URL, http_client=httpx.AsyncClient(transport=InThisThread()))
    market._http.sleep = do_not_sleep
    return market


def worker_market_of(someone: WorkerProfile) -> worker.WorkerMarket:
    return worker.WorkerMarket(api_key=people.secret_of(someone), base_url=URL, http_client=in_process())


def simulated(someone: WorkerProfile) -> simulated_worker.SimulatedWorker:
    return simulated_worker.SimulatedWorker(worker_market_of(someone), scenes.find_all(), pause=lambda _: None)


def lease_client() -> leases.LeaseClient:
    operator, _ = User.objects.get_or_create(username="gpu-host")
    secret = keys.issue(user=operator, agent=None, mode="test", scope=ApiKey.Scope.LEASE_VISION, name="gpu", is_trusted=True)[1]
    return leases.LeaseClient(URL, secret, http_client=in_process())


def judge(*, score: float) -> None:
    """Do what worker, GPU worker and, where the machine may not decide, a person would do; every phrase gets ``score``."""
    now = clock.now()
    for case in Case.objects.filter(stage=Case.Stage.CHECKS):
        pipeline.advance(submission_id=case.pk, now=now)
    machine = lease_client()
    for item in machine.lease("vision", 32, holder="test").items:
        for file in item.inputs:
            assert machine.fetch(file.url, sha256=file.sha256)
        phrases = item.params["phrases"]
        assert isinstance(phrases, list)
        readings: _core.JsonObject = {"labels": [], "phrase_scores": [score for _ in phrases], "descriptor": _descriptor(item.id)}
        machine.complete(item.id, item.token, readings, model_hash=calibration.table().model_hash, preprocessing="test-1")
    for case in Case.objects.filter(stage=Case.Stage.DECIDE):
        pipeline.advance(submission_id=case.pk, now=now)
    settlement.apply_due(now=now)
    maturing.mature_due(now=now)


def review(decision: str, *, criterion: str = "") -> None:
    """Decide every open review as a person would."""
    now = clock.now()
    for waiting in Review.objects.filter(decision="").exclude(kind=Review.Kind.AUDIT):
        reviewer = people.open_user("reviewer")
        reviews.decide(review_id=waiting.pk, reviewer=reviewer, decision=decision, criterion=criterion, reason="I looked.", now=now)
    settlement.apply_due(now=now)
    maturing.mature_due(now=now)


def pay_out() -> None:
    payouts.send_due(holder="test", now=clock.now())
    sweeping.sweep(now=clock.now())


def _descriptor(seed: str) -> str:
    values = np.frombuffer(hashlib.shake_256(seed.encode()).digest(128), dtype=np.int8).astype(np.float32)
    return base64.b64encode((values / np.linalg.norm(values)).astype("<f2").tobytes()).decode()
