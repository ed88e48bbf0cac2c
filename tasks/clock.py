"""The time, taken once at the edge of a request or job and passed down as ``now``.

Leases do not use it: they compare with the database's clock only (see `tasks.leases`).
"""

import datetime


def now() -> datetime.datetime:
    """Return the present moment, aware, in UTC."""
    return datetime.datetime.now(tz=datetime.UTC)
