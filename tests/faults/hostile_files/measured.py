"""A process that takes files in as the server does, one after the other, each in a fork of its own, and says what each cost and left.

It is started by `tests.faults.media` with its media folder in ATOMS_MEDIA_DIR and its temporary folder in TMPDIR. The fork
makes the measurement true: its only child is the decoder, so what the kernel says of its children is the decoder's. The
peak counts the memory of the process that started it as well, which is small here; a big test process would hide it.
"""

import contextlib
import ctypes
import dataclasses
import hashlib
import io
import json
import os
import resource
import sys
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


@dataclasses.dataclass
class Taken:
    """What became of a file: the reason why it was refused, or "" for taken in; and what the decoder cost."""

    reason: str = ""
    # An exception that is no refusal, or a fork that died.
    crash: str = ""
    rss_mb: float = 0.0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    # What should not be there afterwards, or should be and is not.
    left: list[str] = dataclasses.field(default_factory=list)


def main() -> None:
    """Answer for each file on standard input: its length (8 bytes, big-endian) and its bytes; one line of JSON each."""
    import django

    django.setup()
    # Whoever loses his parent becomes ours, so that no process gets away unseen.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if len(sys.argv) > 1:
        from tasks import evidence

        # A control: what it costs is to be seen, so a busy machine must not end it early.
        evidence._INTAKE, evidence.TIMEOUT_S = Path(sys.argv[1]), 120.0
    while length := sys.stdin.buffer.read(8):
        raw = sys.stdin.buffer.read(int.from_bytes(length, "big"))
        sys.stdout.write(json.dumps(dataclasses.asdict(_in_fork(raw))) + "\n")
        sys.stdout.flush()


def _in_fork(raw: bytes) -> Taken:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        with os.fdopen(writing, "wb") as answer:
            answer.write(json.dumps(dataclasses.asdict(_take(raw))).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        said = answer.read()
    _, status = os.waitpid(child, 0)
    taken = Taken(**json.loads(said)) if said else Taken(crash=f"the process ended with status {status}")
    taken.left += [*_processes_left(), *_files_left(raw, is_taken=not taken.reason and not taken.crash)]
    return taken


def _take(raw: bytes) -> Taken:
    from tasks import evidence

    taken, began = Taken(), time.monotonic()
    try:
        evidence.take_in(raw)
    except evidence.Unreadable as refused:
        taken.reason = refused.reason_code if refused.reason_code in evidence.MESSAGES else f"unknown: {refused.reason_code}"
    except BaseException as error:  # Whatever it is: the caller has to hear of it.
        taken.crash = repr(error)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    taken.wall_s, taken.cpu_s, taken.rss_mb = time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    return taken


def _processes_left() -> list[str]:
    left: list[str] = []
    with contextlib.suppress(ChildProcessError):
        while True:
            gone, _ = os.waitpid(-1, os.WNOHANG)
            if not gone:
                children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
                left.append(f"{len(children)} processes still run")
                for number in children:
                    os.kill(int(number), 9)
                    os.waitpid(int(number), 0)
    return left


def _files_left(raw: bytes, *, is_taken: bool) -> list[str]:
    """Return what is wrong with what is stored, and remove it."""
    from PIL import Image

    media = Path(os.environ["ATOMS_MEDIA_DIR"])
    found = {path: path.read_bytes() for path in media.rglob("*") if path.is_file()}
    # The settings of tests make a folder for static files.
    wrong = [f"temporary file {path.name}" for path in Path(os.environ["TMPDIR"]).iterdir() if not path.name.startswith("atoms-test-")]
    kinds = sorted(path.relative_to(media).parts[0] for path in found)
    if kinds != (["display", "originals", "previews"] if is_taken else []):
        wrong.append(f"stored: {kinds}")
    for path, content in found.items():
        kind = path.relative_to(media).parts[0]
        if kind == "originals":
            is_whole = content == raw and path.name == hashlib.sha256(raw).hexdigest()
        else:
            Image.open(io.BytesIO(content), formats=("JPEG",)).load()
            is_whole = kind == "previews" or path.stem == hashlib.sha256(content).hexdigest()
        if not is_whole:
            wrong.append(f"{kind} {path.name} is not what its name says")
        path.unlink()
    return wrong


if __name__ == "__main__":
    main()
