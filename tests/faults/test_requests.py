"""Almost valid requests find no fault in the market; three planted ones are found, each by another promise."""

import pytest
from django.db.models import Model, QuerySet

from market.accounts.models import Agent
from market.api import base, fields, problems
from tests.faults import calls, mutating, visits

pytestmark = pytest.mark.django_db(transaction=True)


def test_answers_every_request_well() -> None:
    report = mutating.send_mutated(seed=1, rounds=700)
    assert report.violations == []
    assert report.figures["routes and pages"] == len(calls.MAKERS) + 37
    assert report.figures["requests"] == 700 + len(calls.MAKERS) + 37


def test_knows_every_page() -> None:
    place = visits.prepare(calls.Cast())
    assert {visit.name for visit in place.visits()} == visits.names()


def test_finds_a_view_that_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number field that takes whatever comes."""
    monkeypatch.setattr(fields.Whole, "to_internal_value", lambda self, data: int(data))
    found = mutating.send_mutated(seed=2, rounds=150, routes=[("lease-heartbeat", "POST")]).violations
    assert any("answered 500" in violation for violation in found)


def test_finds_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    """A problem document that quotes the exception's origin."""
    monkeypatch.setattr(problems, "_sentence", lambda text: f'{text} File "{__file__}", line 1')
    found = mutating.send_mutated(seed=2, rounds=150, routes=[("bounty", "GET")]).violations
    assert any("tells of our insides" in violation for violation in found)


def test_finds_a_refusal_that_leaves_something_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up that writes down who looked, before it refuses."""
    found_by = base.find

    def find_and_note(rows: QuerySet[Model], prefix: str, text: str) -> Model:
        Agent.objects.update(name=text[:80])
        return found_by(rows, prefix, text)

    monkeypatch.setattr(base, "find", find_and_note)
    found = mutating.send_mutated(seed=2, rounds=150, routes=[("bounty", "GET")]).violations
    assert any("a refusal with 404 changed ['accounts_agent']" in violation for violation in found)
