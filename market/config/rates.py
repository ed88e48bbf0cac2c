"""Rates: how many requests a key or a network may make. Each is counted before anything is looked up for it.

A key that was never accepted is counted twice: under its own name, and, once it is refused, under its network's. A network with
too many refusals is not looked up for again until the window ends, but keys it used well within the last hour still pass.

The counts stand in Redis. While that is away each process counts in its own memory: nothing is closed, and nothing is open to
more than the limit times the number of processes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.http import HttpRequest, HttpResponse
from redis.exceptions import RedisError

from market.accounts import keys, networks
from market.accounts.models import ApiKey
from market.api import problems

WINDOW_S = 10
# Requests a window, of one key.
READS = 300
WRITES = 100
LEASE_CALLS = 1_000
# Requests a window, of one network.
WITHOUT_KEY = 100
REFUSED_KEYS = 50
# Many phones share a carrier's address.
PAGES = 1_000
HEALTH_CALLS = 100
# Tries to sign in as an operator, and the longer window for them.
SIGN_INS, SIGN_IN_WINDOW_S = 30, 600

_KNOWN_S = 3600
# For so long this process remembers that it has told the others.
_TOLD_S = 600
# Asking a Redis that is away costs seconds, so it is not asked for each request.
_AWAY_S = 5.0

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_LEASE = frozenset({ApiKey.Scope.LEASE_VISION, ApiKey.Scope.LEASE_REPLAY})
_HEALTH = frozenset({"/healthz", "/readyz"})
_SIGN_IN = "/admin/login/"

T = TypeVar("T")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bucket:
    """Requests that are counted together, and how many of them fit into one window."""

    name: str
    most: int
    window_s: int = WINDOW_S


def wait_s_of(request: HttpRequest) -> float | None:
    """Count a request; return None if it may pass, else the seconds until its window ends."""
    digest = digest_of(request)
    if digest is not None and not _is_known(digest):
        refused = _refused_keys(request)
        if _used(refused) >= refused.most:
            return _left_s(refused)
    bucket = _bucket_of(request, digest)
    return None if _count(bucket) <= bucket.most else _left_s(bucket)


def note(request: HttpRequest, response: HttpResponse) -> None:
    """Remember whether the request's key was accepted."""
    digest = digest_of(request)
    if digest is None:
        return
    if response.status_code == 401:
        _count(_refused_keys(request))
    elif caches["process"].add(f"known:{digest}", True, timeout=_TOLD_S):
        _ask(lambda cache: cache.set(f"known:{digest}", True, timeout=_KNOWN_S))


def _bucket_of(request: HttpRequest, digest: str | None) -> Bucket:
    network = networks.network_of(request)
    if request.path in _HEALTH:
        return Bucket(f"health:{network}", HEALTH_CALLS)
    if request.path == _SIGN_IN and request.method not in _READING:
        return Bucket(f"sign-in:{network}", SIGN_INS, SIGN_IN_WINDOW_S)
    if not request.path.startswith(problems.PREFIX):
        return Bucket(f"page:{network}", PAGES)
    if digest is None:
        return Bucket(f"net:{network}", WITHOUT_KEY)
    if keys.scope_named_by(_secret_of(request)) in _LEASE:
        return Bucket(f"key:{digest}", LEASE_CALLS)
    is_read = request.method in _READING
    return Bucket(f"key:{digest}:{'read' if is_read else 'write'}", READS if is_read else WRITES)


def _refused_keys(request: HttpRequest) -> Bucket:
    return Bucket(f"refused:{networks.network_of(request)}", REFUSED_KEYS)


def _secret_of(request: HttpRequest) -> str:
    word, _, secret = str(request.META.get("HTTP_AUTHORIZATION", "")).partition(" ")
    return secret.strip() if word.lower() == "bearer" else ""


def digest_of(request: HttpRequest) -> str | None:
    """Name the key that was sent, without looking for it; None if none was sent that could be one of ours."""
    if not request.path.startswith(problems.PREFIX):
        return None
    secret = _secret_of(request)
    return keys.digest(secret) if keys.scope_named_by(secret) else None


def _is_known(digest: str) -> bool:
    name = f"known:{digest}"
    return name in caches["process"] or _ask(lambda cache: cache.get(name)) is not None


def _used(bucket: Bucket) -> int:
    found = _ask(lambda cache: cache.get(_name_of(bucket)))
    return found if isinstance(found, int) else 0


def _count(bucket: Bucket) -> int:
    return _ask(lambda cache: _count_in(cache, bucket))


def _count_in(cache: BaseCache, bucket: Bucket) -> int:
    name = _name_of(bucket)
    try:
        return int(cache.incr(name))
    except ValueError:
        pass  # The first of its window, or evicted.
    if cache.add(name, 1, timeout=2 * bucket.window_s):
        return 1
    try:
        return int(cache.incr(name))
    except ValueError:
        return 1  # Evicted between the two calls.


def _name_of(bucket: Bucket) -> str:
    return f"rate:{bucket.name}:{int(time.time() // bucket.window_s)}"


def _left_s(bucket: Bucket) -> float:
    return bucket.window_s - time.time() % bucket.window_s


class _Shared:
    """Whether the cache that all processes share is asked at the moment; ``asks_again_at`` is 0 while it answers."""

    asks_again_at = 0.0


def _ask(work: Callable[[BaseCache], T]) -> T:
    """Ask the shared cache; while it is away, this process's own memory."""
    now_s = time.monotonic()
    if now_s >= _Shared.asks_again_at:
        if _Shared.asks_again_at:
            # One request finds out whether it is back; where it hangs, the others need not wait as well.
            _Shared.asks_again_at = now_s + _AWAY_S
        try:
            answer = work(caches["default"])
        except RedisError as error:
            _Shared.asks_again_at = time.monotonic() + _AWAY_S
            _log.warning("rates_counted_by_process", error=type(error).__name__)
        else:
            _Shared.asks_again_at = 0.0
            return answer
    return work(caches["process"])
