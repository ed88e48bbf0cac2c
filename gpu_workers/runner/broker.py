"""Batches, chosen and counted outside the stranger's process: exactly `steps` of them, then no more.

A data file is a row of tokens: one byte each for a vocabulary of at most 256, else two bytes, from 65,537 on four, little-endian.
The training files stand one behind the other, in the order of the spec. Row r of step s starts at word r of Philox4x64-10 (Salmon et
al. 2011, the stream that numpy keeps fixed) with the key SHA-256("atoms.replay.batches.1", seed)[:16] and the counter s * 2**192:
start = word * starts >> 64, over all starts whose row of `sequence + 1` tokens lies within one file. So any step's batch is known
without the ones before it, and two trees with one seed see the same rows.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from verification.replay.spec import DataFile, Spec

_HASHED_AT_ONCE = 1 << 20


class WrongData(Exception):
    """A file at hand is not the one that the spec names."""


class BudgetSpent(Exception):
    """All batches of the run have been served."""


def token_type(vocabulary: int) -> np.dtype[np.unsignedinteger]:
    """Give the type of one token in a data file."""
    if vocabulary <= 1 << 8:
        return np.dtype("u1")
    return np.dtype("<u2") if vocabulary <= 1 << 16 else np.dtype("<u4")


def checked(file: DataFile, data: Mapping[str, Path]) -> Path:
    """Give the path of a file of the spec whose content is what the spec says.

    Raises:
        WrongData: it is missing, or its size or hash differs.
    """
    path = data.get(file.name)
    if path is None or not path.is_file():
        raise WrongData(f"{file.name} is missing: download it again")
    if path.stat().st_size != file.byte_count:
        raise WrongData(f"{file.name} has {path.stat().st_size} bytes, not {file.byte_count}: download it again")
    hashing = hashlib.sha256()
    with path.open("rb") as content:
        while part := content.read(_HASHED_AT_ONCE):
            hashing.update(part)
    if hashing.hexdigest() != file.sha256:
        raise WrongData(f"{file.name} does not have the hash of the spec: download it again")
    return path


def tokens(path: Path, spec: Spec) -> NDArray[np.unsignedinteger]:
    """Map a data file's tokens, without reading it whole.

    Raises:
        WrongData: it ends within a token. (A token outside the vocabulary is found with the batch that has it.)
    """
    kind = token_type(spec.vocabulary)
    if path.stat().st_size % kind.itemsize:
        raise WrongData(f"{path.name} ends within a token")
    # As a plain array: the subclass makes every row dear.
    return np.asarray(np.memmap(path, dtype=kind, mode="r"))


class Broker:
    """Serves the batches of the steps `first` to `last` (exclusive) of one run."""

    def __init__(self, *, spec: Spec, data: Mapping[str, Path], seed: int, first: int = 0, last: int | None = None) -> None:
        """Open the training files.

        Raises:
            WrongData: a training file is missing, is another, or none is long enough for a row.
        """
        self._spec = spec
        self._files = [tokens(checked(file, data), spec) for file in spec.files("train")]
        self._starts = [max(0, len(file) - spec.sequence) for file in self._files]
        if sum(self._starts) == 0:
            raise WrongData("no training file is longer than a row")
        self._key = _key(seed)
        self._within = np.arange(spec.sequence + 1)
        self.step = first
        self._last = spec.steps if last is None else last
        self.tokens_served = 0

    def batch(self) -> NDArray[np.int64]:
        """Give the next batch: rows x (sequence + 1) tokens; for a script ("autoresearch/1") with the rows of the one after it.

        Raises:
            BudgetSpent: the last one has been served.
            WrongData: a token is outside the vocabulary.
        """
        if self.step >= self._last:
            raise BudgetSpent(f"all {self._last} steps have been served")
        rows = self._batch_of(self.step)
        self.step += 1
        self.tokens_served += self._spec.rows * self._spec.sequence
        # A script's loader fetches ahead. After the last batch there is none: it gets the last again, and trains on nothing more.
        return rows if self._spec.interface == "trainer/1" else np.concatenate([rows, self._batch_of(min(self.step, self._spec.steps - 1))])

    def _batch_of(self, step: int) -> NDArray[np.int64]:
        rows = self._rows(_starts(self._key, step, self._spec.rows, sum(self._starts)))
        if rows.max() >= self._spec.vocabulary:
            raise WrongData("a training file has a token outside the vocabulary")
        return rows

    def _rows(self, starts: NDArray[np.uint64]) -> NDArray[np.int64]:
        found = np.empty((self._spec.rows, self._spec.sequence + 1), np.int64)
        before = 0
        for file, count in zip(self._files, self._starts, strict=True):
            here = np.flatnonzero((starts >= before) & (starts < before + count))
            found[here] = file[(starts[here] - np.uint64(before)).astype(np.int64)[:, None] + self._within]
            before += count
        return found


def meaningless_batch(*, spec: Spec, seed: int, step: int) -> NDArray[np.int64]:
    """Give a batch of evenly drawn tokens, for a look at a tree that needs no data: rows x (sequence + 1)."""
    drawn = _starts(_key(seed), step, spec.rows * (spec.sequence + 1), spec.vocabulary)
    return drawn.astype(np.int64).reshape(spec.rows, spec.sequence + 1)


def _key(seed: int) -> NDArray[np.uint64]:
    return np.frombuffer(hashlib.sha256(b"atoms.replay.batches.1" + seed.to_bytes(8, "big")).digest()[:16], "<u8")


def _starts(key: NDArray[np.uint64], step: int, count: int, below: int) -> NDArray[np.uint64]:
    """Draw `count` numbers from 0 to `below` - 1: the upper half of each word's product with `below`."""
    words = np.random.Philox(counter=np.array([0, 0, 0, step], np.uint64), key=key).random_raw(count)
    # In halves of 32 bits: numpy has no product of 128.
    high, low = words >> np.uint64(32), words & np.uint64(0xFFFFFFFF)
    if below < 1 << 32:
        return (high * np.uint64(below) + (low * np.uint64(below) >> np.uint64(32))) >> np.uint64(32)
    return np.array([int(word) * below >> 64 for word in words], np.uint64)
