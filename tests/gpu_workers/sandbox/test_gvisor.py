"""The bundle and the command line that a GPU host runs; running them needs such a host."""

import json
import os
import stat
from pathlib import Path

import pytest

from gpu_workers.sandbox import gvisor, interpreter, launch
from tests.gpu_workers.sandbox import inside


@pytest.fixture
def runsc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `runsc` that knows two drivers."""
    program = tmp_path / "bin" / "runsc"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\n[ "$1 $2" = "nvproxy list-supported-drivers" ] && printf "550.54.15\\n570.86.15\\n"\n', "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which a loaded NVIDIA driver tells its version."""
    file = tmp_path / "version"
    monkeypatch.setattr(gvisor, "DRIVER_VERSION", file)
    return file


def test_says_that_runsc_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install gVisor" in gvisor.missing()
    with pytest.raises(gvisor.RunscMissing, match="install gVisor"):
        gvisor.path()


def test_says_which_driver_it_needs(runsc: Path, driver: Path) -> None:
    if os.geteuid() != 0:
        assert "needs root" in gvisor.missing()
        return
    assert "no NVIDIA driver is loaded" in gvisor.missing()
    driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.00.01  Mon Jan 1\nGCC version: 12.2.0\n", "ascii")
    assert "does not know NVIDIA driver 535.00.01: install one of 550.54.15, 570.86.15" in gvisor.missing()
    driver.write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n", "ascii")
    assert gvisor.missing() == ""


def test_says_that_a_release_is_too_old(runsc: Path, driver: Path) -> None:
    driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15\n", "ascii")
    runsc.write_text("#!/bin/sh\nexit 128\n", "utf-8")
    assert ("nvproxy" if os.geteuid() == 0 else "needs root") in gvisor.missing()


def test_runs_without_network_and_without_sockets_of_the_host(runsc: Path, tmp_path: Path) -> None:
    words = gvisor.arguments(tmp_path)
    assert words[0] == str(runsc)
    assert {"--network=none", "--host-uds=none", "--nvproxy", "run", f"--bundle={tmp_path}"} <= set(words)


def test_writes_a_bundle_that_shows_only_what_was_asked_for(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_text("given", "utf-8")
    asked = launch.Sandbox(level="gvisor-gpu", limits=inside.limits(tmp_mib=4), read_only={"/work/file": given})
    gvisor.bundle(
        folder=tmp_path / "bundle", limits=asked.limits, shown=asked.shown(), variables=asked.variables(), argv=[launch.PYTHON, "-I"]
    )
    config = json.loads((tmp_path / "bundle" / "config.json").read_text("utf-8"))

    assert config["root"] == {"path": str(tmp_path / "bundle" / "root"), "readonly": True}
    process = config["process"]
    assert process["args"] == [launch.PYTHON, "-I"]
    assert process["noNewPrivileges"] is True
    assert set(map(tuple, process["capabilities"].values())) == {()}
    assert sorted(process["env"]) == sorted(f"{name}={value}" for name, value in asked.variables().items())
    binds = {mount["destination"]: mount for mount in config["mounts"] if mount["type"] == "bind"}
    assert set(binds) == set(asked.shown().binds)
    assert binds["/work/file"]["source"] == str(given)
    assert all("ro" in mount["options"] for mount in binds.values())
    assert {"type": "network"} in config["linux"]["namespaces"]
    tmp = next(mount for mount in config["mounts"] if mount["destination"] == launch.STAGED)
    assert f"size={4 << 20}" in tmp["options"]
    root = tmp_path / "bundle" / "root"
    assert (root / "venv/bin/python").is_symlink()
    assert b"sandbox" in (root / "etc/passwd").read_bytes()
    assert not any(stat.S_ISREG(path.lstat().st_mode) and path.name == "file" for path in root.rglob("*"))


def test_shares_one_layout_with_the_other_level() -> None:
    shown = launch.Sandbox(level="gvisor-gpu", limits=inside.limits()).shown()
    assert shown == interpreter.layout(())


def test_runs_the_program_it_finds_and_cleans_up(runsc: Path) -> None:
    """What stands in for `runsc` here shows that its answer and its status come back, and that the bundle is removed."""
    runsc.write_text(
        "#!/bin/sh\n"
        'for word in "$@"; do case "$word" in\n'
        '--bundle=*) echo "${word#--bundle=}"; test -f "${word#--bundle=}/config.json";;\n'
        "esac; done\n",
        "utf-8",
    )
    with launch.Sandbox(level="gvisor-gpu", limits=inside.limits()).start([launch.PYTHON]) as started:
        bundle = Path(started.stdout.read().decode().strip())
        ended = started.wait()
    assert (ended.code, ended.reason) == (0, "exited")
    assert bundle.name.startswith("atoms-gvisor-")
    assert not bundle.exists()
