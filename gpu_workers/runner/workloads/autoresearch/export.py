"""Write the token files of a prepared autoresearch checkout: run in its own environment, where its `prepare` can be imported.

`cd autoresearch && uv run python PATH/export.py FOLDER [--train-tokens 600000000] [--scored-tokens 4000000]`

It reads documents with the checkout's own tokenizer, begins each with its mark, and writes tokens of two bytes, little-endian:
`train.bin` from the training shards, `validation.bin` and after it `holdout.bin` from the pinned validation shard, and
`token_bytes.bin`, the bytes of text that each token stands for (0 for marks). It needs numpy and what the checkout has; nothing of ours.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

AT_ONCE = 1 << 20


def tokens(documents: Iterable[tuple[list[str], int]], tokenizer: Any) -> Iterator[int]:
    """Give the tokens of documents in batches, each document begun by the mark."""
    for texts, epoch in documents:
        # The loader goes round for ever; once is enough.
        if epoch > 1:
            return
        for row in tokenizer.encode(texts, prepend=tokenizer.get_bos_token_id()):
            yield from row


def write(path: Path, found: Iterator[int], count: int) -> int:
    """Write up to `count` tokens; return how many there were."""
    written = 0
    with path.open("wb") as file:
        while part := list(islice(found, min(AT_ONCE, count - written))):
            file.write(np.array(part, "<u2").tobytes())
            written += len(part)
    return written


def export(prepare: Any, folder: Path, *, train_tokens: int, scored_tokens: int) -> dict[str, int]:
    """Write the four files by means of the checkout's `prepare`; return their counts of tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = prepare.Tokenizer.from_directory()
    if tokenizer.get_vocab_size() > 1 << 16:
        raise SystemExit("a vocabulary above 65,536 does not fit tokens of two bytes")
    scored = tokens(prepare._document_batches("val"), tokenizer)
    byte_counts = np.array([int(one) for one in prepare.get_token_bytes(device="cpu")], "<u2")
    (folder / "token_bytes.bin").write_bytes(byte_counts.tobytes())
    return {
        "train.bin": write(folder / "train.bin", tokens(prepare._document_batches("train"), tokenizer), train_tokens),
        "validation.bin": write(folder / "validation.bin", scored, scored_tokens),
        "holdout.bin": write(folder / "holdout.bin", scored, scored_tokens),
        "token_bytes.bin": len(byte_counts),
    }


def main() -> None:
    """Export the checkout in the current folder."""
    parser = argparse.ArgumentParser(description="Write the token files of a prepared autoresearch checkout.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train-tokens", type=int, default=600_000_000)
    parser.add_argument("--scored-tokens", type=int, default=4_000_000)
    options = parser.parse_args()
    sys.path.insert(0, str(Path.cwd()))
    import prepare  # type: ignore[import-not-found]  # the checkout's

    counts = export(prepare, options.folder, train_tokens=options.train_tokens, scored_tokens=options.scored_tokens)
    print("\n".join(f"{name}: {count} tokens" for name, count in counts.items()))


if __name__ == "__main__":
    main()
