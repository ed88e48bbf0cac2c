"""Every step can be cut off anywhere and run again, by anyone, at the same time."""

import datetime
import os
import signal
import subprocess
import sys

import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import connection
from django.db.models.functions import Now

from tasks import clock, evidence, leases
from tasks.models import Evidence
from tests import racing
from tests.verification import photographs, scenes
from verification import pipeline
from verification.models import Case, CheckRun, Fingerprint, Review, Verdict, VisionRun


@pytest.mark.django_db
def test_asks_for_readings_of_each_photo_once() -> None:
    submission = scenes.hand_in()
    for _ in range(3):
        assert scenes.advance(submission).stage == Case.Stage.VISION
    run = VisionRun.objects.get()
    assert (run.params, run.lease_state) == ({"phrases": ["the cup"]}, leases.LeaseState.READY)


@pytest.mark.django_db
def test_gives_one_verdict_however_often_it_runs() -> None:
    submission = scenes.hand_in()
    for _ in range(3):
        scenes.advance(submission)
    scenes.read(submission, [scenes.SURE])
    before = list(CheckRun.objects.order_by("pk").values_list("pk", "outcome"))
    for _ in range(3):
        scenes.advance(submission)
        pipeline.sweep(now=clock.now())
    assert Verdict.objects.count() == 1
    assert list(CheckRun.objects.order_by("pk").values_list("pk", "outcome")) == before


@pytest.mark.django_db
def test_opens_a_case_once() -> None:
    submission = scenes.hand_in()
    scenes.advance(submission)
    again = pipeline.open_case(submission=submission, max_false_accept=0.5, poster_review_window_s=9, terms_hash="cd" * 32, now=clock.now())
    assert (again.stage, again.terms_hash, again.poster_review_window_s) == (Case.Stage.VISION, scenes.TERMS_HASH, 0)


@pytest.mark.django_db(transaction=True)
def test_is_judged_once_by_many_at_the_same_moment() -> None:
    submission = scenes.hand_in(at=(0.0, 0.0))
    results = racing.together([lambda: scenes.advance(submission)] * 5)
    assert not [result for result in results if isinstance(result, Exception)]
    assert Verdict.objects.count() == Fingerprint.objects.count() == 1


@pytest.mark.django_db
def test_does_not_wait_for_a_case_that_fails_before_it() -> None:
    broken, whole = scenes.hand_in(), scenes.hand_in(at=(0.0, 0.0))
    kept = Evidence.objects.get(submission=broken)
    Evidence.objects.filter(pk=kept.pk).update(display_sha256="0" * 64)
    with pytest.raises(ExceptionGroup):
        pipeline.sweep(now=clock.now())
    assert Case.objects.get(pk=whole.pk).stage == Case.Stage.DECIDED
    assert Case.objects.get(pk=broken.pk).stage == Case.Stage.CHECKS


@pytest.mark.django_db
def test_drops_what_it_did_when_its_lease_has_gone_to_another() -> None:
    submission = scenes.hand_in(at=(0.0, 0.0))
    late = Case.objects.hand_out(limit=1, holder="slow", lease_s=60)[0]
    Case.objects.update(lease_until=Now() - datetime.timedelta(seconds=1))
    pipeline.sweep(now=clock.now())
    assert Case.objects.get().lease_state == leases.LeaseState.READY
    Case.objects.update(available_at=Now())
    assert scenes.advance(submission).stage == Case.Stage.DECIDED
    with pytest.raises(leases.StaleLease):
        pipeline._check(late, clock.now())
    assert Verdict.objects.count() == 1


_ADVANCE = """
import sys, uuid, django
django.setup()
from django.db import connections
connections.databases["default"]["NAME"] = sys.argv[1]
from django.conf import settings
settings.MEDIA_ROOT = sys.argv[2]
from tasks import clock
from verification import fingerprints, pipeline
def stop(*args, **kwargs):
    print("stopped", flush=True)
    while True: sys.stdin.read(1)
setattr({where}, stop)
pipeline.advance(submission_id=uuid.UUID(sys.argv[3]), now=clock.now())
"""


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "where",
    ['fingerprints, "exact_copies"', 'pipeline, "_run"', 'pipeline.vision_runs, "ask"', 'pipeline, "_leave"'],
    ids=["after the fingerprint", "before a check", "inside the move", "before the move"],
)
def test_goes_on_after_a_kill(where: str) -> None:
    submission = scenes.hand_in()
    worker = subprocess.Popen(
        [sys.executable, "-c", _ADVANCE.format(where=where), connection.settings_dict["NAME"], settings.MEDIA_ROOT, str(submission.pk)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "market.config.settings"},
    )
    with worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"stopped\n"
        worker.send_signal(signal.SIGKILL)
    assert scenes.advance(submission).stage == Case.Stage.CHECKS, "its lease lives"
    Case.objects.update(lease_until=Now() - datetime.timedelta(seconds=1))
    pipeline.sweep(now=clock.now())
    Case.objects.update(available_at=Now())
    assert scenes.advance(submission).stage == Case.Stage.VISION
    assert (Fingerprint.objects.count(), VisionRun.objects.count()) == (1, 1)
    assert CheckRun.objects.filter(outcome="FAIL").count() == 0


@pytest.mark.django_db
def test_is_swept_up_when_the_doorbell_was_lost() -> None:
    submission = scenes.hand_in(at=(0.0, 0.0))
    assert pipeline.sweep(now=clock.now()) == 1
    assert Verdict.objects.get(submission=submission).outcome == "REJECTED"
    assert pipeline.sweep(now=clock.now()) == 0


@pytest.mark.django_db
def test_gives_a_case_that_fails_us_again_and_again_to_a_person() -> None:
    submission = scenes.hand_in(photographs.snap("gravel"))
    default_storage.delete(evidence.display_name(submission.evidence.get().display_sha256))
    scenes.take_in.cache_clear()
    for _ in range(pipeline.MAX_ATTEMPTS):
        with pytest.raises(FileNotFoundError):
            scenes.advance(submission)
        Case.objects.update(lease_until=Now() - datetime.timedelta(seconds=1), available_at=Now())
        Case.objects.sweep(max_attempts=pipeline.MAX_ATTEMPTS)
    pipeline.sweep(now=clock.now())
    case = Case.objects.get()
    assert (case.stage, case.lease_state) == (Case.Stage.REVIEW, leases.LeaseState.DONE)
    assert Review.objects.get(submission=submission).kind == Review.Kind.FIRST


@pytest.mark.django_db
def test_goes_to_a_person_when_no_vision_worker_answers_in_time() -> None:
    submission = scenes.hand_in()
    scenes.advance(submission)
    VisionRun.objects.update(created_at=Now() - datetime.timedelta(minutes=16))
    pipeline.sweep(now=clock.now())
    assert Case.objects.get().stage == Case.Stage.REVIEW
    assert CheckRun.objects.get(check_name="shows").reason_code == "no_readings"
    assert VisionRun.objects.get().lease_state == leases.LeaseState.DEAD


_REFUSE_REVIEWS = """
CREATE FUNCTION refuse_review() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'planted'; END $$;
CREATE TRIGGER planted BEFORE INSERT ON verification_review FOR EACH ROW WHEN (NEW.submission_id <> '{}') EXECUTE FUNCTION refuse_review();
"""


@pytest.mark.django_db
def test_lets_cases_pass_behind_those_that_always_fail() -> None:
    """Cases that were given up and cannot even be given to a person, before one that can."""
    *broken, whole = (scenes.hand_in() for _ in range(3))
    Case.objects.update(lease_state=leases.LeaseState.DEAD)
    Case.objects.filter(pk=whole.pk).update(available_at=Now() + datetime.timedelta(hours=1))
    with connection.cursor() as cursor:
        cursor.execute(_REFUSE_REVIEWS.format(whole.pk))
    with pytest.raises(ExceptionGroup, match="2 of 2 failed"):
        pipeline.sweep(now=clock.now(), limit=2)
    assert pipeline.sweep(now=clock.now(), limit=2) == 1
    assert Case.objects.get(stage=Case.Stage.REVIEW).pk == whole.pk
    assert set(Case.objects.filter(pk__in=[one.pk for one in broken]).values_list("lease_state", flat=True)) == {leases.LeaseState.DEAD}
