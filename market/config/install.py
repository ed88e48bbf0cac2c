"""Makes `.venv` with nothing but the standard library, and goes on inside it. Runs before any package is installed."""

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "atoms-installed.json"
CONSTRAINTS = ROOT / "requirements" / "constraints.txt"
MARKET_EXTRAS = ("server", "gpu", "vision", "photos")
# Which extras each of our own commands needs.
EXTRAS = {
    "market": MARKET_EXTRAS,
    "tests": (*MARKET_EXTRAS, "dev"),
    "services": (*MARKET_EXTRAS, "dev"),
    "install": (*MARKET_EXTRAS, "dev"),
}
# With the CPU build of torch; the CUDA build needs about 6 GB.
NEEDED_BYTES = 3 * 1024**3
# uv reads none of pip's variables, yet a machine is usually told about its mirrors through those.
PIP_VARIABLES = {
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_CERT": "SSL_CERT_FILE",
    "PIP_DEFAULT_TIMEOUT": "UV_HTTP_TIMEOUT",
}
EXIT_REFUSED = 2


def ensure(*, command: str) -> None:
    """Return inside the project's own environment, with the packages of `command` installed.

    Installs at most once per state of the requirements and replaces this process by the environment's Python where needed.
    """
    extras = EXTRAS[command]
    if not is_installed(extras=extras):
        with _one_at_a_time():
            # Somebody else may have installed while this process waited.
            if not is_installed(extras=extras):
                _install(extras=extras)
    if not _is_inside():
        _reexecute()


def prefer_own_environment() -> None:
    """Go on in `.venv` if this Python lacks Django and `.venv` has it; otherwise stay, so that a deployment may install in its own way."""
    if importlib.util.find_spec("django") is not None:
        return
    if STAMP.exists() and not _is_inside():
        _reexecute()
    _refuse("Django is not installed. Run `python3 manage.py install` first.")


def is_installed(*, extras: tuple[str, ...]) -> bool:
    """Say whether `.venv` was made from today's requirements and holds these extras."""
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return False
    return os.access(PYTHON, os.X_OK) and stamp["inputs"] == _inputs_digest() and set(extras) <= set(stamp["extras"])


def _inputs_digest() -> str:
    """Digest everything that decides what gets installed; the folder too, because an environment cannot be moved."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    inputs = [str(ROOT), json.dumps(project["project"], sort_keys=True), CONSTRAINTS.read_text()]
    return hashlib.sha256("\0".join(inputs).encode()).hexdigest()


def _is_inside() -> bool:
    return Path(sys.prefix).resolve() == VENV.resolve()


def _reexecute() -> NoReturn:
    sys.stdout.flush()
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "__PYVENV_LAUNCHER__")}
    os.execve(PYTHON, [str(PYTHON), str(ROOT / "manage.py"), *sys.argv[1:]], environment)  # noqa: S606 - our own interpreter


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Hold a lock on the project's folder itself: nothing to clean up, gone with the process however it ends."""
    folder = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another process is installing; waiting for it.", flush=True)
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _install(*, extras: tuple[str, ...]) -> None:
    started = time.monotonic()

    def say(words: str) -> None:
        print(f"[{time.monotonic() - started:6.1f} s] {words}", flush=True)

    if not os.access(ROOT, os.W_OK):
        _refuse(f"{ROOT} cannot be written to, and .venv belongs there. Clone the project into a folder of yours.")
    free_bytes = shutil.disk_usage(ROOT).free
    if free_bytes < NEEDED_BYTES and not STAMP.exists():
        _refuse(f"{ROOT} has {free_bytes / 1e9:.1f} GB free; the packages need {NEEDED_BYTES / 1e9:.1f} GB. Free some and start again.")
    wanted = tuple(sorted({*extras, *_extras_before()}))
    STAMP.unlink(missing_ok=True)
    _make_environment(say=say)
    say(f"installing the packages ({', '.join(wanted)})")
    _run(
        [str(VENV / "bin" / "uv"), "pip", "install", "--python", str(PYTHON), "--compile-bytecode", "--quiet",
         "--editable", f"{ROOT}[{','.join(wanted)}]", "--constraints", str(CONSTRAINTS)],
        failure="The packages could not be installed: see the lines above. Is there a network, and room on the disk? "
        "Behind a mirror set PIP_INDEX_URL; a folder with wheels is named by PIP_FIND_LINKS.",
    )  # fmt: skip
    STAMP.write_text(json.dumps({"inputs": _inputs_digest(), "extras": wanted}))
    say("packages are ready")


def _extras_before() -> list[str]:
    """Keep what was installed earlier: the market's command must not take the tests' packages away."""
    try:
        return list(json.loads(STAMP.read_text())["extras"])
    except (OSError, ValueError):
        return []


def _make_environment(*, say: Callable[[str], None]) -> None:
    if not _runs(PYTHON, "-m", "pip", "--version"):
        say(f"creating .venv with Python {sys.version_info.major}.{sys.version_info.minor}")
        _run(
            [sys.executable, "-m", "venv", "--clear", str(VENV)],
            failure="python3 -m venv failed: see the lines above. On Debian and Ubuntu install the package python3-venv.",
        )
    pinned = next(line for line in CONSTRAINTS.read_text().splitlines() if line.startswith("uv=="))
    if not _runs(VENV / "bin" / "uv", "--version"):
        say(f"installing the installer, {pinned}")
        _run(
            [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", pinned],
            failure="The installer could not be fetched: see the lines above. Is there a network? Behind a mirror set PIP_INDEX_URL.",
        )


def _runs(*arguments: str | Path) -> bool:
    """Say whether a program starts and ends well; an interrupted installation leaves ones that do not."""
    try:
        return subprocess.run([str(each) for each in arguments], capture_output=True, check=False).returncode == 0  # noqa: S603 - our own paths
    except OSError:
        return False


def _run(arguments: list[str], *, failure: str) -> None:
    try:
        code = subprocess.run(arguments, env=_installer_environment(), check=False, stdin=subprocess.DEVNULL).returncode  # noqa: S603 - fixed programs
    except KeyboardInterrupt:
        _refuse("Interrupted. The same command goes on from here.")
    if code != 0:
        _refuse(failure)


def _installer_environment() -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "VIRTUAL_ENV")}
    for pip_name, uv_name in PIP_VARIABLES.items():
        if environment.get(pip_name):
            # pip parts several folders by spaces, uv by commas.
            value = environment[pip_name]
            environment.setdefault(uv_name, ",".join(value.split()) if uv_name == "UV_FIND_LINKS" else value)
    if "UV_INDEX" in environment:
        # pip takes the best version of all indexes; uv would stop at the first one that knows the name.
        environment.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    home = Path(environment.get("HOME", "/nonexistent"))
    if not os.access(home, os.W_OK):
        environment.setdefault("UV_NO_CACHE", "1")
        environment.setdefault("PIP_NO_CACHE_DIR", "1")
        environment["HOME"] = str(VENV)
    return environment


def _refuse(words: str) -> NoReturn:
    print(words, file=sys.stderr, flush=True)
    sys.exit(EXIT_REFUSED)
