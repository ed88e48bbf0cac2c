"""A seeded simulation of the whole market that checks every invariant at each step; planted bugs show that it can fail."""

import argparse
import functools
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.faults import campaign

if TYPE_CHECKING:
    from tests.faults.simulation import world

STEPS = 5_000
# Within how many seeds, of so many steps, each planted bug must be found, its occasions made common.
BUG_SEEDS, BUG_STEPS = 12, 600
DESCRIPTION = "Simulate whole markets from seeds; a violation names the seed and the step that show it again."


def run(options: argparse.Namespace) -> campaign.Report:
    """Run ``rounds`` seeds, the first of them ``seed``; or every planted bug until it is found."""
    # Models can be imported once Django is set up, which the command does.
    from tests.faults import dividing

    if options.bugs:
        return _find_all(options)
    report = campaign.Report()
    began = time.monotonic()
    seeds = range(options.seed, options.seed + options.rounds)
    for seed, lived in dividing.each(seeds, functools.partial(_live, options), processes=options.processes):
        if isinstance(lived, dividing.Lost):
            report.violations.append(f"{lived.why} | again: {again(seed, options.steps, options.bug, is_hurried=options.hurry)}")
            continue
        report.count("seeds")
        report.count("steps", lived.steps)
        for what, many in sorted(lived.visited.items()):
            report.count(what, many)
        report.violations += [
            f"{words} | again: {again(seed, lived.steps, options.bug, is_hurried=options.hurry)}" for words in lived.violations
        ]
        if options.trace or lived.violations:
            print(f"seed {seed}: trace {lived.trace}", *lived.last_lines, sep="\n  ")
        if lived.violations:
            break
    steps = report.figures.get("steps", 0)
    assert isinstance(steps, int)
    report.figures["steps a second"] = round(steps / (time.monotonic() - began))
    return report


def _live(options: argparse.Namespace, seed: int) -> "world.Run":
    from tests.faults.simulation import bugs, world

    with bugs.planted(options.bug):
        return world.World(seed, bugs.mood_of(options.bug, is_hurried=options.hurry)).live(options.steps)


def again(seed: int, steps: int, bug: str = "", *, is_hurried: bool = False) -> str:
    """Return the command that shows a violation alone."""
    planted = (f" --bug {bug}" if bug else "") + (" --hurry" if is_hurried else "")
    return f"python -m tests.faults.market --seed {seed} --rounds 1 --steps {steps}{planted}"


@dataclass(frozen=True)
class Found:
    """Where and by which words a planted bug was found."""

    seed: int
    step: int
    words: str


def find(name: str, *, seeds: range, steps: int) -> Found | None:
    """Plant a bug, make its occasions common, and return how it was found; None if it was not.

    Raises:
        AssertionError: something broke that is not this bug.
    """
    from tests.faults.simulation import bugs, world

    for seed in seeds:
        with bugs.planted(name):
            lived = world.World(seed, bugs.mood_of(name, is_hurried=True)).live(steps)
        if lived.violations:
            assert bugs.is_shown(name, " ".join(lived.violations)), f"{name} was planted; found was {lived.violations}"
            return Found(seed, lived.steps, lived.violations[0])
    return None


def _find_all(options: argparse.Namespace) -> campaign.Report:
    from tests.faults import dividing
    from tests.faults.simulation import bugs

    report = campaign.Report()
    names = [name for name in bugs.BUGS if options.bug in ("", name)]
    seeds = range(options.seed, options.seed + BUG_SEEDS)
    for name, found in dividing.each(names, functools.partial(find, seeds=seeds, steps=BUG_STEPS), processes=options.processes):
        report.count("bugs planted")
        if isinstance(found, dividing.Lost):
            report.violations.append(f"planted bug {name}: {found.why}")
        elif found is None:
            report.violations.append(f"planted bug {name} was not found in {BUG_SEEDS} seeds of {BUG_STEPS} steps")
        else:
            report.count("bugs found")
            report.figures[name] = f"seed {found.seed} step {found.step}"
            print(f"{name}: seed {found.seed}, step {found.step}: {found.words[:160]}", flush=True)
    return report


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=STEPS, help=f"steps of one seed (default {STEPS})")
    parser.add_argument("--bug", default="", help="plant one bug (see --list-bugs)")
    parser.add_argument("--bugs", action="store_true", help="plant every bug in turn, hurried, each until it is found")
    parser.add_argument("--hurry", action="store_true", help="with --bug: make its occasions common")
    parser.add_argument("--list-bugs", action="store_true", help="name the bugs that can be planted")
    parser.add_argument("--trace", action="store_true", help="print each seed's trace hash and last lines")
    campaign.add_processes(parser)


def _list_bugs() -> None:
    import os

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "market.config.settings")
    import django

    django.setup()
    from tests.faults.simulation import bugs

    for name, bug in bugs.BUGS.items():
        print(f"{name:28} {bug.words}")


if __name__ == "__main__":
    if "--list-bugs" in sys.argv:
        _list_bugs()
        sys.exit()
    campaign.command("tests.faults.market", description=DESCRIPTION, rounds=20, run=run, add_arguments=_add_arguments)
