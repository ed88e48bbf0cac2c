"""Where attacks happen: a small research spec over real text, judged step by step as the market judges: gate, smoke, run, evaluation."""

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gpu_workers.runner import checkpoints, conversation, evaluation, hardware, segments, smoke, training
from gpu_workers.runner.workloads.byte_lm import corpus, workload
from tests.attacks import edits
from verification.replay import gate, trees
from verification.replay.reports import Report
from verification.replay.scoring import Score
from verification.replay.spec import Spec

SEED = 11
PLACE = conversation.Place(level="bwrap-cpu")
# Bits per byte. After so few steps an honest change moves the score by less, and a look at the answers by more.
WORTH_PAYING = 0.5


@dataclass(frozen=True)
class Judged:
    """How far a candidate came: the step that refused it and the codes it named, or its score."""

    step: str
    codes: tuple[str, ...] = ()
    score: Score | None = None
    report: Report | None = None

    @property
    def refused_by(self) -> str:
        """The refusal in words, e.g. ``smoke:probe_truncated smoke:probe_state``; empty for a scored candidate."""
        return " ".join(f"{self.step}:{code}" for code in self.codes)


@dataclass
class Scene:
    """A folder with data and a spec, and what was computed there before."""

    folder: Path
    paths: dict[str, Path] = field(init=False)
    spec: Spec = field(init=False)

    def __post_init__(self) -> None:
        self.paths = corpus.write(self.folder / "data")
        self.spec = dataclasses.replace(
            workload.spec(paths=self.paths, steps=20, checkpoint_every=5), eval_tokens=1300, wall_s=60, memory_mib=1536
        )
        self._count = 0

    @functools.cached_property
    def base(self) -> training.Finished:
        """The base tree, trained honestly."""
        return self.train(edits.BASE)

    @functools.cached_property
    def base_score(self) -> Score:
        """The score of the base tree."""
        return self.evaluate(edits.BASE, self.base)

    def judge(self, text: str, *, spec: Spec | None = None, seed: int = SEED, data: Mapping[str, Path] | None = None) -> Judged:
        """Take a candidate's train.py through everything that happens to it before statistics."""
        terms = spec or self.spec
        refusals = gate.refusals(terms, {"train.py": edits.BASE}, {"train.py": text}) if text != edits.BASE else []
        if refusals:
            return Judged("gate", tuple(refusal.code for refusal in refusals))
        looked = smoke.smoke(spec=terms, files={"train.py": text}, place=PLACE, data=data or self.paths)
        if not looked.is_passed:
            return Judged("smoke", tuple(refusal.code for refusal in looked.refusals))
        try:
            finished = self.train(text, spec=terms, seed=seed, data=data)
        except (conversation.RunFailed, checkpoints.BadCheckpoint) as failed:
            return Judged("run", (failed.code,))
        try:
            score = self.evaluate(text, finished, spec=terms, seed=seed, data=data)
        except (conversation.RunFailed, checkpoints.BadCheckpoint) as failed:
            return Judged("evaluation", (failed.code,), report=finished.report)
        failing = tuple(f"probe_{probe.name}" for probe in score.probes if not probe.is_passed)
        return Judged("evaluation", failing, score=score, report=finished.report)

    def train(
        self,
        text: str,
        *,
        spec: Spec | None = None,
        seed: int = SEED,
        data: Mapping[str, Path] | None = None,
        place: conversation.Place = PLACE,
    ) -> training.Finished:
        """Replay a tree in a folder of its own.

        Raises:
            conversation.RunFailed, checkpoints.BadCheckpoint: the tree's own doing.
        """
        self._count += 1
        return training.replay(
            spec=spec or self.spec,
            files={"train.py": text},
            seed=seed,
            class_key=hardware.class_key(precision="fp32", threads=place.threads),
            data=data or self.paths,
            folder=self.folder / f"run-{os.getpid()}-{self._count}",
            run_id="rpl_attack",
            place=place,
        )

    def evaluate(
        self,
        text: str,
        finished: training.Finished,
        *,
        spec: Spec | None = None,
        seed: int = SEED,
        data: Mapping[str, Path] | None = None,
    ) -> Score:
        """Score a finished run's last checkpoint.

        Raises:
            conversation.RunFailed: the model can't be scored.
        """
        return evaluation.evaluate(
            spec=spec or self.spec,
            files={"train.py": text},
            seed=seed,
            checkpoint=finished.checkpoint_paths[-1],
            data=data or self.paths,
            place=PLACE,
        )

    def audit(
        self, report: Report, paths: Sequence[Path] | Mapping[int, Path], *, text: str = edits.BASE, asked: Sequence[int] = ()
    ) -> segments.AuditResult:
        """Have the trusted pool look at a host's report and checkpoints."""
        found = paths if isinstance(paths, Mapping) else dict(enumerate(paths))
        told = dataclasses.replace(report, tree_digest=trees.tree_digest({"train.py": text}))
        return segments.audit(
            spec=self.spec,
            files={"train.py": text},
            seed=SEED,
            data=self.paths,
            report=told,
            checkpoints=found,
            segments=asked,
            class_key=hardware.class_key(precision="fp32", threads=1),
            place=PLACE,
        )
