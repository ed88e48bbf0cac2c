"""Copy descriptors: what a photograph shows, and where, in a grid of 7 x 7 cells, so that a crop of it can be found again.

One vector for the whole picture is not enough: the network was trained to tell kinds of things apart, and two photographs of
windmills came out more alike than a photograph and its crop. Each cell therefore keeps 16 numbers of a middle layer and 24 of the
last one; `verification.copy_grids` lays two grids over each other in many ways and takes the best fit.
"""

import numpy as np
import torch

from gpu_workers.vision import base, weights

VERSION = "copies-1"
CELLS = 7
MIDDLE_CHANNELS, LAST_CHANNELS = 112, 320
MIDDLE_KEPT, LAST_KEPT = 16, 24
# So much of a photograph's mean cell is taken off: plain grounds, which all photographs of goods share, count for less.
CENTRED = 0.6


class CopyProjection:
    """The learned projection of cells: principal directions of cells, scaled to like spread (see `gpu_workers.make_tables`)."""

    def __init__(self) -> None:
        """Load the projection.

        Raises:
            weights.WeightsMissing, weights.WeightsChanged: see there.
        """
        table = np.load(weights.COPY_PROJECTION.checked(), allow_pickle=False)
        middle, last = np.split(table, [MIDDLE_KEPT * (MIDDLE_CHANNELS + 1)])
        self._middle = middle.reshape(MIDDLE_CHANNELS + 1, MIDDLE_KEPT)
        self._last = last.reshape(LAST_CHANNELS + 1, LAST_KEPT)

    def describe(self, middle: torch.Tensor, last: torch.Tensor) -> base.Vector:
        """Give unit vectors (photographs x 1960) from two layers' maps (photographs x channels x height x width)."""
        parts = [_projected(cells(middle), self._middle), _projected(cells(last), self._last)]
        grids = np.concatenate(parts, axis=-1).reshape(len(middle), -1)
        lengths = np.linalg.norm(grids, axis=1, keepdims=True)
        # A descriptor has unit length by contract; where there is nothing to describe it is the same vector for all.
        return np.where(lengths > 1e-3, grids / np.maximum(lengths, 1e-3), np.float32(grids.shape[1] ** -0.5)).astype(np.float32)


def cells(maps: torch.Tensor) -> base.Vector:
    """Average maps down to the grid: photographs x 7 x 7 x channels."""
    return torch.nn.functional.adaptive_avg_pool2d(maps, CELLS).permute(0, 2, 3, 1).cpu().numpy()


def _projected(grid: base.Vector, table: base.Vector) -> base.Vector:
    # The table's last row is the mean cell's projection, taken off.
    values = grid @ table[:-1] - table[-1]
    values = values - CENTRED * values.mean(axis=(1, 2), keepdims=True)
    # A picture of one colour has nothing to compare: its values stay near zero instead of becoming noise of full length.
    lengths: base.Vector = np.sqrt((values**2).sum(axis=(1, 2, 3), keepdims=True))
    scaled: base.Vector = values / np.maximum(lengths, np.float32(1e-3))
    return scaled
