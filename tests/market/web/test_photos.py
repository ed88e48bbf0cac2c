"""A photo on a page is for the one whose page it is, as long as he may see it, and is kept by nobody."""

import pytest
from django.test import Client

from market.accounts import media_links
from market.accounts.models import User
from market.web import photo_paths
from tasks import evidence
from tasks.models import Evidence, WorkerProfile
from tests import photographs, stories
from tests.market.api.caller import Answer, Caller
from tests.people import open_agent, top_up

pytestmark = pytest.mark.django_db


@pytest.fixture
def file(worker: WorkerProfile) -> Evidence:
    """A real photograph that waits for its verdict."""
    agent = open_agent()
    top_up(agent)
    return stories.submit(stories.claim(stories.post_photo_bounty(agent), worker), file=evidence.take_in(photographs.jpeg())).evidence.get()


def look(viewer: User, file: Evidence, variant: media_links.Variant = "display") -> Answer:
    client = Client()
    client.force_login(viewer)
    return Caller(client=client).get(photo_paths.path_for(viewer.pk, file, variant))


def test_is_shown_to_its_worker_and_to_operators(file: Evidence, verifier: User) -> None:
    for viewer in (User.objects.get(pk=file.submission.worker_id), verifier):
        assert look(viewer, file).status == 200


def test_ends_when_its_viewer_is_no_operator_any_more(file: Evidence, verifier: User) -> None:
    User.objects.filter(pk=verifier.pk).update(is_staff=False)
    assert look(verifier, file).status == 404


def test_shows_its_poster_the_preview_until_it_is_paid(file: Evidence) -> None:
    poster = file.submission.task.owner
    assert (look(poster, file, "preview").status, look(poster, file).status) == (200, 404)
    stories.settle(file.submission)
    assert look(poster, file).status == 200


def test_is_not_kept_guessed_or_run(file: Evidence) -> None:
    headers = look(User.objects.get(pk=file.submission.worker_id), file).response.headers
    assert {name: headers[name] for name in media_links.HEADERS} == media_links.HEADERS
    assert headers["Content-Type"] == "image/jpeg"
    assert headers["Content-Disposition"] == f'inline; filename="{file}.jpg"'
