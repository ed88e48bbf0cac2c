"""Submissions: handed in under a claim, judged elsewhere, moved here along their legal edges only."""

import datetime
import math
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from tasks import text
from tasks.evidence import TakenIn
from tasks.models import Claim, Evidence, Submission

MAX_FILES = 5
NOTE_LENGTH = 500

_SHA256 = re.compile(r"[0-9a-f]{64}")


class StaleSubmission(Exception):
    """The submission is not in a state from which this step is legal: read it again."""


class NoSubmission(LookupError):
    """There is no submission with that id among those the asker may see."""


class BadSubmission(ValueError):
    """What was handed in is incomplete, too much or out of range; the message says what to send."""


@dataclass(frozen=True, slots=True)
class ReportedCapture:
    """What the phone says of the shutter: it may be wrong or made up, so checks judge it.

    Degrees (WGS 84), metres of one standard deviation, and the phone's clock.
    """

    latitude: float | None = None
    longitude: float | None = None
    accuracy_m: float | None = None
    captured_at: datetime.datetime | None = None

    def __post_init__(self) -> None:
        if (self.latitude is None) != (self.longitude is None):
            raise BadSubmission("Send latitude and longitude together, or neither.")
        _require_range("latitude", self.latitude, -90, 90)
        _require_range("longitude", self.longitude, -180, 180)
        _require_range("accuracy_m", self.accuracy_m, 0, 1e7)
        if self.captured_at is not None and self.captured_at.tzinfo is None:
            raise BadSubmission("captured_at needs its offset from UTC.")


@dataclass(frozen=True, slots=True)
class HandedIn:
    """All that a worker hands in at once."""

    files: Sequence[TakenIn]
    capture: ReportedCapture
    kind: Submission.Kind = Submission.Kind.EVIDENCE
    negative_reason: str = ""
    untrusted_note: str = ""
    # The phone's digests of the files before it shrank them, in the order of the files; "" where it sent none.
    reported_original_sha256s: Sequence[str] = ()

    def __post_init__(self) -> None:
        digests = [file.sha256 for file in self.files]
        if not 1 <= len(digests) <= MAX_FILES:
            raise BadSubmission(f"Send 1 to {MAX_FILES} photos.")
        if len(set(digests)) != len(digests):
            raise BadSubmission("The same photo was sent twice: send each once.")
        if self.kind == Submission.Kind.NEGATIVE and self.negative_reason not in Submission.NegativeReason.values:
            raise BadSubmission(f"Say why it can't be done: {', '.join(Submission.NegativeReason.values)}.")
        if any(digest and not _SHA256.fullmatch(digest) for digest in self.reported_original_sha256s):
            raise BadSubmission("The original's digest is 64 hexadecimal digits (SHA-256).")


def find_same(*, claim: Claim, handed_in: HandedIn) -> Submission | None:
    """Return the submission under the claim that already holds exactly this, so that a retry is harmless."""
    digests = {file.sha256 for file in handed_in.files}
    for submission in claim.submissions.filter(kind=handed_in.kind, negative_reason=handed_in.negative_reason).order_by("number"):
        if set(submission.evidence.values_list("sha256", flat=True)) == digests:
            return submission
    return None


def receive(*, claim: Claim, handed_in: HandedIn, now: datetime.datetime) -> Submission:
    """Write the submission and its evidence under a claim that was just marked submitted. Call it in its transaction."""
    submission = Submission.objects.create(
        claim=claim,
        task_id=claim.task_id,
        worker_id=claim.worker_id,
        number=claim.submissions.count() + 1,
        kind=handed_in.kind,
        negative_reason=handed_in.negative_reason,
        reported_latitude=handed_in.capture.latitude,
        reported_longitude=handed_in.capture.longitude,
        reported_accuracy_m=handed_in.capture.accuracy_m,
        reported_captured_at=handed_in.capture.captured_at,
        untrusted_note=text.strip_to_plain(handed_in.untrusted_note, max_length=NOTE_LENGTH),
        received_at=now,
    )
    originals = [*handed_in.reported_original_sha256s, *[""] * len(handed_in.files)]
    for file, original in zip(handed_in.files, originals, strict=False):
        Evidence.objects.create(
            submission=submission,
            sha256=file.sha256,
            byte_count=file.byte_count,
            media_type=file.media_type,
            width_px=file.width_px,
            height_px=file.height_px,
            display_sha256=file.display_sha256,
            untrusted_exif=file.exif,
            reported_original_sha256=original,
        )
    return submission


def start_checking(submission_id: uuid.UUID) -> bool:
    """Move a received submission to checking; return False if it is past that."""
    return _move(submission_id, Submission.Status.CHECKING)


def send_to_review(submission_id: uuid.UUID) -> bool:
    """Move a submission that is being checked to a person's queue; return False if it is past that."""
    return _move(submission_id, Submission.Status.IN_REVIEW)


def decide(
    *,
    submission: Submission,
    outcome: Submission.Status,
    retake_until: datetime.datetime | None,
    appeal_until: datetime.datetime | None,
    now: datetime.datetime,
) -> None:
    """Move a submission to its verdict's outcome; a rejection says until when it may be retaken and appealed.

    Raises:
        StaleSubmission: it is decided already, or was never checked.
    """
    if not _move(submission.pk, outcome, decided_at=now, retake_until=retake_until, appeal_until=appeal_until):
        raise StaleSubmission(f"{submission} can't become {outcome.label}: it is decided, or was never checked.")
    submission.status, submission.decided_at = outcome, now
    submission.retake_until, submission.appeal_until = retake_until, appeal_until


def appeal(*, submission: Submission, now: datetime.datetime) -> None:
    """Move a rejected submission to its appeal; the window is open before ``appeal_until``, not at it.

    Raises:
        StaleSubmission: not rejected, final, or the window is over.
    """
    open_now = Submission.objects.filter(pk=submission.pk, status=Submission.Status.REJECTED, final_at=None, appeal_until__gt=now)
    if not open_now.update(status=Submission.Status.APPEALED):
        raise StaleSubmission(f"{submission} can't be appealed: it is not rejected, or its appeal window is over.")
    submission.status = Submission.Status.APPEALED


def finalise(*, submission: Submission, now: datetime.datetime) -> bool:
    """Mark a decided submission final; return False if it was final before or is under appeal."""
    decided = (Submission.Status.ACCEPTED, Submission.Status.REJECTED, Submission.Status.INCONCLUSIVE)
    moved = Submission.objects.filter(pk=submission.pk, status__in=decided, final_at=None).update(final_at=now)
    if moved:
        submission.final_at = now
    return moved == 1


def offers_retake(submission: Submission, *, now: datetime.datetime) -> bool:
    """Tell whether the worker may hand in once more under the same claim."""
    return (
        submission.status == Submission.Status.REJECTED
        and submission.final_at is None
        and submission.retake_until is not None
        and now < submission.retake_until
        and submission.claim.status == Claim.Status.SUBMITTED
        and not submission.claim.is_retake_used
    )


def _move(submission_id: uuid.UUID, to: Submission.Status, **fields: datetime.datetime | None) -> bool:
    sources = [source for source, targets in Submission.EDGES.items() if to in targets]
    return Submission.objects.filter(pk=submission_id, status__in=sources, final_at=None).update(status=to, **fields) == 1


def _require_range(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not (math.isfinite(value) and low <= value <= high):
        raise BadSubmission(f"{name} must be a number from {low:g} to {high:g}.")
