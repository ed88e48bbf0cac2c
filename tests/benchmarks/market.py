"""What the market takes: claims and held-and-returned funds a second over HTTP, and bounties through their whole life.

``python -m tests.benchmarks.market`` starts a durable PostgreSQL of its own (where ``TMPDIR`` points: not into memory), or
uses the one of ``DATABASE_URL``; then the web server with its production command, and beside it, on the same command, a
bare Django view. Clients, servers and database share the machine. Every way has its turn in every round; medians count.
``--rate`` lets mixed requests arrive at a steady rate instead, four of five of them reads, and tells what each kind waited.
``--flow`` takes bounties from posting to payout in one process instead: 20,000, or 1,000,000 for those with a day.
"""

import argparse

from tests.benchmarks import durable
from tests.faults import campaign

MODULE = "tests.benchmarks.market"


def _run(options: argparse.Namespace) -> campaign.Report:
    # Models can be imported once Django is set up, which the command does.
    from tests.benchmarks.marketplace import arrivals, flow, served

    facts = durable.facts()
    if options.flow:
        report = flow.run(seed=options.seed, count=options.flow)
    elif options.rate:
        report = arrivals.run(seed=options.seed, rate=options.rate, seconds=options.seconds)
    else:
        report = served.run(seed=options.seed, rounds=options.rounds, seconds=options.seconds)
    return campaign.Report({**facts, **report.figures}, report.violations)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=2.0, help="how long every way has in a round (default 2), or requests arrive")
    parser.add_argument("--rate", type=float, default=0, metavar="N", help="let N mixed requests a second arrive instead")
    parser.add_argument("--flow", type=int, default=0, metavar="N", help="take N bounties through their whole life instead")


if __name__ == "__main__":
    durable.ensure(MODULE)
    campaign.command(
        MODULE,
        description="Measure the market over HTTP, or bounties through their whole life.",
        rounds=3,
        run=_run,
        add_arguments=_add_arguments,
    )
