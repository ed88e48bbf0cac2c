"""Tasks, claims and submissions as the market writes them, with real photographs, for tests of judging alone."""

import base64
import datetime
import functools
import uuid
from collections.abc import Sequence

import numpy as np

from market.accounts.models import User
from tasks import clock, evidence, geo, submissions
from tasks.kinds.photo import PhotoTerms
from tasks.models import Claim, Evidence, Slot, Submission, Task, WorkerProfile
from tests.verification import photographs
from verification import calibration, pipeline, vision_runs
from verification.models import Case, VisionRun

PLACE = (52.5200, 13.4050)
TERMS_HASH = "ab" * 32
KEY_ID = uuid.UUID(int=7)

# Readings that the shipped calibration table accepts, asks again for, and leaves open.
_LIMIT = 0.5
_TABLE = calibration.table()
_THRESHOLDS = calibration.thresholds_for(_LIMIT)
assert _THRESHOLDS is not None
assert _THRESHOLDS.retake_below is not None
MODEL_HASH = _TABLE.model_hash
SURE, BAD = _THRESHOLDS.accept_at + 0.001, _THRESHOLDS.retake_below - 0.001
UNSURE = (_THRESHOLDS.accept_at + _THRESHOLDS.retake_below) / 2


def open_user() -> User:
    return User.objects.create(username=uuid.uuid4().hex)


def open_worker(mode: str = "test") -> WorkerProfile:
    return WorkerProfile.objects.create(user=open_user(), mode=mode)


def open_task(*, mode: str = "test", now: datetime.datetime | None = None, **terms: object) -> Task:
    now = now or clock.now()
    whole = PhotoTerms.model_validate(
        {
            "question": "Is the coffee served? Show the cup.",
            "latitude": PLACE[0],
            "longitude": PLACE[1],
            "within_m": 50,
            "opens_at": now - datetime.timedelta(hours=1),
            "closes_at": now + datetime.timedelta(hours=5),
            "max_false_accept": 0.05,
            **terms,
        }
    )
    task = Task.objects.create(
        mode=mode,
        kind="photo",
        status=Task.Status.LISTED,
        owner=open_user(),
        title="A cup of coffee",
        terms=whole.model_dump(mode="json"),
        latitude=whole.latitude,
        longitude=whole.longitude,
        within_m=whole.within_m,
        country="DE",
        h3_cell=geo.listing_cell(*PLACE),
        opens_at=whole.opens_at,
        closes_at=whole.closes_at,
        task_time_s=whole.task_time_s,
    )
    Slot.objects.create(task=task, number=1)
    return task


def open_claim(*, task: Task | None = None, worker: WorkerProfile | None = None, now: datetime.datetime | None = None) -> Claim:
    task = task or open_task(now=now)
    slot = Slot.objects.create(task=task, number=task.slots.count() + 1)
    return Claim.objects.create(
        task=task,
        slot=slot,
        slot_token=slot.token,
        worker=worker or open_worker(task.mode),
        terms_hash=TERMS_HASH,
        expires_at=(now or clock.now()) + datetime.timedelta(hours=1),
    )


@functools.cache
def take_in(raw: bytes) -> evidence.TakenIn:
    """Take a file in through the real intake, once for all tests of this process."""
    return evidence.take_in(raw)


def hand_in(
    *files: bytes,
    claim: Claim | None = None,
    at: tuple[float, float] | None = PLACE,
    accuracy_m: float | None = 12.0,
    captured_at: datetime.datetime | None = None,
    kind: Submission.Kind = Submission.Kind.EVIDENCE,
    max_false_accept: float = _LIMIT,
    poster_review_window_s: int = 0,
    submission_id: uuid.UUID | None = None,
    now: datetime.datetime | None = None,
) -> Submission:
    """Hand photos in and open the case, as the market does."""
    now = now or clock.now()
    latitude, longitude = at or (None, None)
    handed_in = submissions.HandedIn(
        files=[take_in(raw) for raw in files or (photographs.snap("coffee"),)],
        capture=submissions.ReportedCapture(latitude=latitude, longitude=longitude, accuracy_m=accuracy_m, captured_at=captured_at),
        kind=kind,
        negative_reason="closed" if kind == Submission.Kind.NEGATIVE else "",
    )
    submission = submissions.receive(claim=claim or open_claim(now=now), handed_in=handed_in, now=now)
    if submission_id is not None:
        submission = _renamed(submission, submission_id)
    pipeline.open_case(
        submission=submission,
        max_false_accept=max_false_accept,
        poster_review_window_s=poster_review_window_s,
        terms_hash=TERMS_HASH,
        now=now,
    )
    return submission


def advance(submission: Submission) -> Case:
    pipeline.advance(submission_id=submission.pk, now=clock.now())
    return Case.objects.get(pk=submission.pk)


def vector(seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=64)
    return values / np.linalg.norm(values)


def readings(scores: Sequence[float] = (0.9,), *, values: np.ndarray | None = None) -> dict[str, object]:
    """What a vision worker sends: scores for the phrases, and a descriptor of its own making."""
    described = vector(int.from_bytes(uuid.uuid4().bytes[:4], "big")) if values is None else values
    return {
        "labels": [{"index": 504, "probability": 0.8}],
        "phrase_scores": list(scores),
        "descriptor": base64.b64encode(described.astype("<f2").tobytes()).decode(),
    }


def lease(limit: int = 32) -> list[VisionRun]:
    return vision_runs.hand_out(key_id=KEY_ID, holder="gpu", limit=limit, lease_s=60)


def complete(run: VisionRun, scores: Sequence[float], *, values: np.ndarray | None = None, model_hash: str = MODEL_HASH) -> None:
    vision_runs.complete(
        run_id=run.pk,
        token=run.token,
        key_id=KEY_ID,
        readings=readings(scores, values=values),
        model_hash=model_hash,
        preprocessing="test-1",
        now=clock.now(),
    )


def read(
    submission: Submission, scores: Sequence[float] = (SURE,), *, values: np.ndarray | None = None, model_hash: str = MODEL_HASH
) -> Case:
    """Let a vision worker read whatever waits, then go on with the submission."""
    for run in lease():
        complete(run, scores, values=values, model_hash=model_hash)
    return advance(submission)


def _renamed(submission: Submission, submission_id: uuid.UUID) -> Submission:
    """Give a fresh submission the id that a test needs."""
    files = list(submission.evidence.all())
    Evidence.objects.filter(submission=submission).delete()
    Submission.objects.filter(pk=submission.pk).delete()
    submission.pk = submission_id
    submission.save(force_insert=True)
    for file in files:
        file.submission = submission
        file.save(force_insert=True)
    return submission
