"""Fixtures of the GPU worker's tests: the real model, loaded once, and a model that only counts, for tests of the lease loop."""

import io
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from PIL import Image

from gpu_workers import decoding
from gpu_workers.vision import base, loading


@pytest.fixture(scope="session")
def model() -> base.VisionModel:
    """The default model."""
    return loading.default_model(1)


class MeanColour:
    """A model whose scores are the photograph's mean brightness: what the lease loop does with readings needs no network."""

    model_hash = "ab" * 32
    preprocessing = "mean-1"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def describe(self, images: Sequence[base.Picture], phrases: Sequence[Sequence[str]]) -> list[base.Readings]:
        self.batches.append(len(images))
        unit = np.full(16, 0.25, np.float32)
        return [base.Readings(((0, 1.0),), (float(image.mean()),) * len(asked), unit) for image, asked in zip(images, phrases, strict=True)]


@pytest.fixture
def mean_colour() -> MeanColour:
    return MeanColour()


@pytest.fixture(scope="session")
def decoders() -> Iterator[decoding.DecoderPool]:
    with decoding.DecoderPool(1) as pool:
        yield pool


def grey_photo(brightness: int) -> bytes:
    """A grey PNG of one brightness."""
    target = io.BytesIO()
    Image.new("RGB", (64, 48), (brightness,) * 3).save(target, "PNG")
    return target.getvalue()
