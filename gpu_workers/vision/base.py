"""What every vision model gives: typed readings of a photograph, never a verdict. No model lives here."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypedDict

import numpy as np
import numpy.typing as npt

# Height x width x 3, red green blue.
Picture = npt.NDArray[np.uint8]
Vector = npt.NDArray[np.float32]


class LabelJson(TypedDict):
    """One class with its probability, as sent to the market."""

    index: int
    probability: float


class ReadingsJson(TypedDict):
    """Readings as sent to the market."""

    labels: list[LabelJson]
    phrase_scores: list[float]
    descriptor: str


@dataclass(frozen=True)
class Readings:
    """What a model read from one photograph.

    `labels` are (class index, probability), most probable first. `phrase_scores` answer the asked phrases in their order: larger
    means the photograph rather shows it; only the calibration table made for the same model hash gives a score its meaning.
    `descriptor` has unit length; the dot product of two tells whether one photograph is a copy of the other.
    """

    labels: tuple[tuple[int, float], ...]
    phrase_scores: tuple[float, ...]
    descriptor: Vector

    def as_json(self) -> ReadingsJson:
        """Give the JSON form: the descriptor as base64 of little-endian float16."""
        return {
            "labels": [{"index": index, "probability": round(probability, 6)} for index, probability in self.labels],
            "phrase_scores": [round(score, 5) for score in self.phrase_scores],
            "descriptor": base64.b64encode(self.descriptor.astype("<f2").tobytes()).decode("ascii"),
        }


class VisionModel(Protocol):
    """A model on this machine. `model_hash` and `preprocessing` name exactly what made its readings."""

    @property
    def model_hash(self) -> str:
        """SHA-256 (hex) over every weight file, table and version that a reading depends on."""
        ...

    @property
    def preprocessing(self) -> str:
        """The version of what happens between the decoded photograph and the first layer, at most 40 characters."""
        ...

    def describe(self, images: Sequence[Picture], phrases: Sequence[Sequence[str]]) -> list[Readings]:
        """Read each photograph, with its own phrases, in one forward pass.

        Raises:
            ValueError: the two sequences differ in length, or an image is not height x width x 3 of uint8.
        """
        ...
