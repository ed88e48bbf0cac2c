"""The harness without its sandbox, for our own trees alone: to show that the sandbox changes no bit, and what it costs."""

import contextlib
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from gpu_workers.runner import conversation, harness
from gpu_workers.sandbox import running
from verification.replay.spec import Spec


class Bare:
    """One harness as a plain child process; it lies about nothing, so it needs no limits."""

    def __init__(self, child: "subprocess.Popen[bytes]", errors: IO[bytes]) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        self._child = child
        self._errors = errors
        self.stdin: IO[bytes] = child.stdin
        self.stdout: IO[bytes] = child.stdout

    @property
    def stderr(self) -> bytes:
        """What it wrote."""
        self._errors.seek(0)
        return self._errors.read()

    def kill(self) -> None:
        """End it."""
        if self._child.returncode is None:
            self._child.kill()

    def wait(self) -> running.Exit:
        """Wait for its end."""
        _, status, used = os.wait4(self._child.pid, 0)
        self._child.returncode = os.waitstatus_to_exitcode(status)
        return running.Exit(self._child.returncode, "killed", used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


class BarePlace(conversation.Place):
    """Where the harness runs without a sandbox; named like the level it is compared with."""

    @contextlib.contextmanager
    def start(self, spec: Spec, *, wall_s: int) -> Iterator[Bare]:
        folder = Path(harness.__file__).parent
        code = conversation.START.replace("/atoms", str(folder.parent))
        threads = str(self.threads)
        environment = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "OMP_WAIT_POLICY": "PASSIVE"}
        with tempfile.TemporaryFile() as errors:
            child = subprocess.Popen(
                [sys.executable, *conversation.ARGUMENTS[:-1], code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**environment, **conversation.ENVIRONMENT, **self.environment},
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
            )
            bare = Bare(child, errors)
            try:
                yield bare
            finally:
                if child.returncode is None:
                    bare.kill()
                    bare.wait()
                bare.stdin.close()
                bare.stdout.close()
