"""Rates: too many requests of one key or network are refused until their window ends, and nobody else's."""

import time

import pytest
import time_machine
from django.core.cache import cache
from pytest_django import Settings

from market.accounts.models import Agent
from market.api import throttles
from tests.market.api.caller import Caller, calling_as

pytestmark = pytest.mark.django_db


def test_refuses_the_request_over_the_rate(agent: Agent, as_other_agent: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttles, "READS", 3)
    caller = calling_as(agent)
    with time_machine.travel("2026-01-01T00:00:04Z", tick=False):
        for _ in range(3):
            caller.get("balance").ok()
        answer = caller.get("balance")
        assert answer.refused(429, "rate_limited")["retryable"] is True
        assert answer.response.headers["Retry-After"] == "6"
        calling_as(agent).get("balance").ok()
        as_other_agent.get("balance").ok()
        caller.post("deposits", {"amount": {"amount": "1.00", "currency": "USD"}}).ok(201)
    with time_machine.travel("2026-01-01T00:00:10Z", tick=False):
        caller.get("balance").ok()


def test_counts_callers_without_key_by_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttles, "WITHOUT_KEY", 1)
    with time_machine.travel("2026-01-01T00:01:00Z", tick=False):
        cache.delete(f"rate:net:127.0.0.1:{int(time.time() // throttles.WINDOW_S)}")  # What an earlier run has counted.
        Caller().get("errors").ok()
        Caller().get("errors").refused(429, "rate_limited")
        # Nobody believes this header unless a proxy of ours wrote it.
        response = Caller().client.get("/v1/errors", headers={"X-Forwarded-For": "9.9.9.9"})
        assert response.status_code == 429


def test_goes_on_without_the_cache(as_agent: Caller, settings: Settings) -> None:
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}}
    as_agent.get("balance").ok()
