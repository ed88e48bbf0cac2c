"""Runs probes one by one, each in a child of its own, and says what became of them: as a stranger's program inside, or outside to compare.

Read by the tests as text and run with `python -c`; it imports the standard library alone. First line of standard input: a JSON object
{"probes": {name: code}, "numbers": {call: number}, "given": {...}, "user": id to become or 0}. Answer: {name: [outcome, detail]} with
outcome "reached", "refused", "killed" or "broken" (the probe itself is wrong).
"""

# Probes use these names; resolving a host's name needs the encoding when the standard library can't be read any more.
# ruff: noqa: F401, PTH118, PTH123, PTH208, S102
import ctypes
import encodings.idna
import errno
import fcntl
import json
import mmap
import os
import resource
import select
import signal
import socket
import struct
import sys
import tempfile
import textwrap
import time
from collections.abc import Sequence
from typing import Any

PATIENCE_S = 20.0
question: dict[str, Any] = json.loads(sys.stdin.readline())
given: dict[str, Any] = question["given"]
numbers: dict[str, int] = question["numbers"]
libc = ctypes.CDLL(None, use_errno=True)


Word = int | bytes | None


def word(value: Word) -> Any:
    if value is None:
        return ctypes.c_void_p(None)
    return ctypes.c_char_p(value) if isinstance(value, bytes) else ctypes.c_long(value)


def call(name: str, *arguments: Word) -> int:
    """Make a system call; its result, or OSError."""
    result: int = libc.syscall(ctypes.c_long(numbers[name]), *map(word, arguments))
    if result == -1:
        raise OSError(ctypes.get_errno(), name)
    return result


def arrived(name: str, *arguments: Word) -> str:
    """Make a system call with arguments that do nothing, and tell whether the kernel looked at them."""
    try:
        call(name, *arguments)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOSYS, errno.EACCES):
            raise
        return f"the kernel answered {errno.errorcode[error.errno or 0]}"
    return "the kernel did it"


def text(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(1 << 20)


def opened(path: str, flags: int = os.O_RDONLY) -> str:
    """Open and close, nothing else: what could be written stays as it is."""
    os.close(os.open(path, flags))
    return f"{path} opened"


def listed(path: str) -> str:
    return ", ".join(os.listdir(path)[:3])


def raised(limit: int, most: int) -> str | None:
    """Raise one of this process's limits."""
    try:
        resource.setrlimit(limit, (most, most))
    except ValueError:
        return None
    return f"raised to {most}"


def asked_terminal(request: int) -> str:
    """Make a request to the terminal on standard input, and tell whether the kernel looked at it."""
    try:
        fcntl.ioctl(0, request, b"x")
    except OSError as error:
        if error.errno == errno.EPERM:
            raise
        return f"the kernel answered {error.errno}"
    return "the kernel did it"


def pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def everywhere(secret: str, folders: Sequence[str]) -> str | None:
    """Look for a text in all files of some folders, up to a thousand."""
    left = 1000
    for folder in folders:
        for place, _, files in os.walk(folder):
            for name in files:
                left -= 1
                if left < 0:
                    return None
                try:
                    if secret.encode() in text(os.path.join(place, name)):
                        return f"{place}/{name}"
                except OSError:
                    continue
    return None


def outcome_of(code: str) -> tuple[str, str]:
    scope = dict(globals())
    exec("def probe():\n" + textwrap.indent(code, "    "), scope)
    try:
        evidence = scope["probe"]()
    except OSError as error:
        return "refused", errno.errorcode.get(error.errno or 0, str(error))
    except MemoryError:
        return "refused", "MemoryError"
    except BaseException as error:
        return "broken", repr(error)
    return ("reached", str(evidence)[:200]) if evidence else ("refused", "nothing there")


def judged(code: str) -> Sequence[str]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.write(writing, json.dumps(outcome_of(code)).encode())
        os._exit(0)
    os.close(writing)
    ready = select.select([reading], [], [], PATIENCE_S)[0]
    if not ready:
        os.kill(child, signal.SIGKILL)
    answer = os.read(reading, 65536)
    os.close(reading)
    status = os.waitpid(child, 0)[1]
    if answer:
        said: list[str] = json.loads(answer)
        return said
    if not ready:
        return ["broken", "no answer"]
    return ["killed", signal.Signals(os.WTERMSIG(status)).name] if os.WIFSIGNALED(status) else ["broken", f"status {status}"]


def lose_rights(user: int) -> None:
    """Be `user` for good, and again somebody whose processes of the same user may be looked at."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    libc.prctl(4, 1, 0, 0, 0)


def main() -> None:
    """Answer the question."""
    if question["user"]:
        lose_rights(question["user"])
    bystander = 0
    if given["outside_pid"] == 0:
        bystander = os.fork()
        if bystander == 0:
            signal.pause()
        given["outside_pid"] = bystander
    print(json.dumps({name: judged(code) for name, code in question["probes"].items()}))
    if bystander:
        os.kill(bystander, signal.SIGKILL)
        os.waitpid(bystander, 0)


main()
