"""Scoring a trained model: its tree serves logits from a sandbox of its own, and everything else is computed here, with numpy.

The tree gets the weights, windows of `sequence` tokens and nothing else: no training files, no targets, no network, and a fresh process
for each file. What the tree calls its loss or its score is never asked.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gpu_workers.runner import broker, checkpoints, conversation, probing
from gpu_workers.runner.conversation import Place
from verification.replay import scoring
from verification.replay.scoring import Probe, Score
from verification.replay.spec import DataFile, Role, Spec


@dataclass(frozen=True)
class Evaluated:
    """A score, and what computing it took inside the sandboxes."""

    score: Score
    peak_memory_bytes: int
    cpu_s: float
    wall_s: float


@dataclass(frozen=True)
class _FileScore:
    nats: float
    byte_count: int
    probes: tuple[Probe, ...]


def evaluate(
    *,
    spec: Spec,
    files: Mapping[str, str],
    seed: int,
    checkpoint: Path,
    data: Mapping[str, Path],
    place: Place,
    should_stop: Callable[[], bool] = lambda: False,
) -> Score:
    """Score the weights of a run's last checkpoint in bits per byte on the validation and hold-out files.

    Raises:
        conversation.RunFailed, checkpoints.BadCheckpoint: the model can't be scored; both have a `code`.
        conversation.Stopped: asked to.
        broker.WrongData: a file is not the one of the spec.
    """
    return measure(spec=spec, files=files, seed=seed, checkpoint=checkpoint, data=data, place=place, should_stop=should_stop).score


def measure(
    *,
    spec: Spec,
    files: Mapping[str, str],
    seed: int,
    checkpoint: Path,
    data: Mapping[str, Path],
    place: Place,
    should_stop: Callable[[], bool] = lambda: False,
) -> Evaluated:
    """Score like `evaluate`, and tell what it took.

    Raises:
        as `evaluate`.
    """
    began = time.monotonic()
    tensors = checkpoints.model_tensors(checkpoints.read_file(checkpoint, spec))
    weights = checkpoints.packed(tensors, spec.steps)
    byte_counts = _byte_counts(spec, data)
    bits: dict[Role, float] = {}
    probes: list[Probe] = []
    peak_memory_bytes, cpu_s = 0, 0.0
    roles: tuple[Role, ...] = ("validation", "holdout")
    for role in roles:
        nats, byte_count = 0.0, 0
        for file in spec.files(role):
            rows = windows(broker.tokens(broker.checked(file, data), spec), spec)
            with conversation.opened(
                spec=spec, place=place, files=files, seed=seed, data=data, wall_s=spec.wall_s, should_stop=should_stop
            ) as talk:
                talk.put_weights_in(weights)
                found = _file_score(talk, spec, rows, byte_counts, generator(seed, file))
                used = talk.end()
            nats, byte_count = nats + found.nats, byte_count + found.byte_count
            probes += found.probes
            peak_memory_bytes, cpu_s = max(peak_memory_bytes, used.peak_memory_bytes), cpu_s + used.cpu_s
        bits[role] = scoring.bits_per_byte(nats, byte_count)
    score = Score(bits["validation"], bits["holdout"], checkpoints.parameter_count(tensors), probing.worst(probes))
    return Evaluated(score, peak_memory_bytes, cpu_s, time.monotonic() - began)


def windows(tokens: NDArray[np.unsignedinteger], spec: Spec) -> NDArray[np.int64]:
    """Cut the first `eval_tokens` tokens into rows of `sequence` + 1 that share none: rows x (context + the last target).

    Raises:
        broker.WrongData: there is not one whole row, or a token is outside the vocabulary.
    """
    width = spec.sequence + 1
    count = min(spec.eval_tokens, len(tokens)) // width
    if count == 0:
        raise broker.WrongData("an evaluation file, or eval_tokens, is shorter than one row")
    rows = np.asarray(tokens[: count * width]).reshape(count, width).astype(np.int64)
    if rows.max() >= spec.vocabulary:
        raise broker.WrongData("an evaluation file has a token outside the vocabulary")
    return rows


def generator(seed: int, file: DataFile) -> np.random.Generator:
    """Give what draws order and probes for one file of one run: the tree's author could not know it, and a re-run draws the same."""
    digest = hashlib.sha256(b"atoms.replay.evaluation.1" + seed.to_bytes(8, "big") + bytes.fromhex(file.sha256)).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest[:16], "<u8")))


def ask_rows(
    talk: conversation.Conversation,
    spec: Spec,
    rows: NDArray[np.int64],
    drawn: np.random.Generator,
    weigh: Callable[[probing.Scores, int], float],
) -> probing.Found:
    """Put an inquiry about rows to a model whose weights are in.

    Raises:
        conversation.RunFailed: also `logits_not_finite`.
    """
    at_once = probing.rows_at_once(rows=spec.rows, length=spec.sequence, vocabulary=spec.vocabulary)
    inquiry = probing.Inquiry(rows, rows_at_once=at_once, generator=drawn)
    try:
        return inquiry.run(lambda part: talk.logits(part, spec.vocabulary), weigh, is_bf16=spec.precision == "bf16")
    except scoring.NotScorable as nothing:
        raise conversation.RunFailed("logits_not_finite", str(nothing)) from None


def _file_score(
    talk: conversation.Conversation, spec: Spec, rows: NDArray[np.int64], byte_counts: NDArray[np.int64], drawn: np.random.Generator
) -> _FileScore:
    # A token of no bytes (a mark between documents) is neither scored nor counted, as in the workloads this is made for.
    counted = byte_counts[rows[:, 1:]] > 0

    def weigh(answer: probing.Scores, row: int) -> float:
        chosen = counted[row]
        return scoring.nll_nats(answer[chosen], rows[row, 1:][chosen]) if chosen.any() else 0.0

    found = ask_rows(talk, spec, rows, drawn, weigh)
    return _FileScore(float(np.sum(found.nats_by_row)), int(byte_counts[rows[:, 1:]].sum()), found.probes)


def _byte_counts(spec: Spec, data: Mapping[str, Path]) -> NDArray[np.int64]:
    """Give the bytes of text that each token stands for: one each, or two-byte little-endian counts from the asset of the spec."""
    if spec.token_bytes is None:
        return np.ones(spec.vocabulary, np.int64)
    (file,) = (one for one in spec.files("asset") if one.name == spec.token_bytes)
    counts = np.frombuffer(broker.checked(file, data).read_bytes(), "<u2").astype(np.int64)
    if len(counts) != spec.vocabulary:
        raise broker.WrongData(f"{file.name} has {len(counts)} counts of two bytes, the vocabulary {spec.vocabulary} tokens")
    return counts
