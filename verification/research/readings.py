"""What trusted jobs hand in: shapes, checked before anything is stored. What they mean for a verdict, `judging` says."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

import pydantic

from verification.replay.scoring import MalformedScore, Score
from verification.research.models import TrustedJob

_Code = Annotated[str, pydantic.Field(pattern=r"^[a-z0-9_]{1,40}$")]
_Hex = Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]
_NOT_A_CODE = re.compile(r"[^a-z0-9_]+")


class MalformedReadings(ValueError):
    """The readings are not of the published shape; the message says which field."""


class _Readings(pydantic.BaseModel):
    # What a later program of the pool says beside it is not kept.
    model_config = pydantic.ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)


class Smoke(_Readings):
    """A short run: whether the tree may be replayed, and if not, why (`codes`)."""

    is_passed: bool
    codes: Annotated[list[_Code], pydantic.Field(max_length=40)] = []


class Evaluation(_Readings):
    """A run's weights: the leaf of the file that was read, and their score, or the code of why they have none."""

    leaf: _Hex
    score: dict[str, Any] | None = None
    refusal: _Code | None = None

    @pydantic.model_validator(mode="after")
    def _has_one(self) -> "Evaluation":
        if (self.score is None) == (self.refusal is None):
            raise ValueError("give a score or a refusal")
        if self.score is not None:
            try:
                Score.from_json(self.score)
            except MalformedScore as wrong:
                raise ValueError(str(wrong)) from wrong
        return self

    @property
    def read_score(self) -> Score | None:
        """The score, typed."""
        return Score.from_json(self.score) if self.score is not None else None


class Audit(_Readings):
    """Segments of a run, trained again: whether all of them end where the report says, and if not, why (`code`)."""

    is_passed: bool
    code: _Code | None = None


def parse(*, kind: TrustedJob.Kind, given: Mapping[str, object]) -> dict[str, object]:
    """Return checked readings as they are kept.

    Raises:
        MalformedReadings: with the field.
    """
    shapes: dict[str, type[_Readings]] = {TrustedJob.Kind.SMOKE: Smoke, TrustedJob.Kind.EVALUATE: Evaluation, TrustedJob.Kind.AUDIT: Audit}
    try:
        return shapes[kind].model_validate(dict(given)).model_dump(mode="json")
    except pydantic.ValidationError as malformed:
        # Without what was sent: it may be a stranger's words.
        first = malformed.errors(include_input=False, include_url=False)[0]
        raise MalformedReadings(f"readings.{'.'.join(map(str, first['loc']))}: {first['msg']}") from malformed


def code(words: str) -> str:
    """Return a reason as a plain code: nothing else of it reaches a row or a log."""
    return _NOT_A_CODE.sub("_", words.lower())[:40]
