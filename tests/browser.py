"""One Chromium for all browser tests of a process, and phones that use it."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from market.config.supervisor.throwaway import CHROMIUM_NAMES

# As root there is no sandbox; and nothing of the browser's own shall look for the network.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
PHONE = {"width": 360, "height": 800}
BERLIN = {"latitude": 52.5200, "longitude": 13.4050, "accuracy": 8}


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Start one browser for all tests."""
    # Playwright's own loop runs in this thread, so Django would refuse every query of the test itself.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    path = next(found for name in CHROMIUM_NAMES if (found := shutil.which(name)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_phone_at(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Return what opens a phone nobody has used yet, on a server; other keywords are Playwright's options of a context."""
    contexts: list[BrowserContext] = []

    def open_one(url: str, **changes: Any) -> Page:
        given: dict[str, Any] = {
            "viewport": PHONE,
            "has_touch": True,
            "is_mobile": True,
            "device_scale_factor": 2,
            "geolocation": BERLIN,
            "permissions": ["geolocation"],
            "locale": "en-GB",
            "timezone_id": "Europe/Berlin",
            "base_url": url,
        }
        context = chromium.new_context(**{**given, **changes})
        context.set_default_timeout(10_000)
        contexts.append(context)
        return context.new_page()

    yield open_one
    for context in contexts:
        context.close()
