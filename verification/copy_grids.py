"""How alike two photographs' copy descriptors are, when one may be a crop, a frame, a tilt or a mirror image of the other.

A descriptor is a grid of 7 x 7 cells of 40 numbers (`gpu_workers.vision.copies`). The asked grid is laid over a known one in several
hundred ways (mirrored or not, three tilts, nine sizes, nine places) and the best normalised correlation of the cells that lie on
each other is the likeness: 1 for the same picture, about 0.3 for unrelated ones.
"""

import functools

import numpy as np
from numpy.typing import NDArray

CELLS = 7
NUMBERS = 40
DIMENSION = CELLS * CELLS * NUMBERS
# The size of the asked picture in the known one's sides: a crop to half the area has 0.71.
SIZES = (0.6, 0.7071, 0.8, 0.9, 1.0, 1.12, 1.25, 1.4142, 1.6)
TILTS_DEGREES = (-10.0, 0.0, 10.0)
# Fewer cells than that on each other prove nothing.
LEAST_CELLS = 20
# Known grids compared at a time: bounds memory, not results.
BLOCK = 2048

Floats = NDArray[np.float32]


def likeness(asked: Floats, known: NDArray[np.floating]) -> Floats:
    """Give the likeness of one descriptor to each of many (rows of `DIMENSION` numbers), -1 to 1."""
    laid, masks = _laid(asked.reshape(CELLS, CELLS, NUMBERS).astype(np.float32))
    parts = [_best(known[start : start + BLOCK].astype(np.float32), laid, masks) for start in range(0, len(known), BLOCK)]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.float32)


def _best(known: Floats, laid: Floats, masks: Floats) -> Floats:
    energies = np.einsum("ncd,ncd->nc", grids := known.reshape(-1, CELLS * CELLS, NUMBERS), grids)
    lengths = np.sqrt(energies @ masks.T)
    correlations: Floats = (known @ laid.T) / np.maximum(lengths, 1e-6)
    best: Floats = correlations.max(axis=1)
    return best


def _laid(grid: Floats) -> tuple[Floats, Floats]:
    """Lay a grid out in all ways: ways x `DIMENSION`, each of unit length, and ways x 49 masks of the cells it covers."""
    rows, columns, masks = _ways()
    both = np.stack([grid, grid[:, ::-1]])
    row, column = rows.clip(0, CELLS - 1), columns.clip(0, CELLS - 1)
    above, left = np.floor(row).astype(np.intp).clip(0, CELLS - 2), np.floor(column).astype(np.intp).clip(0, CELLS - 2)
    down, right = (row - above)[..., None], (column - left)[..., None]
    sampled = (
        both[:, above, left] * (1 - down) * (1 - right)
        + both[:, above, left + 1] * (1 - down) * right
        + both[:, above + 1, left] * down * (1 - right)
        + both[:, above + 1, left + 1] * down * right
    )
    laid = (sampled * masks[None, ..., None]).reshape(-1, DIMENSION).astype(np.float32)
    laid /= np.maximum(np.linalg.norm(laid, axis=1, keepdims=True), 1e-6)
    return laid, np.concatenate([masks, masks])


@functools.cache
def _ways() -> tuple[Floats, Floats, Floats]:
    """Give for each way and each cell of the known grid where it falls in the asked one, and whether inside."""
    centres = (np.arange(CELLS) + 0.5) / CELLS - 0.5
    across, down = (axis.ravel() for axis in np.meshgrid(centres, centres))
    rows, columns = [], []
    for degrees in TILTS_DEGREES:
        cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        for size in SIZES:
            play = abs(1 - size) / 2
            for right in sorted({-play, 0.0, play}):
                for below in sorted({-play, 0.0, play}):
                    columns.append((size * (cosine * across - sine * down) + 0.5 + right) * CELLS - 0.5)
                    rows.append((size * (sine * across + cosine * down) + 0.5 + below) * CELLS - 0.5)
    row, column = np.array(rows, dtype=np.float32), np.array(columns, dtype=np.float32)
    is_inside = (row > -0.6) & (row < CELLS - 0.4) & (column > -0.6) & (column < CELLS - 0.4)
    enough = is_inside.sum(axis=1) >= LEAST_CELLS
    return row[enough], column[enough], is_inside[enough].astype(np.float32)
