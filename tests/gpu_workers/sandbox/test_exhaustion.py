"""A stranger's code that takes all it can get."""

import pytest

from gpu_workers.sandbox import launch, running
from tests.gpu_workers.sandbox import inside


def test_stops_a_fork_bomb() -> None:
    said = inside.python(
        """
import os, signal
count = 0
try:
    while True:
        if os.fork() == 0:
            signal.pause()
        count += 1
except BlockingIOError:
    print(count)
""",
        within=inside.sandbox(processes=8),
    )
    # Itself, bubblewrap's first process inside, and perhaps what bubblewrap keeps outside.
    assert 5 <= int(said.output) <= 10
    assert (said.exit.code, said.exit.reason) == (0, "exited")


def test_stops_threads_beyond_the_processes() -> None:
    said = inside.python(
        """
import threading
ended = threading.Event()
count = 0
try:
    while True:
        threading.Thread(target=ended.wait, daemon=True).start()
        count += 1
except RuntimeError:
    print(count)
""",
        within=inside.sandbox(processes=8),
    )
    assert 5 <= int(said.output) <= 10


def test_stops_at_the_memory() -> None:
    said = inside.python("held = [bytearray(b'x' * (16 << 20)) for _ in range(64)]", within=inside.sandbox(memory_mib=128))
    assert said.exit.code != 0
    if "memory" in launch.control_groups().parents:
        assert said.exit.reason == "memory"
        assert said.exit.peak_memory_bytes <= 128 << 20
    else:
        assert "MemoryError" in said.errors


def test_stops_processes_that_share_the_memory_out() -> None:
    said = inside.python(
        """
import os, signal
for _ in range(6):
    if os.fork() == 0:
        held = bytearray(b"x" * (64 << 20))
        signal.pause()
signal.pause()
""",
        within=inside.sandbox(memory_mib=128, wall_s=20),
    )
    assert said.exit.reason == "memory"


@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm"])  # noqa: S108 - the sandbox's own
def test_fills_its_folder_and_no_more(folder: str) -> None:
    said = inside.python(
        f"""
import os
written = 0
try:
    while True:
        with open(f"{folder}/{{written}}", "wb", buffering=0) as file:
            written += file.write(bytes(65536))
except OSError as error:
    print(error.errno, written)
"""
    )
    number, written = map(int, said.output.split())
    assert number == 28
    assert 3 << 20 < written <= 4 << 20


def test_makes_no_file_larger_than_its_folder() -> None:
    said = inside.python('import os; os.truncate(os.open("/tmp/hole", os.O_CREAT | os.O_RDWR), (4 << 20) + 1)')
    assert "File too large" in said.errors


def test_ends_a_flood_of_output() -> None:
    with inside.sandbox(output_bytes=100_000).start([launch.PYTHON, "-I", "-c", 'while True: print("x" * 1000)']) as started:
        with pytest.raises(running.OutputTooLarge):
            started.stdout.read()
        assert started.wait().reason == "output"


def test_reads_output_up_to_its_limit() -> None:
    said = inside.python('print("x" * 9_999)', within=inside.sandbox(output_bytes=10_000))
    assert (len(said.output), said.exit.reason) == (10_000, "exited")


def test_keeps_the_end_of_a_flood_of_errors() -> None:
    code = 'import sys\nfor number in range(20_000): print(f"error {number:06}", file=sys.stderr)'
    said = inside.python(code)
    assert len(said.errors) == running.STDERR_KEPT_BYTES
    assert said.errors.endswith("error 019999\n")


def test_ends_a_flood_of_errors() -> None:
    code = 'import sys\nwhile True: print("x" * 1000, file=sys.stderr)'
    assert inside.python(code, within=inside.sandbox(output_bytes=100_000)).exit.reason == "output"


def test_runs_out_of_descriptors_soon() -> None:
    said = inside.python(
        """
import os
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError as error:
    print(error.errno, len(held))
"""
    )
    number, count = map(int, said.output.split())
    assert number == 24
    assert count <= 256


@pytest.mark.parametrize(
    "code",
    [
        "import time; time.sleep(999)",
        "import os, signal\nfor n in range(1, 32):\n    if n not in (9, 19): signal.signal(n, signal.SIG_IGN)\nwhile True: signal.pause()",
        'while True: print("x" * 1000)',
    ],
    ids=["sleeper", "deaf", "blocked writer"],
)
def test_ends_at_the_wall_clock(code: str) -> None:
    with inside.sandbox(wall_s=1).start([launch.PYTHON, "-I", "-c", code]) as started:
        ended = started.wait()
    assert (ended.reason, ended.code) == ("wall_clock", 137)


@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "import signal; signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass",
        "import os; os.fork(); os.fork()\nwhile True: pass",
    ],
    ids=["one", "deaf", "four together"],
)
def test_ends_at_the_cpu_time(code: str) -> None:
    ended = inside.python(code, within=inside.sandbox(cpu_s=1)).exit
    assert ended.reason == "cpu"
    # The kernel counts a process in ticks and a group exactly.
    assert ended.cpu_s >= 0.9
