"""The byte-level model trained in this process, for figures that need hundreds of steps: our own tree, so no sandbox is owed.

Its bits are those of a sandboxed run (tests/gpu_workers/runner/training/test_replay.py holds that), so what is forged here is compared
with what the runner committed.
"""

import itertools
import math
import sys
import time
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from gpu_workers.runner import broker, checkpoints, evaluation
from gpu_workers.runner.harness import settings, trainers
from gpu_workers.runner.workloads.byte_lm import base_tree
from gpu_workers.runner.workloads.byte_lm.base_tree.train import Trainer
from verification.replay import digests
from verification.replay.digests import Tensor
from verification.replay.spec import Spec

Batch = NDArray[np.int64]


def program(spec: Spec, seed: int) -> trainers.Program:
    """Build the base tree's trainer here, with the harness's settings and one thread."""
    if "train" not in sys.modules:
        sys.path.insert(0, str(resources.files(base_tree)))
        settings.fix(1)
    return trainers.Program(seed, {"steps": spec.steps, "rows": spec.rows, "sequence": spec.sequence, "vocabulary": spec.vocabulary})


def segment(
    spec: Spec,
    data: Mapping[str, Path],
    seed: int,
    start: tuple[Tensor, ...],
    index: int,
    *,
    batch: Callable[[int, Batch], Batch | None] = lambda _step, honest: honest,
    edit: Callable[[Trainer], None] = lambda _trainer: None,
) -> tuple[Tensor, ...]:
    """Train one segment from a state, with each batch exchanged (or left out, where `batch` gives None) and the trainer edited."""
    first, last = index * spec.checkpoint_every, (index + 1) * spec.checkpoint_every
    one = program(spec, seed)
    one.restore(checkpoints.packed(start, first))
    edit(cast(Trainer, one.trainer))
    served = broker.Broker(spec=spec, data=data, seed=seed, first=first, last=last)
    for step in range(first, last):
        rows = batch(step, served.batch())
        if rows is not None:
            one.step(step, rows.astype("<i8").tobytes())
    return checkpoints.read(one.state(last), spec)


def score(spec: Spec, data: Mapping[str, Path], seed: int, edit: Callable[[Trainer], None] = lambda _trainer: None) -> float:
    """Train a whole run, with the trainer edited, and give bits per byte on the validation file."""
    one = program(spec, seed)
    edit(cast(Trainer, one.trainer))
    served = broker.Broker(spec=spec, data=data, seed=seed)
    for step in range(spec.steps):
        one.step(step, served.batch().astype("<i8").tobytes())
    rows = torch.from_numpy(evaluation.windows(broker.tokens(data["validation.bin"], spec), spec))
    with torch.no_grad():
        scores = one.trainer.model(rows[:, :-1])
    return torch.nn.functional.cross_entropy(scores.double().flatten(0, 1), rows[:, 1:].flatten()).item() / math.log(2)


def plain_cpu_s(spec: Spec, data: Mapping[str, Path], seed: int) -> float:
    """Give the CPU seconds of nothing but the training: the steps and their batches, without checkpoints."""
    one = program(spec, seed)
    served = broker.Broker(spec=spec, data=data, seed=seed)
    began = time.process_time()
    for step in range(spec.steps):
        one.step(step, served.batch().astype("<i8").tobytes())
    return time.process_time() - began


def state_cpu_s(spec: Spec, paths: list[Path]) -> tuple[float, float]:
    """Give the CPU seconds of hashing a run's checkpoints, and of reading, checking, measuring and packing them."""
    contents = [path.read_bytes() for path in paths]
    began = time.process_time()
    read = [checkpoints.read(content, spec) for content in contents]
    for before, after in itertools.pairwise(read):
        checkpoints.movement(before, after)
    for index, tensors in enumerate(read):
        checkpoints.packed(tensors, index)
    middle = time.process_time()
    for index, tensors in enumerate(read):
        digests.leaf(index * spec.checkpoint_every, tensors)
    return time.process_time() - middle, middle - began
