"""How many transfers a second the ledger takes, beside a plain ORM ledger in the same database and the same run.

``python -m tests.benchmarks.ledger`` makes a database of its own on the server of ``DATABASE_URL`` and drops it again.
One process, one connection; building the entries is included. The ways take turns in rounds, so that a busy machine
slows all of them alike; the median round counts. The figures mean nothing where ``fsync`` is off: it is printed.
"""

import argparse
import os
import random
import statistics
import time
import uuid
from collections.abc import Callable

import django
from django.db import connection, models, transaction

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "market.config.settings")
django.setup()

from market.common import account_paths  # noqa: E402 - after Django is set up
from market.ledger import audit, marks, transfers  # noqa: E402

ACCOUNTS = 10_000
OUTSIDE = "test:platform:outside:USD"
FEES = account_paths.platform_fees(mode="test", currency="USD")
PATHS = [account_paths.agent_available(mode="test", agent_id=uuid.UUID(int=n), currency="USD") for n in range(ACCOUNTS)]


class PlainAccount(models.Model):
    """The account of a plain ORM ledger."""

    path = models.CharField(max_length=120, unique=True)
    balance_minor = models.BigIntegerField()

    class Meta:
        app_label = "benchmarks"
        constraints = [models.CheckConstraint(condition=models.Q(balance_minor__gte=0), name="plain_account_not_below_zero")]

    def __str__(self) -> str:
        return self.path


class PlainTransfer(models.Model):
    """The transfer of a plain ORM ledger."""

    id = models.UUIDField(primary_key=True)
    source = models.ForeignKey(PlainAccount, on_delete=models.PROTECT, related_name="+")
    destination = models.ForeignKey(PlainAccount, on_delete=models.PROTECT, related_name="+")
    amount_minor = models.BigIntegerField()
    reason = models.CharField(max_length=32)
    subject = models.CharField(max_length=40)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "benchmarks"

    def __str__(self) -> str:
        return f"transfer {self.pk}"


def plain_orm() -> int:
    """Move once as the textbook does: lock both in id order, save both, create the transfer."""
    source, destination = random.sample(range(1, ACCOUNTS + 1), 2)
    with transaction.atomic():
        rows = {
            row.pk: row for row in PlainAccount._default_manager.select_for_update().filter(pk__in=(source, destination)).order_by("pk")
        }
        rows[source].balance_minor -= 1
        rows[destination].balance_minor += 1
        rows[source].save(update_fields=["balance_minor"])
        rows[destination].save(update_fields=["balance_minor"])
        PlainTransfer._default_manager.create(
            id=uuid.uuid4(), source=rows[source], destination=rows[destination], amount_minor=1, reason="test", subject="test"
        )
    return 1


def ours(batch: int, destination: str | None = None, *, is_in_doubt: bool = False) -> int:
    """Post a batch between random accounts, or all into one; in doubt, the last item makes it be decided item by item."""
    entries = []
    for source in random.choices(PATHS[1:], k=batch):
        other = destination or PATHS[0]
        if destination is None:
            while (other := random.choice(PATHS)) == source:
                pass
        entries.append(transfers.Entry(uuid.uuid4(), source, other, 1, "USD", "test", "test"))
    if is_in_doubt:
        entries[-1] = entries[0]
    outcomes = transfers.post(entries)
    assert outcomes.count(transfers.Outcome.POSTED) == batch - is_in_doubt
    return batch


WAYS: dict[str, Callable[[], int]] = {
    "plain ORM, one at a time": plain_orm,
    "ours, one at a time": lambda: ours(1),
    "ours, one at a time into one guarded account": lambda: ours(1, PATHS[0]),
    "ours, one at a time into the shared fees": lambda: ours(1, FEES),
    "ours, batches of 10": lambda: ours(10),
    "ours, batches of 100": lambda: ours(100),
    "ours, batches of 1,000": lambda: ours(1000),
    "ours, batches of 1,000 into one guarded account": lambda: ours(1000, PATHS[0]),
    "ours, batches of 1,000 into the shared fees": lambda: ours(1000, FEES),
    "ours, batches of 1,000 decided item by item": lambda: ours(1000, is_in_doubt=True),
}


def prepare() -> None:
    """Open and fund the accounts of both ledgers."""
    with connection.schema_editor() as editor:
        editor.create_model(PlainAccount)
        editor.create_model(PlainTransfer)
    PlainAccount._default_manager.bulk_create([PlainAccount(path=path, balance_minor=10**9) for path in PATHS])
    for start in range(0, ACCOUNTS, 1000):
        batch = [transfers.Entry(uuid.uuid4(), OUTSIDE, path, 10**9, "USD", "test", "test") for path in PATHS[start : start + 1000]]
        assert set(transfers.post(batch)) == {transfers.Outcome.POSTED}
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def measure(way: Callable[[], int], seconds: float) -> tuple[int, float]:
    """Return how many transfers were made in a round, and how many a second."""
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        count += way()
    return count, count / elapsed


def report(rounds: int, seconds: float) -> None:
    """Run the rounds and print the medians."""
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    counts = dict.fromkeys(WAYS, 0)
    for _ in range(rounds):
        for name, way in WAYS.items():
            count, rate = measure(way, seconds)
            counts[name] += count
            rates[name].append(rate)
    medians = {name: statistics.median(found) for name, found in rates.items()}
    base = medians["plain ORM, one at a time"]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit')",
        )
        version, fsync, synchronous = cursor.fetchone()
    print(f"PostgreSQL {version}, fsync {fsync}, synchronous_commit {synchronous}, {os.cpu_count()} cores, {rounds} rounds of {seconds} s")
    print(f"{'way':52} {'n':>10} {'median/s':>10} {'lowest/s':>10} {'x ORM':>7}")
    for name, median in medians.items():
        print(f"{name:52} {counts[name]:>10,} {median:>10,.0f} {min(rates[name]):>10,.0f} {median / base:>7.1f}")
    prove()


def prove() -> None:
    """Audit what was posted, and say how long that takes."""
    start = time.perf_counter()
    result = audit.audit()
    print(f"audit of {result.transfer_count:,} transfers: {time.perf_counter() - start:.2f} s, {len(result.breaches)} differences")
    start = time.perf_counter()
    count = marks.mark()
    print(f"marks of {count} shared accounts: {time.perf_counter() - start:.2f} s")
    assert not result.breaches, result.breaches


def main() -> None:
    """Make the database, measure, drop it."""
    parser = argparse.ArgumentParser(description="Transfers a second, beside a plain ORM ledger.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    first_name = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        prepare()
        report(options.rounds, options.seconds)
    finally:
        connection.creation.destroy_test_db(first_name, verbosity=0)


if __name__ == "__main__":
    main()
