"""The real market, called in this thread and on the test's own connection."""

from collections.abc import Iterator

import pytest
from django.core import signals
from django.core.cache import cache
from django.db import close_old_connections


@pytest.fixture
def real_market(db: None) -> Iterator[None]:
    """Begin with no rates counted, and let no request end the transaction that the test is in."""
    cache.clear()
    for signal in (signals.request_started, signals.request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (signals.request_started, signals.request_finished):
        signal.connect(close_old_connections)
