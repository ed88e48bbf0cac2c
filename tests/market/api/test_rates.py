"""Rates: too many requests of one key or network are refused until their window ends, and nobody else's."""

import secrets
import socket
import time
from collections.abc import Iterator

import pytest
import redis
import time_machine
from django.core.cache import cache, caches
from django.core.cache.backends.base import BaseCache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from market.accounts import keys
from market.accounts.models import Agent, ApiKey
from market.config import rates
from tasks import clock
from tests import listener
from tests.market.api.caller import Answer, Caller, calling_as

pytestmark = pytest.mark.django_db

MOMENT = "2026-01-01T00:00:04Z"


@pytest.fixture(autouse=True)
def nothing_counted() -> Iterator[None]:
    """Forget what an earlier test or run has counted in the windows that tests travel to, and that Redis was away."""
    rates._Shared.asks_again_at = 0.0
    cache.delete_many([f"rate:{group}:127.0.0.1:{int(1_767_225_604 // window_s)}" for group, window_s in GROUPS.items()])
    caches["process"].clear()
    yield
    rates._Shared.asks_again_at = 0.0


GROUPS = {"net": 10, "refused": 10, "page": 10, "health": 10, "sign-in": 600}


def guess() -> Caller:
    """Somebody with a key of the right form that nobody issued."""
    return Caller(f"test_agent_{secrets.token_urlsafe(32)}")


def refused(answer: Answer, *, retry_after: str = "6") -> None:
    problem = answer.refused(429, "rate_limited")
    assert problem["retryable"] is True
    assert problem["request_id"] == answer.response.headers["X-Request-Id"]
    assert answer.response.headers["Retry-After"] == retry_after


def test_refuses_the_request_over_the_rate(agent: Agent, as_other_agent: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "READS", 3)
    caller = calling_as(agent)
    with time_machine.travel(MOMENT, tick=False):
        for _ in range(3):
            caller.get("balance").ok()
        refused(caller.get("balance"))
        calling_as(agent).get("balance").ok()
        as_other_agent.get("balance").ok()
        caller.post("deposits", {"amount": {"amount": "1.00", "currency": "USD"}}).ok(201)
    with time_machine.travel("2026-01-01T00:00:10Z", tick=False):
        caller.get("balance").ok()


def test_counts_writes_and_leases_apart(as_agent: Caller, as_machine: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "WRITES", 1)
    monkeypatch.setattr(rates, "LEASE_CALLS", 2)
    deposit, lease = {"amount": {"amount": "1.00", "currency": "USD"}}, {"kind": "vision", "holder": "gpu"}
    with time_machine.travel(MOMENT, tick=False):
        as_agent.post("deposits", deposit).ok(201)
        refused(as_agent.post("deposits", deposit))
        for _ in range(2):
            as_machine.post("leases", lease).ok()
        refused(as_machine.post("leases", lease))


def test_counts_what_is_refused_as_well(as_worker: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong scope, a malformed body and an address that leads nowhere use up the rate like anything else."""
    monkeypatch.setattr(rates, "READS", 2)
    with time_machine.travel(MOMENT, tick=False):
        as_worker.get("bounties").refused(403, "wrong_scope")
        as_worker.get("nowhere").refused(404, "no_such_route")
        refused(as_worker.get("bounties"))


def test_counts_callers_without_key_by_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "WITHOUT_KEY", 2)
    with time_machine.travel(MOMENT, tick=False):
        Caller().get("errors").ok()
        Caller("no key of ours").get("bounties").refused(401, "api_key_refused")
        refused(Caller().get("errors"))
        # Nobody believes this header unless a proxy of ours wrote it.
        response = Caller().client.get("/v1/errors", headers={"X-Forwarded-For": "9.9.9.9"})
        assert response.status_code == 429


def test_looks_for_no_more_keys_from_a_network_that_guesses(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "REFUSED_KEYS", 3)
    known, new = calling_as(agent), calling_as(agent)
    with time_machine.travel(MOMENT, tick=False):
        known.get("balance").ok()
        for _ in range(3):
            guess().get("balance").refused(401, "api_key_refused")
        with CaptureQueriesContext(connection) as asked:
            refused(guess().get("balance"))
        assert [query["sql"] for query in asked] == []
        # A key that was never seen can't be told from a guess; one that was goes on, in this process and in any other.
        refused(new.get("balance"))
        known.get("balance").ok()
        caches["process"].clear()
        known.get("balance").ok()
        elsewhere = known.client.get("/v1/balance", headers={"Authorization": f"Bearer {guess().secret}"}, REMOTE_ADDR="9.9.9.9")
        assert elsewhere.status_code == 401
    with time_machine.travel("2026-01-01T00:00:10Z", tick=False):
        new.get("balance").ok()


def test_takes_a_revoked_key_for_a_guess(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "REFUSED_KEYS", 1)
    caller = calling_as(agent)
    keys.revoke(key=ApiKey.objects.get(secret_sha256=keys.digest(caller.secret)), now=clock.now())
    with time_machine.travel(MOMENT, tick=False):
        caller.get("balance").refused(401, "api_key_refused")
        refused(caller.get("balance"))


def test_counts_pages_health_and_sign_ins_by_network(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, most in {"PAGES": 2, "HEALTH_CALLS": 3, "SIGN_INS": 1}.items():
        monkeypatch.setattr(rates, name, most)
    with time_machine.travel(MOMENT, tick=False):
        statuses = [client.get("/work").status_code for _ in range(3)]
        assert statuses == [403, 403, 429]
        assert [client.get("/healthz").status_code for _ in range(4)] == [200, 200, 200, 429]
        tries = [client.post("/admin/login/", {"username": "operator", "password": "guess"}) for _ in range(2)]
        assert [answer.status_code for answer in tries] == [200, 429]
        assert tries[1].headers["Retry-After"] == "596"
        assert tries[1].headers["Content-Type"] == "text/plain"
        assert client.get("/admin/login/", REMOTE_ADDR="9.9.9.9").status_code == 200


def test_neither_opens_nor_closes_without_the_cache(as_agent: Caller, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is away: this process goes on and counts by itself."""
    monkeypatch.setattr(rates, "READS", 2)
    monkeypatch.setattr(rates, "REFUSED_KEYS", 1)
    settings.CACHES = {**settings.CACHES, "default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}}
    with time_machine.travel(MOMENT, tick=False):
        as_agent.get("balance").ok()
        as_agent.get("balance").ok()
        refused(as_agent.get("balance"))
        guess().get("balance").refused(401, "api_key_refused")
        refused(guess().get("balance"))


def test_asks_an_absent_cache_once_in_a_while(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    settings.CACHES = {**settings.CACHES, "default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}}
    Caller().get("errors").ok()
    assert rates._Shared.asks_again_at > time.monotonic()
    settings.CACHES = {**settings.CACHES, "default": {**settings.CACHES["default"], "LOCATION": settings.REDIS_URL}}
    monkeypatch.setattr(rates._Shared, "asks_again_at", time.monotonic())
    with time_machine.travel(MOMENT, tick=False):
        Caller().get("errors").ok()
        assert cache.get(f"rate:net:127.0.0.1:{int(time.time() // rates.WINDOW_S)}") == 1


def stay_silent(connection: socket.socket, _number: int) -> None:
    with connection:
        while connection.recv(65_536):
            pass


def test_waits_for_a_cache_that_hangs_once_in_a_while(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    """It takes connections and never answers: one request in five seconds waits for it, no other."""
    hanging = listener.Door()
    with listener.accepting(hanging, stay_silent):
        options = {**settings.CACHES["default"]["OPTIONS"], "socket_timeout": 0.2}
        at = f"redis://127.0.0.1:{hanging.port}/0"
        settings.CACHES = {**settings.CACHES, "default": {**settings.CACHES["default"], "LOCATION": at, "OPTIONS": options}}
        # However slow this machine is.
        monkeypatch.setattr(rates, "_AWAY_S", 600.0)
        Caller().get("errors").ok()
        # Once, and once more at once, as for a connection that died while it idled.
        assert hanging.connections == 2
        for _ in range(5):
            Caller().get("errors").ok()
        assert hanging.connections == 2
        asked: list[int] = []

        def ask_beside(cache: BaseCache) -> None:
            """Another request comes while this one waits."""
            if cache is not caches["process"]:
                Caller().get("errors").ok()
                asked.append(hanging.connections)
                raise redis.exceptions.TimeoutError

        monkeypatch.setattr(rates._Shared, "asks_again_at", time.monotonic())
        rates._ask(ask_beside)
        assert asked == [2]
