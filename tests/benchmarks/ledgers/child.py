"""A process that moves money in one ledger for as long as it is told: ``python -m tests.benchmarks.ledgers.child NAME SEED [PATH]``.

It reads lines: ``prepare`` opens and funds the accounts, ``measure SECONDS WAY`` moves and answers with how many
transfers in how many seconds. The address of the ledger's own database comes as ``BENCHMARK_URL``.
"""

import importlib
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from typing import Protocol


class Ledger(Protocol):
    """What a module of this folder holds."""

    # A way moves once and returns how many transfers that were.
    WAYS: dict[str, Callable[[random.Random], int]]

    def prepare(self, argument: str) -> None:
        """Make the accounts."""


def answers(ledger: Ledger, *, generator: random.Random, argument: str) -> Iterator[str]:
    """Do what each line of standard input says; yield one line an order."""
    for line in sys.stdin:
        order, _, rest = line.strip().partition(" ")
        if order == "prepare":
            ledger.prepare(argument)
            yield "prepared"
        else:
            seconds, _, way = rest.partition(" ")
            count, elapsed_s = measure(ledger.WAYS[way], seconds=float(seconds), generator=generator)
            yield f"{count} {elapsed_s}"


def measure(way: Callable[[random.Random], int], *, seconds: float, generator: random.Random) -> tuple[int, float]:
    """Move for so long; return how many transfers and how long in truth. The first move warms up and does not count."""
    way(generator)
    count, start = 0, time.perf_counter()
    while (elapsed_s := time.perf_counter() - start) < seconds:
        count += way(generator)
    return count, elapsed_s


def main() -> None:
    """Serve until standard input ends."""
    name, seed, *rest = sys.argv[1:]
    if "DJANGO_SETTINGS_MODULE" in os.environ:
        import django

        django.setup()
    ledger = importlib.import_module(f"tests.benchmarks.ledgers.{name}")
    for answer in answers(ledger, generator=random.Random(seed), argument="".join(rest)):
        print(answer, flush=True)


if __name__ == "__main__":
    main()
