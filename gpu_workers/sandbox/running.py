"""A sandbox that runs: its pipes, its clock, what it used and how it ended."""

import contextlib
import io
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self

from gpu_workers.sandbox import cgroups
from gpu_workers.sandbox.limits import MIB, Limits

STDERR_KEPT_BYTES = 64 << 10
# How often use is compared with its limits; the wall clock is waited for exactly.
LOOK_S = 0.25
# bubblewrap reports the end of its child at once; one that doesn't is ended itself.
_PATIENCE_S = 2.0
_KILLED = 128 + signal.SIGKILL
_CPU_SIGNAL = 128 + signal.SIGXCPU

Reason = Literal["exited", "wall_clock", "cpu", "memory", "output", "killed"]


class NotStarted(Exception):
    """The program in the sandbox never began; the message is what the sandbox said."""


class OutputTooLarge(Exception):
    """More came out than the sandbox's `output_bytes`; it has been killed."""


@dataclass(frozen=True)
class Exit:
    """How a sandbox ended.

    Attributes:
        code: the program's exit status; 128 + signal number where a signal ended it.
        reason: "exited" by itself, or the limit that ended it ("wall_clock", "cpu", "memory", "output"), or "killed" by the caller.
        cpu_s: CPU seconds of all its processes.
        peak_memory_bytes: the most memory held at once: of the tree where cgroups count it, else the larger of what was seen of the
            tree and its largest process.
    """

    code: int
    reason: Reason
    cpu_s: float
    peak_memory_bytes: int


@dataclass(frozen=True)
class Command:
    """What to execute on this machine to have a sandbox.

    Attributes:
        argv: the stage with its plan.
        inherited: descriptors it needs; ours are closed once it runs.
        told_by: where bubblewrap tells its state as JSON documents; None for other runtimes.
        processes: limit of processes to set when that state names the child; 0 when the stage sets it.
        released_by: where to write to let the child go on after that.
        folder: what to remove at the end.
    """

    argv: tuple[str, ...]
    inherited: tuple[int, ...]
    told_by: int | None = None
    processes: int = 0
    released_by: int | None = None
    folder: Path | None = None

    def clean_up(self) -> None:
        """Close and remove what only this command used."""
        for descriptor in (self.told_by, self.released_by):
            if descriptor is not None:
                os.close(descriptor)
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


class CappedOutput(io.RawIOBase):
    """The sandbox's standard output, of which at most `most` bytes can be read."""

    def __init__(self, raw: int, most: int, on_excess: Callable[[], None]) -> None:
        self._raw = raw
        self._left = most
        self._on_excess = on_excess

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # io's own stub has a private type here
        """Read into `buffer`.

        Raises:
            OutputTooLarge: the sandbox wrote more than it may.
        """
        count = os.readv(self._raw, [buffer])
        self._left -= count
        if self._left < 0:
            self._on_excess()
            raise OutputTooLarge("the sandbox wrote more than its output_bytes to standard output and was killed")
        return count

    def close(self) -> None:
        if not self.closed:
            os.close(self._raw)
        super().close()


class Running:
    """One started sandbox. Use it as a context manager: leaving it kills whatever still runs.

    `stdin` and `stdout` are binary pipes. Reading more than `output_bytes` raises `OutputTooLarge`; a full pipe that nobody reads
    just waits for the clock.
    """

    stdin: IO[bytes]
    stdout: IO[bytes]

    def __init__(self, *, command: Command, limits: Limits, group: cgroups.Group) -> None:
        self._command = command
        self._limits = limits
        self._group = group
        self._lock = threading.Lock()
        self._reason: Reason = "exited"
        self._kept = bytearray()
        self._told = b""
        self._child: int | None = None
        self._child_id = 0
        self._process_handle: int | None = None
        self._seen_memory_bytes = 0
        self._seen_cpu_s = 0.0
        self._exit: Exit | None = None
        self._failures: list[OSError] = []
        self._started = threading.Event()
        self._ended = threading.Event()
        # The kernel kills a child with the *thread* that made it, so the thread that makes it is the one that waits for its end.
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)
        self._thread.start()
        self._started.wait()
        for failure in self._failures:
            self._thread.join()
            raise NotStarted(str(failure)) from failure

    @property
    def stderr(self) -> bytes:
        """The last `STDERR_KEPT_BYTES` of standard error: a stranger's words, for people's eyes alone."""
        with self._lock:
            return bytes(self._kept)

    def kill(self) -> None:
        """End every process in the sandbox now. Harmless when it has ended."""
        self._end("killed")

    def wait(self) -> Exit:
        """Wait for the end, which the wall clock promises, and say how it was.

        Raises:
            NotStarted: the program never began.
        """
        self._ended.wait()
        if self._exit is None:
            raise NotStarted(self.stderr.decode("utf-8", "replace").strip() or "the sandbox ended before its program began")
        return self._exit

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()
        self._ended.wait()
        self._thread.join()
        # What was not yet flushed has no reader any more.
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()
        self.stdout.close()

    def _end(self, reason: Reason) -> None:
        with self._lock:
            if self._process_handle is None:
                return
            if self._reason == "exited":
                self._reason = reason
            # The first process inside takes all others with it, and bubblewrap stays to count what they used.
            target = self._child if self._child is not None else self._process_handle
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(target, signal.SIGKILL)

    def _run(self) -> None:
        try:
            process = subprocess.Popen(  # noqa: S603 - runs the stage
                self._command.argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # What bubblewrap starts with can be read inside as /proc/1/environ, whatever is cleared later.
                env={},
                cwd="/",
                pass_fds=self._command.inherited,
            )
        except OSError as error:
            self._failures.append(error)
            self._close_inherited()
            self._command.clean_up()
            self._group.remove()
            self._started.set()
            self._ended.set()
            return
        self._close_inherited()
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process_handle = os.pidfd_open(process.pid)
        self.stdin = process.stdin
        duplicate = os.dup(process.stdout.fileno())
        process.stdout.close()
        self.stdout = io.BufferedReader(CappedOutput(duplicate, self._limits.output_bytes, lambda: self._end("output")))
        self._started.set()
        try:
            self._watch(process.stderr.fileno())
        finally:
            self._finish(process)

    def _close_inherited(self) -> None:
        for descriptor in self._command.inherited:
            os.close(descriptor)

    def _watch(self, errors: int) -> None:
        """Keep standard error, learn who runs inside, and hold clock and limits until the sandbox's outer process has ended."""
        handle = self._process_handle
        assert handle is not None
        until = time.monotonic() + self._limits.wall_s
        error_bytes = 0
        poll = select.poll()
        for descriptor in (handle, errors, self._command.told_by):
            if descriptor is not None:
                poll.register(descriptor, select.POLLIN)
        look_at = time.monotonic() + LOOK_S
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(max(0.0, min(until, look_at) - time.monotonic()) * 1000)}
            if errors in ready:
                chunk = os.read(errors, 65536)
                error_bytes += len(chunk)
                self._keep(chunk)
                if not chunk:
                    poll.unregister(errors)
                elif error_bytes > self._limits.output_bytes:
                    self._end("output")
            if self._command.told_by in ready and not self._listen():
                poll.unregister(self._command.told_by)
            if handle in ready:
                self._drain(errors)
                return
            now = time.monotonic()
            if now >= until:
                if self._reason != "exited":
                    # It was told to end and has not: its outer process goes too.
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                self._end("wall_clock")
                until = now + _PATIENCE_S
            if now >= look_at:
                look_at = now + LOOK_S
                self._look()
                if self._reason != "exited":
                    until = min(until, now + _PATIENCE_S)

    def _keep(self, chunk: bytes) -> None:
        with self._lock:
            self._kept += chunk
            del self._kept[:-STDERR_KEPT_BYTES]

    def _drain(self, errors: int) -> None:
        os.set_blocking(errors, False)
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(errors, 65536):
                self._keep(chunk)
        if self._command.told_by is not None:
            while self._listen():
                pass

    def _listen(self) -> bool:
        """Read what bubblewrap tells of its child; False at the end."""
        assert self._command.told_by is not None
        chunk = os.read(self._command.told_by, 4096)
        self._told += chunk
        if self._child is None and (told := self._document("child-pid")) is not None:
            self._child_id = told
            with self._lock, contextlib.suppress(ProcessLookupError):
                self._child = os.pidfd_open(told)
            if self._command.processes:
                most = self._command.processes
                with contextlib.suppress(ProcessLookupError):
                    resource.prlimit(told, resource.RLIMIT_NPROC, (most, most))
            if self._command.released_by is not None:
                with contextlib.suppress(BrokenPipeError):
                    os.write(self._command.released_by, b"1")
        return bool(chunk)

    def _document(self, key: str) -> int | None:
        for line in self._told.splitlines():
            with contextlib.suppress(ValueError):
                told = json.loads(line)
                if key in told:
                    return int(told[key])
        return None

    def _look(self) -> None:
        """End the sandbox when all its processes together have used too much."""
        if self._group.is_out_of_memory():
            # Version 1 ends one process; what is left of a program that lost one is not worth its time.
            self._end("memory")
        cpu_s = self._group.cpu_s()
        counted_bytes = self._group.peak_memory_bytes()
        if (cpu_s is None or counted_bytes is None) and self._child_id:
            tree_cpu_s, tree_bytes = use_of_tree(self._child_id)
            cpu_s = tree_cpu_s if cpu_s is None else cpu_s
            self._seen_memory_bytes = max(self._seen_memory_bytes, tree_bytes)
            if counted_bytes is None and tree_bytes > self._limits.memory_mib * MIB:
                self._end("memory")
        self._seen_cpu_s = max(self._seen_cpu_s, cpu_s or 0.0)
        if self._seen_cpu_s > self._limits.cpu_s:
            self._end("cpu")

    def _finish(self, process: "subprocess.Popen[bytes]") -> None:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.stderr is not None
        process.stderr.close()
        cpu_s = self._group.cpu_s()
        peak = self._group.peak_memory_bytes()
        is_out_of_memory = self._group.is_out_of_memory()
        with self._lock:
            for handle in (self._process_handle, self._child):
                if handle is not None:
                    os.close(handle)
            self._process_handle = self._child = None
        self._command.clean_up()
        code = process.returncode if self._command.told_by is None else self._document("exit-code")
        if code is None and self._child_id and (self._reason != "exited" or process.returncode < 0):
            # bubblewrap itself was ended, and everything inside with it: by us, by the kernel, or by whoever may.
            code = _KILLED
            if self._reason == "exited" and not is_out_of_memory:
                self._reason = "wall_clock" if process.returncode == -signal.SIGALRM else "killed"
        if code is not None:
            code = 128 - code if code < 0 else code
            cpu_s = max(used.ru_utime + used.ru_stime, self._seen_cpu_s) if cpu_s is None else cpu_s
            reason = self._reason
            if reason == "exited" and is_out_of_memory:
                reason = "memory"
            elif reason == "exited" and (code == _CPU_SIGNAL or (code == _KILLED and cpu_s >= self._limits.cpu_s)):
                reason = "cpu"
            self._exit = Exit(code, reason, cpu_s, max(used.ru_maxrss * 1024, self._seen_memory_bytes) if peak is None else peak)
        self._group.remove()
        self._ended.set()


def use_of_tree(first: int) -> tuple[float, int]:
    """Give CPU seconds and anonymous plus shared memory in bytes of process `first` and all its descendants, as far as they are alive."""
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    cpu_s = 0.0
    memory_bytes = 0
    waiting = [first]
    while waiting:
        folder = Path(f"/proc/{waiting.pop()}")
        try:
            fields = (folder / "stat").read_text("ascii", "replace").rpartition(")")[2].split()
            cpu_s += sum(int(field) for field in fields[11:15]) / ticks_per_s
            for line in (folder / "status").read_text("ascii", "replace").splitlines():
                if line.startswith(("RssAnon:", "RssShmem:")):
                    memory_bytes += int(line.split()[1]) * 1024
            for task in (folder / "task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text().split()]
        except (OSError, ValueError):
            # It ended while it was looked at.
            continue
    return cpu_s, memory_bytes
