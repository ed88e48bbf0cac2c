"""Token files from a prepared checkout; the checkout's `prepare` is played by one with its names."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from gpu_workers.runner.workloads.autoresearch import export

MARK = 9


class Letters:
    """A tokenizer of the letters a to h."""

    def get_vocab_size(self) -> int:
        return 10

    def get_bos_token_id(self) -> int:
        return MARK

    def encode(self, texts: list[str], prepend: int) -> list[list[int]]:
        return [[prepend, *(ord(letter) - ord("a") for letter in text)] for text in texts]


def documents(split: str) -> Iterator[tuple[list[str], int]]:
    epoch = 1
    while True:
        yield (["abc", "d"], epoch) if split == "train" else (["efg", "hab", "cde"], epoch)
        epoch += 1


PREPARE = SimpleNamespace(
    Tokenizer=SimpleNamespace(from_directory=Letters),
    _document_batches=documents,
    get_token_bytes=lambda device: np.array([1] * 9 + [0], np.int32),
)


def read(path: Path) -> list[int]:
    return [int(one) for one in np.frombuffer(path.read_bytes(), "<u2")]


def test_begins_each_document_with_its_mark_and_goes_round_once(tmp_path: Path) -> None:
    counts = export.export(PREPARE, tmp_path, train_tokens=100, scored_tokens=5)
    assert read(tmp_path / "train.bin") == [MARK, 0, 1, 2, MARK, 3]
    assert counts["train.bin"] == 6


def test_cuts_the_hold_out_behind_the_validation(tmp_path: Path) -> None:
    export.export(PREPARE, tmp_path, train_tokens=3, scored_tokens=5)
    assert read(tmp_path / "train.bin") == [MARK, 0, 1]
    assert read(tmp_path / "validation.bin") == [MARK, 4, 5, 6, MARK]
    assert read(tmp_path / "holdout.bin") == [7, 0, 1, MARK, 2]


def test_writes_the_bytes_of_each_token(tmp_path: Path) -> None:
    export.export(PREPARE, tmp_path, train_tokens=3, scored_tokens=5)
    assert read(tmp_path / "token_bytes.bin") == [1] * 9 + [0]
