"""The trusted replay pool: smoke runs, evaluations, audits and trainings that only it may do, leased over HTTPS one at a time."""

import contextlib
import logging
import os
import secrets
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydantic import JsonValue

import agents_sdk.errors
from agents_sdk import leases
from gpu_workers.runner import broker, checkpoints, conversation, evaluation, folders, hardware, segments, smoke, training
from gpu_workers.sandbox import levels
from verification.replay import digests, reports, trees
from verification.replay.classes import ClassKey
from verification.replay.spec import MalformedSpec, Spec

log = logging.getLogger(__name__)

LEASE_S = 120
SALT_BYTES = 32
_FOLDERS = "atoms-pool-"
# A folder that was made is locked at once; until then it looks as if its pool were dead.
_LOCKED_WITHIN_S = 60.0
# How often a sealed training looks whether its report is due.
LOOK_AGAIN_S = 5.0


class MalformedJob(Exception):
    """A job's parameters or inputs are not what its kind needs."""


@dataclass(frozen=True)
class Job:
    """A leased job with its inputs fetched: the tree's files, data files by name, checkpoint files by index."""

    item: leases.LeaseItem
    spec: Spec
    files: Mapping[str, str]
    data: Mapping[str, Path]
    checkpoints: Mapping[int, Path]
    folder: Path
    place: conversation.Place
    should_stop: Callable[[], bool]

    @property
    def seed(self) -> int:
        """The seed of the run that the job is about."""
        seed = self.item.params.get("seed")
        if not isinstance(seed, int):
            raise MalformedJob(f"{self.item.id} has no seed.")
        return seed


@dataclass
class Tally:
    """What one drain did with its jobs."""

    completed: int = 0
    failed: int = 0
    # Taken over by another holder before we were done; nothing of ours counted.
    stale: int = 0
    # Kept by us until the lease ends: the market could not be reached, or we were asked to stop.
    unanswered: int = 0


class Pool:
    """One process's share of the pool. It never imports torch: strangers' trees run in the sandbox alone."""

    def __init__(self, *, client: leases.LeaseClient, holder: str, is_stopping: Callable[[], bool] = lambda: False) -> None:
        self._client = client
        self._holder = holder
        self._is_stopping = is_stopping

    def drain(self) -> Tally:
        """Work until no job is ready, or the process is asked to stop.

        Raises:
            agents_sdk.errors.AtomsError: the market can't be reached; a held job comes back when its lease ends.
        """
        tally = Tally()
        while not self._is_stopping() and not tally.unanswered:
            lease = self._client.lease_trusted(1, holder=self._holder, lease_s=LEASE_S)
            if not lease.items:
                break
            for item in lease.items:
                self._work(item, tally)
        return tally

    def _work(self, item: leases.LeaseItem, tally: Tally) -> None:
        with _heart(self._client, item) as is_lost, _job_folder() as folder:
            try:
                job = self._fetched(item, folder, should_stop=lambda: is_lost.is_set() or self._is_stopping())
                _WORK[item.kind](self._client, job)
            except (agents_sdk.errors.StaleLease, conversation.Stopped):
                tally.stale += is_lost.is_set()
                tally.unanswered += not is_lost.is_set()
            except agents_sdk.errors.AtomsError as error:
                log.info("%s not answered: %s", item.id, type(error).__name__)
                tally.unanswered += 1
            except _CANNOT as error:
                # Words of ours: none of these errors carries a stranger's.
                log.warning("%s can't be done here: %s: %s", item.id, type(error).__name__, error)
                self._fail(item, tally)
            else:
                tally.completed += 1

    def _fail(self, item: leases.LeaseItem, tally: Tally) -> None:
        try:
            self._client.fail(item.id, item.token, "cannot_be_done_here")
        except agents_sdk.errors.StaleLease:
            tally.stale += 1
        except agents_sdk.errors.AtomsError:
            tally.unanswered += 1
        else:
            tally.failed += 1

    def _fetched(self, item: leases.LeaseItem, folder: Path, *, should_stop: Callable[[], bool]) -> Job:
        if item.kind not in _WORK:
            raise MalformedJob(f"{item.id} is of a kind that this pool does not know.")
        spec = Spec.from_json(item.params.get("spec"))
        levels.require(spec.sandbox_level)
        files: Mapping[str, str] | None = None
        data: dict[str, Path] = {}
        found: dict[int, Path] = {}
        for number, wanted in enumerate(item.inputs):
            content = self._client.fetch(wanted.url, sha256=wanted.sha256, largest_bytes=leases.LARGEST_ARTEFACT_BYTES)
            role, _, name = wanted.role.partition(":")
            if role == "tree":
                files = trees.parse_tree(content)
                continue
            # Named by ourselves: nothing that a stranger calls a file becomes a path.
            path = folder / f"input-{number}"
            path.write_bytes(content)
            if role == "checkpoint" and name.isdigit():
                found[int(name)] = path
            else:
                data[name] = path
        if files is None:
            raise MalformedJob(f"{item.id} has no tree.")
        place = conversation.Place(level=spec.sandbox_level)
        return Job(item, spec, files, data, found, folder / "work", place, should_stop)


def _smoke(client: leases.LeaseClient, job: Job) -> None:
    result = smoke.smoke(spec=job.spec, files=job.files, data=job.data, place=job.place, should_stop=job.should_stop)
    # Codes alone: the details may be the stranger's own words.
    _hand_in(client, job, {"is_passed": result.is_passed, "codes": [refusal.code for refusal in result.refusals]})


def _evaluate(client: leases.LeaseClient, job: Job) -> None:
    checkpoint = job.checkpoints.get(job.spec.segments)
    if checkpoint is None:
        raise MalformedJob(f"{job.item.id} has no last checkpoint.")
    try:
        tensors = checkpoints.read(checkpoint.read_bytes(), job.spec)
    except checkpoints.BadCheckpoint as error:
        # No leaf was ever made of such bytes.
        _hand_in(client, job, {"leaf": "0" * 64, "refusal": error.code})
        return
    readings: dict[str, object] = {"leaf": digests.leaf(job.spec.steps, tensors).hex()}
    try:
        score = evaluation.evaluate(
            spec=job.spec,
            files=job.files,
            seed=job.seed,
            checkpoint=checkpoint,
            data=job.data,
            place=job.place,
            should_stop=job.should_stop,
        )
        readings["score"] = score.to_json()
    except (conversation.RunFailed, checkpoints.BadCheckpoint) as error:
        readings["refusal"] = error.code
    _hand_in(client, job, readings)


def _audit(client: leases.LeaseClient, job: Job) -> None:
    chosen = job.item.params.get("segments")
    if not isinstance(chosen, list) or not all(isinstance(one, int) for one in chosen):
        raise MalformedJob(f"{job.item.id} has no segments.")
    result = segments.audit(
        spec=job.spec,
        files=job.files,
        seed=job.seed,
        data=job.data,
        report=reports.Report.from_json(job.item.params.get("report")),
        checkpoints=job.checkpoints,
        segments=cast("list[int]", chosen),
        class_key=_class_key(job),
        place=job.place,
        should_stop=job.should_stop,
    )
    failed = next((segment for segment in result.results if not segment.is_passed), None)
    _hand_in(client, job, {"is_passed": result.is_passed, "code": failed.code if failed else None})


def _train(client: leases.LeaseClient, job: Job) -> None:
    """Train like an owner, and wait for the others of the round like an owner."""
    item = job.item
    try:
        finished = training.replay(
            spec=job.spec,
            files=job.files,
            seed=job.seed,
            class_key=_class_key(job),
            data=job.data,
            folder=job.folder,
            run_id=item.id,
            place=job.place,
            should_stop=job.should_stop,
        )
    except (conversation.RunFailed, checkpoints.BadCheckpoint) as error:
        # The tree's own doing; of this the pool's word decides.
        client.give_back(item.id, item.token, error.code, steps_done=0)
        return
    salt = secrets.token_hex(SALT_BYTES)
    seal = reports.seal(finished.report, salt)
    waiting = threading.Event()
    while not client.seal(item.id, item.token, seal).is_reveal_due:
        if job.should_stop():
            raise conversation.Stopped
        waiting.wait(LOOK_AGAIN_S)
    revealed = client.reveal(item.id, item.token, report=cast("Mapping[str, JsonValue]", finished.report.to_json()), salt=salt)
    for index in revealed.wanted_checkpoints:
        client.upload(item.id, item.token, index, finished.checkpoint_paths[index].read_bytes())
    client.finish(item.id, item.token)


def _class_key(job: Job) -> ClassKey:
    return hardware.class_key(precision=job.spec.precision, threads=job.place.threads)


def _hand_in(client: leases.LeaseClient, job: Job, readings: Mapping[str, object]) -> None:
    client.hand_in(job.item.id, job.item.token, cast("Mapping[str, JsonValue]", readings))


_WORK: dict[str, Callable[[leases.LeaseClient, Job], None]] = {"smoke": _smoke, "evaluate": _evaluate, "audit": _audit, "replay": _train}

# What is wrong with the job or with this machine, not with the stranger's tree.
_CANNOT = (
    MalformedJob,
    MalformedSpec,
    trees.MalformedTree,
    reports.MalformedReport,
    broker.WrongData,
    levels.LevelNotReached,
    hardware.NoSuchDevice,
    training.WrongClass,
)


@contextlib.contextmanager
def _job_folder() -> Iterator[Path]:
    """Give a folder for one job; it goes with the job, or, if this process is killed, when another begins one."""
    _forget_left()
    with tempfile.TemporaryDirectory(prefix=_FOLDERS) as name, folders.held(Path(name)):
        yield Path(name)


def _forget_left() -> None:
    """Delete what killed pools left behind: inputs and checkpoints of hundreds of megabytes."""
    for left in Path(tempfile.gettempdir()).glob(f"{_FOLDERS}*"):
        # Somebody else is at it, or was quicker.
        with contextlib.suppress(folders.Busy, OSError):
            found = left.lstat()
            is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
            if is_ours and found.st_mtime < time.time() - _LOCKED_WITHIN_S:
                with folders.held(left):
                    shutil.rmtree(left)


@contextlib.contextmanager
def _heart(client: leases.LeaseClient, item: leases.LeaseItem) -> Iterator[threading.Event]:
    """Keep a lease alive from a second thread; the event says that another holder has the job."""
    done, is_lost = threading.Event(), threading.Event()

    def beat() -> None:
        while not done.wait(LEASE_S / 3):
            try:
                client.heartbeat(item.id, item.token, lease_s=LEASE_S)
            except agents_sdk.errors.StaleLease:
                is_lost.set()
                return
            except agents_sdk.errors.AtomsError as error:
                log.info("heartbeat of %s not taken: %s", item.id, type(error).__name__)

    heart = threading.Thread(target=beat, name="pool-heart", daemon=True)
    heart.start()
    try:
        yield is_lost
    finally:
        done.set()
        heart.join()
