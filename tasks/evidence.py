"""Files handed in as evidence: opened in a limited child process, kept by digest, shown only as re-encoded copies.

The original is sealed: nobody but a trusted verifier's lease reads it. What people see is the display copy, and
what a poster sees before acceptance is the watermarked preview; neither carries metadata.
"""

import datetime
import hashlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, Literal, cast

import pydantic
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from tasks import storage, text

MAX_BYTES = 20_000_000
TIMEOUT_S = 20.0
# Three lengths of 4 bytes, then at most this much of each.
_MAX_HEADER_BYTES, _MAX_DISPLAY_BYTES, _MAX_PREVIEW_BYTES = 16_384, 8_000_000, 1_000_000
_INTAKE = Path(__file__).with_name("intake.py")
# Each child may hold half a gigabyte: more of them at once than this would be an attack on our own memory.
_CHILDREN = threading.BoundedSemaphore(max(2, os.cpu_count() or 2))
_WAIT_FOR_TURN_S = 30.0

MESSAGES = {
    "empty_file": "The file is empty. Take the photo again and send it.",
    "too_many_bytes": f"The file is larger than {MAX_BYTES // 1_000_000} MB. Send a smaller photo.",
    "too_many_pixels": "The photo has more than 50 megapixels. Choose a smaller size in the camera and take it again.",
    "too_large_to_decode": "The photo is too large to open. Choose a smaller size in the camera and take it again.",
    "too_small": "The photo is too small to show anything. Send the photo as the camera took it.",
    "not_a_photo": "The file is not a JPEG, PNG, WebP or HEIF photo. Send a photo taken with the camera.",
    "damaged": "The photo is damaged or cut off. Send it again, or take it again.",
    "animated": "The file holds several pictures. Send one still photo.",
    "not_decoded": "The photo could not be opened. Take it again as a plain JPEG.",
}


class Unreadable(ValueError):
    """The file can't be taken as evidence; ``reason_code`` is a key of `MESSAGES`, the message says what to do."""

    def __init__(self, reason_code: str) -> None:
        super().__init__(MESSAGES[reason_code])
        self.reason_code = reason_code


class IntakeBusy(RuntimeError):
    """Too many files are being opened at this moment: send the same file again in some seconds."""


@dataclass(frozen=True, slots=True)
class TakenIn:
    """A file that was opened and stored: its digests, what it is, and its EXIF as the file tells it."""

    sha256: str
    byte_count: int
    media_type: str
    width_px: int
    height_px: int
    display_sha256: str
    # Untrusted: short strings and finite numbers. It may contradict, never confirm.
    exif: dict[str, str | float]


class _Exif(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="ignore", allow_inf_nan=False)

    captured_at: Annotated[str, pydantic.Field(max_length=64)] | None = None
    offset: Annotated[str, pydantic.Field(max_length=64)] | None = None
    make: Annotated[str, pydantic.Field(max_length=64)] | None = None
    model: Annotated[str, pydantic.Field(max_length=64)] | None = None
    software: Annotated[str, pydantic.Field(max_length=64)] | None = None
    latitude: Annotated[float, pydantic.Field(ge=-90, le=90)] | None = None
    longitude: Annotated[float, pydantic.Field(ge=-180, le=180)] | None = None
    is_unreadable: float | None = None


class _Header(pydantic.BaseModel):
    """The child's answer, which is no more to be believed than the file it opened."""

    model_config = pydantic.ConfigDict(extra="ignore", strict=True)

    media_type: Literal["image/jpeg", "image/png", "image/webp", "image/heif"]
    width_px: Annotated[int, pydantic.Field(ge=1, le=100_000)]
    height_px: Annotated[int, pydantic.Field(ge=1, le=100_000)]
    exif: _Exif


class _Refusal(pydantic.BaseModel):
    reason: str


def take_in(raw: bytes) -> TakenIn:
    """Open ``raw`` in a child process, store the original and its two copies, and return what is known of it.

    Storing the same file again is harmless. A crash before the caller writes its row leaves unreferenced files only.

    Raises:
        Unreadable: not a photo that can be taken; the message tells the worker what to do.
        IntakeBusy: no child process was free for `_WAIT_FOR_TURN_S`.
    """
    if not raw:
        raise Unreadable("empty_file")
    if len(raw) > MAX_BYTES:
        raise Unreadable("too_many_bytes")
    header, display, preview = _open_in_child(raw)
    sha256, display_sha256 = hashlib.sha256(raw).hexdigest(), hashlib.sha256(display).hexdigest()
    _keep(original_name(sha256), raw)
    _keep(display_name(display_sha256), display)
    _keep(preview_name(display_sha256), preview)
    return TakenIn(
        sha256=sha256,
        byte_count=len(raw),
        media_type=header.media_type,
        width_px=header.width_px,
        height_px=header.height_px,
        display_sha256=display_sha256,
        exif=_plain(header.exif),
    )


def original_name(sha256: str) -> str:
    """Return the storage name of a sealed original."""
    return f"originals/{sha256[:2]}/{sha256[2:4]}/{sha256}"


def display_name(display_sha256: str) -> str:
    """Return the storage name of a display copy (JPEG, long side at most 1600 px)."""
    return f"display/{display_sha256[:2]}/{display_sha256[2:4]}/{display_sha256}.jpg"


def preview_name(display_sha256: str) -> str:
    """Return the storage name of the watermarked preview (JPEG, long side at most 480 px) of a display copy."""
    return f"previews/{display_sha256[:2]}/{display_sha256[2:4]}/{display_sha256}.jpg"


def open_original(sha256: str) -> BinaryIO:
    """Open a sealed original for a trusted verifier's lease, and for nobody else.

    Raises:
        FileNotFoundError: it is not stored.
    """
    return cast(BinaryIO, default_storage.open(original_name(sha256)))


def open_display(display_sha256: str) -> BinaryIO:
    """Open a display copy.

    Raises:
        FileNotFoundError: it is not stored.
    """
    return cast(BinaryIO, default_storage.open(display_name(display_sha256)))


def open_preview(display_sha256: str) -> BinaryIO:
    """Open the watermarked preview of a display copy.

    Raises:
        FileNotFoundError: it is not stored.
    """
    return cast(BinaryIO, default_storage.open(preview_name(display_sha256)))


def forget_unfinished(*, now: datetime.datetime) -> int:
    """Delete what was left half written by processes that were killed; return how many files."""
    return cast(storage.WholeFileStorage, default_storage).forget_unfinished(now=now)


def _keep(name: str, content: bytes) -> None:
    if not default_storage.exists(name):
        default_storage.save(name, ContentFile(content))


def _plain(exif: _Exif) -> dict[str, str | float]:
    facts: Mapping[str, str | float] = exif.model_dump(exclude_none=True)
    return {name: text.strip_to_plain(value, max_length=64) if isinstance(value, str) else value for name, value in facts.items()}


def _open_in_child(raw: bytes) -> tuple[_Header, bytes, bytes]:
    if not _CHILDREN.acquire(timeout=_WAIT_FOR_TURN_S):
        raise IntakeBusy("Too many photos are being opened at this moment. Send it again in some seconds.")
    try:
        answer = _run_child(raw)
    finally:
        _CHILDREN.release()
    lengths = [int.from_bytes(answer[start : start + 4], "big") for start in (0, 4, 8)]
    if len(answer) < 12 or len(answer) != 12 + sum(lengths) or lengths[0] > _MAX_HEADER_BYTES or lengths[2] > _MAX_PREVIEW_BYTES:
        # Killed by a limit or a crash, or not the answer of our program.
        raise Unreadable("not_decoded")
    head, pictures = answer[12 : 12 + lengths[0]], answer[12 + lengths[0] :]
    display, preview = pictures[: lengths[1]], pictures[lengths[1] :]
    try:
        if not display or not preview:
            reason = _Refusal.model_validate_json(head).reason
            raise Unreadable(reason if reason in MESSAGES else "not_decoded")
        return _Header.model_validate_json(head), display, preview
    except pydantic.ValidationError as malformed:
        raise Unreadable("not_decoded") from malformed


def _run_child(raw: bytes) -> bytes:
    """Return what the child wrote, up to the longest allowed answer; its death or lateness shows as a short answer."""
    deadline = time.monotonic() + TIMEOUT_S
    # A file instead of a pipe for the input: the child may be slow to read, and we must not wait for it twice.
    with tempfile.TemporaryFile() as stdin:
        stdin.write(raw)
        stdin.seek(0)
        child = subprocess.Popen(  # noqa: S603
            # -I: neither the environment, nor the current folder, nor a user's site folder chooses what it imports.
            [sys.executable, "-I", "-B", str(_INTAKE)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            close_fds=True,
            cwd="/",
            # One malloc arena: each further one would reserve 64 MB of the address space the child may have.
            env={"MALLOC_ARENA_MAX": "1", "LC_ALL": "C.UTF-8"},
            start_new_session=True,
        )
        with child:
            assert child.stdout is not None
            try:
                return _read_until(child.stdout.fileno(), deadline)
            finally:
                # With whatever it started: it leads a session of its own, and is not waited for yet, so the number is still its.
                os.killpg(child.pid, signal.SIGKILL)


def _read_until(descriptor: int, deadline: float) -> bytes:
    most = 12 + _MAX_HEADER_BYTES + _MAX_DISPLAY_BYTES + _MAX_PREVIEW_BYTES
    received = bytearray()
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN | select.POLLHUP)
    while (left_s := deadline - time.monotonic()) > 0:
        if not waiting.poll(left_s * 1000):
            break
        chunk = os.read(descriptor, 1 << 20)
        if not chunk:
            return bytes(received)
        received += chunk
        if len(received) > most:
            break
    return b""
