"""Which seeds a case runs on: drawn by the server's secret after the candidate is fixed, from a pool that baselines are cached for."""

import hashlib
import hmac
from collections.abc import Iterator

MIN_SECRET_BYTES = 32
FRESH_EVERY = 3
_SEED_BITS = 63


class WeakSecret(ValueError):
    """The secret is too short to hide the seeds; give at least `MIN_SECRET_BYTES` random bytes."""


class PoolTooSmall(ValueError):
    """More seeds were asked for than the pool has left; make it larger."""


def pool_seed(secret: bytes, pool: str, class_text: str, index: int) -> int:
    """Return the seed at an index of a named pool (a task's) in one class: 0 to 2**63 - 1.

    Raises:
        WeakSecret: fewer than `MIN_SECRET_BYTES`.
    """
    return _number(secret, "pool seed", pool, class_text, str(index)) >> (64 - _SEED_BITS)


def case_seeds(secret: bytes, candidate_digest: str, tip_digest: str, class_text: str, count: int, pool: int = 64) -> tuple[int, ...]:
    """Return ``count`` distinct indices into a pool, for one candidate against one tip in one class.

    The first indices do not depend on ``count``, so a case may ask for one pair more. Where indices are retired, ``pool`` is the
    length of the caller's list of those left and the result counts in it.

    Raises:
        WeakSecret, PoolTooSmall
    """
    return pick(secret, ("case seeds", candidate_digest, tip_digest, class_text), count=count, pool=pool)


def is_fresh(place: int) -> bool:
    """Tell whether a case's pair at a place, from 0, is on a seed that nobody has seen, though there be others with a baseline.

    The second pair, which every acceptance needs, and every third from there: docs/decisions/0010 says what that is worth.
    """
    return place % FRESH_EVERY == 1


def pick(secret: bytes, names: tuple[str, ...], *, count: int, pool: int) -> tuple[int, ...]:
    """Pick ``count`` distinct numbers below ``pool`` by HMAC-SHA-256 of the names: the same for the same names, unforeseeable without
    the secret. The first ones do not depend on ``count``.

    Raises:
        WeakSecret, PoolTooSmall
    """
    if not 0 <= count <= pool:
        raise PoolTooSmall(f"{count} of {pool} were asked for; use a larger pool or retire fewer.")
    left = list(range(pool))
    # Fisher and Yates; the remainder of 64 bits by a pool of thousands is even to one part in 10**15.
    return tuple(left.pop(number % len(left)) for number, _ in zip(_numbers(secret, names), range(count), strict=False))


def draw(secret: bytes, *names: str) -> float:
    """Return a number from 0 (included) to 1 (excluded) by HMAC of the names: a chance that comes out the same however often it is asked.

    Raises:
        WeakSecret
    """
    return (_number(secret, *names) >> 11) / (1 << 53)


def _numbers(secret: bytes, names: tuple[str, ...]) -> Iterator[int]:
    counter = 0
    while True:
        yield _number(secret, *names, str(counter))
        counter += 1


def _number(secret: bytes, *names: str) -> int:
    if len(secret) < MIN_SECRET_BYTES:
        raise WeakSecret(f"Give a secret of at least {MIN_SECRET_BYTES} bytes.")
    # Every name with its length: ("ab", "c") and ("a", "bc") differ.
    encoded = [name.encode("utf-8") for name in ("atoms.replay.1", *names)]
    message = b"".join(len(one).to_bytes(8, "big") + one for one in encoded)
    return int.from_bytes(hmac.new(secret, message, hashlib.sha256).digest()[:8], "big")
