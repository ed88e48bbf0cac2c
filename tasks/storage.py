"""How files are kept on this machine's disk: whole or not at all, readable by the market's user alone."""

import contextlib
import datetime
import os
import tempfile
from pathlib import Path

from django.core.files import File
from django.core.files.storage import FileSystemStorage
from django.utils.deconstruct import deconstructible

# No file takes so long to write.
KEPT_UNFINISHED = datetime.timedelta(hours=1)


@deconstructible(path="tasks.storage.WholeFileStorage")
class WholeFileStorage(FileSystemStorage):
    """A folder in which a name appears only when all its bytes are on the disk.

    Django's own storage writes under the final name: a crash half way leaves a torn file under a digest that
    promises its content. Here a second writer of the same name replaces the file by its equal.
    """

    def __init__(self, location: str | None = None) -> None:
        # The process's umask must not decide who reads a worker's photos.
        super().__init__(location=location, file_permissions_mode=0o600, directory_permissions_mode=0o700)

    def get_available_name(self, name: str, max_length: int | None = None) -> str:  # noqa: ARG002
        """Return ``name`` itself: names are digests, so what is there already is the same file."""
        return name

    def _save(self, name: str, content: File) -> str:  # type: ignore[type-arg]
        path = Path(self.path(name))
        for folder in reversed([parent for parent in path.parents if not parent.exists()]):
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
        self._unfinished.mkdir(mode=0o700, exist_ok=True)
        # mkstemp makes the file for its owner alone (0600).
        handle, unfinished = tempfile.mkstemp(dir=self._unfinished)
        try:
            with os.fdopen(handle, "wb") as stream:
                for chunk in content.chunks():
                    stream.write(chunk)
                stream.flush()
                os.fsync(stream.fileno())
            Path(unfinished).replace(path)
        except BaseException:
            Path(unfinished).unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
        return name

    def forget_unfinished(self, *, now: datetime.datetime) -> int:
        """Delete what processes that were killed left half written `KEPT_UNFINISHED` ago or longer; return how many files."""
        if not self._unfinished.exists():
            return 0
        old = [path for path in self._unfinished.iterdir() if _written_at(path) <= now - KEPT_UNFINISHED]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)

    @property
    def _unfinished(self) -> Path:
        # All in one folder: to look for them among the photos would take longer with every photo.
        return Path(self.path(".unfinished"))


def _written_at(path: Path) -> datetime.datetime:
    try:
        return datetime.datetime.fromtimestamp(path.stat().st_mtime, tz=datetime.UTC)
    except FileNotFoundError:
        # Finished in this moment.
        return datetime.datetime.max.replace(tzinfo=datetime.UTC)


def _sync_folder(folder: Path) -> None:
    # The name itself is on the disk only when its folder is.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
