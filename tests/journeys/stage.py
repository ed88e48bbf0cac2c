"""A whole market of its own, started by the command a newcomer types, for stories told over HTTP and in a browser."""

import contextlib
import json
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_WITHIN_S = 180
STOP_WITHIN_S = 60
# What would lead the market to services that are not its own.
FOREIGN = ("DATABASE_URL", "REDIS_URL", "ATOMS_GPU_REDIS_URL", "ATOMS_ENV", "ATOMS_URL", "ATOMS_API_KEY", "DJANGO_SETTINGS_MODULE")


@dataclass(frozen=True)
class Stage:
    """A running market: where it answers and the keys it was started with."""

    url: str
    folder: Path

    @property
    def keys(self) -> dict[str, str]:
        """The local accounts' secrets: agent_key, worker_key, lease_key and operator_password."""
        kept: dict[str, str] = json.loads((self.folder / "keys.json").read_text())
        return kept

    def manage(self, *arguments: str, **environment: str) -> str:
        """Run a command of manage.py beside the market, as an operator would; return what it printed.

        Raises:
            subprocess.CalledProcessError: the command failed.
        """
        told = dict(line.split("=", 1) for line in shlex.split((self.folder / "environment").read_text()))
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env={**_own_environment(), **told, **environment}, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout


def _own_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in FOREIGN}


@contextlib.contextmanager
def open_market(folder: Path, *arguments: str) -> Iterator[Stage]:
    """Start `manage.py market` with its data in ``folder``; stop it as Ctrl-C does, and expect a clean end."""
    port = _free_port()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "market", "--port", str(port), *arguments],
        cwd=ROOT,
        env={**_own_environment(), "ATOMS_DATA_DIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        _wait_until_open(process, folder)
        yield Stage(url=f"http://127.0.0.1:{port}", folder=folder)
    finally:
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=STOP_WITHIN_S)[0].decode(errors="replace")
    assert process.returncode == 0, said


def _wait_until_open(process: subprocess.Popen[bytes], folder: Path) -> None:
    assert process.stdout is not None
    said = b""
    end_s = time.monotonic() + START_WITHIN_S
    # Read past Python's buffer: a line that waits there would never wake select.
    while b"The market is open" not in said and time.monotonic() < end_s:
        ready, _, _ = select.select([process.stdout], [], [], 1)
        more = os.read(process.stdout.fileno(), 65_536) if ready else b""
        said += more
        if ready and not more:
            break
    if b"The market is open" in said:
        return
    logs = "".join(f"\n== {log.name}\n{log.read_text(errors='replace')[-2000:]}" for log in sorted((folder / "logs").glob("*.log")))
    raise AssertionError(f"The market did not open:\n{said.decode(errors='replace')}{logs}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def readme_quickstart() -> str:
    """Return the Python of the README's quickstart, to the letter."""
    found = re.search(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.S | re.M)
    assert found, "README.md has no fenced Python block"
    return found[1]
