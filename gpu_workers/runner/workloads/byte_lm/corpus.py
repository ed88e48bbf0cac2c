"""Text for the byte-level model: Python's own language reference, which every Python ships as `pydoc_data.topics`.

Licence: PSF-2.0, with Python itself. English prose with examples. Many pages quote each other at length, so each paragraph is kept once, on
the first page that has it; then whole pages go to one of three files, in the order of the hashes of their names. The text changes a
little between releases of Python: a replay spec names the files by hash, and whoever replays it receives the files, so only the
poster's Python counts.
"""

import hashlib
from pathlib import Path
from pydoc_data import topics

# Validation and hold-out take pages until they have this many bytes; pages longer than a third of it only train, so that none of
# the two is mostly one page.
SCORED_BYTES = 24_000
LONGEST_SCORED_BYTES = 8_000


def texts() -> dict[str, bytes]:
    """Give the bytes of "validation", "holdout" and "train": pages joined by an empty line."""
    chosen: dict[str, list[bytes]] = {"validation": [], "holdout": [], "train": []}
    seen: set[str] = set()
    # By hash, not by name: pages that stand beside each other in the alphabet are often about the same thing.
    for name in sorted(topics.topics, key=lambda name: hashlib.sha256(name.encode()).digest()):
        text = "\n\n".join(_unseen(topics.topics[name].strip().split("\n\n"), seen)).encode()
        if text:
            chosen[_role(text, chosen)].append(text)
    return {role: b"\n\n".join(parts) for role, parts in chosen.items()}


def _unseen(paragraphs: list[str], seen: set[str]) -> list[str]:
    """Keep the paragraphs whose words have not been seen, however they are indented, and remember them."""
    found = []
    for paragraph in paragraphs:
        words = " ".join(paragraph.split())
        if words not in seen:
            seen.add(words)
            found.append(paragraph)
    return found


def _role(text: bytes, chosen: dict[str, list[bytes]]) -> str:
    if len(text) <= LONGEST_SCORED_BYTES:
        for role in ("validation", "holdout"):
            if sum(map(len, chosen[role])) < SCORED_BYTES:
                return role
    return "train"


def write(folder: Path) -> dict[str, Path]:
    """Write `<role>.bin` into `folder` and give the path of each role's file, keyed by its name in the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for role, content in texts().items():
        paths[f"{role}.bin"] = folder / f"{role}.bin"
        paths[f"{role}.bin"].write_bytes(content)
    return paths
