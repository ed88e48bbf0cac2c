"""SIGKILL at random moments of fund, claim, submit, settle, refund, expire, appeal and payout.

``python -m tests.faults.kills`` kills 2,000 processes, ``--rounds 10000`` more. The seed draws who does what and who is killed
when; how the processes meet is the machine's, so a broken promise comes again with its seed often, not always.
"""

import argparse
import logging

from tests.faults import campaign


def _run(options: argparse.Namespace) -> campaign.Report:
    # Models can be imported once Django is set up, which the command does.
    from tests.faults import killing

    # Lost answers and lapsed leases are what this is about.
    logging.disable(logging.WARNING)
    return killing.run(seed=options.seed, rounds=options.rounds)


if __name__ == "__main__":
    campaign.command(
        "tests.faults.kills",
        description="Kill processes of a busy market at random moments; then nothing may be lost, and nothing done twice.",
        rounds=2000,
        run=_run,
    )
