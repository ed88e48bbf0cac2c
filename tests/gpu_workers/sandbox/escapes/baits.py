"""Secrets laid out around a sandbox, and the questions for its inmate."""

import json
import os
import platform
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gpu_workers.sandbox import launch, seccomp
from gpu_workers.sandbox.limits import Limits
from tests.gpu_workers.sandbox.escapes import probes

INMATE = Path(__file__).with_name("inmate.py").read_text("utf-8")
PROJECT = Path(__file__).resolve().parents[4]
# Any user without rights does to compare.
NOBODY = 65534
LIMITS = Limits(wall_s=60, cpu_s=30, memory_mib=512, processes=32, tmp_mib=16)

Outcomes = dict[str, tuple[str, str]]


def known_probes() -> tuple[probes.Probe, ...]:
    """Give the probes that this machine's processor has."""
    return (*probes.ALL, *probes.X86) if platform.machine() == "x86_64" else probes.ALL


def numbers() -> dict[str, int]:
    """Give this machine's numbers of all calls that the filter judges."""
    column = 0 if platform.machine() == "x86_64" else 1
    judged = {"clone": seccomp.CLONE, "clone3": seccomp.CLONE3, "personality": seccomp.PERSONALITY}
    calls = {**seccomp.REFUSED, **seccomp.DEADLY, **judged}
    return {name: number for name, pair in calls.items() if (number := pair[column]) is not None}


@dataclass(frozen=True)
class Baits:
    """A secret in this process's environment, in a file of a home folder, beside a bound file, on a port, behind an abstract socket
    and in a descriptor that children may inherit."""

    secret: str
    home_file: Path
    bound_file: Path
    port: int
    abstract: str
    descriptor: int

    def question(self, asked: Iterable[probes.Probe], *, outside_pid: int, user: int) -> bytes:
        """Write the inmate's input. `outside_pid` 0 lets it make a neighbour of its own."""
        given = {
            "secret": self.secret,
            "home_file": str(self.home_file),
            "bound_file": str(self.bound_file),
            "project": str(PROJECT),
            "port": self.port,
            "abstract": self.abstract,
            "descriptor": self.descriptor,
            "outside_pid": outside_pid,
            "devices": launch.DEVICES,
        }
        asked_probes = {probe.name: probe.code for probe in asked}
        return json.dumps({"probes": asked_probes, "numbers": numbers(), "given": given, "user": user}).encode() + b"\n"

    def inside(self, asked: Iterable[probes.Probe]) -> Outcomes:
        """Let the inmate try in a sandbox."""
        sandbox = launch.Sandbox(level="bwrap-cpu", limits=LIMITS, read_only={"/given/file": self.bound_file})
        with sandbox.start([launch.PYTHON, "-I", "-c", INMATE]) as running:
            running.stdin.write(self.question(asked, outside_pid=os.getpid(), user=0))
            running.stdin.close()
            answer = running.stdout.read()
            ended = running.wait()
            assert (ended.code, ended.reason) == (0, "exited"), running.stderr.decode()
        return {name: (outcome, detail) for name, (outcome, detail) in json.loads(answer).items()}

    def outside(self, asked: Iterable[probes.Probe]) -> Outcomes:
        """Let the inmate try without a sandbox, as a user without rights."""
        user = NOBODY if os.geteuid() == 0 else 0
        done = subprocess.run(
            [sys.executable, "-I", "-c", INMATE],
            input=self.question(asked, outside_pid=0, user=user),
            stdout=subprocess.PIPE,
            check=True,
            pass_fds=[self.descriptor],
        )
        return {name: (outcome, detail) for name, (outcome, detail) in json.loads(done.stdout).items()}


@contextmanager
def laid_out(folder: Path) -> Iterator[Baits]:
    """Lay the baits out under `folder`, which everyone may enter."""
    secret = secrets.token_hex(16)
    home = folder / "home"
    home.mkdir(mode=0o755)
    for name in ("keys", "bound", "beside"):
        (home / name).write_text("nothing" if name == "bound" else secret, "utf-8")
    os.environ["ATOMS_BAIT"] = secret
    abstract = f"atoms-bait-{secrets.token_hex(8)}"
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(f"\0{abstract}")
    unix.listen()
    descriptor = os.open(home / "keys", os.O_RDONLY)
    with socket.create_server(("127.0.0.1", 0)) as server, unix:
        for listener in (server, unix):
            threading.Thread(target=_tell, args=(listener, secret.encode()), daemon=True).start()
        os.set_inheritable(descriptor, True)
        try:
            yield Baits(secret, home / "keys", home / "bound", server.getsockname()[1], abstract, descriptor)
        finally:
            os.close(descriptor)
            del os.environ["ATOMS_BAIT"]
            for listener in (server, unix):
                listener.shutdown(socket.SHUT_RDWR)


def _tell(listener: socket.socket, secret: bytes) -> None:
    """Tell everyone who connects the secret."""
    while True:
        try:
            caller, _ = listener.accept()
        except OSError:
            return
        with caller:
            caller.sendall(secret)
