"""What is particular to one valid call of a route: see `tests.faults.calls`."""

from collections.abc import Mapping
from typing import NamedTuple


class Made(NamedTuple):
    """Path, key and body of a call, and another body that its Idempotency-Key must not serve."""

    path: str
    secret: str
    body: Mapping[str, object] = {}
    # No body has this field, so it is another request in any case.
    other_body: Mapping[str, object] = {"other": 1}
    # A body that is one file.
    file: bytes = b""
