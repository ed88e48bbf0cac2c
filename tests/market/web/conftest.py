"""A real browser before the real server: Chromium with a phone's screen, place and camera."""

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from django.core.cache import cache
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from pytest_django.live_server_helper import LiveServer

from market.web import limits
from tests import stories

PHONE = {"width": 360, "height": 800}


@pytest.fixture(autouse=True)
def fresh_turns(db: None) -> None:
    """Let no test use up the turns of the next one's network."""
    cache.delete_many([f"web:{what}:127.0.0.1" for what in limits.PER_HOUR])


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Start one browser for all tests."""
    # Playwright's own loop runs in this thread, so Django would refuse every query of the test itself.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.fixture
def open_phone(chromium: Browser, live_server: LiveServer) -> Iterator[Callable[..., Page]]:
    """Return what opens a phone that stands at the stories' place."""
    contexts: list[BrowserContext] = []

    def open_one(**changes: object) -> Page:
        given: dict[str, object] = {
            "viewport": PHONE,
            "has_touch": True,
            "is_mobile": True,
            "device_scale_factor": 2,
            "geolocation": {"latitude": stories.PLACE[0], "longitude": stories.PLACE[1], "accuracy": 8},
            "permissions": ["geolocation"],
            "locale": "en-GB",
            "timezone_id": "Europe/Berlin",
            "base_url": live_server.url,
        }
        context = chromium.new_context(**{**given, **changes})  # type: ignore[arg-type]  # Playwright types each option apart.
        context.set_default_timeout(10_000)
        contexts.append(context)
        return context.new_page()

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture
def phone(open_phone: Callable[..., Page]) -> Page:
    """A phone that stands at the stories' place."""
    return open_phone()
