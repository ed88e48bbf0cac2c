"""Children forked from a warm parent, on a database connection of their own: they may die anywhere, at any moment."""

import concurrent.futures
import ctypes
import gc
import os
import signal
import time
import traceback
from collections.abc import Callable
from typing import NoReturn

from django.db import connection

from market.events import egress

PR_SET_PDEATHSIG = 1
# A wait that ends with this has met a defect, not a slow machine.
PATIENCE_S = 60.0
FAILED = 70

_inherited: list[object] = []


def fork(work: Callable[[], None]) -> int:
    """Fork a child that does ``work`` and ends with status 0, or `FAILED` after an exception; return its process id.

    It ends without any clean-up of this process's, and dies with it.
    """
    parent_pid = os.getpid()
    pid = os.fork()
    if not pid:
        _live(work, parent_pid)
    return pid


def _live(work: Callable[[], None], parent_pid: int) -> NoReturn:
    status = FAILED
    # A collection would copy every page of the parent's memory, for a process that lives for a second.
    gc.disable()
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        # The parent may have died before the line above. (Its connection is kept, unused: closed here, it would end there.)
        if os.getppid() == parent_pid:
            _inherited.append(connection.connection)
            connection.connection = None
            # A pool's threads stay behind in the parent: a copy of it would wait for them.
            egress._resolvers = concurrent.futures.ThreadPoolExecutor(max_workers=4)
            work()
            status = 0
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


def wait(pid: int) -> int:
    """Wait for a child's end; return its exit status, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill(pid: int) -> None:
    """Kill a child, wherever it is, and wait for its end."""
    os.kill(pid, signal.SIGKILL)
    wait(pid)


def sessions() -> set[int]:
    """Return the server processes of everybody else who is connected to this database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity"
            " WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return {pid for (pid,) in cursor.fetchall()}


def wait_for_sessions_to_end(before: set[int]) -> None:
    """Wait until the server has noticed that dead children are gone, and has rolled back what they had begun."""
    ends_at = time.monotonic() + PATIENCE_S
    while sessions() - before:
        assert time.monotonic() < ends_at, "The server keeps the session of a process that is dead."
        time.sleep(0.001)
