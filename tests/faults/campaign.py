"""What every campaign is: a command with a seed, a number of rounds and a report, in a database of its own."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Report:
    """What a campaign did (figures, in the order they are printed) and every promise that it saw broken."""

    figures: dict[str, int | float | str] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def count(self, name: str, number: int = 1) -> None:
        """Add to a figure."""
        before = self.figures.get(name, 0)
        assert isinstance(before, int), name
        self.figures[name] = before + number


def command(
    module: str,
    *,
    description: str,
    rounds: int,
    run: Callable[[argparse.Namespace], Report],
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None,
    has_database: bool = True,
) -> None:
    """Run a campaign as ``python -m tests.faults.NAME`` and end the process: status 1 where a promise was broken.

    Without DATABASE_URL it starts again beside services of its own; with one, it makes a database on that server and
    drops it at the end. ``has_database=False`` is for a campaign that starts, and kills, its own servers.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--seed", type=int, default=1, help="what every random choice is drawn from")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"how much of it is run (default {rounds})")
    parser.add_argument("--json", type=Path, help="write the report there as well")
    if add_arguments:
        add_arguments(parser)
    options = parser.parse_args()
    if has_database and "DATABASE_URL" not in os.environ:
        sys.exit(_beside_services(module))
    began = time.monotonic()
    report = _in_a_database(run, options) if has_database else run(options)
    report.figures["seconds"] = round(time.monotonic() - began, 1)
    show(report, module=module, options=options)
    sys.exit(1 if report.violations else 0)


def add_processes(parser: argparse.ArgumentParser) -> None:
    """Let a command be told among how many processes it divides its work (see `tests.faults.dividing`)."""
    many = len(os.sched_getaffinity(0))
    parser.add_argument("--processes", type=int, default=many, help=f"how many share the work (default {many}, one a core)")


def show(report: Report, *, module: str, options: argparse.Namespace) -> None:
    """Print a report, and write it as JSON where the options say."""
    print(f"{module} --seed {options.seed} --rounds {options.rounds}")
    width = max(len(name) for name in report.figures)
    for name, figure in report.figures.items():
        print(f"  {name:{width}}  {figure:>12,}" if isinstance(figure, int | float) else f"  {name:{width}}  {figure:>12}")
    for violation in report.violations[:20]:
        print(f"BROKEN: {violation}")
    print(f"{len(report.violations)} promises broken")
    if options.json:
        known = {name: value for name, value in vars(options).items() if name != "json"}
        written = {"campaign": module, "options": known, "figures": report.figures, "violations": report.violations}
        options.json.write_text(json.dumps(written, indent=2, default=str) + "\n", encoding="utf-8")


def _beside_services(module: str) -> int:
    again = [sys.executable, "-m", module, *sys.argv[1:]]
    return subprocess.run([sys.executable, str(ROOT / "manage.py"), "services", *again], cwd=ROOT, check=False).returncode


def _in_a_database(run: Callable[[argparse.Namespace], Report], options: argparse.Namespace) -> Report:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "market.config.settings")
    import django

    django.setup()
    import tempfile

    from django.db import connection
    from django.test.utils import override_settings

    from tests import edges

    first_name = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        edges.watch()
        with tempfile.TemporaryDirectory() as media, override_settings(MEDIA_ROOT=media):
            return run(options)
    finally:
        connection.creation.destroy_test_db(first_name, verbosity=0)
