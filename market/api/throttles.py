"""Rates: so many requests a key, or a network without one, may make in ten seconds."""

import time

import structlog
from django.core.cache import cache
from redis.exceptions import RedisError
from rest_framework import throttling
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.views import APIView

from market.accounts import networks
from market.accounts.models import ApiKey

WINDOW_S = 10
# Requests a window.
READS = 300
WRITES = 100
LEASE_CALLS = 1_000
WITHOUT_KEY = 100

_log = structlog.get_logger(__name__)


class Rate(throttling.BaseThrottle):
    """Counts requests in fixed windows: two calls of the cache a request, and none of the database."""

    left_s = 0.0

    def allow_request(self, request: Request, view: APIView) -> bool:  # noqa: ARG002
        """Count the request; False if its window is full."""
        who, most = _bucket(request)
        now = time.time()
        self.left_s = WINDOW_S - now % WINDOW_S
        name = f"rate:{who}:{int(now // WINDOW_S)}"
        try:
            cache.add(name, 0, timeout=2 * WINDOW_S)
            return cache.incr(name) <= most
        except RedisError as error:
            # Without the cache the market goes on, only uncounted.
            _log.warning("rate_not_counted", error=type(error).__name__)
            return True
        except ValueError:
            return True  # Evicted between the two calls.

    def wait(self) -> float:
        """Return the seconds until the window ends."""
        return self.left_s


def _bucket(request: Request) -> tuple[str, int]:
    key = request.auth
    if not isinstance(key, ApiKey):
        return f"net:{networks.network_of(request._request)}", WITHOUT_KEY
    if key.scope.startswith("lease:"):
        return f"key:{key.pk}", LEASE_CALLS
    is_read = request.method in SAFE_METHODS
    return f"key:{key.pk}:{'read' if is_read else 'write'}", READS if is_read else WRITES
