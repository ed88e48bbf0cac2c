"""gVisor for GPU hosts: what `runsc` needs to run a stranger's program behind a kernel of its own, with the GPU's calls proxied."""

import json
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from gpu_workers.sandbox.interpreter import Layout
from gpu_workers.sandbox.limits import MIB, OPEN_FILES, Limits

DRIVER_VERSION = Path("/proc/driver/nvidia/version")
_ASK_S = 20


class RunscMissing(Exception):
    """There is no usable `runsc`; the message says how to get one."""


def path() -> str:
    """Find `runsc`.

    Raises:
        RunscMissing: it isn't on this machine.
    """
    found = shutil.which("runsc")
    if found is None:
        raise RunscMissing("no runsc: install gVisor, https://gvisor.dev/docs/user_guide/install/")
    return found


def driver() -> str | None:
    """Give the version of the loaded NVIDIA driver; None without one."""
    if not DRIVER_VERSION.exists():
        return None
    found = re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", DRIVER_VERSION.read_text("ascii", "replace"))
    return found.group() if found else None


def missing() -> str:
    """Say what this machine lacks for GPU sandboxes, and what to do; empty when nothing obvious is missing."""
    try:
        runsc = path()
    except RunscMissing as error:
        return str(error)
    if os.geteuid() != 0:
        return "runsc with a GPU needs root: start this program as root, or choose a level without a GPU"
    version = driver()
    if version is None:
        return f"no NVIDIA driver is loaded ({DRIVER_VERSION} is not there)"
    try:
        told = subprocess.run(  # noqa: S603 - our own words
            [runsc, "nvproxy", "list-supported-drivers"], capture_output=True, timeout=_ASK_S, check=True, text=True, env={}
        )
    except (OSError, subprocess.SubprocessError):
        return "this runsc has no nvproxy: install a gVisor release of 2024 or later"
    if version not in told.stdout.split():
        return f"this runsc does not know NVIDIA driver {version}: install one of {', '.join(told.stdout.split()[-3:])}, or a newer gVisor"
    return ""


def devices() -> list[str]:
    """Give the device files of the NVIDIA driver's compute part."""
    names = ("nvidiactl", "nvidia-uvm")
    return [*(f"/dev/{name}" for name in names if Path("/dev", name).exists()), *sorted(map(str, Path("/dev").glob("nvidia[0-9]*")))]


def bundle(*, folder: Path, limits: Limits, shown: Layout, variables: Mapping[str, str], argv: Sequence[str]) -> None:
    """Write an OCI bundle into `folder`: `config.json` and a root that holds links and small files, everything else mounted read-only.

    The user inside is root without capabilities: it is the user of gVisor's kernel, not of this machine's, and so the owner's files
    can be read where only root may.
    """
    root = folder / "root"
    root.mkdir(parents=True)
    for inside, target in shown.links.items():
        link = root / inside.lstrip("/")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
    for inside, content in shown.files.items():
        file = root / inside.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    (root / "tmp").mkdir()
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        _small("/tmp", limits.tmp_mib * MIB),  # noqa: S108 - the sandbox's own
        _small("/dev/shm", limits.tmp_mib * MIB),  # noqa: S108
    ]
    for inside in sorted(shown.binds):
        mounts.append({"destination": inside, "type": "bind", "source": shown.binds[inside], "options": ["rbind", "ro", "nosuid"]})
    mounts += [_small(inside, 4096) for inside in shown.hidden]
    none: list[str] = []
    config = {
        "ociVersion": "1.0.2",
        "hostname": "sandbox",
        "root": {"path": str(root), "readonly": True},
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": list(argv),
            "env": [f"{name}={value}" for name, value in variables.items()],
            "cwd": "/tmp",  # noqa: S108
            "noNewPrivileges": True,
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted", "inheritable", "ambient"), none),
            "rlimits": [
                {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
                {"type": "RLIMIT_NOFILE", "soft": OPEN_FILES, "hard": OPEN_FILES},
                {"type": "RLIMIT_CPU", "soft": limits.cpu_s, "hard": limits.cpu_s + 1},
                {"type": "RLIMIT_FSIZE", "soft": limits.tmp_mib * MIB, "hard": limits.tmp_mib * MIB},
            ],
        },
        "mounts": mounts,
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network", "cgroup")],
            "devices": [_device(device) for device in devices()],
        },
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1), "utf-8")


def arguments(folder: Path) -> list[str]:
    """Give the command line that runs the bundle in `folder`: no network, no sockets of the host, the GPU's calls through nvproxy."""
    flags = ["--network=none", "--host-uds=none", "--host-fifo=none", "--overlay2=none", "--nvproxy", "--nvproxy-docker=false"]
    return [path(), f"--root={folder / 'state'}", *flags, "run", f"--bundle={folder}", f"atoms-{secrets.token_hex(8)}"]


def _small(inside: str, size_bytes: int) -> dict[str, object]:
    return {"destination": inside, "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777", f"size={size_bytes}"]}


def _device(device: str) -> dict[str, object]:
    number = Path(device).stat().st_rdev
    return {"path": device, "type": "c", "major": os.major(number), "minor": os.minor(number), "fileMode": 0o666}
