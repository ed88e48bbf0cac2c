"""Asking the harness inside a sandbox: one question, one answer, under limits, while somebody may say stop.

The launcher's process never imports torch and never runs the tree. Whatever comes back is a stranger's word.
"""

import base64
import contextlib
import fcntl
import json
import math
import os
import select
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

import numpy as np
from numpy.typing import NDArray

from gpu_workers.runner import broker, harness
from gpu_workers.runner.harness import frames
from gpu_workers.sandbox import launch, limits, running
from verification.replay.spec import Spec

HARNESS_INSIDE = "/atoms/harness"
# torch's import makes a million objects that stay: not to search them for garbage meanwhile saves a tenth of the start.
START = "import gc, sys; gc.disable(); sys.path.insert(0, '/atoms'); from harness import inside; gc.freeze(); gc.enable(); inside.main()"
ARGUMENTS = ("-s", "-P", "-B", "-c", START)
# Set order is a stranger's innocent mistake, and would make its run differ from one process to the next.
ENVIRONMENT = {"PYTHONHASHSEED": "0", "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "TORCHINDUCTOR_DETERMINISTIC": "1"}
PACKAGES = ("torch", "numpy", "safetensors")
# Words of the harness, as it writes them; another word from inside is "raised".
TREE_CODES = frozenset({
    "interface_missing",
    "trainer_malformed",
    "logits_malformed",
    "state_unsaveable",
    "state_between_steps",
    "memory",
    "exited",
    "raised",
})  # fmt: skip
# How often a stop is asked about while the harness computes.
LOOK_MS = 200
MOST_ASSET_BYTES = 64 << 20
_READ_AT_ONCE = 1 << 20
_PIPE_BYTES = 1 << 20


class RunFailed(Exception):
    """The tree's run can't be finished; `code` is a published word, `detail` may be the stranger's and is for people's eyes alone.

    Codes: `interface_missing`, `trainer_malformed`, `logits_malformed`, `state_unsaveable`, `state_between_steps`, `raised`, `exited`,
    `memory`, `wall_clock`, `cpu`, `output`, `protocol` (it answered out of turn or nonsense), and those of `checkpoints.BadCheckpoint`.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Stopped(Exception):
    """`should_stop` said so; what was done until then is kept on the disk."""


class Running(Protocol):
    """A started harness: the part of `running.Running` that is used here."""

    @property
    def stdin(self) -> IO[bytes]: ...
    @property
    def stdout(self) -> IO[bytes]: ...
    @property
    def stderr(self) -> bytes: ...
    def kill(self) -> None: ...
    def wait(self) -> running.Exit: ...


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where strangers' trees run on this machine.

    Attributes:
        level: of the sandbox; that it holds is for `levels.require` to say, once at the start of the program.
        threads: of torch; a part of the class key.
        environment: variables of the numerical libraries that make another class; for measurements, empty otherwise.
    """

    level: str
    threads: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)

    def start(self, spec: Spec, *, wall_s: int) -> contextlib.AbstractContextManager[Running]:
        """Start an empty harness under the limits of the spec.

        Raises:
            whatever `launch.Sandbox.start` raises: this machine can't.
        """
        sandbox = launch.Sandbox(
            level=self.level,
            limits=limits.Limits(
                wall_s=max(1, wall_s),
                cpu_s=max(1, wall_s) * self.threads + 10,
                memory_mib=spec.memory_mib,
                cpus=self.threads,
                output_bytes=1 << 40,
            ),
            read_only={HARNESS_INSIDE: Path(harness.__file__).parent},
            environment=ENVIRONMENT | dict(self.environment),
            packages=PACKAGES,
        )
        return sandbox.start([launch.PYTHON, *ARGUMENTS])


@contextlib.contextmanager
def opened(
    *,
    spec: Spec,
    place: Place,
    files: Mapping[str, str],
    seed: int,
    data: Mapping[str, Path],
    wall_s: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator["Conversation"]:
    """Start a sandbox, load the tree and build its trainer; leaving ends every process inside.

    Raises:
        RunFailed: the tree can't be loaded.
        Stopped: asked to.
        broker.WrongData: an asset is not the one of the spec.
    """
    with place.start(spec, wall_s=wall_s) as started:
        conversation = Conversation(started, should_stop=should_stop)
        setup = {
            "interface": spec.interface,
            "precision": spec.precision,
            "files": dict(files),
            "assets": _assets(spec, data),
            "seed": seed,
            "threads": place.threads,
            "budget": {"steps": spec.steps, "rows": spec.rows, "sequence": spec.sequence, "vocabulary": spec.vocabulary},
        }
        conversation.ask(frames.SETUP, json.dumps(setup).encode())
        yield conversation


class Conversation:
    """The runner's end of the pipes."""

    def __init__(self, started: Running, *, should_stop: Callable[[], bool]) -> None:
        self._running = started
        self._should_stop = should_stop
        self._into, self._from = started.stdin.fileno(), started.stdout.fileno()
        os.set_blocking(self._into, False)
        for descriptor in (self._into, self._from):
            # A checkpoint then takes a few turns instead of dozens. Where the system grants less, it goes on with what there is.
            with contextlib.suppress(PermissionError):
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._read = bytearray()

    def train(self, step: int, rows: NDArray[np.int64]) -> float | None:
        """Have one batch learnt; return the loss that the tree reports, None where it is no finite number.

        For the interface "autoresearch/1", `rows` holds the batch of the step after this one as well.
        """
        # Between steps, so that a state that was asked for is still written.
        if self._should_stop():
            raise Stopped
        content = frames.STEP_NUMBER.pack(step) + rows.astype("<i8").tobytes()
        return _reported_loss(self.ask(frames.STEP, content))

    def state(self, step: int, most_bytes: int) -> bytes:
        """Fetch the state after `step` steps."""
        return self.ask(frames.STATE, frames.STEP_NUMBER.pack(step), most_bytes=most_bytes)

    def restore(self, checkpoint: bytes) -> None:
        """Put a checkpoint in."""
        self.ask(frames.RESTORE, checkpoint)

    def put_weights_in(self, checkpoint: bytes) -> None:
        """Put the weights of a checkpoint in, for `logits`."""
        self.ask(frames.WEIGHTS, checkpoint)

    def logits(self, rows: NDArray[np.int64], vocabulary: int) -> NDArray[np.float32]:
        """Have rows x length tokens scored: rows x length x vocabulary of whatever numbers the tree says."""
        count, length = rows.shape
        expected = count * length * vocabulary * 4
        content = frames.LOGITS_SHAPE.pack(count, length) + rows.astype("<i8").tobytes()
        answer = self.ask(frames.LOGITS, content, most_bytes=expected)
        if len(answer) != expected:
            raise RunFailed("logits_malformed", f"{len(answer)} bytes of logits, expected {expected}")
        return np.frombuffer(answer, "<f4").reshape(count, length, vocabulary)

    def ask(self, kind: bytes, content: bytes, *, most_bytes: int = frames.MOST_WORDS_BYTES) -> bytes:
        """Send one frame and give the content of the answer.

        Raises:
            RunFailed: the tree failed, was ended by a limit, or answered something else than an answer.
            Stopped: asked to.
        """
        self._send(frames.HEADER.pack(kind, len(content)) + content)
        answer, length = frames.HEADER.unpack(self._receive(frames.HEADER.size))
        most = most_bytes if answer == frames.DONE else frames.MOST_WORDS_BYTES
        if kind == frames.STATE and answer == frames.DONE and length > most:
            raise RunFailed("state_too_large", f"a checkpoint of this run has at most {most} bytes, not {length}")
        if answer not in (frames.DONE, frames.FAILED) or length > most:
            raise RunFailed("protocol", f"answered {answer!r} with {length} bytes, allowed are {most}")
        found = self._receive(length)
        if self._read:
            raise RunFailed("protocol", "spoke without being asked")
        if answer == frames.FAILED:
            raise _failure(found)
        return found

    def end(self) -> running.Exit:
        """End the sandbox and say what it used."""
        self._running.kill()
        return self._running.wait()

    def _send(self, content: bytes) -> None:
        view = memoryview(content)
        while view:
            try:
                view = view[os.write(self._into, view) :]
            except BlockingIOError:
                self._wait_for(self._into, select.POLLOUT)
            except BrokenPipeError:
                raise self._ended() from None

    def _receive(self, length: int) -> bytes:
        while len(self._read) < length:
            self._wait_for(self._from, select.POLLIN)
            chunk = os.read(self._from, _READ_AT_ONCE)
            if not chunk:
                raise self._ended()
            self._read += chunk
        content = bytes(self._read[:length])
        del self._read[:length]
        return content

    def _wait_for(self, descriptor: int, event: int) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        while not poll.poll(LOOK_MS):
            if self._should_stop():
                raise Stopped

    def _ended(self) -> RunFailed:
        """Say why the sandbox has no more to say; its clock ends one that only closed its pipes."""
        found = self._running.wait()
        words = self._running.stderr.decode("utf-8", "replace")[-1000:]
        return RunFailed("exited" if found.reason == "killed" else found.reason, f"exit status {found.code}: {words}")


Opened = contextlib.AbstractContextManager[Conversation]


def _failure(content: bytes) -> RunFailed:
    found = _words(content)
    code = found.get("code")
    return RunFailed(code if isinstance(code, str) and code in TREE_CODES else "raised", str(found.get("detail"))[:2000])


def _reported_loss(content: bytes) -> float | None:
    try:
        loss = float(str(_words(content).get("loss")))
    except ValueError:
        return None
    return loss if math.isfinite(loss) and abs(loss) < 1e9 else None


def _words(content: bytes) -> dict[str, object]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise RunFailed("protocol", "answered something that is no JSON object")
    return found


def _assets(spec: Spec, data: Mapping[str, Path]) -> dict[str, str]:
    found = {}
    for file in spec.files("asset"):
        if file.byte_count > MOST_ASSET_BYTES:
            raise broker.WrongData(f"{file.name} is larger than an asset may be, {MOST_ASSET_BYTES} bytes")
        found[file.name] = base64.b64encode(broker.checked(file, data).read_bytes()).decode("ascii")
    return found
