"""What a vision worker may hand in: its shape, checked before anything is stored. Its truth is not checked here."""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Annotated

import numpy as np
import pydantic

MAX_DIMENSION = 2048
MIN_DIMENSION = 16
_MODEL_HASH = re.compile(r"[0-9a-f]{64}")
_PREPROCESSING = re.compile(r"[A-Za-z0-9._+-]{1,40}")

_Number = Annotated[float, pydantic.Field(strict=True, allow_inf_nan=False)]


class MalformedReadings(ValueError):
    """The readings are not of the published shape; the message says which field."""


class Label(pydantic.BaseModel):
    """One class of the classifier, by its index."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    index: Annotated[int, pydantic.Field(strict=True, ge=0, lt=100_000)]
    probability: Annotated[_Number, pydantic.Field(ge=0, le=1.001)]


class Readings(pydantic.BaseModel):
    """Labels (at most 10), one score a phrase, and a copy descriptor: base64 of little-endian float16 of unit length."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    labels: Annotated[list[Label], pydantic.Field(max_length=10)]
    phrase_scores: Annotated[list[Annotated[_Number, pydantic.Field(ge=-1000, le=1000)]], pydantic.Field(max_length=5)]
    descriptor: Annotated[str, pydantic.Field(max_length=4 * (2 * MAX_DIMENSION // 3 + 1))]

    @pydantic.field_validator("descriptor")
    @classmethod
    def _is_unit_vector(cls, written: str) -> str:
        vector_of(written)
        return written

    def vector(self) -> bytes:
        """Return the descriptor's bytes."""
        return vector_of(self.descriptor)


def parse(*, readings: Mapping[str, object], phrases: int, model_hash: str, preprocessing: str) -> Readings:
    """Return checked readings for an item with so many ``phrases``.

    Raises:
        MalformedReadings: not of the published shape; infinite, too many or too few numbers; not a unit vector.
    """
    if not _MODEL_HASH.fullmatch(model_hash):
        raise MalformedReadings("model_hash must be 64 hexadecimal digits (SHA-256).")
    if not _PREPROCESSING.fullmatch(preprocessing):
        raise MalformedReadings("preprocessing must be 1 to 40 letters, digits or . _ + -")
    try:
        checked = Readings.model_validate(dict(readings))
    except pydantic.ValidationError as wrong:
        # Names of fields only: a worker's own bytes do not come back in messages.
        fields = {
            str(error["loc"][0])[:20] if error["loc"] and error["loc"][0] in Readings.model_fields else "?" for error in wrong.errors()
        }
        raise MalformedReadings(f"Malformed readings in: {', '.join(sorted(fields))}.") from None
    if len(checked.phrase_scores) != phrases:
        raise MalformedReadings(f"phrase_scores must have {phrases} numbers, one for each phrase, not {len(checked.phrase_scores)}.")
    return checked


def vector_of(written: str) -> bytes:
    """Return the bytes of a descriptor.

    Raises:
        ValueError: not base64, of a wrong length, not finite or not of unit length.
    """
    try:
        content = base64.b64decode(written.encode("ascii", "strict"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as wrong:
        raise ValueError("not base64") from wrong
    if len(content) % 2 or not MIN_DIMENSION <= len(content) // 2 <= MAX_DIMENSION:
        raise ValueError("a descriptor has 16 to 2048 numbers of 2 bytes")
    values = np.frombuffer(content, dtype="<f2").astype(np.float64)
    if not np.isfinite(values).all() or not 0.98 <= float(np.linalg.norm(values)) <= 1.02:
        raise ValueError("a descriptor is finite and of unit length")
    return content
