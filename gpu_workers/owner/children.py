"""Starts, hears and kills the process that trains; its end, however it comes, is one event."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO

import psutil

from gpu_workers.owner import folder as folders
from gpu_workers.owner import machine
from gpu_workers.owner.machine import Do, Stage

TRAINER = (sys.executable, "-m", "gpu_workers.owner.train_child")
# From the wish to stop until the kill; with what the kill takes, less than two seconds.
GRACE_S = 1.0
_LONGEST_LINE = 4_096
# All of the environment that a trainer sees: never the key.
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "CUDA_HOME", "PYTHONPATH")


def environment(*, threads: int, card: int | None, variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment of a trainer: few words of ours, the threads and the one card that it may use."""
    passed_on = {name: variables[name] for name in _PASSED_ON if name in variables}
    # Threads that spin while they wait starve each other on a busy machine.
    return {
        **passed_on,
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "CUDA_VISIBLE_DEVICES": "" if card is None else str(card),
    }


class Trainee:
    """One training in a process of its own. `tell` gets its events, from a thread."""

    def __init__(
        self,
        run: machine.Run,
        *,
        folder: folders.Folder,
        tell: Callable[[machine.Event], None],
        command: Sequence[str],
        variables: Mapping[str, str],
    ) -> None:
        self._run = run
        self._folder = folder
        self._tell = tell
        path = folder.run_folder(run.id)
        with (path / "trainer.log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  our own program, without a shell
                [*command, str(os.getpid()), str(path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=dict(variables),
                # Ctrl-C in the terminal reaches us alone.
                start_new_session=True,
            )
        self.pid = self._process.pid
        self._ears = threading.Thread(target=self._hear, name="trainer-ears", daemon=True)
        self._ears.start()

    def stop(self) -> None:
        """Have it end: asked first, and killed with everything below it `GRACE_S` later. Returns at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        killer = threading.Timer(GRACE_S, self.kill)
        killer.daemon = True
        killer.start()

    def kill(self) -> None:
        """Kill it and everything below it, now."""
        if self._process.poll() is not None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            below = psutil.Process(self._process.pid).children(recursive=True)
            self._process.kill()
            for process in below:
                # What the sandbox started has its own session; a group's signal would miss it.
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()

    def wait(self) -> None:
        """Wait until it has ended and its last event is told."""
        self._ears.join()

    def _hear(self) -> None:
        reason = ""
        assert self._process.stdout is not None
        with self._process.stdout as said:
            for words in _words(said):
                step = words.get("step")
                if isinstance(step, int) and not isinstance(step, bool) and step >= 0:
                    self._tell(machine.Progressed(self._run.id, self._run.token, min(step, self._run.steps or step)))
                reason = str(words.get("failed", reason))[:80]
        self._process.wait()
        self._tell(ended(self._folder, self._run, reason))


def ended(folder: folders.Folder, run: machine.Run, reason: str = "") -> machine.Event:
    """Return what the end of a trainer means: a result on the disk counts, whatever else was said."""
    if (folder.run_folder(run.id) / "result.json").exists():
        return machine.Done(run.id, run.token, Do.TRAIN, stage=Stage.TRAINED)
    return machine.Stopped(run.id, run.token, reason)


def _words(said: IO[bytes]) -> Iterator[dict[str, object]]:
    """Yield the objects that a trainer says, one a line; what is none is passed over."""
    while line := said.readline(_LONGEST_LINE):
        with contextlib.suppress(ValueError):
            words = json.loads(line)
            if isinstance(words, dict):
                yield words
