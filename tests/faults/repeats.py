"""``python -m tests.faults.repeats``: every POST ten times at once, again after a lost answer, and with another body."""

import argparse

from tests.faults import campaign


def _run(options: argparse.Namespace) -> campaign.Report:
    # Models can be imported once Django is set up, which the command does.
    from tests.faults import repeating

    return repeating.repeat(seed=options.seed, rounds=options.rounds)


if __name__ == "__main__":
    campaign.command(
        "tests.faults.repeats",
        description="Each round sends every POST of the API ten times at once, after a lost answer, and with another body: one effect.",
        rounds=100,
        run=_run,
    )
