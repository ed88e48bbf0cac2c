"""Sending on the pages: one photo is one submission, and every refusal says what to do."""

import datetime

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from market.accounts.models import Agent, User
from market.web import visitors
from tasks import clock
from tasks.models import Claim, Submission
from tests import stories
from tests.market.web import steps

pytestmark = pytest.mark.django_db


@pytest.fixture
def claim(client: Client, agent: Agent) -> Claim:
    """The visitor's own claim."""
    return steps.claimed(client, stories.post_photo_bounty(agent))


def test_sends_what_the_phone_measured(client: Client, claim: Claim) -> None:
    now = clock.now()
    answer = client.post(f"/claims/{claim}/send", {"photo": steps.photo(), **steps.capture(now)})
    submission = Submission.objects.get()
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/submissions/{submission}")
    assert (submission.reported_latitude, submission.reported_longitude, submission.reported_accuracy_m) == (*stories.PLACE, 8.0)
    assert submission.reported_captured_at == now
    assert submission.evidence.get().reported_original_sha256 == "a" * 64
    assert visitors.SHOWN_CODE not in client.session


def test_sends_without_a_position_where_no_script_runs(client: Client, claim: Claim) -> None:
    answer = client.post(f"/claims/{claim}/send", {"photo": steps.photo(), "latitude": "", "longitude": "", "captured_at": ""})
    assert answer.status_code == 303
    assert Submission.objects.get().reported_latitude is None


def test_the_same_photo_twice_is_one_submission(client: Client, claim: Claim) -> None:
    answers = [client.post(f"/claims/{claim}/send", {"photo": steps.photo()}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 303]
    assert answers[0].headers["Location"] == answers[1].headers["Location"]
    assert Submission.objects.count() == 1


def test_another_photo_after_the_first_is_refused(client: Client, claim: Claim) -> None:
    client.post(f"/claims/{claim}/send", {"photo": steps.photo()})
    answer = client.post(f"/claims/{claim}/send", {"photo": steps.photo("rocket.jpg")})
    assert answer.status_code == 409
    assert Submission.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"photo": None}, b"There was no photo"),
        ({"photo": SimpleUploadedFile("a.jpg", b"")}, b"The file is empty"),
        ({"photo": SimpleUploadedFile("a.jpg", b"<svg onload=alert(1)>")}, b"not a JPEG"),
        ({"latitude": "nan", "longitude": "1"}, b"could not be read"),
        ({"latitude": "1e999", "longitude": "1"}, b"could not be read"),
        ({"latitude": "91", "longitude": "1"}, b"must be a number from -90 to 90"),
        ({"latitude": "1", "longitude": ""}, b"latitude and longitude together"),
        ({"captured_at": "yesterday"}, b"clock could not be read"),
        ({"captured_at": "2026-01-01T00:00:00"}, b"clock could not be read"),
        ({"original_sha256": "zz"}, b"64 hexadecimal digits"),
    ],
)
def test_a_broken_form_sends_nothing_and_says_why(client: Client, claim: Claim, changes: dict[str, object], words: bytes) -> None:
    # The file is new for each case: the client reads it to its end.
    given: dict[str, object] = {"photo": steps.photo(), **steps.capture(clock.now()), **changes}
    answer = client.post(f"/claims/{claim}/send", {name: value for name, value in given.items() if value is not None})
    assert answer.status_code == 422
    assert words in answer.content
    assert Submission.objects.count() == 0
    claim.refresh_from_db()
    assert claim.status == Claim.Status.ACTIVE


def test_too_late_says_so(client: Client, claim: Claim) -> None:
    Claim.objects.filter(pk=claim.pk).update(expires_at=clock.now() - datetime.timedelta(seconds=1))
    answer = client.post(f"/claims/{claim}/send", {"photo": steps.photo()})
    assert answer.status_code == 409
    assert b"The time for this task is over" in answer.content
    assert Submission.objects.count() == 0


def test_says_truthfully_that_it_cannot_be_done(client: Client, claim: Claim) -> None:
    page = client.get(f"/claims/{claim}/cannot").content
    assert b"$5.00" in page
    answer = client.post(f"/claims/{claim}/cannot", {"photo": steps.photo(), "reason": "closed", "note": "Shutters\u202e down"})
    assert answer.status_code == 303
    submission = Submission.objects.get()
    assert (submission.kind, submission.negative_reason, submission.untrusted_note) == ("NEGATIVE", "closed", "Shutters down")


def test_an_unknown_reason_is_refused(client: Client, claim: Claim) -> None:
    assert client.post(f"/claims/{claim}/cannot", {"photo": steps.photo(), "reason": "lazy"}).status_code == 422
    assert Submission.objects.count() == 0


def test_a_stranger_sees_neither_submission_nor_photo(client: Client, claim: Claim, stranger: User) -> None:
    client.post(f"/claims/{claim}/send", {"photo": steps.photo()})
    submission = Submission.objects.get()
    page = client.get(f"/submissions/{submission}").content.decode()
    address = page.split('class="shot" src="')[1].split('"')[0]
    photo = client.get(address)
    assert (photo.status_code, photo.headers["Content-Type"]) == (200, "image/jpeg")
    assert b"".join(photo.streaming_content)[:3] == b"\xff\xd8\xff"  # type: ignore[attr-defined]
    other = Client()
    assert other.get(address).status_code == 404
    other.force_login(stranger)
    assert other.get(address).status_code == 404
    assert other.get(f"/submissions/{submission}").status_code == 404
    for path in ("retake", "appeal", "waive"):
        assert other.post(f"/submissions/{submission}/{path}").status_code == 404


def test_a_claim_that_was_handed_in_shows_its_submission(client: Client, claim: Claim) -> None:
    client.post(f"/claims/{claim}/send", {"photo": steps.photo()})
    assert client.get(f"/claims/{claim}").headers["Location"] == f"/submissions/{Submission.objects.get()}"
    assert client.get(f"/tasks/{claim.task}").headers["Location"] == f"/claims/{claim}"
