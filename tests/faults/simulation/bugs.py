"""Bugs to plant: each takes one guard or one effect away from the market, and the simulation must find it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Bug:
    """One planted bug: what it does to the market, in words, and how."""

    words: str
    plant: Callable[[], AbstractContextManager[object]]


BUGS: dict[str, Bug] = {}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Have a bug in the market for a while; none under the name ""."""
    if not name:
        yield
        return
    with BUGS[name].plant():
        yield
