"""What the audit asks of held funds: funded = captured + returned + held, in the holds and in the ledger alike."""

from market.escrow import queries
from market.ledger import audit


@audit.check
def holds_match() -> list[str]:
    """Compare every bounty's holds with its account."""
    return queries.check_bounties()
