"""Control groups as files: what is written into them, on folders laid out like the kernel's, and on this machine's own."""

import os
from pathlib import Path

import pytest

from gpu_workers.sandbox import cgroups, launch
from tests.gpu_workers.sandbox import inside


class Kernel:
    """Makes the files of a group when its folder is made, as the kernel does."""

    def __init__(self, files: dict[str, str]) -> None:
        self.files = files

    def mkdir(self, folder: Path) -> None:
        os.mkdir(folder)  # noqa: PTH102 - the method below replaces Path.mkdir
        for name, text in self.files.items():
            (folder / name).write_text(text, "ascii")


@pytest.fixture
def unified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose groups get the files of version 2."""
    kernel = Kernel({"memory.max": "max", "memory.swap.max": "max", "memory.oom.group": "0", "pids.max": "max", "cpu.max": "max 100000"})
    monkeypatch.setattr(Path, "mkdir", lambda folder: kernel.mkdir(folder))
    return tmp_path


def test_writes_the_limits_of_version_2(unified: Path) -> None:
    place = cgroups.Place("v2", dict.fromkeys(cgroups.CONTROLLERS, unified), {})
    group = cgroups.make(place, inside.limits(memory_mib=128, processes=10, cpus=2))
    (folder,) = map(Path, group.paths)
    assert {file.name: file.read_text("ascii") for file in folder.iterdir()} == {
        "memory.max": str(128 << 20),
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "pids.max": str(10 + cgroups.OWN_PROCESSES),
        "cpu.max": "200000 100000",
    }


def test_reads_what_version_2_counted(tmp_path: Path) -> None:
    (tmp_path / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\n", "ascii")
    (tmp_path / "memory.peak").write_text("123456\n", "ascii")
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\noom_group_kill 1\n", "ascii")
    group = cgroups.Group("v2", dict.fromkeys(cgroups.CONTROLLERS, tmp_path))
    assert (group.cpu_s(), group.peak_memory_bytes(), group.is_out_of_memory()) == (2.5, 123456, True)


def test_reads_what_version_1_counted(tmp_path: Path) -> None:
    (tmp_path / "cpuacct.usage").write_text("2500000000\n", "ascii")
    (tmp_path / "memory.max_usage_in_bytes").write_text("123456\n", "ascii")
    (tmp_path / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", "ascii")
    group = cgroups.Group("v1", dict.fromkeys(("memory", "cpuacct"), tmp_path))
    assert (group.cpu_s(), group.peak_memory_bytes(), group.is_out_of_memory()) == (2.5, 123456, False)


def test_counts_nothing_without_groups() -> None:
    group = cgroups.make(cgroups.Place("none", {}, dict.fromkeys(cgroups.CONTROLLERS, "no")), inside.limits())
    assert (group.paths, group.cpu_s(), group.peak_memory_bytes(), group.is_out_of_memory()) == ([], None, None, False)
    group.remove()


def test_says_why_a_controller_is_missing() -> None:
    place = cgroups.find()
    assert set(place.missing) | set(place.parents) >= set(cgroups.CONTROLLERS)
    assert all(place.missing.values())
    assert (place.version == "none") == ("memory" not in place.parents)


def test_removes_the_empty_groups_of_launchers_that_died() -> None:
    place = launch.control_groups()
    # No process has such a number: the kernel's highest is 4194304.
    left = [parent / f"{cgroups.PREFIX}4194305-dead" for parent in place.parents.values()]
    for folder in left:
        folder.mkdir()
    assert cgroups.find() == place
    assert [folder for folder in left if folder.exists()] == []


def test_holds_memory_without_groups_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where this user may not make groups."""
    nowhere = cgroups.Place("none", {}, dict.fromkeys(cgroups.CONTROLLERS, "not allowed"))
    monkeypatch.setattr(launch, "control_groups", lambda: nowhere)
    alone = inside.python("held = bytearray(b'x' * (200 << 20))", within=inside.sandbox(memory_mib=128))
    assert "MemoryError" in alone.errors
    together = inside.python(
        """
import os, signal
for _ in range(4):
    if os.fork() == 0:
        held = bytearray(b"x") * (64 << 20)
        signal.pause()
signal.pause()
""",
        within=inside.sandbox(memory_mib=128),
    )
    assert together.exit.reason == "memory"
    assert together.exit.peak_memory_bytes > 128 << 20
    busy = inside.python("import os; os.fork()\nwhile True: pass", within=inside.sandbox(cpu_s=1))
    assert busy.exit.reason == "cpu"
    crowd = inside.python("import os, time\nwhile True:\n    if os.fork() == 0: time.sleep(99)", within=inside.sandbox(processes=8))
    assert "Resource temporarily unavailable" in crowd.errors
    one = inside.python("import os; print(len(os.sched_getaffinity(0)))")
    assert one.output == "1\n"
