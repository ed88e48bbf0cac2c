"""Starts the market's command in a folder of its own and listens to what it says."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from market.config.environment import ROOT
from market.config.supervisor import credentials, folders, identity

FOREIGN = ("DATABASE_URL", "REDIS_URL", "PYTEST_XDIST_WORKER")
PATIENCE_S = 240
SERVICES_READY = "The services are ready"
COMMAND = "import sys; from market.config.supervisor import commands; sys.exit(commands.run(command='market', arguments=sys.argv[1:]))"


class Started:
    """A running command."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        kept = {name: value for name, value in os.environ.items() if name not in FOREIGN and not name.startswith("ATOMS_")}
        self.folder = folder
        self.said = ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, *arguments],
            cwd=ROOT,
            env={**kept, "ATOMS_DATA_DIR": str(folder), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        # A line that never comes shall fail the test, not hang it.
        self._patience = threading.Timer(PATIENCE_S, self.process.terminate)
        self._patience.daemon = True
        self._patience.start()

    def wait_for(self, words: str) -> None:
        """Read its lines until one holds these words; fail if it ends first."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if words in line:
                return
        raise AssertionError(f"It ended with {self.process.wait()} before it said {words!r}:\n{self.said}")

    def end(self) -> int:
        """Wait for its end and return the exit code."""
        self.said += self.process.communicate(timeout=60)[0]
        self._patience.cancel()
        return self.process.returncode

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end."""
        self.process.send_signal(sign)
        return self.end()


@contextlib.contextmanager
def start(folder: Path, *arguments: str, **environment: str) -> Iterator[Started]:
    """Start the command; whatever the test leaves running is ended."""
    started = Started(folder, *arguments, **environment)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.stop()
        assert started.process.stdout is not None
        started.process.stdout.close()


@contextlib.contextmanager
def reachable_folder() -> Iterator[Path]:
    """A short folder through which every account may pass; gone afterwards, with all that had to be put elsewhere."""
    root = Path(tempfile.mkdtemp(prefix="atoms-test-"))
    root.chmod(0o711)
    try:
        yield root
    finally:
        for below in (root / "data", *root.glob("*/data")):
            folders.DataFolder(root=below, service_identity=identity.for_services()).remove()
        shutil.rmtree(root, ignore_errors=True)


def processes_of(folder: Path) -> list[str]:
    """Name the living processes that were started with this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                if str(folder).encode() in told:
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found


def wait_until_gone(folder: Path) -> None:
    """Wait until nothing of the folder runs any more."""
    end_s = time.monotonic() + 30
    while left := processes_of(folder):
        assert time.monotonic() < end_s, left
        time.sleep(0.02)


def query(folder: Path, statement: str) -> list[tuple[object, ...]]:
    """Run a statement in the market's database, as its own role."""
    with psycopg.connect(environment_of(folder)["DATABASE_URL"], autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def environment_of(folder: Path) -> dict[str, str]:
    """Read what the command left for other commands beside it."""
    lines = (folder / "environment").read_text().splitlines()
    return {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}


def secrets_of(folder: Path) -> dict[str, str]:
    """Read the secrets that the first start made."""
    return credentials.read_strings(folder / "secrets.json")


@contextlib.contextmanager
def used_port() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])
