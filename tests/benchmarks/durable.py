"""Where figures are measured: a PostgreSQL that writes to the disk, and what to know of it when reading them."""

import os
import statistics
import sys
import tempfile
import time

from django.db import connection


def ensure(module: str) -> None:
    """Without DATABASE_URL, run ``python -m module`` with the same arguments beside durable services, and end."""
    if "DATABASE_URL" in os.environ:
        return
    from market.config.supervisor import commands  # it needs the installed packages, as all here does

    sys.exit(commands.run(command="services", arguments=["--durable", sys.executable, "-m", module, *sys.argv[1:]]))


def facts() -> dict[str, int | float | str]:
    """Return what decides the figures: the server's version and settings, cores, and how long a small write takes to reach the disk."""
    names = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size")
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, current_setting(name) FROM unnest(%s::text[]) AS name", [list(names)])
        settings = dict(cursor.fetchall())
    return {
        **{name: settings[name] for name in names},
        "cores": os.cpu_count() or 0,
        "load before": round(os.getloadavg()[0], 1),
        "fdatasync microseconds": round(_sync_s() * 1e6),
    }


def _sync_s() -> float:
    with tempfile.NamedTemporaryFile() as file:
        found = []
        for _ in range(50):
            os.pwrite(file.fileno(), bytes(8192), 0)
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            found.append(time.perf_counter() - start)
    return statistics.median(found)
