"""State machines of Hypothesis: bounty, claim, hold and ledger, each against a model in plain Python, on PostgreSQL."""

import argparse

from tests.faults import campaign
from tests.faults.campaign import Report

# Examples a machine: about 60,000 steps in all.
ROUNDS = 300


def run(*, seed: int, rounds: int) -> Report:
    """Run every machine for so many examples; a violation is the shortest story that the model does not agree with."""
    # Imported late: Django must be set up before a module that uses a model.
    from tests.faults.stateful import bounty, claim, hold, ledger, running

    report = Report()
    for machine in (ledger.LedgerMachine, hold.HoldMachine, claim.ClaimMachine, bounty.BountyMachine):
        done = running.run(machine, seed=seed, examples=rounds)
        name = machine.__name__.removesuffix("Machine").lower()
        report.count("steps", done.step_count)
        report.figures[f"{name}: steps"] = done.step_count
        report.figures[f"{name}: steps a second"] = done.steps_per_s
        report.figures[f"{name}: outcomes"] = ", ".join(f"{count} {outcome}" for outcome, count in sorted(done.outcomes.items()))
        if done.violation:
            report.violations.append(f"{name}, seed {seed}, {rounds} rounds: {done.violation}")
    return report


def _run(options: argparse.Namespace) -> Report:
    return run(seed=options.seed, rounds=options.rounds)


if __name__ == "__main__":
    campaign.command("tests.faults.machines", description=__doc__ or "", rounds=ROUNDS, run=_run)
