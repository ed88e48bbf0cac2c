"""``python -m tests.faults.described``: requests generated from the OpenAPI description, one by one and after each other."""

import argparse

from tests.faults import campaign


def _run(options: argparse.Namespace) -> campaign.Report:
    # Models can be imported once Django is set up, which the command does.
    from tests.faults import describing

    return describing.send_described(seed=options.seed, rounds=options.rounds, chains=options.rounds)


if __name__ == "__main__":
    campaign.command(
        "tests.faults.described",
        description="So many requests that the description allows and as many that it forbids for each operation, and as many chains.",
        rounds=100,
        run=_run,
    )
