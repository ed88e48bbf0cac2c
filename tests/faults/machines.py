"""State machines of Hypothesis: bounty, claim, hold and ledger, each against a model in plain Python, on PostgreSQL."""

import argparse
import functools

from tests.faults import campaign
from tests.faults.campaign import Report

# Examples a machine: about 60,000 steps in all.
ROUNDS = 300


def run(*, seed: int, rounds: int, processes: int = 1) -> Report:
    """Run every machine for so many examples; a violation is the shortest story that the model does not agree with."""
    # Imported late: Django must be set up before a module that uses a model.
    from tests.faults import dividing
    from tests.faults.stateful import bounty, claim, hold, ledger, running

    report = Report({"steps": 0})
    # The longest lives first, so that processes end together.
    machines: list[type[running.Machine]] = [claim.ClaimMachine, bounty.BountyMachine, hold.HoldMachine, ledger.LedgerMachine]
    work = functools.partial(running.run, seed=seed, examples=rounds)
    for machine, done in dividing.each(machines, work, processes=processes):
        name = machine.__name__.removesuffix("Machine").lower()
        if isinstance(done, dividing.Lost):
            report.violations.append(f"{name}, seed {seed}, {rounds} rounds: {done.why}")
            continue
        report.count("steps", done.step_count)
        report.figures[f"{name}: steps"] = done.step_count
        report.figures[f"{name}: steps a second"] = done.steps_per_s
        report.figures[f"{name}: outcomes"] = ", ".join(f"{count} {outcome}" for outcome, count in sorted(done.outcomes.items()))
        if done.violation:
            report.violations.append(f"{name}, seed {seed}, {rounds} rounds: {done.violation}")
    return report


def _run(options: argparse.Namespace) -> Report:
    return run(seed=options.seed, rounds=options.rounds, processes=options.processes)


if __name__ == "__main__":
    campaign.command("tests.faults.machines", description=__doc__ or "", rounds=ROUNDS, run=_run, add_arguments=campaign.add_processes)
