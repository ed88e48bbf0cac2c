"""A POST that is repeated has one effect and one answer; a market that forgets is found out."""

import pytest

from tests.faults import repeating

pytestmark = pytest.mark.django_db(transaction=True)


def test_does_every_post_once() -> None:
    report = repeating.repeat(seed=1, rounds=1)
    assert report.violations == []
    assert report.figures["routes"] == 37
    assert report.figures["requests"] == 37 * (1 + 12 + 3)


def test_finds_a_market_that_forgets() -> None:
    report = repeating.repeat(seed=1, rounds=1, application="tests.faults.unguarded:application", routes=["bounties", "delivery-resend"])
    found = " ".join(report.violations)
    assert "bounties: ten at once did" in found
    assert "bounties: a repeat did" in found
    assert "delivery-resend: a repeat was not answered from memory" in found
