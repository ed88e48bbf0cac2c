"""A phone before the real server, at the stories' place."""

import functools
from collections.abc import Callable

import pytest
from django.core.cache import cache
from playwright.sync_api import Page
from pytest_django.live_server_helper import LiveServer

from market.web import limits
from tests import stories

HERE = {"latitude": stories.PLACE[0], "longitude": stories.PLACE[1], "accuracy": 8}


@pytest.fixture(autouse=True)
def fresh_turns(db: None) -> None:
    """Let no test use up the turns of the next one's network."""
    cache.delete_many([f"web:{what}:127.0.0.1" for what in limits.PER_HOUR])


@pytest.fixture
def open_phone(live_server: LiveServer, open_phone_at: Callable[..., Page]) -> Callable[..., Page]:
    """Return what opens a phone that stands at the stories' place."""
    return functools.partial(open_phone_at, live_server.url, geolocation=HERE)


@pytest.fixture
def phone(open_phone: Callable[..., Page]) -> Page:
    """A phone that stands at the stories' place."""
    return open_phone()
