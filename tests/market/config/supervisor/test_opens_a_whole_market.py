"""The newcomer's command: every process, what each is told, and what happens when one dies."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.market.config.supervisor import starting

NAMES = ("postgres", "valkey", "web", "worker", "beat", "gpu-worker", "simulated-worker")
# Whoever knows one of these can read everything or run any job.
OPENS_THE_MARKET = ("DATABASE_URL", "REDIS_URL", "ATOMS_SECRET_KEY", "ATOMS_RECEIPT_SEED", "DJANGO_SETTINGS_MODULE")


@pytest.fixture(scope="module")
def opened() -> Iterator[starting.Started]:
    """One open market for all of these tests."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with starting.reachable_folder() as root, starting.start(root / "data", "--port", str(port)) as started:
        started.wait_for("The market is open: ")
        started.wait_for("print(answer.checks)")
        yield started


def pid_of(folder: Path, name: str) -> int:
    return int((folder / "logs" / f"{name}.pid").read_text().split()[0])


def environment_of(pid: int) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in Path(f"/proc/{pid}/environ").read_text().split("\0"))
    return {name: value for name, _, value in pairs}


def test_answers_and_tells_how_to_begin(opened: starting.Started) -> None:
    url = next(word for word in opened.said.split() if word.startswith("http://127.0.0.1:")).rstrip("/")
    assert httpx.get(f"{url}/readyz").status_code == 200
    assert f"export ATOMS_URL={url} ATOMS_API_KEY=test_agent_" in opened.said
    assert "\nfrom agents_sdk import Market\n" in opened.said


def test_runs_every_process(opened: starting.Started) -> None:
    assert all(Path(f"/proc/{pid_of(opened.folder, name)}").exists() for name in NAMES)


@pytest.mark.parametrize("name", ["gpu-worker", "simulated-worker"])
def test_tells_outsiders_no_secrets(opened: starting.Started, name: str) -> None:
    told = environment_of(pid_of(opened.folder, name))
    secrets = starting.secrets_of(opened.folder)

    assert [variable for variable in OPENS_THE_MARKET if variable in told] == []
    hidden = [secret for word, secret in secrets.items() if word != "gpu_valkey_password"]
    assert not any(secret in value for secret in hidden for value in told.values())


def test_services_run_without_rights(opened: starting.Started) -> None:
    for name in ("postgres", "valkey"):
        status = Path(f"/proc/{pid_of(opened.folder, name)}/status").read_text()
        ids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
        groups = next(line for line in status.splitlines() if line.startswith("Groups:")).split()[1:]
        assert "0" not in ids
        if os.geteuid() == 0:
            assert groups == []


def test_starts_again_what_dies_and_stops_as_a_whole(opened: starting.Started) -> None:
    before = pid_of(opened.folder, "worker")
    os.kill(before, signal.SIGKILL)
    opened.wait_for("worker started again")
    assert pid_of(opened.folder, "worker") != before

    assert opened.stop(signal.SIGINT) == 0
    assert "was killed" not in opened.said
    starting.wait_until_gone(opened.folder)
