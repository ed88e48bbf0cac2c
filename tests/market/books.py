"""Ledger accounts and entries for tests that know no deposit, hold or payout."""

import uuid

from market.common import account_paths
from market.ledger import transfers

# Where money comes from that no deposit stands for: a shared account that the audit compares with nothing.
OUTSIDE = "test:platform:outside:USD"
FEES = account_paths.platform_fees(mode="test", currency="USD")


def purse(number: int, currency: str = "USD", mode: str = "test") -> str:
    """Name a guarded account by a small number."""
    return account_paths.agent_available(mode=mode, agent_id=uuid.UUID(int=number), currency=currency)


def entry(source: str, destination: str, minor: int, *, key: str = "", currency: str = "USD", reason: str = "test") -> transfers.Entry:
    """Make an entry; the same ``key`` gives the same id, no key a new one."""
    identity = transfers.effect_id("test", key) if key else uuid.uuid4()
    return transfers.Entry(identity, source, destination, minor, currency, reason, "test")


def fund(path: str, minor: int) -> None:
    """Give an account money from outside."""
    currency = account_paths.currency_of(path)
    source = f"{path.partition(':')[0]}:platform:outside:{currency}"
    assert transfers.post([entry(source, path, minor, currency=currency)]) == [transfers.Outcome.POSTED]
