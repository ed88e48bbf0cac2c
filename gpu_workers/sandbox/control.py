"""A control job: a program that tries to leave the sandbox in the ways that matter most, so that a level is what was seen to hold."""

import json
import os
import secrets
import socket
import tempfile
from pathlib import Path

from gpu_workers.sandbox import launch, running
from gpu_workers.sandbox.limits import Limits

_LIMITS = Limits(wall_s=30, cpu_s=10, memory_mib=512, processes=16, output_bytes=1 << 20, tmp_mib=8)
# A program of its own: it only opens and asks, and would do no harm on a host that let it.
PROGRAM = """
import ctypes, json, os, resource, socket, sys
secret, home, port, inherited = json.loads(sys.stdin.readline())
libc = ctypes.CDLL(None, use_errno=True)
open_doors = []

def door(name, attempt):
    try:
        reached = attempt()
    except (OSError, ValueError):
        reached = False
    if reached:
        open_doors.append(name)

def call(*arguments):
    return libc.syscall(*arguments) != -1

def tells(path):
    # One file that can't be read must not hide the next.
    try:
        with open(path, "rb") as file:
            return secret.encode() in file.read(1 << 20)
    except OSError:
        return False

def writable(path):
    os.close(os.open(path, os.O_WRONLY))
    return True

def connected():
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True

status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
is_arm = os.uname().machine == "aarch64"
pids = [pid for pid in os.listdir("/proc") if pid.isdigit()]
door("secret in an environment", lambda: any(tells(f"/proc/{pid}/environ") for pid in pids))
door("secret in a file of the host", lambda: tells(home))
door("port of the host", connected)
door("file descriptor of the launcher", lambda: os.readlink(f"/proc/self/fd/{inherited}").startswith("/") and os.fstat(inherited))
door("host processes visible", lambda: len(pids) > 3)
door("core_pattern writable", lambda: writable("/proc/sys/kernel/core_pattern"))
door("root folder writable", lambda: os.access("/", os.W_OK))
door("system folders writable", lambda: os.access("/usr", os.W_OK) or os.access("/python", os.W_OK) or os.access("/etc", os.W_OK))
door("capabilities left", lambda: any(int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb")))
door("root inside", lambda: os.getuid() == 0)
door("new privileges possible", lambda: status["NoNewPrivs"].strip() != "1")
door("network interfaces", lambda: any(name != "lo" for _, name in socket.if_nameindex()))
door("/sys visible", lambda: bool(os.listdir("/sys")))
door("core dumps", lambda: resource.getrlimit(resource.RLIMIT_CORE)[1] != 0)
if sys.argv[1] == "bwrap-cpu":
    door("no system call filter", lambda: status["Seccomp"].strip() != "2")
    door("new user namespace", lambda: call(97 if is_arm else 272, 0x10000000))
    door("ptrace", lambda: call(117 if is_arm else 101, 0, 0, 0, 0))
    door("processes unlimited", lambda: resource.getrlimit(resource.RLIMIT_NPROC)[1] == resource.RLIM_INFINITY)
print(json.dumps(open_doors))
"""


class NotContained(Exception):
    """The control job didn't run, or found a way out; the message says which."""


def run(level: str) -> None:
    """Start the control job in a sandbox of `level` with baits around it: a secret in a file, on a port and in an inherited descriptor.

    Raises:
        NotContained: a door was open, or there was no answer.
        launch.BubblewrapMissing, gvisor.RunscMissing, seccomp.UnknownArchitecture: this machine lacks a part.
    """
    secret = secrets.token_hex(16)
    with tempfile.NamedTemporaryFile() as bait, socket.create_server(("127.0.0.1", 0)) as server:
        bait.write(secret.encode())
        bait.flush()
        os.set_inheritable(bait.fileno(), True)
        question = json.dumps([secret, str(Path(bait.name)), server.getsockname()[1], bait.fileno()])
        sandbox = launch.Sandbox(level=level, limits=_LIMITS)
        try:
            with sandbox.start([launch.PYTHON, "-I", "-c", PROGRAM, level]) as started:
                started.stdin.write(f"{question}\n".encode())
                started.stdin.close()
                answer = started.stdout.read()
                ended = started.wait()
                told = started.stderr.decode("utf-8", "replace").strip()
        except running.NotStarted as error:
            raise NotContained(f"the control job did not start: {error}") from error
        except BrokenPipeError as error:
            raise NotContained("the control job ended before it was asked") from error
    if ended.code != 0 or ended.reason != "exited":
        raise NotContained(f"the control job ended by {ended.reason} with {ended.code}: {told[-500:]}")
    open_doors = json.loads(answer)
    if open_doors:
        raise NotContained(f"the control job found open: {', '.join(map(str, open_doors))}")
