"""What the audit asks of research bounties: what they say is reserved, spent and held is what reserves and holds have."""

from market.bounties.research import queries
from market.escrow import auditing


@auditing.check
def reserves_match() -> list[str]:
    """Compare every bounty's counters with its candidates' reserves and its hold."""
    return queries.reserves_that_differ()
