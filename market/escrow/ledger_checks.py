"""What the audit asks of held funds: funded = captured + returned + held, and bonds and stakes as the ledger has them."""

from market.escrow import queries
from market.ledger import audit


@audit.check
def holds_match() -> list[str]:
    """Compare every bounty's holds with its account."""
    return queries.check_bounties()


@audit.check
def bonds_match() -> list[str]:
    """Compare every bond with its account."""
    return queries.check_bonds()


@audit.check
def stakes_match() -> list[str]:
    """Compare every stake with its account."""
    return queries.check_stakes()
