"""``python -m tests.faults.notices``: a bank's news a hundred times each, reordered, late, changed, forged; webhooks signed by others."""

import argparse

from tests.faults import campaign


def _run(options: argparse.Namespace) -> campaign.Report:
    # Models can be imported once Django is set up, which the command does.
    from tests.faults import notices_arriving, notices_signed

    report = notices_arriving.arrive(seed=options.seed, rounds=options.rounds, copies=options.copies)
    signed = notices_signed.receive(seed=options.seed, rounds=options.rounds)
    report.figures |= signed.figures
    report.violations += signed.violations
    return report


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--copies", type=int, default=100, help="how often each event arrives (default %(default)s)")


if __name__ == "__main__":
    campaign.command(
        "tests.faults.notices",
        description="Each event of the bank arrives many times, in any order, among forged ones: the state is a fold over the genuine.",
        rounds=10_000,
        run=_run,
        add_arguments=_add_arguments,
    )
