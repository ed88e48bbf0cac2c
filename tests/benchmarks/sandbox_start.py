"""What a sandbox adds to the start of a program: `python -c pass` alone, and the same in a sandbox of level `bwrap-cpu`.

Run: `python -m tests.benchmarks.sandbox_start [--rounds 50] [--json PATH]`. Rounds alternate, so that other work on the machine touches
both; the overhead is the median of the differences within a round.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from gpu_workers.sandbox import launch, levels
from gpu_workers.sandbox.limits import Limits

PASS = ("-c", "pass")
LIMITS = Limits(wall_s=60, cpu_s=10, memory_mib=512)
# The promise of the design: a sandbox starts within this.
MOST_MS = 50.0


def bare_ms() -> float:
    """Start and end this very interpreter."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *PASS], check=True, stdin=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1000


def sandboxed_ms(sandbox: launch.Sandbox) -> float:
    """Start and end it in the sandbox, until its control groups are gone."""
    began = time.perf_counter()
    with sandbox.start([launch.PYTHON, *PASS]) as started:
        assert started.wait().code == 0
    return (time.perf_counter() - began) * 1000


def measure(rounds: int) -> dict[str, float | int | str]:
    """Measure `rounds` alternating starts after one of each that fills the caches; times in milliseconds."""
    found = levels.require("bwrap-cpu")
    training = launch.Sandbox(level="bwrap-cpu", limits=LIMITS, packages=("torch", "numpy", "safetensors"))
    plain = launch.Sandbox(level="bwrap-cpu", limits=LIMITS)
    bare: list[float] = []
    sandboxed: list[float] = []
    with_packages: list[float] = []
    for number in range(rounds + 1):
        times = bare_ms(), sandboxed_ms(plain), sandboxed_ms(training)
        if number:
            for kept, taken in zip((bare, sandboxed, with_packages), times, strict=True):
                kept.append(taken)
    return {
        "rounds": rounds,
        "bare ms, median": statistics.median(bare),
        "sandboxed ms, median": statistics.median(sandboxed),
        "overhead ms, median": statistics.median(inside - outside for inside, outside in zip(sandboxed, bare, strict=True)),
        "overhead with torch shown ms, median": statistics.median(
            inside - outside for inside, outside in zip(with_packages, bare, strict=True)
        ),
        "sandboxed ms, highest": max(sandboxed),
        "control groups": found.cgroup,
        "user": "root" if os.geteuid() == 0 else "ordinary",
    }


def main() -> None:
    """Measure, print, and end with status 1 when the overhead is above the promise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    figures = measure(asked.rounds)
    for name, figure in figures.items():
        print(f"{name:40} {figure if isinstance(figure, str | int) else round(figure, 1)}")
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1), "utf-8")
    overhead = figures["overhead ms, median"]
    assert isinstance(overhead, float)
    sys.exit(overhead > MOST_MS)


if __name__ == "__main__":
    main()
