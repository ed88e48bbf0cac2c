"""Runs a command, the tests above all, beside a PostgreSQL and a Valkey that exist for its sake."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from market.config import install
from market.config.supervisor import children, credentials, folders, identity, progress, refusal, services, stopping

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PROCESSES = 2


def run_tests(*, arguments: list[str]) -> int:
    """Run pytest with these arguments over the whole suite; return its exit code."""
    said = progress.Progress()
    _ensure_chromium(said)
    pytest = [sys.executable, "-m", "pytest"]
    if not any(each.startswith(("-n", "--numprocesses")) for each in arguments):
        # How tests are shared out among the processes: tests/scheduling.py.
        pytest += ["-n", str(PROCESSES)]
    return run_beside_services(command=[*pytest, *arguments], said=said)


def run_beside_services(*, command: list[str], said: progress.Progress, is_durable: bool = False) -> int:
    """Run `command` with DATABASE_URL and its like set to services of its own; return its exit code.

    Durable ones write to the disk like those of a market that is kept, for whoever measures; tests go without.

    Raises:
        Refused: a service does not start.
    """
    stopping.listen()
    folder = folders.throwaway(service_identity=identity.for_services())
    folder.open()
    secrets = credentials.load_or_make(folder.secrets_file)
    own_services = services.Services(folder=folder, secrets=secrets, said=said, is_durable=is_durable)
    try:
        addresses = own_services.start(given=services.NONE_GIVEN)
        return _run(command, environment=_environment(addresses, media=folder.root / "media"))
    finally:
        own_services.stop()
        folder.close()
        folder.remove()


def _environment(addresses: services.Addresses, *, media: Path) -> dict[str, str]:
    """Return the caller's environment without its settings for a market, and with those of the test services."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ATOMS_") and name != "DJANGO_SETTINGS_MODULE"}
    return {
        **kept,
        "PATH": f"{install.VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "ATOMS_ENV": "test",
        "ATOMS_MEDIA_DIR": str(media),
        "DATABASE_URL": addresses.database_url,
        "REDIS_URL": addresses.redis_url,
        "ATOMS_GPU_REDIS_URL": addresses.gpu_redis_url,
        # Models come from packages; a test that asks a hub would pass on one machine and hang on another.
        "HF_HUB_OFFLINE": "1",
    }


def _run(command: list[str], *, environment: Mapping[str, str]) -> int:
    with subprocess.Popen(command, env=environment, cwd=install.ROOT) as process:  # noqa: S603 - what the caller asked for
        try:
            while process.poll() is None:
                stopping.pause(children.POLL_S)
        except stopping.Stopped:
            # A terminal has told it as well; it may tidy up before the services go.
            process.terminate()
            process.wait()
            raise
        return process.returncode


def _ensure_chromium(said: progress.Progress) -> None:
    """Install Debian's Chromium for the browser tests where we may; otherwise say that it is missing.

    Raises:
        Refused: there is no Chromium and we may not install one.
    """
    if any(shutil.which(name) for name in CHROMIUM_NAMES):
        return
    apt = shutil.which("apt-get")
    if os.geteuid() != 0 or apt is None:
        raise refusal.Refused("The browser tests need Chromium. Install it (on Debian: apt-get install chromium) and start again.")
    said.say("installing Debian's Chromium for the browser tests")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with tempfile.TemporaryFile() as log:
        for step in (["update"], ["install", "--yes", "--no-install-recommends", "chromium"]):
            done = subprocess.run([apt, *step], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)  # noqa: S603
        if done.returncode != 0:
            log.seek(0)
            raise refusal.Refused(f"apt-get install chromium failed:\n{log.read().decode(errors='replace')[-1500:]}")
