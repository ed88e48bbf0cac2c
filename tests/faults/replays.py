"""Kills at every step of a replay, on the server and in the trusted pool; the owner's side is `tests/gpu_workers/owner/test_kills.py`.

``python -m tests.faults.replays`` ends the server before and after every SQL statement, COMMIT and step of a file store of every path of
a research bounty (``--rounds 40``: a sample of 40 a path; ``--path NAME``: one path), then kills the trusted pool at every step of its
jobs. ``--scenario server`` or ``pool`` does one of the two.
"""

import argparse
import logging

from tests.faults import campaign


def _run(options: argparse.Namespace) -> campaign.Report:
    # Models can be imported once Django is set up, which the command does.
    from tests.faults import crashing, pool_killing, research_paths

    # Lost answers and sessions are what this is about.
    logging.disable(logging.WARNING)
    report = campaign.Report()
    if options.scenario != "pool":
        with research_paths.without_chance():
            report = crashing.run(seed=options.seed, most_points=options.rounds, names=options.path, paths=research_paths.PATHS)
    if options.scenario != "server" and not options.path:
        killed = pool_killing.run(seed=options.seed, most_points=options.rounds)
        report.figures |= killed.figures
        report.violations += killed.violations
    return report


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scenario", choices=("all", "server", "pool"), default="all", help="whose processes are killed (default: all)")
    parser.add_argument("--path", action="append", default=[], help="only the server's path of this name; may be repeated")


if __name__ == "__main__":
    campaign.command(
        "tests.faults.replays",
        description="Kill the server and the trusted pool at every step of a replay: nothing paid twice, lost or stuck.",
        rounds=0,
        run=_run,
        add_arguments=_add_arguments,
    )
