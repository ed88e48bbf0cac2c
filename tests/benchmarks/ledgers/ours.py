"""Our ledger through its Python interface, one outcome an item; building the entries is part of what is measured."""

import functools
import random
import uuid

from django.db import connection

from market.common import account_paths
from market.ledger import transfers

ACCOUNTS = 10_000
OUTSIDE = "test:platform:outside:USD"
FEES = account_paths.platform_fees(mode="test", currency="USD")
PATHS = [account_paths.agent_available(mode="test", agent_id=uuid.UUID(int=n), currency="USD") for n in range(ACCOUNTS)]
HOT = PATHS[0]


def prepare(argument: str = "") -> None:
    """Open and fund the accounts; every funding is a transfer too."""
    for start in range(0, ACCOUNTS, 1000):
        batch = [transfers.Entry(uuid.uuid4(), OUTSIDE, path, 10**9, "USD", "test", "test") for path in PATHS[start : start + 1000]]
        assert set(transfers.post(batch)) == {transfers.Outcome.POSTED}
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE ledger_account, ledger_transfer")


def move(generator: random.Random, *, batch: int, destination: str | None = None, is_in_doubt: bool = False) -> int:
    """Post a batch between random accounts, or all into one; in doubt, its last item repeats the first: none is decided in bulk."""
    entries = []
    for source in generator.choices(PATHS[1:], k=batch):
        other = destination or generator.choice(PATHS)
        identity = uuid.UUID(int=generator.getrandbits(128), version=4)
        entries.append(transfers.Entry(identity, source, HOT if other == source else other, 1, "USD", "test", "test"))
    if is_in_doubt:
        entries[-1] = entries[0]
    posted = transfers.post(entries).count(transfers.Outcome.POSTED)
    assert posted == batch - is_in_doubt
    return posted


WAYS = {
    "one at a time": functools.partial(move, batch=1),
    "one at a time into one account": functools.partial(move, batch=1, destination=HOT),
    "batches of 100": functools.partial(move, batch=100),
    "batches of 1,000": functools.partial(move, batch=1000),
    "batches of 1,000 into one account": functools.partial(move, batch=1000, destination=HOT),
    "batches of 1,000 into the shared fees": functools.partial(move, batch=1000, destination=FEES),
    "batches of 1,000 decided item by item": functools.partial(move, batch=1000, is_in_doubt=True),
    "batches of 5,000": functools.partial(move, batch=5000),
}
