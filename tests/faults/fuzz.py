"""``python -m tests.faults.fuzz``: readers of strangers' bytes, each given inputs that grow from what they make it do.

Each reader has a process of its own. An exception that it does not document, an input that takes more than 5 s, a process of more
than 512 MB or a result that is not what was promised ends it, and is a violation. Where the package ``atheris`` is installed its
coverage of our code leads the inputs; otherwise they are blind changes of good ones, and the report says so.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.faults import campaign

READERS = ("json", "address", "money", "ids", "cursor", "idempotency", "photo", "webhook", "bank", "text")
# Long enough for any of them; a hang ends by itself.
_PATIENCE_S = 7_200
_LAST_LINES = 12


def fuzz(reader: str, *, seed: int, rounds: int, report: campaign.Report, corpus: Path | None = None, planted: str = "") -> None:
    """Run one reader ``rounds`` times in a process of its own; inputs that led further are kept in ``corpus``."""
    with tempfile.TemporaryDirectory() as folder:
        kept = corpus / reader if corpus else Path(folder) / "corpus"
        kept.mkdir(parents=True, exist_ok=True)
        found = Path(folder) / "found"
        found.mkdir()
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.fuzz_driver", reader, str(rounds), str(seed), str(kept), str(found), planted],
            cwd=campaign.ROOT,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_PATIENCE_S,
        )
        said = done.stdout + done.stderr
        inputs = [path.read_bytes()[:300] for path in sorted(found.iterdir())]
    report.figures["engine"] = _last(r"^engine: (.*)$", said) or "none"
    executions = int(_last(r"number_of_executed_units: (\d+)", said) or 0)
    report.figures[f"{reader}: executions"] = executions
    coverage = _last(r"cov: (\d+)", said)
    if coverage:
        report.figures[f"{reader}: edges covered"] = int(coverage)
    if done.returncode:
        report.violations.append(f"{reader}, seed {seed}: status {done.returncode} at {inputs}: {_error(said)}")
    elif executions < rounds:
        report.violations.append(f"{reader}, seed {seed}: only {executions} of {rounds} executions")


def _last(pattern: str, text: str) -> str:
    found = re.findall(pattern, text, re.MULTILINE)
    return found[-1] if found else ""


def _error(said: str) -> str:
    """Return the exception that came out, or what the engine says of a hang or of memory."""
    exception = re.search(r"^ === Uncaught Python exception: ===\n(.*)$", said, re.MULTILINE)
    engine = _last(r"^.*ERROR: libFuzzer: (.*)$", said)
    return exception[1] if exception else engine or "\n".join(said.splitlines()[-_LAST_LINES:])


def _run(options: argparse.Namespace) -> campaign.Report:
    report = campaign.Report()
    for reader in options.reader or READERS:
        fuzz(reader, seed=options.seed, rounds=options.rounds, report=report, corpus=options.corpus)
    return report


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reader", action="append", choices=READERS, help="only this one; may be repeated")
    parser.add_argument("--corpus", type=Path, help="where inputs are kept and taken up again (default: nowhere)")


if __name__ == "__main__":
    campaign.command(
        "tests.faults.fuzz",
        description="Fuzz every reader of strangers' bytes: no undocumented exception, hang or hunger.",
        rounds=200_000,
        run=_run,
        add_arguments=_add_arguments,
        has_database=False,
    )
