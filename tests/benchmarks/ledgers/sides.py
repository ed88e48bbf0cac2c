"""The ledgers that are compared: each with its processes, two connections, and a database that holds nothing else."""

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.db import connection

from tests import processes
from tests.faults import campaign

MOST_PROCESSES = 2
WAYS = {
    "ours": (
        "one at a time",
        "one at a time into one account",
        "batches of 100",
        "batches of 1,000",
        "batches of 1,000 into one account",
        "batches of 1,000 into the shared fees",
        "batches of 1,000 decided item by item",
        "batches of 5,000",
    ),
    "plain ORM": ("one at a time", "one at a time into one account"),
    "django-hordak": ("one at a time", "one at a time into one account"),
    "pgledger": ("one at a time", "one at a time into one account", "batches of 10", "batches of 100"),
}


@dataclass
class Side:
    """One ledger and the processes that move money in it; ``argument`` is what its module wants for its preparation."""

    name: str
    module: str
    url: str
    settings_module: str = ""
    argument: str = ""
    children: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *, seed: int) -> None:
        """Start a process for every connection, and have the first make the accounts."""
        environment = {**os.environ, "BENCHMARK_URL": self.url, "DATABASE_URL": self.url}
        environment.pop("DJANGO_SETTINGS_MODULE", None)
        if self.settings_module:
            environment["DJANGO_SETTINGS_MODULE"] = self.settings_module
        for number in range(MOST_PROCESSES):
            command = [sys.executable, "-m", "tests.benchmarks.ledgers.child", self.module, f"{seed}/{number}", self.argument]
            self.children.append(
                subprocess.Popen(command, cwd=campaign.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
            )
        self._ask("prepare", width=1)

    def measure(self, way: str, *, width: int, seconds: float) -> tuple[int, float]:
        """Move on so many connections at once; return how many transfers in all, and how many a second."""
        found = [(int(count), float(elapsed_s)) for count, elapsed_s in map(str.split, self._ask(f"measure {seconds} {way}", width=width))]
        return sum(count for count, _ in found), sum(count / elapsed_s for count, elapsed_s in found)

    def stop(self) -> None:
        """End its processes."""
        for child in self.children:
            child.kill()
            child.communicate()

    def _ask(self, order: str, *, width: int) -> list[str]:
        # All are told before the first is heard: they work at once.
        for child in self.children[:width]:
            assert child.stdin is not None
            child.stdin.write(f"{order}\n")
            child.stdin.flush()
        return [self._hear(child) for child in self.children[:width]]

    def _hear(self, child: subprocess.Popen[str]) -> str:
        assert child.stdout is not None
        answer = child.stdout.readline()
        if not answer:
            raise RuntimeError(f"A process of {self.name} ended with status {child.wait()}.")
        return answer


@contextlib.contextmanager
def started(*, seed: int, pgledger: str) -> Iterator[dict[str, Side]]:
    """Start ours, the plain one, django-hordak if it is installed, and pgledger if its SQL is given; stop them at the end."""
    here, ours = processes.database_url(), "market.config.settings"
    with contextlib.ExitStack() as stack:
        found = [Side("ours", "ours", here, ours), Side("plain ORM", "plain_orm", here, ours)]
        if importlib.util.find_spec("hordak"):
            url = stack.enter_context(_own_database("benchmark_hordak"))
            found.append(Side("django-hordak", "hordak_orm", url, "tests.benchmarks.ledgers.hordak_settings"))
        if pgledger:
            url = stack.enter_context(_own_database("benchmark_pgledger"))
            found.append(Side("pgledger", "pgledger", url, argument=pgledger))
        for side in found:
            stack.callback(side.stop)
            side.start(seed=seed)
        yield {side.name: side for side in found}


@contextlib.contextmanager
def _own_database(name: str) -> Iterator[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        cursor.execute(f"CREATE DATABASE {name}")
    try:
        yield f"{processes.database_url().rpartition('/')[0]}/{name}"
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
