"""Who sees which copy of a photograph, for how long, and with which headers."""

import datetime
import io

import pytest
import time_machine
from django.core.files.storage import default_storage
from django.test import Client
from PIL import Image

from market.accounts import keys, media_links
from market.accounts.models import Agent, ApiKey, User
from tasks import clock, evidence
from tasks.models import Submission, WorkerProfile
from tests import photographs, stories
from tests.market.api.caller import Answer, Caller, calling_as

pytestmark = pytest.mark.django_db


@pytest.fixture
def submission(agent: Agent, worker: WorkerProfile) -> Submission:
    """A real photograph that waits for its verdict."""
    return stories.submit(stories.claim(stories.post_photo_bounty(agent), worker), file=evidence.take_in(photographs.jpeg()))


def link(caller: Caller, submission: Submission) -> str:
    return str(caller.get(f"submissions/{submission}").ok()["evidence"][0]["url"])


def picture(answer: Answer) -> Image.Image:
    assert answer.status == 200, answer.body
    return Image.open(io.BytesIO(answer.body))


def test_shows_poster_a_preview_until_it_is_paid(agent: Agent, submission: Submission) -> None:
    caller = calling_as(agent)
    shown = caller.get(f"submissions/{submission}").ok()["evidence"][0]
    assert shown["preview"] is True
    assert max(picture(caller.get(shown["url"])).size) <= 480
    stories.settle(submission)
    paid = caller.get(f"submissions/{submission}").ok()["evidence"][0]
    assert paid["preview"] is False
    assert max(picture(caller.get(paid["url"])).size) > 480


def test_shows_worker_his_own_copy_without_metadata(submission: Submission, as_worker: Caller) -> None:
    photo = picture(as_worker.get(link(as_worker, submission)))
    assert max(photo.size) > 480
    assert not photo.getexif()


def test_keeps_poster_from_a_display_link_made_too_early(agent: Agent, submission: Submission) -> None:
    """Even a rightly signed link shows no more than its viewer may see at that moment."""
    caller = calling_as(agent)
    key = ApiKey.objects.get(secret_sha256=keys.digest(caller.secret))
    file = submission.evidence.get()
    url = media_links.url(evidence_id=file.pk, variant="display", viewer=media_links.viewer_with_key(key.pk))
    caller.get(url).refused(403, "link_ended")
    stories.settle(submission)
    picture(caller.get(url))


def test_refuses_everybody_else(
    agent: Agent, submission: Submission, as_worker: Caller, as_other_agent: Caller, as_machine: Caller
) -> None:
    caller = calling_as(agent)
    url = link(caller, submission)
    second_key = calling_as(agent)
    for other in (as_worker, as_other_agent, as_machine, second_key):
        other.get(url).refused(403, "link_ended")
    Caller().get(url).refused(401, "api_key_missing")


def test_ends_within_a_minute(submission: Submission, as_worker: Caller) -> None:
    now = clock.now()
    with time_machine.travel(now, tick=False):
        url = link(as_worker, submission)
    with time_machine.travel(now + datetime.timedelta(seconds=59), tick=False):
        picture(as_worker.get(url))
    with time_machine.travel(now + datetime.timedelta(seconds=62), tick=False):
        as_worker.get(url).refused(403, "link_ended")


def test_ends_with_the_key(submission: Submission, as_worker: Caller) -> None:
    url = link(as_worker, submission)
    keys.revoke(key=ApiKey.objects.get(secret_sha256=keys.digest(as_worker.secret)), now=clock.now())
    as_worker.get(url).refused(401, "api_key_refused")


def test_ends_with_the_file(submission: Submission, as_worker: Caller) -> None:
    url = link(as_worker, submission)
    default_storage.delete(evidence.display_name(submission.evidence.get().display_sha256))
    as_worker.get(url).refused(403, "link_ended")


def test_breaks_with_every_character(submission: Submission, as_worker: Caller) -> None:
    url = link(as_worker, submission)
    start = url.index("/v1/media/") + len("/v1/media/")
    for place in range(start, len(url)):
        changed = url[:place] + ("A" if url[place] != "A" else "Q") + url[place + 1 :]
        answer = as_worker.get(changed)
        # The last character of base64 carries bits that nobody reads; what it signs stays the same.
        assert answer.status == 403 or place == len(url) - 1, changed[place:]


@pytest.mark.parametrize("token", ["x", "a:b:c", "..", "%00", "é", "x" * 3000])
def test_refuses_tokens_that_are_none(as_worker: Caller, token: str) -> None:
    assert as_worker.get(f"media/{token}").status in (403, 404)


def test_sends_headers_that_keep_it_private(submission: Submission, as_worker: Caller) -> None:
    answer = as_worker.get(link(as_worker, submission))
    headers = answer.response.headers
    assert headers["Content-Type"] == "image/jpeg"
    assert headers["Cache-Control"] == "no-store, private"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Disposition"].startswith("inline; filename=")
    picture(answer)


def test_shows_a_session_what_its_user_may_see(submission: Submission, worker: WorkerProfile, stranger: User, verifier: User) -> None:
    file = submission.evidence.get()

    def look(user: User, viewer: User, variant: media_links.Variant = "display") -> Answer:
        client = Client()
        client.force_login(user)
        url = media_links.url(evidence_id=file.pk, variant=variant, viewer=media_links.viewer_with_session(viewer.pk))
        return Caller(client=client).get(url)

    own = User.objects.get(pk=worker.pk)
    picture(look(own, own))
    picture(look(verifier, verifier))
    look(stranger, own).refused(403, "link_ended")
    look(stranger, stranger).refused(403, "link_ended")
    owner = submission.task.owner
    look(owner, owner).refused(403, "link_ended")
    picture(look(owner, owner, "preview"))


def test_shows_an_operator_who_posted_it_no_more_than_a_poster(agent: Agent, submission: Submission) -> None:
    owner = agent.owner
    User.objects.filter(pk=owner.pk).update(is_staff=True)
    client = Client()
    client.force_login(User.objects.get(pk=owner.pk))
    file = submission.evidence.get()
    url = media_links.url(evidence_id=file.pk, variant="display", viewer=media_links.viewer_with_session(owner.pk))
    assert client.get(url).status_code == 403
