"""The program's folder: runs in hand, wishes, status and what has ended. Every write is atomic and on the disk before it counts.

home/
  lock              held by the one running program
  host.json         the machine as registered with the market
  asking.json       the key of a question for work whose answer may have been lost
  wishes.json       pause and finish, as the owner last said
  status.json       what the running program does now (may be lost)
  limits.toml       the owner's limits, if kept here
  runs/ID/          run.json, inputs/, work/ (the trainer's), result.json
  ended/ID.json     the last word about each run that has ended
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import JsonValue

JsonObject = dict[str, JsonValue]
# Of runs that have ended, so many are remembered for `explain`.
MOST_ENDED = 1_000


class AlreadyRunning(Exception):
    """Another program holds the folder; the message names it."""


class BrokenFolder(Exception):
    """A file of the folder can't be read; the message says which and what to do."""


def home(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where the program keeps its state: ATOMS_GPU_HOME, or atoms-gpu below XDG_STATE_HOME or ~/.local/state."""
    chosen = environment.get("ATOMS_GPU_HOME", "").strip()
    if chosen:
        return Path(chosen).expanduser().absolute()
    state = environment.get("XDG_STATE_HOME", "").strip()
    return (Path(state) if state.startswith("/") else Path.home() / ".local" / "state") / "atoms-gpu"


class Folder:
    """One program's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> None:
        """Make the folder, for its owner alone."""
        for each in (self.path, self.path / "runs", self.path / "ended"):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder as the one running program. The kernel lets go of it when the process ends, however it ends.

        Raises:
            AlreadyRunning: another process holds it.
        """
        self.make()
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunning(f"atoms-gpu runs already in {self.path}. Use `atoms-gpu status`, or another ATOMS_GPU_HOME.") from None
            yield
        finally:
            os.close(descriptor)

    @property
    def is_running(self) -> bool:
        """Whether a program holds the folder now."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def run_folder(self, run_id: str) -> Path:
        """Return the folder of a run in hand."""
        return self.path / "runs" / run_id

    def run_ids(self) -> list[str]:
        """Return the runs in hand, the oldest first."""
        return sorted(path.parent.name for path in self.path.glob("runs/rpl_*/run.json"))

    def keep_run(self, run_id: str, record: Mapping[str, JsonValue]) -> None:
        """Write a run's record."""
        self.run_folder(run_id).mkdir(mode=0o700, exist_ok=True)
        write(self.run_folder(run_id) / "run.json", record)

    def end_run(self, run_id: str, last_word: Mapping[str, JsonValue]) -> None:
        """Remember the last word about a run, then remove its files."""
        write(self.path / "ended" / f"{run_id}.json", last_word)
        # The record goes first: without it the rest is litter, which `sweep` removes.
        (self.run_folder(run_id) / "run.json").unlink(missing_ok=True)
        shutil.rmtree(self.run_folder(run_id), ignore_errors=True)

    def sweep(self, *, data_kept_s: float, now: float) -> None:
        """Remove what a kill left behind, ended runs beyond `MOST_ENDED`, and data that no run has used for `data_kept_s` seconds."""
        for part in self.path.rglob("*.part"):
            part.unlink(missing_ok=True)
        for run in self.path.glob("runs/*"):
            if not (run / "run.json").exists():
                shutil.rmtree(run, ignore_errors=True)
        for old in sorted(self.path.glob("ended/rpl_*.json"))[:-MOST_ENDED]:
            old.unlink(missing_ok=True)
        for data in self.path.glob("data/*"):
            if data.stat().st_mtime < now - data_kept_s:
                data.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder and everything in it."""
        shutil.rmtree(self.path)


def write(path: Path, content: Mapping[str, JsonValue], *, is_lasting: bool = True) -> None:
    """Write JSON so that a reader, or a start after a power cut, finds the old content or the new, whole."""
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(content, file, allow_nan=False, separators=(",", ":"))
        file.flush()
        if is_lasting:
            os.fsync(file.fileno())
    part.replace(path)
    if is_lasting:
        sync_folder(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file as `write` does."""
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Have the names in a folder on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path) -> JsonObject | None:
    """Read an object that `write` wrote; None if there is none.

    Raises:
        BrokenFolder: it is not one.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        raise BrokenFolder(f"{path} can't be read ({error}). Move it away; the market hands its run out again.") from None
    if not isinstance(value, dict):
        raise BrokenFolder(f"{path} holds no object. Move it away; the market hands its run out again.")
    return value
