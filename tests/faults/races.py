"""``python -m tests.faults.races``: every two transitions that may meet, at the same moment; or a stampede of claimants.

The table of states and transitions is `tests.faults.transitions`; how a race is judged is told in `tests.faults.pairs`.
"""

import argparse

from tests.faults import campaign


def _run(options: argparse.Namespace) -> campaign.Report:
    # Models can be imported once Django is set up, which the command does.
    from tests.faults import pairs, stampede, transitions

    report = campaign.Report()
    if options.rounds:
        report = pairs.race_all(
            seed=options.seed, rounds=options.rounds, names=options.state or tuple(transitions.STATES), processes=options.processes
        )
    if not options.state:
        claimants, bounties = map(int, options.stampede.split("x"))
        ran = stampede.run(seed=options.seed, claimants=claimants, bounties=bounties)
        report.figures |= ran.figures
        report.violations += ran.violations
    return report


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--state", action="append", help="race only from the state of this name, without a stampede; may be repeated")
    parser.add_argument("--stampede", default="1000x20", help="claimants x bounties (default 1000x20; --rounds 0 runs nothing else)")
    campaign.add_processes(parser)


if __name__ == "__main__":
    campaign.command(
        "tests.faults.races",
        description="Race every pair of transitions from every state, on two real connections.",
        rounds=1_000,
        run=_run,
        add_arguments=_add_arguments,
    )
