"""The trusted pool's folders: a pool that was killed ..."""

import os
import tempfile
import time
from pathlib import Path

import pytest

from gpu_workers import pool
from gpu_workers.runner import folders


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def left(place: Path, name: str) -> Path:
    """Leave what a pool leaves that was killed an hour ago."""
    folder = place / f"atoms-pool-{name}"
    folder.mkdir()
    (folder / "input-0").write_bytes(b"a checkpoint")
    os.utime(folder, (time.time() - 3600,) * 2)
    return folder


def test_leaves_nothing_when_another_has_begun_a_job(tmp_path: Path) -> None:
    dead, other = left(tmp_path, "dead"), tmp_path / "atoms-web-1"
    other.mkdir()
    with pool._job_folder() as folder:
        assert sorted(tmp_path.iterdir()) == sorted([folder, other])
    assert list(tmp_path.iterdir()) == [other]
    assert not dead.exists()


def test_is_told_from_one_that_works_and_one_that_begins(tmp_path: Path) -> None:
    working, beginning = left(tmp_path, "working"), tmp_path / "atoms-pool-beginning"
    beginning.mkdir()
    with folders.held(working):
        os.utime(working, (time.time() - 3600,) * 2)
        with pool._job_folder():
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [beginning.name, working.name]


def test_does_not_lead_astray_by_a_link(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "file").touch()
    link = tmp_path / "atoms-pool-link"
    link.symlink_to(theirs)
    os.utime(link, (time.time() - 3600,) * 2, follow_symlinks=False)
    with pool._job_folder():
        pass
    assert [path.name for path in theirs.iterdir()] == ["file"]
