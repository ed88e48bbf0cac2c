"""Every point of every money path at which a process may end: before and after each SQL statement, COMMIT and outside call.

``python -m tests.faults.crashpoints`` runs all of them; ``--rounds 40`` a sample of 40 a path; ``--path fund`` one path.
"""

import argparse
import logging

from tests.faults import campaign


def _run(options: argparse.Namespace) -> campaign.Report:
    # Models can be imported once Django is set up, which the command does.
    from tests.faults import crashing

    # Lost answers and sessions are what this is about.
    logging.disable(logging.WARNING)
    return crashing.run(seed=options.seed, most_points=options.rounds, names=options.path)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--path", action="append", default=[], help="only the path of this name; may be repeated")


if __name__ == "__main__":
    campaign.command(
        "tests.faults.crashpoints",
        description="End a process before and after every SQL statement and outside call of every money path (--rounds 0: every one).",
        rounds=0,
        run=_run,
        add_arguments=_add_arguments,
    )
