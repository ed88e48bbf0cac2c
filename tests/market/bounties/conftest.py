"""The moment at which a story begins."""

import datetime

import pytest

from tasks import clock


@pytest.fixture
def now() -> datetime.datetime:
    return clock.now()
