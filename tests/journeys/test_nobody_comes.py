"""Nobody claims: at the deadline every cent goes back to the agent."""

from agents_sdk import Market, models
from tests.journeys import telling


def test_everything_is_returned_when_nobody_claims(market: Market) -> None:
    bounty = telling.post(market, telling.CAT, by="61s", slots=2)
    answer = bounty.wait(timeout=120, until="settled")

    assert (answer.outcome, answer.bounty.status, answer.bounty.closed_because) == ("EXPIRED", "EXPIRED", "EXPIRED")
    after = answer.bounty.held
    assert isinstance(after, models.Held)
    assert (after.held.amount, after.captured.amount) == ("0.00", "0.00")
    assert (after.funded.amount, after.returned.amount) == ("2.70", "2.70")
