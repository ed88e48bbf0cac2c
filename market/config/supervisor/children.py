"""Child processes that never outlive their parent, and are found again if they do."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from market.config.supervisor import identity

PR_SET_PDEATHSIG = 1
LOG_LIMIT_BYTES = 10 * 1024**2
POLL_S = 0.03


@dataclass(frozen=True)
class Program:
    """What to start, how it is asked to end, and as whom it runs (None: as ourselves)."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    # Beside this file, `<name>.pid` remembers the process in case the parent is killed.
    pid_folder: Path
    stop_signal: signal.Signals = signal.SIGTERM
    stop_within_s: float = 20.0
    service_identity: identity.Identity | None = None
    folder: Path = field(default_factory=lambda: Path("/"))


class Child:
    """A running program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.started_at_s = time.monotonic()
        self.process = _start(program)
        self._pid_file = program.pid_folder / f"{program.name}.pid"
        self._pid_file.write_text(f"{self.process.pid} {_started_ticks(self.process.pid)}")

    @property
    def exit_code(self) -> int | None:
        """The exit code once the process has ended."""
        return self.process.poll()

    def ask_to_stop(self) -> None:
        """Send the stop signal, if it still runs."""
        if self.process.poll() is None:
            self.process.send_signal(self.program.stop_signal)

    def wait_until_stopped(self) -> bool:
        """Wait for the end, kill what will not end, and take the group's stragglers along. Says whether it ended by itself."""
        try:
            self.process.wait(timeout=self.program.stop_within_s)
            ended_by_itself = True
        except subprocess.TimeoutExpired:
            ended_by_itself = False
        _kill_group(self.process.pid)
        self.process.wait()
        self._pid_file.unlink(missing_ok=True)
        return ended_by_itself

    def last_words(self, *, lines: int = 12) -> str:
        """Return the end of the log, for a person who must find out why it stopped."""
        with contextlib.suppress(OSError):
            return "\n".join(self.program.log.read_text(errors="replace").splitlines()[-lines:])
        return ""


def _start(program: Program) -> subprocess.Popen[bytes]:
    # Rotated only here: a running program holds the file open.
    if program.log.exists() and program.log.stat().st_size > LOG_LIMIT_BYTES:
        program.log.rename(program.log.with_suffix(".log.1"))
    account = program.service_identity
    bind_to_parent = _binding_to_parent(program.stop_signal)
    # Opened before the process becomes another account, which needs no right to write here.
    with os.fdopen(os.open(program.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
        return subprocess.Popen(  # noqa: S603 - programs of ours, no shell
            program.arguments,
            env=dict(program.environment),
            cwd=program.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C in the terminal reaches the parent alone, which stops its children in order.
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            umask=0o077,
            preexec_fn=bind_to_parent,
        )


def _binding_to_parent(stop_signal: signal.Signals) -> Callable[[], None] | None:
    """Return a hook that has the kernel send `stop_signal` when the parent dies, even by SIGKILL. Linux only.

    It runs after the change of account, because that change clears the wish.
    """
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def bind() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(stop_signal))
        if os.getppid() != parent:
            os._exit(1)

    return bind


def end_orphans(pid_folder: Path) -> list[str]:
    """End what a parent that was killed has left running; return the names.

    A process is known by its number and its start time together, so that a stranger with a reused number is left alone.
    """
    ended = []
    for pid_file in sorted(pid_folder.glob("*.pid")):
        pid_text, _, ticks = pid_file.read_text().partition(" ")
        if pid_text.isdigit() and ticks and _started_ticks(int(pid_text)) == ticks:
            _end(int(pid_text), ticks)
            ended.append(pid_file.stem)
        pid_file.unlink(missing_ok=True)
    return ended


def _end(pid: int, ticks: str) -> None:
    """Wait for an orphan, which had its stop signal when the parent died; then insist."""
    for sign, patience_s in ((None, 3.0), (signal.SIGINT, 10.0), (signal.SIGKILL, 10.0)):
        if sign is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sign)
        end_s = time.monotonic() + patience_s
        while time.monotonic() < end_s:
            if _started_ticks(pid) != ticks:
                return
            time.sleep(POLL_S)


def _started_ticks(pid: int) -> str:
    """Return the start time of a living process in clock ticks since boot (proc(5), field 22), or "" if there is none."""
    try:
        # The second field is the name in brackets and may hold anything, so count from behind its end.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]


def _kill_group(leader_pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader_pid, signal.SIGKILL)
