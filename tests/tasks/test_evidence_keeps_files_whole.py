"""A name in the store is a digest: it stands for all its bytes or is not there. The store is the one that the settings name."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from pytest_django import Settings

from tasks import evidence, jobs
from tasks.storage import WholeFileStorage
from tests.verification import photographs

# Writes chunk after chunk for ever: whoever kills it catches it half way.
_ENDLESS = """
import django
django.setup()
from django.core.files.base import File
from django.core.files.storage import default_storage
class Endless(File):
    def __init__(self): super().__init__(None, "endless")
    def chunks(self, chunk_size=None):
        print("writing", flush=True)
        while True:
            yield b"x" * 65536
default_storage.save("originals/ab/cd/abcd", Endless())
"""


def test_can_be_written_twice(tmp_path: Path) -> None:
    storage = WholeFileStorage(location=str(tmp_path))
    assert [storage.save("a/b/digest", ContentFile(b"whole")) for _ in range(2)] == ["a/b/digest"] * 2
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["digest"]
    with storage.open("a/b/digest") as stream:
        assert stream.read() == b"whole"


def test_leaves_no_name_behind_when_killed(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", _ENDLESS],
        stdout=subprocess.PIPE,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "market.config.settings", "ATOMS_MEDIA_DIR": str(tmp_path)},
    )
    with writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        while not left_in(tmp_path):
            pass
        writer.send_signal(signal.SIGKILL)
    storage = WholeFileStorage(location=str(tmp_path))
    assert not storage.exists("originals/ab/cd/abcd")
    storage.save("originals/ab/cd/abcd", ContentFile(b"whole"))
    with storage.open("originals/ab/cd/abcd") as stream:
        assert stream.read() == b"whole"
    assert len(left_in(tmp_path)) == 1


def left_in(folder: Path) -> list[Path]:
    """Find what is half written."""
    return [path for path in folder.glob(".unfinished/*") if path.stat().st_size]


@pytest.mark.django_db
def test_forgets_what_was_left_an_hour_ago(tmp_path: Path, settings: Settings) -> None:
    settings.MEDIA_ROOT = tmp_path
    default_storage.save("originals/ab/cd/abcd", ContentFile(b"whole"))
    old, new = (tmp_path / ".unfinished" / name for name in ("old", "new"))
    for path, age_s in ((old, 3_600), (new, 3_500)):
        path.write_bytes(b"half")
        written_s = time.time() - age_s
        os.utime(path, (written_s, written_s))
    jobs.tidy()
    assert not old.exists()
    assert new.exists()
    assert default_storage.exists("originals/ab/cd/abcd")


def test_removes_what_could_not_be_finished(tmp_path: Path) -> None:
    class Broken(ContentFile):  # type: ignore[type-arg]
        def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
            yield b"half"
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        WholeFileStorage(location=str(tmp_path)).save("a/digest", Broken(b""))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_lets_nobody_else_on_the_machine_read_it(settings: object, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"  # type: ignore[attr-defined]
    before = os.umask(0)
    try:
        evidence.take_in(photographs.snap("temple"))
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "media").rglob("*")}
    assert modes == {0o600, 0o700}
    assert len([path for path in (tmp_path / "media").rglob("*") if path.is_file()]) == 3
