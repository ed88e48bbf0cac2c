"""One training run of a stranger's tree: sandboxed, fed and counted from outside, checkpointed, resumable, reported."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from agents_sdk._version import __version__
from gpu_workers.runner import broker, checkpoints, conversation, folders
from gpu_workers.runner.conversation import Place
from gpu_workers.sandbox import running
from verification.replay import digests, reports, trees
from verification.replay.classes import ClassKey
from verification.replay.spec import SandboxLevel, Spec

RUNNER_VERSION = f"atoms-{__version__}"


class WrongClass(Exception):
    """The run was asked for on a class that the spec does not name, or with other threads than the place has."""


@dataclass(frozen=True)
class Progress:
    """How far a run has come."""

    step: int
    steps: int
    tokens_served: int


@dataclass(frozen=True)
class Finished:
    """A run that is whole on the disk: its report, and the paths of checkpoints 0 to the last."""

    report: reports.Report
    checkpoint_paths: list[Path]


def replay(
    *,
    spec: Spec,
    files: Mapping[str, str],
    seed: int,
    class_key: ClassKey,
    data: Mapping[str, Path],
    folder: Path,
    run_id: str,
    place: Place,
    on_progress: Callable[[Progress], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Finished:
    """Train a tree with a seed and give its report; asked again for the same run, go on where the folder ends.

    Everything in the report but `curve` is measured or hashed outside the sandbox. `cpu_s` and `peak_memory_bytes` are those of
    the sandboxes that ended in an orderly way.

    Raises:
        conversation.RunFailed, checkpoints.BadCheckpoint: the tree can't be trained; both have a `code`.
        conversation.Stopped: asked to; what was done is kept.
        broker.WrongData: a file is not the one of the spec.
        folders.Busy: another runner works in the folder.
        WrongClass: the class is not one of the spec's.
    """
    if not class_key.is_allowed_by(spec) or class_key.threads != place.threads:
        raise WrongClass(f"{class_key.text} is not among {', '.join(spec.hardware)} at {spec.precision} with {place.threads} threads")
    identity = folders.Identity(run_id, spec.digest, trees.tree_digest(files), seed, class_key.text, place.level, RUNNER_VERSION)
    with folders.held(folder):
        report = folders.finished(folder, identity)
        if report is None:
            run = _Run(spec=spec, folder=folder, on_progress=on_progress, identity=identity)
            run.train(files=files, data=data, place=place, should_stop=should_stop)
            report = run.report()
            checkpoints.write_durably(folder / folders.REPORT, report.canonical())
        return Finished(report, [folders.checkpoint_path(folder, index) for index in range(report.leaf_count)])


def train_segment(
    *, talk: conversation.Conversation, served: broker.Broker, spec: Spec, on_step: Callable[[int, int], None] = lambda _step, _tokens: None
) -> list[tuple[int, float]]:
    """Train the next `checkpoint_every` steps; give (steps done, reported loss) of those steps that a curve of a whole run keeps.

    Raises:
        conversation.RunFailed, conversation.Stopped: as `Conversation.ask`.
    """
    losses = []
    apart = -(-spec.steps // reports.MAX_CURVE)
    for _ in range(spec.checkpoint_every):
        step = served.step
        loss = talk.train(step, served.batch())
        if loss is not None and (step + 1) % apart == 0:
            losses.append((step + 1, loss))
        on_step(step + 1, served.tokens_served)
    return losses


class _Run:
    """One run under way: the newest checkpoint and the journal that belongs to it."""

    def __init__(self, *, spec: Spec, folder: Path, on_progress: Callable[[Progress], None], identity: folders.Identity) -> None:
        self._spec = spec
        self._folder = folder
        self._on_progress = on_progress
        self._journal, self._newest = folders.begun(folder, identity, spec)

    def train(self, *, files: Mapping[str, str], data: Mapping[str, Path], place: Place, should_stop: Callable[[], bool]) -> None:
        """Train from the newest checkpoint to the end."""
        spec = self._spec
        done = max(0, len(self._journal.leaves) - 1) * spec.checkpoint_every
        if done == spec.steps:
            return
        seed = self._journal.identity.seed
        served = broker.Broker(spec=spec, data=data, seed=seed, first=done)
        wall_s = max(1, spec.wall_s - int(self._journal.wall_s))
        before, began = self._journal, time.monotonic()
        with conversation.opened(spec=spec, place=place, files=files, seed=seed, data=data, wall_s=wall_s, should_stop=should_stop) as talk:
            if self._newest:
                talk.restore(checkpoints.packed(self._newest, done))
            else:
                self._keep(talk.state(0, checkpoints.most_bytes(spec)), 0, self._journal)
            while served.step < spec.steps:
                losses = train_segment(talk=talk, served=served, spec=spec, on_step=self._told)
                now = dataclasses.replace(
                    self._journal,
                    curve=(*self._journal.curve, *losses),
                    tokens_served=before.tokens_served + served.tokens_served,
                    wall_s=before.wall_s + time.monotonic() - began,
                )
                self._keep(talk.state(served.step, checkpoints.most_bytes(spec)), served.step, now)
            self._count(talk.end())

    def report(self) -> reports.Report:
        """Give the report of the whole run."""
        journal, identity = self._journal, self._journal.identity
        return reports.Report(
            run_id=identity.run_id,
            spec_digest=identity.spec_digest,
            tree_digest=identity.tree_digest,
            seed=identity.seed,
            class_text=identity.class_text,
            root=digests.root([bytes.fromhex(one) for one in journal.leaves]).hex(),
            leaf_count=len(journal.leaves),
            leaves=journal.leaves,
            norms=journal.norms,
            tokens_served=journal.tokens_served,
            steps=self._spec.steps,
            wall_s=round(journal.wall_s, 3),
            cpu_s=round(journal.cpu_s, 3),
            peak_memory_bytes=journal.peak_memory_bytes,
            sandbox_level=cast(SandboxLevel, identity.sandbox_level),
            runner_version=identity.runner_version,
            curve=journal.curve,
        )

    def _keep(self, content: bytes, step: int, journal: folders.Journal) -> None:
        """Check, hash and write one checkpoint, then the journal."""
        tensors = checkpoints.read(content, self._spec)
        norms = journal.norms
        if self._newest:
            norms = (*norms, checkpoints.movement(self._newest, tensors))
        leaf = digests.leaf(step, tensors).hex()
        checkpoints.write_durably(folders.checkpoint_path(self._folder, len(journal.leaves)), checkpoints.packed(tensors, step))
        self._journal = dataclasses.replace(journal, leaves=(*journal.leaves, leaf), norms=norms)
        self._newest = tensors
        folders.write_journal(self._folder, self._journal)

    def _told(self, step: int, tokens_served: int) -> None:
        self._on_progress(Progress(step, self._spec.steps, tokens_served))

    def _count(self, found: running.Exit) -> None:
        journal = self._journal
        peak = max(journal.peak_memory_bytes, found.peak_memory_bytes)
        self._journal = dataclasses.replace(journal, cpu_s=journal.cpu_s + found.cpu_s, peak_memory_bytes=peak)
