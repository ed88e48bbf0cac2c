"""What a check is given and what it answers: plain values, so that every check is a pure function of them."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field

from tasks.kinds.photo import PhotoTerms
from verification.models import CheckRun

Outcome = CheckRun.Outcome


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check's answer for one published criterion. ``facts`` are numbers and enums, never a worker's bytes."""

    criterion: str
    outcome: CheckRun.Outcome
    # What the worker may change; blank where nothing is wrong.
    reason_code: str = ""
    score: float | None = None
    facts: Mapping[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PhotoFacts:
    """What is known of one photo of a submission."""

    width_px: int
    height_px: int
    # The file's own words (untrusted): see `tasks.evidence`.
    exif: Mapping[str, object]
    sharpness: float
    # Brightness 0..255 that 5 % of the pixels are below and above, and the share of pixels burnt to white.
    dark_level: float
    bright_level: float
    burnt_share: float


@dataclass(frozen=True, slots=True)
class CopyFacts:
    """How many earlier pictures of other claims look like a photo of this submission, and how near the nearest is."""

    # Same bytes or same pixels, and received before this one.
    exact_earlier: int = 0
    # Same, but which of the two came first is not certain.
    exact_unordered: int = 0
    # Bits of the PDQ that differ from the nearest one's; None where none is within the threshold.
    nearest_bits: int | None = None
    # Cosine of the nearest learned descriptor; None where none is within the threshold, or no readings.
    nearest_cosine: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Certified thresholds on a phrase's score."""

    accept_at: float
    # None where no score is certified to ask for another photo.
    retake_below: float | None


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """Everything the checks of one submission may look at."""

    terms: PhotoTerms
    latitude: float | None
    longitude: float | None
    accuracy_m: float | None
    captured_at: datetime.datetime | None
    received_at: datetime.datetime
    claimed_at: datetime.datetime
    claim_expires_at: datetime.datetime
    # The task's own, which may be later than the terms' where the poster raised the deadline.
    closes_at: datetime.datetime
    photos: tuple[PhotoFacts, ...]
    copies: CopyFacts
    # The best score over the photos for each phrase of the terms; None where no readings came in.
    phrase_scores: tuple[float, ...] | None = None
    # None where no calibration certifies the case's limit on false accepts.
    limits: Limits | None = None
