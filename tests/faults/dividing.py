"""Work divided among forked processes, each with a copy of the database and media of its own; one that dies is told of."""

import contextlib
import functools
import gc
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection as pipes
from pathlib import Path
from typing import Generic, TypeVar

from django.conf import settings
from django.db import connection
from django.test import override_settings

from tests import forking

Unit = TypeVar("Unit")
Result = TypeVar("Result")

# Young objects of the ORM die by themselves; looking for circles among them as often as usual takes a tenth of the time.
_YOUNG_OBJECTS = 50_000
_PATIENCE_MS = round(1_000 * forking.PATIENCE_S)


@dataclass(frozen=True)
class Lost:
    """What there is instead of a result: why nobody knows how a unit of work would have ended."""

    why: str


def each(units: Sequence[Unit], work: Callable[[Unit], Result], *, processes: int) -> Iterator[tuple[Unit, Result | Lost]]:
    """Do every unit of work and yield it with its result as soon as it is there; in this process, if there is one alone.

    Of more processes each takes the next unit that nobody has, in a copy of the database as it is now. A process that dies
    or raises loses its unit, and is not replaced: its copy may be as it must never be.
    """
    if min(processes, len(units)) <= 1:
        yield from ((unit, work(unit)) for unit in units)
        return
    with _copies(min(processes, len(units))) as names:
        crew = _Crew(units, work)
        try:
            for name in names:
                crew.hire(name)
            yield from crew.results()
        finally:
            crew.dismiss()


@contextlib.contextmanager
def _copies(many: int) -> Iterator[list[str]]:
    suffixes = [str(number) for number in range(1, many + 1)]
    names = [connection.creation.get_test_db_clone_settings(suffix)["NAME"] for suffix in suffixes]
    try:
        _end_other_sessions()
        for suffix in suffixes:
            connection.creation.clone_test_db(suffix, verbosity=0, autoclobber=True)
        yield names
    finally:
        with connection.cursor() as cursor:
            for name in names:
                # The server may not have noticed yet that whoever was connected is dead.
                cursor.execute(f"DROP DATABASE IF EXISTS {connection.ops.quote_name(name)} WITH (FORCE)")


def _end_other_sessions() -> None:
    """End what is left of dead processes and threads: a database in use can't be copied, and the living here have no other session."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid, %s) FROM unnest(%s::integer[]) AS pid", [_PATIENCE_MS, list(forking.sessions())])


class _Crew(Generic[Unit, Result]):
    """The processes at work, and what each of them is at."""

    def __init__(self, units: Sequence[Unit], work: Callable[[Unit], Result]) -> None:
        self._units, self._work = units, work
        self._waiting = deque(range(len(units)))
        self._pids: dict[pipes.Connection, int] = {}
        self._doing: dict[pipes.Connection, int] = {}

    def hire(self, database: str) -> None:
        """Fork a process and give it something to do."""
        # Closed before the fork: no two processes may speak on one connection.
        connection.close()
        ours, theirs = pipes.Pipe()
        self._pids[ours] = forking.fork(functools.partial(self._serve, theirs, database))
        theirs.close()
        self._give(ours)

    def results(self) -> Iterator[tuple[Unit, Result | Lost]]:
        """Yield each unit's result in the order in which they come."""
        while self._doing:
            for pipe in pipes.wait(list(self._doing)):
                assert isinstance(pipe, pipes.Connection)
                unit = self._units[self._doing.pop(pipe)]
                try:
                    result = pipe.recv()
                except (EOFError, ConnectionResetError):
                    yield unit, Lost(f"the process that was at it ended with status {forking.wait(self._pids.pop(pipe))}")
                else:
                    self._give(pipe)
                    yield unit, result
        for number in self._waiting:
            yield self._units[number], Lost("no process was left that could do it")

    def dismiss(self) -> None:
        """Kill whoever is still there; between two units nothing is lost by it."""
        for pid in self._pids.values():
            forking.kill(pid)

    def _give(self, pipe: pipes.Connection) -> None:
        if self._waiting:
            self._doing[pipe] = self._waiting.popleft()
            # Who died before he was told is found out by his silence.
            with contextlib.suppress(BrokenPipeError):
                pipe.send(self._doing[pipe])

    def _serve(self, pipe: pipes.Connection, database: str) -> None:
        connection.settings_dict["NAME"] = database
        gc.freeze()
        gc.set_threshold(_YOUNG_OBJECTS)
        gc.enable()
        with override_settings(MEDIA_ROOT=Path(settings.MEDIA_ROOT) / database):
            while True:
                pipe.send(self._work(self._units[pipe.recv()]))
