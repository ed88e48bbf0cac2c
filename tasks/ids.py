"""Identifiers: time-ordered UUIDs inside, prefixed words such as ``bty_0190...`` at the edge."""

import os
import time
import uuid

PREFIXES = frozenset(
    {"agt", "bty", "clm", "dep", "evd", "evt", "key", "pay", "rev", "run", "set", "sub", "tsk", "usr", "vrd", "whe", "dlv"}
    # Research bounties: the bounty, candidate, run (replay), trusted job, host, idea, challenge.
    | {"rsb", "cnd", "rpl", "job", "hst", "ide", "chl"}
)


class MalformedId(ValueError):
    """The text is not an id of the expected kind; say which prefix is wanted."""


def new_id() -> uuid.UUID:
    """Return a UUID version 7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, then 74 random bits.

    Time order keeps the indexes of append-mostly tables dense.
    """
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & ((1 << 48) - 1)) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)


def encode(prefix: str, value: uuid.UUID) -> str:
    """Write ``value`` as ``prefix_<32 hex digits>``."""
    assert prefix in PREFIXES, prefix
    return f"{prefix}_{value.hex}"


def decode(prefix: str, text: str) -> uuid.UUID:
    """Read an id written by `encode`.

    Raises:
        MalformedId: another prefix, or not 32 hexadecimal digits after it.
    """
    found, _, digits = text.partition("_")
    if found != prefix or len(digits) != 32 or not set(digits) <= set("0123456789abcdef"):
        raise MalformedId(f"{text[:64]!r} is not an id of the form {prefix}_<32 hexadecimal digits>.")
    return uuid.UUID(hex=digits)
