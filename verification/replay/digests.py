"""What a run commits to: the digest of each checkpoint, one Merkle root over all of them, and how far the weights moved.

The tree is that of RFC 9162 (Certificate Transparency 2.0), sections 2.1.1 and 2.1.3: leaves and nodes are hashed with different
prefixes, so that no node can be passed off as a leaf, and a tree of odd count is split at the largest power of two below it, never
padded with copies. The root binds the count as well.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DIGEST_BYTES = 32
MODEL_PREFIX = "model."
# Bytes of one element, by the names of the safetensors format.
ELEMENT_BYTES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "U16": 2,
    "I16": 2,
    "F16": 2,
    "BF16": 2,
    "U32": 4,
    "I32": 4,
    "F32": 4,
    "U64": 8,
    "I64": 8,
    "F64": 8,
}
FLOATS = frozenset({"F16", "BF16", "F32", "F64"})

_CHECKPOINT = b"atoms.replay.checkpoint.1"
_LEAF, _NODE, _ROOT = b"\0", b"\1", b"\2"


class MalformedTensors(ValueError):
    """Tensors that are none, or two sets that do not belong together; the message says which rule."""


class NotFinite(ValueError):
    """Weights have become infinite or not a number: the run has diverged and has no score."""


class Tensor(NamedTuple):
    """One tensor: ``dtype`` as in safetensors ("F32"), ``data`` little-endian, row after row."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: bytes


def leaf(step: int, tensors: Iterable[Tensor]) -> bytes:
    """Return the 32-byte digest of the state after ``step`` steps; the order of the tensors does not matter.

    Raises:
        MalformedTensors: a name stands twice, a dtype is unknown, or the bytes do not fill the shape.
    """
    hashing = hashlib.sha256(_LEAF + _CHECKPOINT + step.to_bytes(8, "big"))
    for tensor in by_name(tensors).values():
        name, dtype = tensor.name.encode("utf-8"), tensor.dtype.encode("ascii")
        shape = b"".join(size.to_bytes(8, "big") for size in tensor.shape)
        for part in (name, dtype, shape):
            hashing.update(len(part).to_bytes(8, "big") + part)
        hashing.update(len(tensor.data).to_bytes(8, "big"))
        hashing.update(tensor.data)
    return hashing.digest()


def by_name(tensors: Iterable[Tensor]) -> dict[str, Tensor]:
    """Check tensors and return them by name, sorted.

    Raises:
        MalformedTensors: as `leaf`.
    """
    ordered = sorted((Tensor(*one) for one in tensors), key=lambda one: one.name)
    found = {one.name: one for one in ordered}
    if len(found) != len(ordered):
        raise MalformedTensors("Two tensors have one name; give each its own.")
    for one in ordered:
        if not one.name.isascii() or one.dtype not in ELEMENT_BYTES or any(not 0 <= size < 1 << 63 for size in one.shape):
            raise MalformedTensors(f"Give names in ASCII, dtypes of {', '.join(ELEMENT_BYTES)} and no negative size.")
        if math.prod(one.shape) * ELEMENT_BYTES[one.dtype] != len(one.data):
            raise MalformedTensors("A tensor's bytes do not fill its shape.")
    return found


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the 32-byte root over at least one leaf digest.

    Raises:
        MalformedTensors: no leaf, or one that is not 32 bytes.
    """
    if not leaves or any(len(one) != DIGEST_BYTES for one in leaves):
        raise MalformedTensors("A root is over one or more digests of 32 bytes.")
    return _sealed(_top([_of_leaf(one) for one in leaves]), len(leaves))


def proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the inclusion path of one leaf, from its sibling up.

    Raises:
        IndexError: there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"There are {len(leaves)} leaves, none at {index}.")
    return tuple(_path([_of_leaf(one) for one in leaves], index))


def is_in(root: bytes, leaf: bytes, index: int, count: int, proof: Sequence[bytes]) -> bool:
    """Tell whether a leaf stands at ``index`` of ``count`` under a root (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < count or any(len(one) != DIGEST_BYTES for one in (root, leaf, *proof)):
        return False
    place, last, top = index, count - 1, _of_leaf(leaf)
    for sibling in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            top = _node(sibling, top)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            top = _node(top, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and _sealed(top, count) == root


def movement(before: Iterable[Tensor], after: Iterable[Tensor]) -> float:
    """Return the L2 norm of the change of the model's float tensors between two checkpoints.

    Raises:
        MalformedTensors: the two do not have the same names, dtypes and shapes.
        NotFinite: a weight is infinite or not a number.
    """
    first, second = by_name(before), by_name(after)
    require_same_layout(first, second)
    weights = [name for name, one in first.items() if name.startswith(MODEL_PREFIX) and one.dtype in FLOATS]
    squares = math.fsum(squared_distance(values(first[name]), values(second[name])) for name in weights)
    if not math.isfinite(squares):
        raise NotFinite("A weight is infinite or not a number: the run has diverged.")
    return math.sqrt(squares)


def require_same_layout(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    """Refuse two checkpoints of different models.

    Raises:
        MalformedTensors: the two do not have the same names, dtypes and shapes.
    """
    if [one[:3] for one in first.values()] != [one[:3] for one in second.values()]:
        raise MalformedTensors("Two checkpoints of one run have the same names, dtypes and shapes; these have not.")


def values(tensor: Tensor) -> NDArray[np.floating]:
    """Return the numbers of a float tensor, flat; BF16 becomes float32, which holds it exactly."""
    if tensor.dtype == "BF16":
        # A bfloat16 is the upper half of a float32.
        return (np.frombuffer(tensor.data, dtype="<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(tensor.data, dtype={"F16": "<f2", "F32": "<f4", "F64": "<f8"}[tensor.dtype])


def squared_distance(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return the sum of squared differences in float64; infinite or not a number where an element is."""
    with np.errstate(invalid="ignore", over="ignore"):
        change = second.astype(np.float64) - first.astype(np.float64)
        # Not `dot`: its library spins a thread for each CPU, beside the training that is measured.
        return float(np.square(change, out=change).sum())


def _of_leaf(digest: bytes) -> bytes:
    return hashlib.sha256(_LEAF + digest).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()


def _sealed(top: bytes, count: int) -> bytes:
    return hashlib.sha256(_ROOT + count.to_bytes(8, "big") + top).digest()


def _split(count: int) -> int:
    return 1 << (count - 1).bit_length() - 1


def _top(hashed: Sequence[bytes]) -> bytes:
    if len(hashed) == 1:
        return hashed[0]
    middle = _split(len(hashed))
    return _node(_top(hashed[:middle]), _top(hashed[middle:]))


def _path(hashed: Sequence[bytes], index: int) -> list[bytes]:
    if len(hashed) == 1:
        return []
    middle = _split(len(hashed))
    if index < middle:
        return [*_path(hashed[:middle], index), _top(hashed[middle:])]
    return [*_path(hashed[middle:], index - middle), _top(hashed[:middle])]
