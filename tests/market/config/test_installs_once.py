"""The installation: when it runs, what it tells uv, and what it says where it cannot work."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from market.config import install
from market.config.environment import ROOT

BASE_PYTHON = str(getattr(sys, "_base_executable", sys.executable))


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the installation reads, and a `.venv` that was made from it."""
    for name in ("pyproject.toml", "requirements/constraints.txt", "manage.py", "market/__init__.py", "market/config/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "market/config/install.py", tmp_path / "market/config/install.py")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.setattr(install, "ROOT", tmp_path)
    monkeypatch.setattr(install, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(install, "PYTHON", tmp_path / ".venv" / "bin" / "python")
    monkeypatch.setattr(install, "STAMP", tmp_path / ".venv" / "atoms-installed.json")
    monkeypatch.setattr(install, "CONSTRAINTS", tmp_path / "requirements" / "constraints.txt")
    return tmp_path


@pytest.fixture
def stamped(checkout: Path) -> Path:
    """The same, with the mark of a finished installation of the market's extras."""
    install.STAMP.write_text(json.dumps({"inputs": install._inputs_digest(), "extras": ["gpu", "photos", "server", "vision"]}))
    assert install.is_installed(extras=install.EXTRAS["market"])
    return checkout


def test_knows_a_finished_installation(stamped: Path) -> None:
    assert install.is_installed(extras=("server",))
    assert not install.is_installed(extras=install.EXTRAS["tests"])


def test_installs_again_after_a_change_of_versions(stamped: Path) -> None:
    install.CONSTRAINTS.write_text(install.CONSTRAINTS.read_text() + "zope==1\n")
    assert not install.is_installed(extras=("server",))


def test_a_change_of_the_linters_settings_installs_nothing(stamped: Path) -> None:
    project = stamped / "pyproject.toml"
    project.write_text(project.read_text().replace("line-length = 140", "line-length = 100"))
    assert install.is_installed(extras=("server",))


def test_a_moved_checkout_is_installed_anew(
    stamped: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    moved = tmp_path_factory.mktemp("moved") / "here"
    stamped.rename(moved)
    for name in ("ROOT", "VENV", "PYTHON", "STAMP", "CONSTRAINTS"):
        monkeypatch.setattr(install, name, moved / getattr(install, name).relative_to(stamped))
    assert not install.is_installed(extras=("server",))


def test_an_interrupted_installation_does_not_count(stamped: Path) -> None:
    install.STAMP.write_text('{"inputs": ')
    assert not install.is_installed(extras=("server",))


def test_tells_uv_what_pip_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "PIP_FIND_LINKS": "/wheels /more", "PIP_INDEX_URL": "https://mirror.example/simple", "PIP_EXTRA_INDEX_URL": "https://a.example https://b.example",
        "PIP_CERT": "/etc/certificates.pem",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    for name in ("UV_FIND_LINKS", "UV_DEFAULT_INDEX", "UV_INDEX", "SSL_CERT_FILE", "UV_INDEX_STRATEGY"):
        monkeypatch.delenv(name, raising=False)

    told = install._installer_environment()

    assert told["UV_FIND_LINKS"] == "/wheels,/more"
    assert told["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    assert told["UV_INDEX"] == "https://a.example https://b.example"
    assert told["SSL_CERT_FILE"] == "/etc/certificates.pem"
    assert told["UV_INDEX_STRATEGY"] == "unsafe-best-match"


def test_uvs_own_variables_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", "/pips")
    monkeypatch.setenv("UV_FIND_LINKS", "/uvs")
    assert install._installer_environment()["UV_FIND_LINKS"] == "/uvs"


@pytest.mark.parametrize("home", [None, "/nonexistent"])
def test_needs_no_home(monkeypatch: pytest.MonkeyPatch, home: str | None) -> None:
    monkeypatch.delenv("HOME", raising=False)
    if home:
        monkeypatch.setenv("HOME", home)
    told = install._installer_environment()
    assert told["HOME"] == str(install.VENV)
    assert (told["UV_NO_CACHE"], told["PIP_NO_CACHE_DIR"]) == ("1", "1")


def test_says_how_much_room_it_needs(checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(install, "NEEDED_BYTES", 2**60)
    with pytest.raises(SystemExit) as ended:
        install._install(extras=("server",))
    assert ended.value.code == 2
    assert "GB free; the packages need" in capsys.readouterr().err


def test_a_django_command_without_django_says_what_to_run(checkout: Path) -> None:
    done = subprocess.run([BASE_PYTHON, "-S", "manage.py", "check"], cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "Django is not installed. Run `python3 manage.py install` first.\n"


def test_starts_with_the_standard_library_alone() -> None:
    code = "from market.config import install; print(install.ROOT.is_dir())"
    done = subprocess.run([BASE_PYTHON, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
