"""What a program finds in the sandbox, and what can't be asked for."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from gpu_workers.sandbox import interpreter, launch, running
from tests.gpu_workers.sandbox import inside

_TORCH = """
import hashlib, json, numpy, safetensors.numpy, torch
torch.manual_seed(7)
torch.set_num_threads(1)
model = torch.nn.Linear(64, 64)
model(torch.randn(8, 64)).square().sum().backward()
raw = model.weight.grad.numpy().tobytes()
saved = safetensors.numpy.save({"weight": model.weight.grad.numpy()})
print(json.dumps([hashlib.sha256(raw).hexdigest(), hashlib.sha256(saved).hexdigest()]))
"""


def test_computes_what_it_computes_outside(capsys: pytest.CaptureFixture[str]) -> None:
    said = inside.python(_TORCH, within=inside.sandbox(packages=("torch", "numpy", "safetensors"), memory_mib=1024, processes=64))
    exec(_TORCH, {})  # noqa: S102 - the same text
    assert said.errors == ""
    assert json.loads(said.output) == json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("package", ["django", "psycopg", "gpu_workers", "agents_sdk"])
def test_has_no_package_that_was_not_asked_for(package: str) -> None:
    said = inside.python(f"import {package}", within=inside.sandbox(packages=("numpy",)))
    assert f"No module named '{package}'" in said.errors


def test_refuses_packages_that_are_not_there() -> None:
    with pytest.raises(interpreter.PackageMissing, match="no-such-package"):
        inside.sandbox(packages=("no-such-package",)).start([launch.PYTHON])


def test_shows_files_and_folders_that_only_their_owner_may_read(tmp_path: Path) -> None:
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    (folder / "inner").mkdir(mode=0o700)
    (folder / "inner" / "file").write_text("in a folder", "utf-8")
    (folder / "inner" / "file").chmod(0o600)
    single = tmp_path / "single"
    single.write_text("alone", "utf-8")
    single.chmod(0o400)
    tmp_path.chmod(0o700)
    code = 'print(open("/work/folder/inner/file").read(), open("/work/single").read())'
    said = inside.python(code, within=inside.sandbox(read_only={"/work/folder": folder, "/work/single": single}))
    assert said.output == "in a folder alone\n"


def test_shows_a_link_as_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("there", "utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    said = inside.python('print(open("/work/file").read())', within=inside.sandbox(read_only={"/work/file": tmp_path / "link"}))
    assert said.output == "there\n"


def test_shows_what_everyone_may_read_where_owners_cannot_be_mapped() -> None:
    # The kernel's own file systems map no owners, like overlays.
    said = inside.python('print(open("/work/version").read())', within=inside.sandbox(read_only={"/work/version": Path("/proc/version")}))
    assert said.output.startswith("Linux version")


def test_says_what_it_cannot_show() -> None:
    started = inside.sandbox(read_only={"/work/secret": Path("/proc/kmsg")})
    if os.geteuid() == 0:
        with pytest.raises(running.NotStarted, match=r"others may not read /proc/kmsg.*chmod"):
            inside.python("pass", within=started)
    else:
        assert "Permission denied" in inside.python('open("/work/secret")', within=started).errors


def test_writes_nothing_back(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept", "utf-8")
    said = inside.python('open("/work/file", "w")', within=inside.sandbox(read_only={"/work": tmp_path}))
    assert "Read-only file system" in said.errors
    assert [(file.name, file.read_text("utf-8")) for file in tmp_path.iterdir()] == [("file", "kept")]


def test_sees_the_same_few_folders_everywhere() -> None:
    said = inside.python(
        'import os; print(json.dumps([sorted(os.listdir("/")), sorted(os.listdir("/dev")), os.getcwd()]))'.replace(
            "import os", "import os, json"
        )
    )
    root, devices, current = json.loads(said.output)
    assert set(root) <= {"dev", "etc", "lib", "lib64", "proc", "python", "tmp", "usr", "venv"}
    assert devices == ["fd", "full", "null", "random", "shm", "stderr", "stdin", "stdout", "urandom", "zero"]
    assert current == "/tmp"  # noqa: S108 - the sandbox's own


def test_has_only_the_environment_it_was_given() -> None:
    asked = launch.Sandbox(level="bwrap-cpu", limits=inside.limits(cpus=2), environment={"SEED": "7"})
    said = inside.python("import json, os; print(json.dumps(dict(os.environ)))", within=asked)
    # bubblewrap sets PWD for the folder it changes to.
    assert json.loads(said.output) == {**asked.variables(), "PWD": "/tmp"}  # noqa: S108
    assert asked.variables()["OMP_NUM_THREADS"] == "2"
    assert asked.variables()["SEED"] == "7"


def test_starts_fresh_every_time() -> None:
    same = inside.sandbox()
    assert inside.python('open("/tmp/mark", "w").close()', within=same).exit.code == 0
    assert inside.python('import os; print(os.listdir("/tmp"))', within=same).output == "[]\n"


def test_talks_through_pipes_in_both_directions() -> None:
    sent = bytes(range(256)) * 4096
    with inside.sandbox().start(
        [launch.PYTHON, "-I", "-c", "import hashlib, sys; print(hashlib.file_digest(sys.stdin.buffer, 'sha256').hexdigest())"]
    ) as started:
        started.stdin.write(sent)
        started.stdin.close()
        assert started.stdout.read().decode().strip() == hashlib.sha256(sent).hexdigest()


def test_counts_what_it_used() -> None:
    ended = inside.python("held = bytearray(b'x' * (64 << 20)); sum(range(10_000_000))").exit
    assert ended.cpu_s > 0.05
    assert 64 << 20 < ended.peak_memory_bytes < 256 << 20


@pytest.mark.parametrize(
    "path",
    ["relative", "/", "/work/../etc", "/work//file", "/etc/passwd", "/proc/x", "/usr/lib/x", "/venv", "/dev/null", "/sys/x", launch.STAGED],
)
def test_refuses_to_cover_its_own_folders(path: str, tmp_path: Path) -> None:
    with pytest.raises(launch.WrongSandbox):
        inside.sandbox(read_only={path: tmp_path})


def test_refuses_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(launch.WrongSandbox, match="no-such-file"):
        inside.sandbox(read_only={"/work": tmp_path / "no-such-file"})


@pytest.mark.parametrize("level", ["none", "vm-gpu", "docker"])
def test_refuses_levels_it_does_not_start(level: str) -> None:
    with pytest.raises(launch.WrongSandbox, match=level):
        launch.Sandbox(level=level, limits=inside.limits())


@pytest.mark.parametrize("argv", [[], ["/venv/bin/python", "a\0b"]])
def test_refuses_impossible_programs(argv: list[str]) -> None:
    with pytest.raises(launch.WrongSandbox, match="argv"):
        inside.sandbox().start(argv)


@pytest.mark.parametrize(("name", "value"), [("A=B", "x"), ("", "x"), ("A", "x\0y"), ("1A", "x")])
def test_refuses_impossible_variables(name: str, value: str) -> None:
    with pytest.raises(launch.WrongSandbox, match="environment"):
        launch.Sandbox(level="bwrap-cpu", limits=inside.limits(), environment={name: value})


def test_hides_where_it_was_started(tmp_path: Path) -> None:
    # The mount table is the one place that tells, and the documentation says so.
    code = """
import os
for name in ("cmdline", "environ", "cwd", "exe", "root"):
    path = f"/proc/1/{name}"
    print(os.readlink(path) if os.path.islink(path) else open(path).read())
"""
    said = inside.python(code, within=inside.sandbox(read_only={"/work": tmp_path}))
    assert str(tmp_path) not in said.output
    if os.geteuid() == 0:
        assert str(Path(launch.__file__).parents[2]) not in said.output
