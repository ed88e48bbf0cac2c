"""Writing safetensors files from raw bytes; without numpy or torch, so that both sides of the sandbox write them alike."""

import json
import struct
from collections.abc import Iterable, Mapping

# Name, dtype as safetensors spells it, shape, bytes (little-endian, row after row).
RawTensor = tuple[str, str, tuple[int, ...], bytes]


def pack(tensors: Iterable[RawTensor], metadata: Mapping[str, str]) -> bytes:
    """Write one file: the same tensors give the same bytes, whatever order they come in."""
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    contents = []
    at = 0
    # Widest first, as the library itself does: each tensor then begins at a multiple of its own width.
    for name, dtype, shape, data in sorted(tensors, key=lambda one: (-_width(one[1]), one[0])):
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + len(data)]}
        contents.append(data)
        at += len(data)
    words = json.dumps(header, separators=(",", ":")).encode()
    words += b" " * (-len(words) % 8)
    return b"".join([struct.pack("<Q", len(words)), words, *contents])


def _width(dtype: str) -> int:
    digits = "".join(filter(str.isdigit, dtype.split("_")[0]))
    return int(digits or 8)
