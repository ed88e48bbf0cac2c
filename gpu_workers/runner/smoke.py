"""A first look at a stranger's tree for one or two percent of a run: is it usable, within its limits, honest untrained, and resumable?

It needs no data: tokens are drawn evenly. Refusals carry published codes and say what to mend.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpu_workers.runner import broker, checkpoints, conversation, evaluation
from gpu_workers.runner.conversation import Place
from verification.replay import digests, scoring
from verification.replay.digests import Tensor
from verification.replay.spec import Spec

SEED = 20_260_101
# Rows of meaningless text put to the untrained model: batches of them, so that rows stand beside others.
PROBED_BATCHES = 4
# Of the weights that are not all one number; tables of sines and the like are equal for any seed. Whoever fixes the seed in the tree picks
# the luckiest, and no later check sees it: measured, the best of 10 seeds is worth more than a change of architecture.
MOST_EQUAL = 0.5
# Of a run; and never less than two steps, since one can't be split.
TRAINED_SHARE = 0.01
LEAST_STEPS = 2
MEND = {
    "truncated": "logits at a position change with later tokens: look back only",
    "row_alone": "logits of a row depend on the other rows of the batch: treat rows alone",
    "state": "the same tokens give other logits later: keep nothing between calls of logits()",
    "order": "logits depend on the order of calls: keep nothing between calls of logits()",
    "normalised": "logits do not give probabilities: return finite, moderate numbers",
}


@dataclass(frozen=True)
class Refusal:
    """Why a tree is not replayed. `code` is a published word: those of `conversation.RunFailed` and `checkpoints.BadCheckpoint`,
    `probe_<name>` for the probes, `split_run_differs` and `seed_ignored`. `detail` may hold the stranger's own words."""

    code: str
    detail: str


@dataclass(frozen=True)
class SmokeResult:
    """What the look found; `steps` were trained straight through, half of them once more from a saved state."""

    refusals: tuple[Refusal, ...]
    parameter_count: int
    steps: int
    peak_memory_bytes: int
    cpu_s: float
    wall_s: float

    @property
    def is_passed(self) -> bool:
        """Whether the tree may be replayed."""
        return not self.refusals

    def to_json(self) -> dict[str, object]:
        """Give plain JSON values."""
        return dataclasses.asdict(self) | {"refusals": [dataclasses.asdict(one) for one in self.refusals], "is_passed": self.is_passed}


def smoke(
    *,
    spec: Spec,
    files: Mapping[str, str],
    place: Place,
    data: Mapping[str, Path] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> SmokeResult:
    """Look at a tree; `data` need hold no more than the assets of the spec.

    Raises:
        conversation.Stopped: asked to.
        broker.WrongData: an asset is not the one of the spec.
    """
    look = _Look(spec, files, place, data or {}, should_stop)
    began = time.monotonic()
    refusals: tuple[Refusal, ...] = ()
    try:
        look.train()
        refusals = (*look.probe(), *look.split())
    except (conversation.RunFailed, checkpoints.BadCheckpoint) as failed:
        refusals = (Refusal(failed.code, str(failed)[:2000]),)
    return SmokeResult(refusals, look.parameter_count, look.steps, look.peak_memory_bytes, look.cpu_s, time.monotonic() - began)


def equal_share(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    """Give the share of the model's float numbers, among tensors that are not constant, that stand in equal tensors."""
    counted = equal = 0
    for one, other in zip(checkpoints.model_tensors(first), checkpoints.model_tensors(second), strict=False):
        if one.dtype in digests.FLOATS and len(one.data) and np.ptp(digests.values(one)) > 0:
            counted += len(one.data)
            equal += len(one.data) if one == other else 0
    return equal / counted if counted else 0.0


@dataclass
class _Look:
    """One look under way."""

    spec: Spec
    files: Mapping[str, str]
    place: Place
    data: Mapping[str, Path]
    should_stop: Callable[[], bool]
    parameter_count: int = 0
    peak_memory_bytes: int = 0
    cpu_s: float = 0.0

    def __post_init__(self) -> None:
        self.steps = min(self.spec.steps, max(LEAST_STEPS, round(self.spec.steps * TRAINED_SHARE)))
        self.half = self.steps // 2
        self._states: dict[int, tuple[Tensor, ...]] = {}

    def train(self) -> None:
        """Train straight through, and keep the state before, half-way and at the end."""
        with self._opened() as talk:
            for step in range(self.steps + 1):
                if step in (0, self.half, self.steps):
                    self._states[step] = self._state(talk, step)
                    self.parameter_count = checkpoints.parameter_count(self._states[step])
                if step < self.steps:
                    self._train_step(talk, step)
            self._count(talk)
        for later in (self.half, self.steps):
            checkpoints.movement(self._states[0], self._states[later])

    def split(self) -> tuple[Refusal, ...]:
        """Train the second half again from the saved state, in another process; the states must be equal."""
        with self._opened() as talk:
            talk.restore(checkpoints.packed(self._states[self.half], self.half))
            for step in range(self.half, self.steps):
                self._train_step(talk, step)
            again = self._state(talk, self.steps)
            self._count(talk)
        straight = {one.name: one for one in self._states[self.steps]}
        wrong = sorted({one.name for one in again if straight.get(one.name) != one} | straight.keys() - {one.name for one in again})
        if not wrong:
            return ()
        detail = (
            f"{len(wrong)} tensors differ between a straight run and one that was saved and went on, first {', '.join(wrong[:3])}: "
            "keep all that training remembers in the model, the optimizers and the seeded generators, zero every gradient in each step, "
            "and use no clock"
        )
        return (Refusal("split_run_differs", detail),)

    def probe(self) -> tuple[Refusal, ...]:
        """Put the probes to the untrained model, built with another seed."""
        parts = [broker.meaningless_batch(spec=self.spec, seed=SEED, step=self.spec.steps + index) for index in range(PROBED_BATCHES)]
        rows = np.concatenate(parts)
        with self._opened(SEED + 1) as talk:
            other = self._state(talk, 0)
            talk.put_weights_in(checkpoints.packed(checkpoints.model_tensors(self._states[0]), 0))

            found = evaluation.ask_rows(
                talk, self.spec, rows, np.random.default_rng(SEED), lambda answer, row: scoring.nll_nats(answer, rows[row, 1:])
            )
            self._count(talk)
        refusals = tuple(
            Refusal(f"probe_{probe.name}", f"{MEND[probe.name]} (at {probe.positions_beyond} of {probe.positions} positions)")
            for probe in found.probes
            if not probe.is_passed
        )
        if equal_share(self._states[0], other) > MOST_EQUAL:
            refusals += (
                Refusal("seed_ignored", "two seeds give the same weights: draw them from the generators as the harness seeded them"),
            )
        return refusals

    def _opened(self, seed: int = SEED) -> conversation.Opened:
        return conversation.opened(
            spec=self.spec,
            place=self.place,
            files=self.files,
            seed=seed,
            data=self.data,
            wall_s=self.spec.wall_s,
            should_stop=self.should_stop,
        )

    def _train_step(self, talk: conversation.Conversation, step: int) -> None:
        steps = (step,) if self.spec.interface == "trainer/1" else (step, step + 1)
        talk.train(step, np.concatenate([broker.meaningless_batch(spec=self.spec, seed=SEED, step=each) for each in steps]))

    def _state(self, talk: conversation.Conversation, step: int) -> tuple[Tensor, ...]:
        return checkpoints.read(talk.state(step, checkpoints.most_bytes(self.spec)), self.spec)

    def _count(self, talk: conversation.Conversation) -> None:
        used = talk.end()
        self.cpu_s += used.cpu_s
        self.peak_memory_bytes = max(self.peak_memory_bytes, used.peak_memory_bytes)
