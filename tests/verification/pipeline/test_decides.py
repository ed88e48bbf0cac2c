"""Which way a case goes, with real photographs through the real intake."""

import datetime
import uuid

import pytest

from tasks import clock
from tasks.models import Claim, Submission
from tests.verification import photographs, scenes
from verification import calibration, pipeline
from verification.models import Case, CheckRun, CopyDescriptor, Fingerprint, Review, Verdict, VisionRun

pytestmark = pytest.mark.django_db

SURE, BAD, UNSURE = scenes.SURE, scenes.BAD, scenes.UNSURE


def verdict_of(submission: Submission) -> tuple[str, str, list[str]]:
    verdict = Verdict.objects.get(submission=submission)
    failed = [f"{line['criterion']}:{line['reason_code']}" for line in verdict.criteria if line["outcome"] == "FAIL"]
    return verdict.outcome, verdict.decided_by, failed


def test_accepts_what_every_check_passes() -> None:
    submission = scenes.hand_in()
    assert scenes.advance(submission).stage == Case.Stage.VISION
    case = scenes.read(submission, [SURE])
    assert (case.stage, case.machine_outcome) == (Case.Stage.DECIDED, "ACCEPTED")
    assert verdict_of(submission) == ("ACCEPTED", "MACHINE", [])
    verdict = Verdict.objects.get(submission=submission)
    assert [line["criterion"] for line in verdict.criteria] == [
        "in_place",
        "in_time",
        "sharp",
        "exposed",
        "large_enough",
        "original",
        "shows:0",
    ]
    assert verdict.terms_hash == scenes.TERMS_HASH
    assert not Review.objects.filter(kind=Review.Kind.FIRST).exists()
    assert Fingerprint.objects.count() == CopyDescriptor.objects.count() == 1


@pytest.mark.parametrize(
    ("hand_in", "failed"),
    [
        pytest.param({"at": (52.53, 13.405)}, ["in_place:outside_area"], id="elsewhere"),
        pytest.param({"files": photographs.blurred("coffee")}, ["sharp:blurred"], id="blurred"),
        pytest.param({"files": photographs.dark("flower")}, ["exposed:too_dark"], id="dark"),
        pytest.param({"files": photographs.jpeg(photographs.photo("coffee"))}, ["large_enough:too_few_pixels"], id="small"),
    ],
)
def test_rejects_by_the_first_checks_without_asking_a_model(hand_in: dict[str, object], failed: list[str]) -> None:
    files = hand_in.pop("files", None)
    submission = scenes.hand_in(*([files] if files else []), **hand_in)  # type: ignore[arg-type]
    assert scenes.advance(submission).stage == Case.Stage.DECIDED
    assert verdict_of(submission) == ("REJECTED", "MACHINE", failed)
    assert not VisionRun.objects.exists()


def test_rejects_what_came_after_the_claim_ended() -> None:
    claim = scenes.open_claim()
    submission = scenes.hand_in(claim=claim)
    Claim.objects.filter(pk=claim.pk).update(expires_at=submission.received_at - datetime.timedelta(seconds=1))
    scenes.advance(submission)
    assert verdict_of(submission) == ("REJECTED", "MACHINE", ["in_time:too_late"])


def test_rejects_a_strangers_photo_and_fingerprints_rejected_ones_too() -> None:
    raw = photographs.snap("coffee")
    scenes.advance(scenes.hand_in(raw, at=(0.0, 0.0)))
    copy = scenes.hand_in(raw)
    scenes.advance(copy)
    assert verdict_of(copy) == ("REJECTED", "MACHINE", ["original:copy_of_earlier_photo"])


def test_rejects_what_is_not_shown_and_offers_the_retake_to_a_person() -> None:
    claim = scenes.open_claim()
    first = scenes.hand_in(photographs.snap("rocket"), claim=claim)
    scenes.advance(first)
    scenes.read(first, [BAD])
    assert verdict_of(first) == ("REJECTED", "MACHINE", ["shows:0:not_shown"])
    retake = scenes.hand_in(photographs.snap("temple"), claim=claim)
    scenes.advance(retake)
    case = scenes.read(retake, [BAD])
    assert (case.stage, case.machine_outcome) == (Case.Stage.REVIEW, "")
    assert Review.objects.get(submission=retake).kind == Review.Kind.FIRST
    assert not Verdict.objects.filter(submission=retake).exists()


def test_leaves_a_blurred_retake_to_a_person() -> None:
    claim = scenes.open_claim()
    scenes.advance(scenes.hand_in(photographs.blurred("coffee"), claim=claim))
    retake = scenes.hand_in(photographs.blurred("cat"), claim=claim)
    assert scenes.advance(retake).stage == Case.Stage.VISION
    assert scenes.read(retake, [SURE]).stage == Case.Stage.REVIEW


@pytest.mark.parametrize(
    ("hand_in", "scores"),
    [
        pytest.param({}, [UNSURE], id="between"),
        pytest.param({"at": None, "accuracy_m": None}, [SURE], id="no position"),
        pytest.param({"accuracy_m": 5000.0}, [SURE], id="vague position"),
        pytest.param({"max_false_accept": 1e-6}, [SURE], id="not certified at this price"),
        pytest.param({"captured_at": clock.now() - datetime.timedelta(days=2)}, [SURE], id="old by the phone's clock"),
    ],
)
def test_leaves_what_is_open_to_a_person(hand_in: dict[str, object], scores: list[float]) -> None:
    submission = scenes.hand_in(**hand_in)  # type: ignore[arg-type]
    scenes.advance(submission)
    assert scenes.read(submission, scores).stage == Case.Stage.REVIEW
    assert not Verdict.objects.exists()


def test_leaves_a_near_copy_to_a_person() -> None:
    first = scenes.hand_in(photographs.snap("coffee"))
    scenes.advance(first)
    scenes.read(first, [SURE])
    mirrored = scenes.hand_in(photographs.mirrored("coffee"))
    scenes.advance(mirrored)
    assert scenes.read(mirrored, [SURE]).stage == Case.Stage.REVIEW
    assert CheckRun.objects.get(submission=mirrored, check_name="near_copy").reason_code == "looks_like_earlier_photo"


def test_leaves_a_copy_that_only_the_model_sees_to_a_person() -> None:
    for name, stage in (("coffee", Case.Stage.DECIDED), ("temple", Case.Stage.REVIEW)):
        submission = scenes.hand_in(photographs.snap(name))
        scenes.advance(submission)
        assert scenes.read(submission, [SURE], values=scenes.vector(1)).stage == stage
    assert CheckRun.objects.get(submission=submission, check_name="learned_copy").reason_code == "looks_like_earlier_photo"


def test_leaves_it_can_not_be_done_to_a_person() -> None:
    submission = scenes.hand_in(kind=Submission.Kind.NEGATIVE)
    scenes.advance(submission)
    assert scenes.read(submission, [SURE]).stage == Case.Stage.REVIEW


def test_rejects_it_can_not_be_done_from_elsewhere() -> None:
    submission = scenes.hand_in(kind=Submission.Kind.NEGATIVE, at=(0.0, 0.0))
    scenes.advance(submission)
    assert verdict_of(submission) == ("REJECTED", "MACHINE", ["in_place:outside_area"])


def test_waits_for_the_poster_where_the_terms_ask_for_him() -> None:
    submission = scenes.hand_in(poster_review_window_s=3600)
    scenes.advance(submission)
    case = scenes.read(submission, [SURE])
    assert (case.stage, case.machine_outcome) == (Case.Stage.REVIEW, "ACCEPTED")
    assert case.machine_decided_at is not None
    assert not Review.objects.exists()
    assert not Verdict.objects.exists()


def test_does_not_trust_readings_of_another_model() -> None:
    submission = scenes.hand_in()
    scenes.advance(submission)
    assert scenes.read(submission, [SURE], model_hash="00" * 32).stage == Case.Stage.REVIEW
    assert CheckRun.objects.get(check_name="shows").reason_code == "not_certified"


def test_judges_each_phrase_by_the_photo_that_shows_it_best() -> None:
    task = scenes.open_task(must_show=["the cup", "the table"])
    submission = scenes.hand_in(photographs.snap("coffee"), photographs.snap("flower"), claim=scenes.open_claim(task=task))
    scenes.advance(submission)
    runs = scenes.lease(2)
    for run, scores in zip(runs, ([SURE, BAD], [BAD, SURE]), strict=True):
        scenes.complete(run, scores)
    assert scenes.advance(submission).stage == Case.Stage.DECIDED
    assert verdict_of(submission)[0] == "ACCEPTED"


def test_audits_a_share_that_nobody_foretells() -> None:
    chosen = sum(pipeline.is_audited(uuid.UUID(int=number)) for number in range(20_000))
    # 600 expected; five standard deviations.
    assert 480 < chosen < 720


def test_asks_for_an_audit_of_a_chosen_acceptance() -> None:
    audited = 0
    for _ in range(200):
        submission_id = uuid.uuid4()
        if pipeline.is_audited(submission_id):
            claim = scenes.open_claim()
            submission = scenes.hand_in(claim=claim, submission_id=submission_id)
            scenes.advance(submission)
            scenes.read(submission, [SURE])
            assert Review.objects.get(submission=submission).kind == Review.Kind.AUDIT
            audited += 1
            break
    assert audited == 1


def test_needs_a_certified_table() -> None:
    """Everything above rests on this: the table that ships certifies some limit."""
    assert calibration.certified().max_false_accept is not None
