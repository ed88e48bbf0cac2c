"""The owner's program against the market of the tests: in a thread, or in a forked process that may be killed at any write."""

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agents_sdk import leases
from gpu_workers.owner import errands, limits, machine, sensors, shell
from gpu_workers.owner import folder as folders
from tests.gpu_workers.owner import replay_market, work

TRAINER = (sys.executable, "-m", "tests.gpu_workers.owner.quick_trainer")
HOST = errands.Host(replay_market.HOST_ID, work.CLASS_TEXT, "bwrap-cpu", "desk:1")
PATIENCE_S = 60.0
_GIB = 1024**3


class SimulatedSensors:
    """Sensors that read what a test says."""

    def __init__(self, **reading: Any) -> None:
        self.reading = sensors.Reading(**({"disk_free_bytes": 100 * _GIB} | reading))

    def read(self) -> sensors.Reading:
        return self.reading


def setup(market: replay_market.ReplayMarket, home: Path, **changes: Any) -> shell.Setup:
    """Return what a program on this folder works with; it leaves after one run unless `runs` says otherwise."""
    folder = folders.Folder(home)
    folder.make()
    client = leases.LeaseClient(market.url, replay_market.KEY, max_retries=0)
    given: dict[str, Any] = {"limits": limits.Limits(), "sensors": SimulatedSensors(), "trainer": TRAINER, "runs": 1, "host": HOST}
    return shell.Setup(folder=folder, client=client, **(given | changes))


@contextlib.contextmanager
def working(setup: shell.Setup) -> Iterator[shell.Program]:
    """Run a program in a thread while the context is entered; a defect of it is raised at the end."""
    program, broke = shell.Program(setup), list[BaseException]()

    def work() -> None:
        try:
            with setup.folder.locked():
                program.work()
        except BaseException as error:
            broke.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield program
    finally:
        program.leave()
        thread.join(PATIENCE_S)
        setup.client.close()
        if broke:
            raise broke[0]


def work_to_the_end(setup: shell.Setup) -> None:
    """Run a program until it leaves by itself."""
    with setup.folder.locked():
        shell.Program(setup).work()
    setup.client.close()


def fork(do: Callable[[], None]) -> int:
    """Run `do` in a process of its own; return its id."""
    pid = os.fork()
    if not pid:
        status = 70
        try:
            do()
            status = 0
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(status)
    return pid


def wait(pid: int) -> int:
    """Wait for a process's end; return its exit status, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Writes:
    """Counts what the program writes to its folder, and kills the process at one of those writes: before it counts, or after."""

    def __init__(self, *, kill_at: int = -1, is_after: bool = False) -> None:
        self.count = 0
        self._kill_at, self._is_after = kill_at, is_after

    def install(self) -> None:
        """Watch this process. Only in a forked one: nothing is put back."""
        for name in ("write", "write_bytes"):
            setattr(folders, name, self._watched(getattr(folders, name)))

    def _watched(self, write: Callable[..., None]) -> Callable[..., None]:
        def watched(path: Path, content: Any, **options: Any) -> None:
            # The status is written whenever it changes, and nothing depends on it.
            if path.name == "status.json":
                write(path, content, **options)
                return
            number, self.count = self.count, self.count + 1
            if number == self._kill_at and not self._is_after:
                os.kill(os.getpid(), signal.SIGKILL)
            write(path, content, **options)
            if number == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        return watched


def until(is_so: Callable[[], bool], what: str) -> float:
    """Wait until something is so on the disk or among processes, of which nobody tells; return the seconds it took."""
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < PATIENCE_S, what
        time.sleep(0.01)
    return time.monotonic() - began


def is_alive(pid: int) -> bool:
    """Whether a process runs: one that is dead and not yet collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def stage_of(folder: folders.Folder, run_id: str) -> machine.Stage | None:
    record = folders.read(folder.run_folder(run_id) / "run.json")
    return machine.Stage(str(record["stage"])) if record else None
