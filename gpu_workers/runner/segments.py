"""Auditing a reported run from its committed checkpoints: the start, the last segment and some others are trained again.

The checkpoints come from an untrusted owner; the tree from a stranger. Every re-run is a fresh sandbox, so no segment knows of another.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gpu_workers.runner import broker, conversation, training
from gpu_workers.runner import checkpoints as states
from gpu_workers.runner.conversation import Place
from verification.replay import digests, tolerance, trees
from verification.replay.classes import ClassKey
from verification.replay.digests import Tensor
from verification.replay.reports import Report
from verification.replay.spec import Spec

# Both norms are computed in float64 from the same bytes; only the order of a sum may differ between builds of numpy.
NORM_SHARE = 1e-9

Code = Literal[
    "exact",
    "within_band",
    "unstable",
    "differs",
    "outside_band",
    "norm_differs",
    "checkpoint_missing",
    "checkpoint_malformed",
    "checkpoint_not_committed",
    "re_run_failed",
    "report_contradicts",
]
PASSED = ("exact", "within_band", "unstable")


@dataclass(frozen=True)
class SegmentResult:
    """One look: at the initial state (`index` is None) or at the segment from checkpoint `index` to the next.

    Codes that pass: `exact` (same bits), `within_band` (another class, within the measured band), `unstable` (another class, and rounding
    grows so much in this segment that it proves nothing). Codes that fail: `differs` (on the
    same class), `outside_band`, `norm_differs` (the reported movement is not that of the checkpoints), `checkpoint_missing`,
    `checkpoint_malformed`, `checkpoint_not_committed` (its hash is not the leaf), `re_run_failed` (the tree can't be trained from
    there), `report_contradicts` (the report is not of this spec, tree and seed, or does not add up). `error` is the share of the segment's
    own movement by which it differs; `detail` is for people's eyes.
    """

    index: int | None
    code: Code
    error: float = 0.0
    detail: str = ""

    @property
    def is_passed(self) -> bool:
        """Whether this look found the report true."""
        return self.code in PASSED


@dataclass(frozen=True)
class AuditResult:
    """All looks of one audit, on one class of machine; `cpu_s` is what the sandboxes used."""

    run_id: str
    class_text: str
    is_same_class: bool
    results: tuple[SegmentResult, ...]
    cpu_s: float

    @property
    def is_passed(self) -> bool:
        """Whether every look passed."""
        return bool(self.results) and all(one.is_passed for one in self.results)

    def to_json(self) -> dict[str, object]:
        """Give plain JSON values."""
        return dataclasses.asdict(self) | {"results": [dataclasses.asdict(one) for one in self.results], "is_passed": self.is_passed}


class _Refuted(Exception):
    """This look fails; the argument is its result."""

    def __init__(self, result: SegmentResult) -> None:
        super().__init__(result.code)
        self.result = result


def audited_segments(spec: Spec, segments: Sequence[int]) -> tuple[int, ...]:
    """Give the segments that an audit of `segments` re-runs: those and the last."""
    return tuple(sorted({*segments, spec.segments - 1}))


def needed_checkpoints(spec: Spec, segments: Sequence[int]) -> tuple[int, ...]:
    """Give the checkpoints that an audit of `segments` needs: the first, and both ends of each audited segment."""
    return tuple(sorted({0, *(end for index in audited_segments(spec, segments) for end in (index, index + 1))}))


def audit(
    *,
    spec: Spec,
    files: Mapping[str, str],
    seed: int,
    data: Mapping[str, Path],
    report: Report,
    checkpoints: Mapping[int, Path],
    segments: Sequence[int],
    class_key: ClassKey,
    place: Place,
    should_stop: Callable[[], bool] = lambda: False,
) -> AuditResult:
    """Train the initial state, the last segment and `segments` again and compare: exactly on the report's class, else within the band.

    The first look that fails ends the audit: what is forged in one place needs no second.

    Raises:
        IndexError: a segment that the run does not have.
        conversation.Stopped: asked to.
        broker.WrongData: a training file is not the one of the spec.
    """
    if any(not 0 <= index < spec.segments for index in segments):
        raise IndexError(f"segments are 0 to {spec.segments - 1}, not {list(segments)}")
    auditor = _Auditor(spec, files, seed, data, report, checkpoints, class_key, place, should_stop)
    results: list[SegmentResult] = []
    try:
        auditor.check_report()
        results.append(auditor.initial())
        results += [auditor.segment(index) for index in audited_segments(spec, segments)]
    except _Refuted as refuted:
        results.append(refuted.result)
    return AuditResult(report.run_id, class_key.text, auditor.is_same_class, tuple(results), auditor.cpu_s)


@dataclass
class _Auditor:
    """What is compared with what, and what it has cost so far."""

    spec: Spec
    files: Mapping[str, str]
    seed: int
    data: Mapping[str, Path]
    told: Report
    paths: Mapping[int, Path]
    class_key: ClassKey
    place: Place
    should_stop: Callable[[], bool]
    cpu_s: float = 0.0

    @property
    def is_same_class(self) -> bool:
        """Whether equal bits are asked for."""
        return self.class_key.text == self.told.class_text

    def check_report(self) -> None:
        """Refuse a report that is not of this run or does not add up."""
        spec, told = self.spec, self.told
        expected = {
            "spec_digest": spec.digest,
            "tree_digest": trees.tree_digest(self.files),
            "seed": self.seed,
            "steps": spec.steps,
            "leaf_count": spec.segments + 1,
            "tokens_served": spec.steps * spec.rows * spec.sequence,
            "root": digests.root([bytes.fromhex(one) for one in told.leaves]).hex(),
        }
        for name, value in expected.items():
            if getattr(told, name) != value:
                raise _Refuted(SegmentResult(None, "report_contradicts", detail=f"{name} should be {value}"))

    def initial(self) -> SegmentResult:
        """Build the trainer from the seed again and compare its state."""
        reported = self._committed(0, None)
        reference = self._trained(None, 0)
        # Nothing has moved yet: the difference is measured against the size of the state itself.
        return self._compared(None, (), reference, reported)

    def segment(self, index: int) -> SegmentResult:
        """Train one segment again from its committed start and compare its end."""
        start, reported = self._committed(index, index), self._committed(index + 1, index)
        try:
            norm = states.movement(start, reported)
        except states.BadCheckpoint as bad:
            raise _Refuted(SegmentResult(index, "checkpoint_malformed", detail=f"{bad.code}: {bad}")) from None
        if not math.isclose(norm, self.told.norms[index], rel_tol=NORM_SHARE):
            raise _Refuted(SegmentResult(index, "norm_differs", detail=f"the checkpoints are {norm!r} apart"))
        return self._compared(index, start, self._trained(start, index), reported)

    def _compared(
        self, index: int | None, start: Sequence[Tensor], reference: Sequence[Tensor], reported: Sequence[Tensor]
    ) -> SegmentResult:
        found = tolerance.compare(start, reference, reported, is_same_class=self.is_same_class)
        if found.outcome == "FAIL" and index is not None and not self.is_same_class:
            # Training may be unstable here: how far does the smallest rounding go on our own machine?
            swayed = self._trained(tolerance.nudged(start), index)
            sway = tolerance.compare(start, reference, swayed, is_same_class=False).error
            found = tolerance.compare(start, reference, reported, is_same_class=False, sway=sway)
        if found.outcome == "PASS":
            return SegmentResult(index, "exact" if found.is_exact else "within_band", found.error)
        if found.outcome == "UNSTABLE":
            return SegmentResult(index, "unstable", found.error)
        raise _Refuted(SegmentResult(index, "differs" if self.is_same_class else "outside_band", found.error))

    def _committed(self, index: int, looking_at: int | None) -> tuple[Tensor, ...]:
        """Read an uploaded checkpoint that the report's leaf commits to."""
        path = self.paths.get(index)
        if path is None or not path.is_file():
            raise _Refuted(SegmentResult(looking_at, "checkpoint_missing", detail=f"checkpoint {index}"))
        try:
            tensors = states.read_file(path, self.spec)
        except states.BadCheckpoint as bad:
            raise _Refuted(SegmentResult(looking_at, "checkpoint_malformed", detail=f"checkpoint {index}: {bad.code}: {bad}")) from None
        if digests.leaf(index * self.spec.checkpoint_every, tensors).hex() != self.told.leaves[index]:
            raise _Refuted(SegmentResult(looking_at, "checkpoint_not_committed", detail=f"checkpoint {index}"))
        return tensors

    def _trained(self, start: Sequence[Tensor] | None, index: int) -> tuple[Tensor, ...]:
        """Give the trusted state: after the build where `start` is None, else at the end of segment `index`."""
        spec, first = self.spec, index * self.spec.checkpoint_every
        try:
            with conversation.opened(
                spec=spec,
                place=self.place,
                files=self.files,
                seed=self.seed,
                data=self.data,
                wall_s=spec.wall_s,
                should_stop=self.should_stop,
            ) as talk:
                step = 0
                if start is not None:
                    talk.restore(states.packed(start, first))
                    last = first + spec.checkpoint_every
                    served = broker.Broker(spec=spec, data=self.data, seed=self.seed, first=first, last=last)
                    training.train_segment(talk=talk, served=served, spec=spec)
                    step = last
                tensors = states.read(talk.state(step, states.most_bytes(spec)), spec)
                self.cpu_s += talk.end().cpu_s
                return tensors
        except (conversation.RunFailed, states.BadCheckpoint) as failed:
            looking_at = None if start is None else index
            raise _Refuted(SegmentResult(looking_at, "re_run_failed", detail=f"{failed.code}: {failed}"[:500])) from None
