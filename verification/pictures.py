"""What is measured on a display copy: digests of its pixels, PDQ, sharpness and light. It judges nothing."""

import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tasks import evidence
from verification import pdq

# Sharpness and light are measured at one size, so that a camera's resolution does not matter.
MEASURED_LONG_SIDE_PX = 512
_TILES = 8
# ITU-R BT.601 luma, as PDQ takes it.
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


class Light(NamedTuple):
    """How bright a picture is, 0..255, and which share of its pixels holds no detail any more."""

    low: float
    """The brightness that 5 % of the pixels are below."""
    high: float
    """The brightness that 5 % of the pixels are above."""
    dark_share: float
    bright_share: float


class Picture(NamedTuple):
    """The measurements of one display copy."""

    pixel_sha256: str
    pdq: pdq.Pdq
    sharpness: float
    light: Light


def measure(display_sha256: str) -> Picture:
    """Read a display copy (our own re-encoded JPEG) and measure it.

    Raises:
        FileNotFoundError: it is not stored.
    """
    with evidence.open_display(display_sha256) as stream, Image.open(stream, formats=("JPEG",)) as shown:
        pixels = np.asarray(shown.convert("RGB"))
        small = shown.copy()
    small.thumbnail((MEASURED_LONG_SIDE_PX, MEASURED_LONG_SIDE_PX), Image.Resampling.BOX)
    luma = np.asarray(small, dtype=np.float32) @ LUMA
    return Picture(pixel_digest(pixels), pdq.compute(luma), sharpness_of(luma), light_of(luma))


def pixel_digest(pixels: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of a picture's size and pixels, whatever file they came in."""
    return hashlib.sha256(f"{pixels.shape[1]}x{pixels.shape[0]}:".encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def sharpness_of(luma: pdq.Floats) -> float:
    """Return the variance of the Laplacian in the sharpest tenth of 8 x 8 tiles.

    A sharp subject before a plain wall or a clear sky is sharp: the mean over the whole picture would say otherwise.
    """
    if min(luma.shape) < 2 * _TILES:
        return 0.0
    middle = luma[1:-1, 1:-1]
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * middle
    tiles = [tile for rows in np.array_split(laplacian, _TILES, axis=0) for tile in np.array_split(rows, _TILES, axis=1)]
    return float(np.quantile([tile.var() for tile in tiles], 0.9))


def light_of(luma: pdq.Floats) -> Light:
    """Return how bright a picture is and which shares of it are lost in black and white."""
    low, high = np.quantile(luma, (0.05, 0.95))
    return Light(float(low), float(high), float((luma < 6).mean()), float((luma > 249).mean()))
