"""The folder of one run on disk: whatever moment the runner is killed at, it holds a whole result, or a whole part to go on from."""

import contextlib
import dataclasses
import fcntl
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gpu_workers.runner import checkpoints
from verification.replay import digests, reports
from verification.replay.digests import Tensor
from verification.replay.spec import Spec

REPORT = "report.json"
JOURNAL = "journal.json"
LOCK = "lock"


class Busy(Exception):
    """Another runner works in this folder."""


@dataclass(frozen=True)
class Identity:
    """Which run a folder belongs to."""

    run_id: str
    spec_digest: str
    tree_digest: str
    seed: int
    class_text: str
    sandbox_level: str
    runner_version: str


@dataclass(frozen=True)
class Journal:
    """What is known of a run after its newest checkpoint; `curve` has (step, reported loss)."""

    identity: Identity
    leaves: tuple[str, ...] = ()
    norms: tuple[float, ...] = ()
    curve: tuple[tuple[int, float], ...] = ()
    tokens_served: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder for this process alone; the kernel lets go when it dies.

    Raises:
        Busy: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"{folder} is in use by another runner: wait for it, or choose another folder") from None
        yield


def checkpoint_path(folder: Path, index: int) -> Path:
    """Give the path of one checkpoint."""
    return folder / f"checkpoint-{index}.safetensors"


def write_journal(folder: Path, journal: Journal) -> None:
    """Write what is known, after the checkpoint it speaks of."""
    checkpoints.write_durably(folder / JOURNAL, json.dumps(vars(journal) | {"identity": vars(journal.identity)}).encode())


def finished(folder: Path, identity: Identity) -> reports.Report | None:
    """Give the report of a finished run of this identity; None while there is none.

    The report is written last, so the checkpoints it names are there.
    """
    try:
        report = reports.Report.parse((folder / REPORT).read_bytes())
    except (FileNotFoundError, reports.MalformedReport):
        return None
    is_ours = all(getattr(report, field.name) == getattr(identity, field.name) for field in dataclasses.fields(identity))
    is_whole = all(checkpoint_path(folder, index).is_file() for index in range(report.leaf_count))
    return report if is_ours and is_whole else None


def begun(folder: Path, identity: Identity, spec: Spec) -> tuple[Journal, tuple[Tensor, ...]]:
    """Give the journal to go on from and the tensors of its newest checkpoint.

    A folder of another run, or one whose newest checkpoint is not the journal's, is emptied of our files and begun anew.
    """
    journal = _journal(folder)
    if journal is not None and journal.identity == identity and journal.leaves:
        index = len(journal.leaves) - 1
        try:
            tensors = checkpoints.read(checkpoint_path(folder, index).read_bytes(), spec)
        except (FileNotFoundError, checkpoints.BadCheckpoint):
            tensors = ()
        if tensors and digests.leaf(index * spec.checkpoint_every, tensors).hex() == journal.leaves[-1]:
            return journal, tensors
    for path in [folder / REPORT, folder / JOURNAL, *folder.glob("checkpoint-*.safetensors"), *folder.glob("*.part")]:
        path.unlink(missing_ok=True)
    return Journal(identity), ()


def _journal(folder: Path) -> Journal | None:
    try:
        found = json.loads((folder / JOURNAL).read_bytes())
        return Journal(
            identity=Identity(**found["identity"]),
            leaves=tuple(found["leaves"]),
            norms=tuple(found["norms"]),
            curve=tuple((step, loss) for step, loss in found["curve"]),
            tokens_served=found["tokens_served"],
            wall_s=found["wall_s"],
            cpu_s=found["cpu_s"],
            peak_memory_bytes=found["peak_memory_bytes"],
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        # Ours, written whole or not at all; another version's is begun anew.
        return None
