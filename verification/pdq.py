"""PDQ, the perceptual hash of 256 bits (Facebook, "PDQ and TMK+PDQF", 2019), in numpy.

Two passes of a box filter, 64x64 samples, the 16x16 lowest frequencies without the constant one, one bit each for
"above the median". It survives re-encoding, scaling and mild edits; crops it does not survive.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

HASH_BYTES = 32
HASH_BITS = 256
# Of 256 bits; at most so many differ between copies (the authors' threshold).
MAX_DISTANCE = 31
# 0..100; below it a picture has too little structure to be compared (the authors' threshold).
MIN_QUALITY = 50

_SIDE = 64
_KEPT = 16
_MIN_DIMENSION = 5

Floats = NDArray[np.float32]

# Rows 1..16 of the orthonormal DCT-II of length 64.
_DCT: Floats = (np.sqrt(2.0 / _SIDE) * np.cos(np.pi / 2 / _SIDE * np.outer(np.arange(1, _KEPT + 1), 2 * np.arange(_SIDE) + 1))).astype(
    np.float32
)
# Sign patterns by which the frequencies of a mirrored picture differ: odd frequencies (even indexes here) change.
_FLIP = np.where(np.arange(_KEPT) % 2 == 0, -1.0, 1.0).astype(np.float32)


class Pdq(NamedTuple):
    """Hashes of a picture and of its seven rotations and mirrors (the picture itself first), and its quality 0..100."""

    hashes: tuple[bytes, ...]
    quality: int


def compute(luma: Floats) -> Pdq:
    """Return the PDQ of a picture given as brightness 0..255, shape (height, width).

    The authors shrink a picture to at most 512 pixels a side first, so that all sizes are treated alike.
    """
    height, width = luma.shape
    if min(height, width) < _MIN_DIMENSION:
        return Pdq((bytes(HASH_BYTES),) * 8, 0)
    blurred = luma.astype(np.float32)
    for _ in range(2):
        blurred = _box(_box(blurred, _window(width)).T, _window(height)).T
    rows = ((np.arange(_SIDE) + 0.5) * height / _SIDE).astype(np.intp)
    columns = ((np.arange(_SIDE) + 0.5) * width / _SIDE).astype(np.intp)
    samples = np.ascontiguousarray(blurred[np.ix_(rows, columns)], dtype=np.float32)
    frequencies: Floats = np.asarray(_DCT @ samples @ _DCT.T, dtype=np.float32)
    return Pdq(tuple(_bits(turned) for turned in _eight_ways(frequencies)), _quality(samples))


def distance(one: bytes, other: bytes) -> int:
    """Return how many of the 256 bits differ."""
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


def distances(wanted: tuple[bytes, ...], known: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return, for each row of ``known`` (shape (n, 4)), the least distance to any of ``wanted``."""
    best = np.full(len(known), HASH_BITS, dtype=np.int64)
    for one in wanted:
        differing = np.bitwise_count(known ^ np.frombuffer(one, dtype=np.uint64)).sum(axis=1, dtype=np.int64)
        np.minimum(best, differing, out=best)
    return best


def _window(length: int) -> int:
    # Half of a 64th, rounded up: two passes then average one sample's worth of pixels.
    return (length + 2 * _SIDE - 1) // (2 * _SIDE)


def _box(values: Floats, window: int) -> Floats:
    """Average along rows over ``window`` pixels around each, fewer at the edges (right-heavy where even)."""
    length = values.shape[1]
    ahead = (window + 2) // 2 - 1
    behind = window - ahead - 1
    sums = np.zeros((values.shape[0], length + 1), dtype=np.float64)
    np.cumsum(values, axis=1, dtype=np.float64, out=sums[:, 1:])
    first = np.maximum(np.arange(length) - behind, 0)
    after = np.minimum(np.arange(length) + ahead + 1, length)
    return np.asarray((sums[:, after] - sums[:, first]) / (after - first), dtype=np.float32)


def _quality(samples: Floats) -> int:
    # Only gradients of at least 1 % of the range count; 90 is the authors' scale.
    down = np.abs(np.trunc((samples[:-1] - samples[1:]) * 100 / 255)).sum()
    across = np.abs(np.trunc((samples[:, :-1] - samples[:, 1:]) * 100 / 255)).sum()
    return min(100, int(down + across) // 90)


def _eight_ways(frequencies: Floats) -> list[Floats]:
    mirrored = [
        frequencies,
        frequencies * _FLIP[:, None],
        frequencies * _FLIP[None, :],
        frequencies * _FLIP[:, None] * _FLIP[None, :],
    ]
    return mirrored + [one.T for one in mirrored]


def _bits(frequencies: Floats) -> bytes:
    ordered = np.sort(frequencies, axis=None)
    # The lower of the two middle values, as the authors' median (Torben's) gives it.
    above = frequencies > ordered[HASH_BITS // 2 - 1]
    # Bit 0 is the lowest frequency and is written last.
    return np.packbits(above.reshape(-1)[::-1]).tobytes()
