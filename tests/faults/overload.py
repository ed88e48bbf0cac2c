"""``python -m tests.faults.overload``: ten times the allowed load and slow clients on a real web server; money goes on."""

import argparse

from tests.faults import campaign


def _run(options: argparse.Namespace) -> campaign.Report:
    # Models can be imported once Django is set up, which the command does.
    from tests.faults import overloading

    return overloading.overload(seed=options.seed, rounds=options.rounds)


if __name__ == "__main__":
    campaign.command(
        "tests.faults.overload",
        description="Each round moves money once while others ask for ten times what they may, or hold the threads: 99.9 % succeed.",
        rounds=2_000,
        run=_run,
    )
