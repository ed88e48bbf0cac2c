"""Names of ledger accounts: who, which of his purses, test or live, and the currency. Nothing here knows a balance.

A path reads ``<mode>:<kind>:...:<currency>``, for example ``test:agent:0190...:available:USD``. Kinds in
`SHARED_KINDS` are written by many at once and may be below zero; every other account is guarded by the ledger.
"""

import uuid

# `ledger_post` (market/ledger/migrations/0002_ledger_post.sql) holds the same two words; a test compares them.
SHARED_KINDS = frozenset({"clearing", "platform"})


def agent_available(*, mode: str, agent_id: uuid.UUID, currency: str) -> str:
    """Name the money an agent may spend."""
    return f"{mode}:agent:{agent_id.hex}:available:{currency}"


def bounty_held(*, mode: str, bounty_id: uuid.UUID, currency: str) -> str:
    """Name the money held for a bounty: every slot and the reserve for negative outcomes together."""
    return f"{mode}:bounty:{bounty_id.hex}:held:{currency}"


def worker_earned(*, mode: str, worker_id: uuid.UUID, currency: str) -> str:
    """Name what a worker (or a verifier) has earned and can't be paid yet."""
    return f"{worker_prefix(mode=mode, worker_id=worker_id)}earned:{currency}"


def worker_payable(*, mode: str, worker_id: uuid.UUID, currency: str) -> str:
    """Name what a worker may have paid out."""
    return f"{worker_prefix(mode=mode, worker_id=worker_id)}payable:{currency}"


def worker_in_transit(*, mode: str, worker_id: uuid.UUID, currency: str) -> str:
    """Name what is on its way to a worker's bank."""
    return f"{worker_prefix(mode=mode, worker_id=worker_id)}in_transit:{currency}"


def worker_stake(*, mode: str, worker_id: uuid.UUID, currency: str) -> str:
    """Name what backs a GPU owner's reports: it fills from the pay of his runs, and pays for a forged one."""
    return f"{worker_prefix(mode=mode, worker_id=worker_id)}stake:{currency}"


def bond_held(*, mode: str, bond_id: uuid.UUID, currency: str) -> str:
    """Name the money of one bond."""
    return f"{mode}:bond:{bond_id.hex}:held:{currency}"


def platform_fees(*, mode: str, currency: str) -> str:
    """Name the platform's fees, a shared account."""
    return f"{mode}:platform:fees:{currency}"


def clearing(*, mode: str, provider: str, currency: str) -> str:
    """Name the world outside behind one provider, a shared account: minus what came in, plus what went out."""
    return f"{mode}:clearing:{provider}:{currency}"


def agent_prefix(*, mode: str, agent_id: uuid.UUID) -> str:
    """Return what the paths of all of an agent's accounts begin with."""
    return f"{mode}:agent:{agent_id.hex}:"


def worker_prefix(*, mode: str, worker_id: uuid.UUID) -> str:
    """Return what the paths of all of a worker's accounts begin with."""
    return f"{mode}:worker:{worker_id.hex}:"


def is_guarded(path: str) -> bool:
    """Tell whether the account must not go below zero."""
    return path.split(":", 2)[1] not in SHARED_KINDS


def currency_of(path: str) -> str:
    """Return the currency at the end of a path."""
    return path.rpartition(":")[2]
