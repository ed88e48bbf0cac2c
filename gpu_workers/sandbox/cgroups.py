"""Control groups, version 2 or 1, for one sandbox where this process may make them: memory, processes and CPU of the whole tree."""

import contextlib
import os
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gpu_workers.sandbox.limits import MIB, Limits

ROOT = Path("/sys/fs/cgroup")
PREFIX = "atoms-sandbox-"
CONTROLLERS = ("memory", "pids", "cpu")
_PERIOD_US = 100_000
# bubblewrap's own two processes and the stage's child.
OWN_PROCESSES = 3
# How long an emptied group may take to become removable.
_REMOVAL_S = 2.0


@dataclass(frozen=True)
class Place:
    """Where groups can be made. `version` is "v2", "v1" or "none"; `parents` controller -> folder (v2: the same for all); `missing`
    says, for each controller that can't be used, why."""

    version: str
    parents: dict[str, Path]
    missing: dict[str, str]


def find() -> Place:
    """Look for folders in which this process can really make a group with the controllers we need; tries each by making one."""
    unified = _unified()
    if unified is not None:
        _sweep_left_over([unified])
        return Place("v2", dict.fromkeys(CONTROLLERS, unified), {})
    parents = {}
    missing = {}
    for controller in CONTROLLERS:
        folder = _v1_folder(controller)
        if folder is not None and _can_make(folder, _v1_file(controller)):
            parents[controller] = folder
        else:
            missing[controller] = "no control group that this user may extend" if folder is None else f"{folder} can't be written"
    if "cpu" in parents and (accounting := _v1_folder("cpuacct")) is not None and _can_make(accounting, "cpuacct.usage"):
        parents["cpuacct"] = accounting
    _sweep_left_over(parents.values())
    return Place("v1" if "memory" in parents else "none", parents, missing)


def _unified() -> Path | None:
    """Give the folder of version 2 nearest to this process whose children have memory, processes and CPU."""
    mounted = next((line.split()[1] for line in _lines("/proc/self/mounts") if line.split()[2] == "cgroup2"), None)
    own = next((line[3:] for line in _lines("/proc/self/cgroup") if line.startswith("0::/")), None)
    if mounted is None or own is None:
        return None
    folder = Path(mounted) / own.strip("/")
    # A group with processes of its own can't hand controllers on: usually a parent can, and a session's user owns some of them.
    while folder.is_relative_to(mounted):
        controllers = _text(folder / "cgroup.subtree_control").split()
        if set(CONTROLLERS) <= set(controllers) and _can_make(folder, "memory.max"):
            return folder
        folder = folder.parent
    return None


def _v1_folder(controller: str) -> Path | None:
    own = next((line.split(":", 2)[2] for line in _lines("/proc/self/cgroup") if controller in line.split(":")[1].split(",")), None)
    mounted = next(
        (
            line.split()[1]
            for line in _lines("/proc/self/mounts")
            if line.split()[2] == "cgroup" and controller in line.split()[3].split(",")
        ),
        None,
    )
    if own is None or mounted is None:
        return None
    folder = Path(mounted) / own.strip("/")
    # Inside a container the path is the host's, and the mount begins below it.
    return folder if folder.is_dir() else Path(mounted)


def _v1_file(controller: str) -> str:
    return {"memory": "memory.limit_in_bytes", "pids": "pids.max", "cpu": "cpu.cfs_quota_us"}[controller]


def _can_make(folder: Path, file: str) -> bool:
    """Make a group in `folder`, look whether it can be set and joined, and remove it."""
    trial = folder / f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        trial.mkdir()
    except OSError:
        return False
    try:
        return (
            os.access(trial / file, os.W_OK) and os.access(trial / "cgroup.procs", os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK)
        )
    finally:
        trial.rmdir()


def _sweep_left_over(folders: Iterable[Path]) -> None:
    """Remove the empty groups of launchers that were killed; the kernel refuses to remove one that is in use."""
    for folder in folders:
        for left in folder.glob(f"{PREFIX}*"):
            owner = left.name.removeprefix(PREFIX).split("-")[0]
            if not Path(f"/proc/{owner}").exists():
                with contextlib.suppress(OSError):
                    left.rmdir()


@dataclass(frozen=True)
class Group:
    """The groups of one sandbox: `folders` controller -> folder."""

    version: str
    folders: dict[str, Path]

    @property
    def paths(self) -> list[str]:
        """The folders that a process must join, each once."""
        return sorted({str(folder) for folder in self.folders.values()})

    def cpu_s(self) -> float | None:
        """CPU seconds of all its processes so far; None where nothing counts them."""
        if self.version == "v2":
            return _keyed(self.folders["cpu"] / "cpu.stat").get("usage_usec", 0) / 1e6
        if "cpuacct" in self.folders:
            return int(_text(self.folders["cpuacct"] / "cpuacct.usage") or 0) / 1e9
        return None

    def peak_memory_bytes(self) -> int | None:
        """The most memory the tree held at once; None where nothing counts it."""
        if "memory" not in self.folders:
            return None
        text = _text(self.folders["memory"] / ("memory.peak" if self.version == "v2" else "memory.max_usage_in_bytes"))
        return int(text) if text else None

    def is_out_of_memory(self) -> bool:
        """Tell whether the kernel ended a process because the tree had reached its memory."""
        if "memory" not in self.folders:
            return False
        file = "memory.events" if self.version == "v2" else "memory.oom_control"
        return _keyed(self.folders["memory"] / file).get("oom_kill", 0) > 0

    def remove(self) -> None:
        """Remove the emptied groups; what the kernel still holds is left to the next sweep."""
        until = time.monotonic() + _REMOVAL_S
        for path in self.paths:
            while Path(path).exists():
                try:
                    Path(path).rmdir()
                except OSError:
                    if time.monotonic() > until:
                        break
                    time.sleep(0.002)


def make(place: Place, limits: Limits) -> Group:
    """Make the groups of one sandbox at `place` and write its limits into them.

    Raises:
        OSError: the kernel refused a limit; nothing is left behind.
    """
    name = f"{PREFIX}{os.getpid()}-{secrets.token_hex(6)}"
    group = Group(place.version, {controller: parent / name for controller, parent in place.parents.items()})
    memory = str(limits.memory_mib * MIB)
    processes = str(limits.processes + OWN_PROCESSES)
    quota = limits.cpus * _PERIOD_US
    values = {
        "v2": {
            "memory": {"memory.max": memory, "memory.swap.max": "0", "memory.oom.group": "1"},
            "pids": {"pids.max": processes},
            "cpu": {"cpu.max": f"{quota} {_PERIOD_US}"},
        },
        "v1": {
            "memory": {"memory.limit_in_bytes": memory, "memory.memsw.limit_in_bytes": memory},
            "pids": {"pids.max": processes},
            "cpu": {"cpu.cfs_period_us": str(_PERIOD_US), "cpu.cfs_quota_us": str(quota)},
        },
    }.get(place.version, {})
    try:
        for path in group.paths:
            Path(path).mkdir()
        for controller, files in values.items():
            for file, value in files.items():
                folder = group.folders.get(controller)
                # Without swap accounting its file isn't there, and where it is missing nothing is lost.
                if folder is not None and (folder / file).exists():
                    (folder / file).write_text(value)
    except OSError:
        group.remove()
        raise
    return group


def _lines(path: str) -> list[str]:
    return _text(Path(path)).splitlines()


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace").strip()
    except OSError:
        return ""


def _keyed(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in _text(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
