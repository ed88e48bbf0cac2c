"""Runs Python code in a sandbox and gives what it said, for the tests beside this file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_workers.sandbox import launch, running
from gpu_workers.sandbox.limits import Limits


@dataclass(frozen=True)
class Said:
    """All of standard output, the end of standard error, and how it ended."""

    output: str
    errors: str
    exit: running.Exit


def limits(**changed: int) -> Limits:
    """Limits of a small job, some of them changed."""
    return Limits(**{"wall_s": 60, "cpu_s": 30, "memory_mib": 256, "processes": 16, "tmp_mib": 4, **changed})


def sandbox(*, read_only: Mapping[str, Path] | None = None, packages: tuple[str, ...] = (), **changed: Any) -> launch.Sandbox:
    """A sandbox with the limits of a small job, some of them changed."""
    return launch.Sandbox(level="bwrap-cpu", limits=limits(**changed), read_only=read_only or {}, packages=packages)


def python(code: str, *, given: bytes = b"", within: launch.Sandbox | None = None) -> Said:
    """Run `code` to its end, reading all it writes."""
    with (within or sandbox()).start([launch.PYTHON, "-I", "-c", code]) as started:
        started.stdin.write(given)
        started.stdin.close()
        output = started.stdout.read()
        ended = started.wait()
        return Said(output.decode(), started.stderr.decode(), ended)
