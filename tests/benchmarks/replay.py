"""``python -m tests.benchmarks.replay``: every figure of the replay protocol, each part in a process of its own, one report.

Statistics are simulated (no training); overhead, forged segments and honest ones across classes are measured on this machine; the start of
a sandbox is timed. Each part is a command itself and says what it does.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

PARTS = {
    "statistics": ("tests.benchmarks.replay_statistics", ()),
    "overhead": ("tests.benchmarks.replay_overhead", ()),
    "sandbox start": ("tests.benchmarks.sandbox_start", ()),
}


def measure(names: list[str]) -> tuple[dict[str, object], list[str]]:
    """Run parts one after the other, so that none disturbs another's times; return their figures and which ones broke a promise."""
    figures: dict[str, object] = {}
    broken = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            module, arguments = PARTS[name]
            path = Path(folder) / "figures.json"
            path.unlink(missing_ok=True)
            done = subprocess.run([sys.executable, "-m", module, *arguments, "--json", str(path)], check=False)
            figures[name] = json.loads(path.read_text("utf-8")) if path.exists() else None
            broken += [name] if done.returncode or figures[name] is None else []
    return figures, broken


def main() -> None:
    """Print what each part prints, write all of it, and end with status 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.replay", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--part", choices=sorted(PARTS), action="append", help="only this one; may be given more than once")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    figures, broken = measure(options.part or list(PARTS))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    for name in broken:
        print(f"BROKEN: {name}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
