"""``python -m tests.faults.histories``: what concurrent transactions saw and did, recorded and checked for a serial order.

Two kinds. In a list history, transactions read and append to lists in a table: with our guards (rows locked in id order) at
READ COMMITTED nothing may be wrong; without them, and at REPEATABLE READ, the checker must find what each is known for. In a
ledger history the lists are the accounts: postings and holds append transfers, and balances are read. The checker is
`tests.faults.elle`.
"""

import argparse

from tests.faults import campaign


def _run(options: argparse.Namespace) -> campaign.Report:
    # Models can be imported once Django is set up, which the command does.
    from tests.faults import ledger_histories, list_histories

    report = ledger_histories.check(seed=options.seed, count=options.rounds)
    for way in list_histories.Way:
        list_histories.check_expected(way, seed=options.seed, count=max(options.rounds // 10, 2_000), report=report)
    return report


if __name__ == "__main__":
    campaign.command(
        "tests.faults.histories",
        description="Record what concurrent transactions saw and did; look for what no serial order explains.",
        rounds=100_000,
        run=_run,
    )
