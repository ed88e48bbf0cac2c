"""Segments that an owner could report instead of the work: each against the honest end, exactly and within the band."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpu_workers.runner import broker, checkpoints, evaluation
from gpu_workers.runner.workloads.byte_lm.base_tree.train import Trainer
from tests.benchmarks.replays import local
from verification.replay import tolerance
from verification.replay.digests import Tensor
from verification.replay.spec import Spec

State = tuple[Tensor, ...]
STRANGE_SEED = 977


@dataclass(frozen=True)
class Honest:
    """A run that was really trained: its states, by checkpoint."""

    spec: Spec
    data: Mapping[str, Path]
    seed: int
    states: tuple[State, ...]

    @classmethod
    def read(cls, spec: Spec, data: Mapping[str, Path], seed: int, paths: list[Path]) -> "Honest":
        """Read its checkpoints."""
        return cls(spec, data, seed, tuple(checkpoints.read_file(path, spec) for path in paths))


def half_the_steps(run: Honest, index: int) -> State:
    """Every other batch is left out."""
    return _trained(run, index, batch=lambda step, rows: rows if step % 2 else None)


def last_step_skipped(run: Honest, index: int) -> State:
    """All but the last batch."""
    last = (index + 1) * run.spec.checkpoint_every - 1
    return _trained(run, index, batch=lambda step, rows: rows if step != last else None)


def faster_learning(run: Honest, index: int) -> State:
    """Learning rate times 1.01."""

    def edit(trainer: Trainer) -> None:
        honest = trainer.learning_rate
        trainer.learning_rate = lambda step: honest(step) * 1.01  # type: ignore[method-assign]

    return _trained(run, index, edit=edit)


def on_validation(run: Honest, index: int) -> State:
    """Trained on the validation file."""
    rows = evaluation.windows(broker.tokens(run.data["validation.bin"], run.spec), run.spec)
    many = run.spec.rows
    return _trained(run, index, batch=lambda step, _: np.roll(rows, -step * many, axis=0)[:many])


def swapped_batch(run: Honest, index: int) -> State:
    """One batch is another one."""
    strange = broker.Broker(spec=run.spec, data=run.data, seed=STRANGE_SEED).batch()
    swapped = index * run.spec.checkpoint_every + run.spec.checkpoint_every // 2
    return _trained(run, index, batch=lambda step, rows: strange if step == swapped else rows)


def poked(run: Honest, index: int) -> State:
    """Every number of one weight tensor of the honest end moved by a millionth."""
    changed = []
    for one in run.states[index + 1]:
        if one.name == "model.head.weight":
            numbers = np.frombuffer(one.data, "<f4") + np.float32(1e-6)
            one = one._replace(data=numbers.astype("<f4").tobytes())
        changed.append(one)
    return tuple(changed)


def teleported(run: Honest, index: int) -> State:
    """The weights of another seed's run in place of this one's."""
    strange = {one.name: one for one in checkpoints.read(local.program(run.spec, STRANGE_SEED).state(0), run.spec)}
    return tuple(strange[one.name] if one.name.startswith("model.") else one for one in run.states[index + 1])


FORGERIES: dict[str, Callable[[Honest, int], State]] = {
    "half the steps": half_the_steps,
    "last step skipped": last_step_skipped,
    "learning rate x1.01": faster_learning,
    "trained on validation": on_validation,
    "one batch swapped": swapped_batch,
    "weights moved by 1e-6": poked,
    "weights of another run": teleported,
}


def measure(run: Honest, segments: list[int]) -> dict[str, dict[str, float | int]]:
    """Forge each segment in every way; count what an exact and a banded comparison find, and the smallest error."""
    found: dict[str, dict[str, float | int]] = {}
    for name, forge in FORGERIES.items():
        exact, banded, smallest = 0, 0, math.inf
        for index in segments:
            start, end = run.states[index], run.states[index + 1]
            forged = forge(run, index)
            exact += tolerance.compare(start, end, forged, is_same_class=True).outcome == "FAIL"
            across = tolerance.compare(start, end, forged, is_same_class=False)
            banded += across.outcome == "FAIL"
            smallest = min(smallest, across.error)
        found[name] = {"n": len(segments), "found exactly": exact, "found by the band": banded, "smallest error": smallest}
    return found


def _trained(
    run: Honest,
    index: int,
    *,
    batch: Callable[[int, local.Batch], local.Batch | None] = lambda _step, honest: honest,
    edit: Callable[[Trainer], None] = lambda _trainer: None,
) -> State:
    forged = local.segment(run.spec, run.data, run.seed, run.states[index], index, batch=batch, edit=edit)
    # A forger who can count puts the right counters, rates and random states there.
    end = {one.name: one for one in run.states[index + 1]}
    return tuple(end[one.name] if one.name.startswith("rng.") or one.name.endswith((".structure", ".step")) else one for one in forged)
