"""The terms of a photo task: what must be seen, where and when. It has no price."""

import datetime
import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple, Self

import rfc8785
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from tasks import text

MAX_POSTER_REVIEW_WINDOW_S = 7 * 24 * 3600

_plain = AfterValidator(text.require_plain)
Question = Annotated[str, _plain, Field(min_length=10, max_length=500)]
Phrase = Annotated[str, _plain, Field(min_length=3, max_length=120)]
WholeNumber = Annotated[int, Field(strict=True)]
Simulation = Literal["late", "blurred", "wrong_place", "fraud", "no_taker"]

_SHOW = re.compile(
    r"^(?:please\s+)?(?:show|photograph|send|take)(?:\s+(?:me|us))?(?:\s+(?:a|one|the)\s+(?:clear\s+)?(?:photo|photograph|picture|image)\s+of)?\s+(.+)$",
    re.IGNORECASE,
)


class Criterion(NamedTuple):
    """One published criterion: its code, and what it asks in words a worker understands."""

    code: str
    text: str


class PhotoTerms(BaseModel):
    """The machine-checkable contract of a photo task. Distances in metres, times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["photo"] = "photo"
    version: Literal[1] = 1
    question: Question
    must_show: Annotated[list[Phrase], Field(min_length=1, max_length=5)]
    latitude: float = Field(strict=True, ge=-90, le=90)
    longitude: float = Field(strict=True, ge=-180, le=180)
    within_m: WholeNumber = Field(ge=10, le=5000)
    opens_at: AwareDatetime
    closes_at: AwareDatetime
    min_short_side_px: WholeNumber = Field(default=480, ge=120, le=4000)
    task_time_s: WholeNumber = Field(default=600, ge=60, le=7200)
    # 0: the machine decides, and a person where it may not.
    poster_review_window_s: WholeNumber = Field(default=0, ge=0, le=MAX_POSTER_REVIEW_WINDOW_S)
    # The bound on P(bad | accepted); the market sets it from the price.
    max_false_accept: float = Field(strict=True, gt=0, lt=1)
    # Test mode only: how the simulated worker is to behave.
    simulate: Simulation | None = None

    @model_validator(mode="before")
    @classmethod
    def _phrase_from_question(cls, given: object) -> object:
        if isinstance(given, Mapping) and given.get("must_show") is None and isinstance(given.get("question"), str):
            return {**given, "must_show": [phrase_of(given["question"])]}
        return given

    @model_validator(mode="after")
    def _window_is_long_enough(self) -> Self:
        if self.closes_at - self.opens_at < datetime.timedelta(seconds=60):
            raise ValueError("the window from opens_at to closes_at must be at least 60 seconds long")
        return self


def phrase_of(question: str) -> str:
    """Return what a photo must show, made of the question: the object of its "Show ..." sentence, or all of it."""
    sentences = [part.strip() for part in re.split(r"(?<=[.?!;\u061f\u3002])\s+", question) if part.strip()]
    asked = [match.group(1) for sentence in sentences if (match := _SHOW.match(sentence))]
    return (asked[-1] if asked else question).strip(" .?!;\u061f\u3002")[:120].strip()


def criteria(terms: PhotoTerms) -> list[Criterion]:
    """Return the published criteria; a rejection may name these and nothing else."""
    shown = [Criterion(f"shows:{number}", f"It shows: {phrase}") for number, phrase in enumerate(terms.must_show)]
    return [
        Criterion("in_place", f"Taken within {terms.within_m} m of the place."),
        Criterion("in_time", "Taken after the claim, inside the task's time window."),
        Criterion("sharp", "Sharp: not blurred or shaken."),
        Criterion("exposed", "Neither too dark nor too bright."),
        Criterion("large_enough", f"The shorter side has at least {terms.min_short_side_px} pixels."),
        Criterion("original", "Your own new photo: not a copy of an earlier one."),
        *shown,
    ]


def terms_hash(terms: PhotoTerms, offer: Mapping[str, str | int]) -> str:
    """Return the SHA-256, in hexadecimal, of the RFC 8785 JSON of ``{"offer": ..., "terms": ...}``."""
    document = {"terms": terms.model_dump(mode="json"), "offer": dict(offer)}
    return hashlib.sha256(rfc8785.dumps(document)).hexdigest()
