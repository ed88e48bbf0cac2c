"""The terms of a research bounty on an autoresearch checkout."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from verification.replay import trees
from verification.replay.spec import DataFile, Role, Spec

ROLE_BY_NAME: dict[str, Role] = {
    "train.bin": "train",
    "validation.bin": "validation",
    "holdout.bin": "holdout",
    "token_bytes.bin": "asset",
}
VOCABULARY = 8192
SEQUENCE = 2048
# 2**19 tokens a step; an H100 makes about 950 of them in the script's five minutes (the checkout's results, its baseline).
ROWS = 256
STEPS = 950
CHECKPOINT_EVERY = 50
# One other seed moved the checkout's own score by 0.000695 (its results.tsv, H100 series of 2026-03-08): a stand-in until it is measured.
SPREAD = 0.0007
_READ_AT_ONCE = 1 << 20


class NotACheckout(Exception):
    """The folder is no checkout with exported tokens; the message says what is missing."""


def base_files(checkout: Path) -> dict[str, str]:
    """Read the tree that candidates start from: train.py and nothing else.

    Raises:
        NotACheckout: there is no train.py.
    """
    try:
        return {"train.py": (checkout / "train.py").read_text("utf-8")}
    except FileNotFoundError:
        raise NotACheckout(f"{checkout} has no train.py: give the path of an autoresearch checkout") from None


def exported(folder: Path) -> dict[str, Path]:
    """Find the files that `export.py` wrote.

    Raises:
        NotACheckout: one is missing.
    """
    paths = {name: folder / name for name in ROLE_BY_NAME}
    missing = [name for name, path in paths.items() if not path.is_file()]
    if missing:
        raise NotACheckout(f"{folder} lacks {', '.join(missing)}: run export.py in the checkout first")
    return paths


def spec(
    *,
    files: Mapping[str, str],
    paths: Mapping[str, Path],
    hardware: tuple[str, ...],
    steps: int = STEPS,
    checkpoint_every: int = CHECKPOINT_EVERY,
) -> Spec:
    """Give the terms for a tree, its exported files and named GPUs, as the checkout of 2026-03-25 is: bf16, 8,192 tokens, 2,048 a row."""
    return Spec(
        version=1,
        interface="autoresearch/1",
        base_tree=trees.tree_digest(files),
        editable=("train.py",),
        max_tree_bytes=200_000,
        data=tuple(_data_file(name, paths[name]) for name in sorted(ROLE_BY_NAME)),
        steps=steps,
        rows=ROWS,
        sequence=SEQUENCE,
        checkpoint_every=checkpoint_every,
        vocabulary=VOCABULARY,
        wall_s=3600,
        max_parameters=100_000_000,
        memory_mib=32_768,
        eval_tokens=1_048_576,
        metric="bits_per_byte",
        token_bytes="token_bytes.bin",  # noqa: S106  a file's name
        min_effect=SPREAD,
        unpaired_sd=SPREAD,
        paired_sd=SPREAD,
        max_pairs=8,
        hardware=hardware,
        precision="bf16",
        sandbox_level="gvisor-gpu",
        is_confirmed_on_second_class=False,
    )


def _data_file(name: str, path: Path) -> DataFile:
    hashing = hashlib.sha256()
    with path.open("rb") as content:
        while part := content.read(_READ_AT_ONCE):
            hashing.update(part)
    return DataFile(name=name, role=ROLE_BY_NAME[name], sha256=hashing.hexdigest(), byte_count=path.stat().st_size)
