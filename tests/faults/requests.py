"""``python -m tests.faults.requests``: almost valid requests of every route and page; no fault, no leak, nothing changed by a refusal."""

import argparse

from tests.faults import campaign


def _run(options: argparse.Namespace) -> campaign.Report:
    # Models can be imported once Django is set up, which the command does.
    from tests.faults import mutating

    return mutating.send_mutated(seed=options.seed, rounds=options.rounds)


if __name__ == "__main__":
    campaign.command(
        "tests.faults.requests",
        description="Each round sends one request of a route or page, changed in one to three ways, and judges the answer.",
        rounds=50_000,
        run=_run,
    )
