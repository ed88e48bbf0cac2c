"""How often one network may do what needs no account: open one, or try a recovery code."""

import structlog
from django.core.cache import cache
from django.http import HttpRequest
from redis.exceptions import RedisError

from market.accounts import networks

# Many phones share a carrier's address, so the first is generous; a recovery code has 80 random bits.
PER_HOUR = {"open-worker": 30, "recover": 20}
_WINDOW_S = 3600

_log = structlog.get_logger(__name__)


class TooMany(Exception):
    """The network has used up its turns for this hour."""


def count(request: HttpRequest, what: str) -> None:
    """Count one turn of the caller's network.

    Raises:
        TooMany: over the hour's limit; or nothing can be counted, because these are the doors that need no key.
    """
    name = f"web:{what}:{networks.network_of(request)}"
    try:
        cache.add(name, 0, timeout=_WINDOW_S)
        used = cache.incr(name)
    except (RedisError, ValueError) as error:
        _log.warning("turns_not_counted", what=what, error=type(error).__name__)
        raise TooMany("This is not possible at the moment. Try again in a minute.") from error
    if used > PER_HOUR[what]:
        raise TooMany("There were too many tries from your network. Try again in an hour.")
