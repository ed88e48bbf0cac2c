"""Data files and checkpoints, kept by their SHA-256. They are strangers' bytes: stored and handed on, never opened here."""

import datetime
import hashlib
import io
import tempfile
from typing import BinaryIO, Protocol, cast

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.files.base import File
from django.core.files.storage import default_storage

from verification.research import rules
from verification.research.models import DataFile

_CHUNK_BYTES = 1 << 20


class Stream(Protocol):
    """What a request's body looks like."""

    def read(self, size: int, /) -> bytes: ...


class TooLarge(ValueError):
    """The file is larger than may be sent; the message says how large it may be."""


class EmptyFile(ValueError):
    """The file has no bytes."""


class TooManyFiles(Exception):
    """This owner keeps as many data files as he may: use those that are there."""


def keep(*, owner: AbstractBaseUser, stream: Stream, now: datetime.datetime) -> DataFile:
    """Keep a data file; the same bytes again are the same row.

    Raises:
        TooLarge: more than `rules.MAX_FILE_BYTES`.
        EmptyFile
        TooManyFiles: the owner has `rules.MAX_FILES_PER_OWNER` others.
    """
    if DataFile.objects.filter(owner=owner.pk).count() >= rules.MAX_FILES_PER_OWNER:
        raise TooManyFiles(f"You keep {rules.MAX_FILES_PER_OWNER} data files already. Use one of them.")
    sha256, byte_count = _store(stream, most_bytes=rules.MAX_FILE_BYTES, name_of=data_name)
    file, _ = DataFile.objects.get_or_create(owner_id=owner.pk, sha256=sha256, defaults={"byte_count": byte_count, "created_at": now})
    return file


def keep_checkpoint(*, stream: Stream) -> tuple[str, int]:
    """Store a checkpoint's bytes; return their SHA-256 in hexadecimal and how many they are.

    Raises:
        TooLarge: more than `rules.MAX_CHECKPOINT_BYTES`.
        EmptyFile
    """
    return _store(stream, most_bytes=rules.MAX_CHECKPOINT_BYTES, name_of=checkpoint_name)


def store_data(content: bytes) -> None:
    """Store a data file of the market's own."""
    _store(io.BytesIO(content), most_bytes=rules.MAX_FILE_BYTES, name_of=data_name)


def data_name(sha256: str) -> str:
    """Return the storage name of a data file."""
    return f"research/data/{sha256[:2]}/{sha256[2:4]}/{sha256}"


def checkpoint_name(sha256: str) -> str:
    """Return the storage name of a checkpoint."""
    return f"research/checkpoints/{sha256[:2]}/{sha256[2:4]}/{sha256}"


def open_data(sha256: str) -> BinaryIO:
    """Open a data file, for a lease that has it among its inputs (see `runs.inputs` and `trusted.inputs`).

    Raises:
        FileNotFoundError: it is not stored.
    """
    return cast(BinaryIO, default_storage.open(data_name(sha256)))


def open_checkpoint(sha256: str) -> BinaryIO:
    """Open a checkpoint, for a trusted lease that has it among its inputs.

    Raises:
        FileNotFoundError: it is not stored.
    """
    return cast(BinaryIO, default_storage.open(checkpoint_name(sha256)))


class _Named(Protocol):
    def __call__(self, sha256: str) -> str: ...


def _store(stream: Stream, *, most_bytes: int, name_of: _Named) -> tuple[str, int]:
    digest, byte_count = hashlib.sha256(), 0
    # On the disk, not in memory: many are sent at once.
    with tempfile.TemporaryFile() as spool:
        while chunk := stream.read(_CHUNK_BYTES):
            byte_count += len(chunk)
            if byte_count > most_bytes:
                raise TooLarge(f"The file is larger than {most_bytes} bytes. Send a smaller one.")
            digest.update(chunk)
            spool.write(chunk)
        if not byte_count:
            raise EmptyFile("The file has no bytes. Send it again.")
        name = name_of(digest.hexdigest())
        if not default_storage.exists(name):
            spool.seek(0)
            default_storage.save(name, File(spool))
    return digest.hexdigest(), byte_count
