"""How a sandbox ends: wholly, whoever ends it."""

import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from gpu_workers.sandbox import launch, running
from tests.gpu_workers.sandbox import inside

_WAITS = 'import signal; print("ready", flush=True); signal.pause()'
_PATIENCE_S = 20
# Leaves a child behind that belongs to nobody.
_DAEMON = """
import os, signal
if os.fork() == 0:
    os.setsid()
    print("ready", flush=True)
    signal.pause()
os.wait4(-1, os.WNOHANG)
"""
_LAUNCHER = """
from gpu_workers.sandbox import launch
from gpu_workers.sandbox.limits import Limits
sandbox = launch.Sandbox(level="bwrap-cpu", limits=Limits(wall_s=60, cpu_s=10, memory_mib=256))
code = '''
import os, signal
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        signal.pause()
print("ready", flush=True)
signal.pause()
'''
with sandbox.start([launch.PYTHON, "-I", "-c", code]) as started:
    print(started.stdout.readline().decode().strip(), flush=True)
    started.wait()
"""


def test_kill_ends_it_and_is_harmless_twice() -> None:
    with inside.sandbox().start([launch.PYTHON, "-I", "-c", _WAITS]) as started:
        assert started.stdout.readline() == b"ready\n"
        started.kill()
        assert started.wait() == started.wait()
        started.kill()
    assert (started.wait().reason, started.wait().code) == ("killed", 137)


def test_leaving_it_kills_what_runs() -> None:
    with inside.sandbox().start([launch.PYTHON, "-I", "-c", _WAITS]) as started:
        started.stdout.readline()
    assert started.wait().reason == "killed"


def test_takes_its_daemons_along() -> None:
    with inside.sandbox().start([launch.PYTHON, "-I", "-c", _DAEMON]) as started:
        # The end of the pipe comes when nobody holds it any more.
        started.stdout.read()
        assert started.wait().reason == "exited"


def test_tells_the_exit_status_and_the_signal() -> None:
    assert inside.python("raise SystemExit(7)").exit.code == 7
    assert inside.python("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)").exit.code == 128 + 11


def test_nothing_survives_the_launchers_death() -> None:
    launcher = subprocess.Popen([sys.executable, "-c", _LAUNCHER], stdout=subprocess.PIPE)
    try:
        assert launcher.stdout is not None
        assert launcher.stdout.readline() == b"ready\n"
        handles = [os.pidfd_open(child.pid) for child in psutil.Process(launcher.pid).children(recursive=True)]
        # bubblewrap outside, its first process inside, the program and its three daemons.
        assert len(handles) == 6
        launcher.kill()
        for handle in handles:
            assert select.select([handle], [], [], _PATIENCE_S)[0], "a process of the sandbox outlived its launcher"
            os.close(handle)
    finally:
        launcher.kill()
        launcher.communicate()


@pytest.mark.parametrize(("number", "reason"), [(signal.SIGKILL, "killed"), (signal.SIGALRM, "wall_clock")])
def test_ends_with_its_outer_process(number: signal.Signals, reason: str) -> None:
    """The kernel's own clock, for a launcher that hangs, ends the outer process; so does its shortage of memory."""
    # The tests' own services may be children too.
    others = set(psutil.Process().children())
    with inside.sandbox().start([launch.PYTHON, "-I", "-c", _WAITS]) as started:
        assert started.stdout.readline() == b"ready\n"
        (outer,) = set(psutil.Process().children()) - others
        outer.send_signal(number)
        assert (started.wait().reason, started.wait().code) == (reason, 137)
        assert started.stdout.read() == b""


def test_outlives_the_thread_that_started_it() -> None:
    found: list[running.Running] = []
    thread = threading.Thread(target=lambda: found.append(inside.sandbox().start([launch.PYTHON, "-I", "-c", "print(input())"])))
    thread.start()
    thread.join()
    with found[0] as started:
        started.stdin.write(b"still here\n")
        started.stdin.close()
        assert started.stdout.read() == b"still here\n"
        assert started.wait().code == 0


def test_leaves_no_control_group_behind() -> None:
    inside.python("pass")
    place = launch.control_groups()
    assert [left for parent in place.parents.values() for left in parent.glob(f"atoms-sandbox-{os.getpid()}-*")] == []


def open_descriptors() -> set[str]:
    # Without the one that lists them.
    return {entry.name for entry in Path("/proc/self/fd").iterdir() if entry.exists()}


def test_leaves_no_descriptor_open() -> None:
    inside.python("pass")
    before = open_descriptors()
    for _ in range(3):
        inside.python("pass")
    assert open_descriptors() == before


def test_says_when_the_program_never_began() -> None:
    with inside.sandbox().start(["/venv/bin/no-such-program"]) as started, pytest.raises(running.NotStarted, match="no-such-program"):
        started.wait()
