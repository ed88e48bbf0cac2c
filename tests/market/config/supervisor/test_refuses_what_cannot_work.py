"""What stands in a start's way is said in one line, with exit code 2 and nothing left behind."""

import os
import urllib.parse
from pathlib import Path

import pytest

from market.config.supervisor import folders, identity, refusal
from tests.market.config.supervisor import starting


def refused(folder: Path, *arguments: str, **environment: str) -> str:
    with starting.start(folder, *arguments, **environment) as started:
        assert started.end() == 2, started.said
        assert "Traceback" not in started.said
        starting.wait_until_gone(folder)
        return started.said


def test_a_used_port(data_folder: Path) -> None:
    with starting.used_port() as port:
        said = refused(data_folder, "--port", str(port))
    assert f"Port {port} of 127.0.0.1 cannot be used" in said
    assert f"--port {port + 1}" in said


def test_a_port_that_is_none(data_folder: Path) -> None:
    assert "'99999' is not a port" in refused(data_folder, "--port", "99999")


@pytest.mark.parametrize(
    "url",
    ["postgresql://nobody@127.0.0.1:1/atoms", "not an address", f"postgresql://nobody@{urllib.parse.quote('/no/folder', safe='')}/atoms"],
)
def test_a_wrong_database_address(data_folder: Path, url: str) -> None:
    said = refused(data_folder, "--services-only", DATABASE_URL=url)
    assert "DATABASE_URL does not lead to a PostgreSQL that answers" in said


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "http://127.0.0.1/", "not an address"])
def test_a_wrong_broker_address(data_folder: Path, url: str) -> None:
    assert "REDIS_URL does not lead to a server that answers" in refused(data_folder, "--services-only", REDIS_URL=url)


def test_a_folder_that_cannot_be_made(data_folder: Path) -> None:
    data_folder.parent.joinpath("file").write_text("no folder")
    said = refused(data_folder.parent / "file" / "data", "--services-only")
    assert "cannot be used" in said
    assert "ATOMS_DATA_DIR" in said


def test_production(data_folder: Path) -> None:
    assert "docs/operating.md" in refused(data_folder, ATOMS_ENV="production")


def test_broken_secrets(data_folder: Path) -> None:
    data_folder.mkdir()
    (data_folder / "secrets.json").write_text("{half")
    assert "secrets.json cannot be read" in refused(data_folder, "--services-only")


def test_a_full_disk(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "NEEDED_BYTES", 2**60)
    folder = folders.DataFolder(root=data_folder, service_identity=None)
    with pytest.raises(refusal.Refused, match="MB free"):
        folder.open()
    folder.close()


@pytest.mark.parametrize("name", ["no-such-account", "root"])
def test_root_without_an_account_to_lend(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("ATOMS_SERVICE_USER", name)
    # What matters is being root, not whether the test is.
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(refusal.Refused, match="ATOMS_SERVICE_USER"):
        identity.for_services()


def test_a_foreign_folder_in_its_place(data_folder: Path) -> None:
    data_folder.mkdir()
    elsewhere = data_folder.parent / "elsewhere"
    elsewhere.mkdir()
    (data_folder / "run").symlink_to(elsewhere)
    assert "belongs to somebody else" in refused(data_folder, "--services-only")
