"""What people do on the pages, without a browser: open a task, claim it, send a photo."""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from market.bounties.models import Bounty
from tasks.models import Claim, WorkerProfile
from tests import photographs, stories

if TYPE_CHECKING:
    # What the test client answers with has a name for type checkers only.
    from django.test.client import _MonkeyPatchedWSGIResponse as Answer


def field(page: Answer, name: str) -> str:
    """Return the value of a hidden field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page.content.decode())
    assert found, f"the page has no field {name}"
    return found[1]


def ticket_of(client: Client, bounty: Bounty) -> str:
    """Open a task's page and return its form's ticket."""
    return field(client.get(f"/tasks/{bounty.task}"), "ticket")


def claim(client: Client, bounty: Bounty, *, country: str = "DE", ticket: str | None = None) -> Answer:
    """Claim a task from its page."""
    return client.post(f"/tasks/{bounty.task}/claim", {"ticket": ticket or ticket_of(client, bounty), "country": country})


def claimed(client: Client, bounty: Bounty) -> Claim:
    """Claim a task from its page and return the claim."""
    answer = claim(client, bounty)
    assert answer.status_code == 303, answer.content.decode()[:2000]
    return Claim.objects.latest("id")


def photo(name: str = "coffee.png") -> SimpleUploadedFile:
    """Return a real photograph as a form's file."""
    return SimpleUploadedFile("photo.jpg", photographs.jpeg(name), content_type="image/jpeg")


def capture(now: datetime.datetime) -> dict[str, str]:
    """Return what the script puts beside a photo that was taken at the stories' place."""
    return {
        "latitude": str(stories.PLACE[0]),
        "longitude": str(stories.PLACE[1]),
        "accuracy_m": "8",
        "captured_at": now.isoformat(),
        "original_sha256": "a" * 64,
    }


def only_worker() -> WorkerProfile:
    """Return the one worker there is."""
    return WorkerProfile.objects.get()
