"""How many durable transfers a second the ledger takes from Python, beside other ledgers on the same server in the same run.

``python -m tests.benchmarks.ledger`` starts a durable PostgreSQL of its own (where ``TMPDIR`` points: not into memory),
or uses the one of ``DATABASE_URL``. Every ledger has processes of its own and moves in turn with the others, round after
round, so that a busy machine slows all alike; medians count. A transfer alone is a commit, and so is a batch. Beside
ours: a plain ORM ledger, django-hordak where it is installed, and pgledger where ``--pgledger`` names a checkout of it.
"""

import argparse

from tests.benchmarks import durable
from tests.faults import campaign

MODULE = "tests.benchmarks.ledger"


def _run(options: argparse.Namespace) -> campaign.Report:
    # Models can be imported once Django is set up, which the command does.
    from tests.benchmarks.ledgers import comparison

    return comparison.compare(
        seed=options.seed, rounds=options.rounds, seconds=options.seconds, total=options.transfers, pgledger=options.pgledger
    )


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=1.0, help="how long every way moves in a round (default 1)")
    parser.add_argument("--transfers", type=int, default=1_000_000, help="how many are audited at the end (default 1,000,000)")
    parser.add_argument("--pgledger", default="", help="a checkout of pgledger, or its SQL in one file")


if __name__ == "__main__":
    durable.ensure(MODULE)
    campaign.command(
        MODULE,
        description="Measure the ledger beside others, then audit what was posted.",
        rounds=3,
        run=_run,
        add_arguments=_add_arguments,
    )
