"""Requests generated from the OpenAPI description find no fault, and every answer is as described; one that is not is found."""

import pytest

from market.api import payments
from tests.faults import describing

pytestmark = pytest.mark.django_db


def test_answers_as_described() -> None:
    report = describing.send_described(seed=1, rounds=3, chains=2)
    assert report.violations == []
    assert int(report.figures["operations"]) >= 40
    assert int(report.figures["chained requests"]) > 0


def test_finds_an_answer_that_is_not_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payments.AgentBalanceOutput, "to_representation", lambda self, body: {"object": "balance", "mode": "test"})
    (found,) = describing.send_described(seed=1, rounds=5, chains=0, only="GET /v1/balance").violations
    assert "GET /v1/balance: Response violates schema" in found
