"""The default model, offline and real: EfficientNet-Lite0's classes put into all-MiniLM's space of sentences, and copy descriptors.

ConSE (Norouzi and others, arXiv 1312.5650): the probability-weighted mean of the class names' sentence vectors stands for the
photograph; its cosine with the asked phrase says how well the phrase fits. Three changes to the paper's form were measured on the
fitting half of the labelled photographs (docs/decisions): all vectors are centred on the mean class name, probabilities are
tempered, and the cosine is given in standard deviations of what this phrase scores over the 1,000 class names, so that a vague
phrase gains nothing.
"""

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from gpu_workers.vision import base, copies, lite, pictures, sentences, weights
from gpu_workers.vision import phrases as wording

VERSION = "conse-1"
TOP_LABELS = 10
# The paper's 10 classes with exponent 1 gave AUC 0.957 against captions of other categories, these 0.974.
SUMMED_CLASSES = 100
TEMPER = 0.5
REMEMBERED_PHRASES = 4096


class Conse:
    """Loaded once a process; `describe` is one forward pass over all views of all photographs. One thread at a time."""

    preprocessing = pictures.VERSION

    def __init__(self) -> None:
        """Load and check all weights.

        Raises:
            weights.WeightsMissing, weights.WeightsChanged: see there.
        """
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = lite.Network(self._device)
        self._sentences = sentences.SentenceModel(self._device)
        self._copies = copies.CopyProjection()
        names = np.load(weights.CLASS_VECTORS.checked(), allow_pickle=False).astype(np.float32)
        self._centre: base.Vector = names.mean(axis=0)
        self._classes = _unit(names - self._centre)
        self._remembered: dict[str, _Phrase] = {}
        self.model_hash = model_hash()

    def describe(self, images: Sequence[base.Picture], phrases: Sequence[Sequence[str]]) -> list[base.Readings]:
        """Read photographs; see `base.VisionModel.describe`."""
        if len(images) != len(phrases):
            raise ValueError(f"{len(images)} photographs, but phrases for {len(phrases)}")
        if not images:
            return []
        probabilities, descriptors = self._look(images)
        self._remember([phrase for asked in phrases for phrase in asked])
        return [self._readings(*one) for one in zip(probabilities, descriptors, phrases, strict=True)]

    def _readings(self, seen: base.Vector, descriptor: base.Vector, asked: Sequence[str]) -> base.Readings:
        meaning = self._meaning(seen)
        return base.Readings(
            labels=tuple((int(index), float(seen[index])) for index in np.argsort(-seen, kind="stable")[:TOP_LABELS]),
            phrase_scores=tuple(self._remembered[phrase].score(meaning) for phrase in asked),
            descriptor=descriptor,
        )

    @torch.inference_mode()
    def _look(self, images: Sequence[base.Picture]) -> tuple[base.Vector, base.Vector]:
        """Give class probabilities (photographs x 1000) and copy descriptors (photographs x numbers)."""
        squashed, whole = zip(*(pictures.views(pictures.as_image(image)) for image in images), strict=True)
        middle, last, head = self._network.maps(torch.stack(squashed + whole).to(self._device))
        shown = torch.softmax(self._network.classes(head), dim=1).cpu().numpy()
        probabilities = (shown[: len(images)] + shown[len(images) :]) / 2
        return probabilities, self._copies.describe(middle[: len(images)], last[: len(images)])

    def _meaning(self, seen: base.Vector) -> base.Vector:
        """Give the unit vector that stands for a photograph in the space of sentences."""
        tempered = np.power(seen, np.float32(TEMPER))
        tempered[np.argsort(-tempered, kind="stable")[SUMMED_CLASSES:]] = 0
        return _unit(tempered @ self._classes)

    def _remember(self, asked: Sequence[str]) -> None:
        if len(self._remembered) > REMEMBERED_PHRASES:
            self._remembered.clear()
        new = sorted({phrase for phrase in asked if phrase not in self._remembered})
        vectors = self._sentences.embed([f"a photo of {wording.content_phrase(phrase)}" for phrase in new])
        for phrase, vector in zip(new, _unit(vectors - self._centre), strict=True):
            self._remembered[phrase] = _Phrase(vector, self._classes)


class _Phrase:
    """A phrase's vector, with the mean and spread of its cosines over the class names."""

    def __init__(self, vector: base.Vector, classes: base.Vector) -> None:
        cosines = classes @ vector
        self._vector, self._mean, self._spread = vector, float(cosines.mean()), float(cosines.std())

    def score(self, meaning: base.Vector) -> float:
        return (float(meaning @ self._vector) - self._mean) / self._spread


def model_hash() -> str:
    """Give SHA-256 over the digests of all weight files and tables and the versions of the code that uses them."""
    parts = {
        "version": VERSION,
        "preprocessing": pictures.VERSION,
        "copies": copies.VERSION,
        "phrases": wording.VERSION,
        "files": {f"{file.package}/{file.path}": file.sha256 for file in weights.ALL},
        "settings": [SUMMED_CLASSES, TEMPER],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _unit(vectors: npt.NDArray[np.float32]) -> base.Vector:
    lengths: base.Vector = np.linalg.norm(vectors, axis=-1, keepdims=True).astype(np.float32)
    return vectors / lengths
