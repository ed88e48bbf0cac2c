"""Which levels of sandbox this machine really reaches, and what it lacks for the others."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from gpu_workers.sandbox import control, gvisor, launch, seccomp

# From weakest to strongest: a stronger level serves wherever a weaker one is asked for.
ORDER = ("none", "bwrap-cpu", "gvisor-gpu", "vm-gpu")
_NVIDIA = "0x10de"
# Settings that switch off what bubblewrap needs: file, value that does so, command that mends it.
_SWITCHES = (
    ("/proc/sys/user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile that allows bwrap userns",
    ),
)


class LevelNotReached(Exception):
    """This machine doesn't reach the level that was asked for; the message says what is missing and what to do."""


@dataclass(frozen=True)
class Levels:
    """What was found.

    Attributes:
        reached: the strongest level whose control job found no way out; "none" without any.
        available: level -> "" when it holds here, else what is missing and what to do.
        cgroup: "v2", "v1" or "none": what holds memory, processes and CPU of a sandbox together.
        uncounted: controllers that no control group holds here; for them there are only limits of each process.
    """

    reached: str
    available: dict[str, str]
    cgroup: str
    uncounted: tuple[str, ...]


def detect() -> Levels:
    """Find out by running the control job at every level this machine has the parts for. About 0.1 s a level; keep the answer."""
    available = {"bwrap-cpu": _lacking_bwrap(), "gvisor-gpu": _lacking_gvisor(), "vm-gpu": _lacking_vm()}
    reached = max((level for level in available if not available[level]), key=ORDER.index, default="none")
    place = launch.control_groups()
    return Levels(reached, available, place.version, tuple(sorted(place.missing)))


def require(level: str, found: Levels | None = None) -> Levels:
    """Make sure that this machine reaches `level`, looking now unless `found` is given.

    Raises:
        LevelNotReached: it doesn't, or there is no such level.
    """
    if level not in ORDER or level == "none":
        raise LevelNotReached(f"there is no sandbox level {level!r}: one of {', '.join(ORDER[1:])}")
    found = found or detect()
    if ORDER.index(found.reached) < ORDER.index(level):
        raise LevelNotReached(f"sandbox level {level} is not reached here (reached: {found.reached}): {found.available[level]}")
    return found


def _lacking_bwrap() -> str:
    try:
        control.run("bwrap-cpu")
    except (launch.BubblewrapMissing, seccomp.UnknownArchitecture) as error:
        return str(error)
    except control.NotContained as error:
        return "; ".join([str(error), *_switched_off()])
    except OSError as error:
        return f"control groups can't be used: {error}"
    return ""


def _switched_off() -> list[str]:
    """Say which settings of this machine forbid user namespaces, with the command that allows them."""
    found = []
    for file, off, mend in _SWITCHES:
        path = Path(file)
        if path.exists() and path.read_text("ascii").strip() == off:
            found.append(f"user namespaces are switched off by {file}: {mend}")
    if not found and os.geteuid() == 0 and Path("/.dockerenv").exists():
        found.append("inside a container: run it with --security-opt seccomp=unconfined --cap-add SYS_ADMIN, or on the host")
    return found


def _lacking_gvisor() -> str:
    if missing := gvisor.missing():
        return missing
    try:
        control.run("gvisor-gpu")
    except (control.NotContained, gvisor.RunscMissing, OSError) as error:
        return str(error)
    return ""


def _lacking_vm() -> str:
    """Say what a virtual machine with the GPU handed through (Kata Containers over VFIO) lacks here; never empty: none is started yet."""
    lacking = []
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        lacking.append("/dev/kvm can't be used: switch virtualisation on in the firmware and join the group kvm")
    if shutil.which("kata-runtime") is None:
        lacking.append("no kata-runtime: install Kata Containers")
    groups = Path("/sys/kernel/iommu_groups")
    if not groups.is_dir() or not any(groups.iterdir()):
        lacking.append("no IOMMU: boot with intel_iommu=on or amd_iommu=on")
    if not _has_handed_over_gpu():
        lacking.append("no NVIDIA GPU is bound to vfio-pci")
    return "; ".join(lacking) or "this host could run it, but this release does not start virtual machines: use gvisor-gpu"


def _has_handed_over_gpu() -> bool:
    bound = Path("/sys/bus/pci/drivers/vfio-pci").glob("*:*")
    return any((device / "vendor").read_text("ascii").strip() == _NVIDIA for device in bound)
