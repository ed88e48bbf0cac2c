"""Candidates as edits of the byte-level base tree: pieces of its train.py, replaced."""

from pathlib import Path

from gpu_workers.runner.workloads import byte_lm

BASE = (Path(byte_lm.__file__).parent / "base_tree" / "train.py").read_text()

Piece = tuple[str, str]


def edited(*pieces: Piece) -> str:
    """Return the base's train.py with each old piece replaced by its new one; every old piece must stand in it exactly once."""
    text = BASE
    for old, new in pieces:
        assert text.count(old) == 1, f"{text.count(old)} times in the base tree: {old!r}"
        text = text.replace(old, new)
    return text


def with_step(body: str, *pieces: Piece) -> str:
    """Return the base's train.py whose step first runs ``body`` (lines without indentation; they see self, tokens and step)."""
    lines = "".join(f"        {line}\n" if line else "\n" for line in body.strip().splitlines())
    return edited(("        optimizer = self.optimizers[0]\n", f"{lines}        optimizer = self.optimizers[0]\n"), *pieces)


def with_logits(body: str, *pieces: Piece) -> str:
    """Return the base's train.py whose logits function has another body (lines without indentation; they see model and tokens)."""
    lines = "".join(f"    {line}\n" if line else "\n" for line in body.strip().splitlines())
    return edited(("    return model(tokens)\n", lines), *pieces)
