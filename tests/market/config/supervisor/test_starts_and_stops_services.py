"""Real PostgreSQL and Valkey, started and ended by the market's command in every way that happens."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from market.config.environment import ROOT
from tests.market.config.supervisor import starting

ONLY_SERVICES = "--services-only"


@pytest.fixture(scope="module")
def running() -> Iterator[starting.Started]:
    """One start that several tests look at."""
    with starting.reachable_folder() as root, starting.start(root / "data", ONLY_SERVICES) as started:
        started.wait_for(starting.SERVICES_READY)
        yield started


def test_opens_its_secrets_to_nobody_else(running: starting.Started) -> None:
    for name in ("secrets.json", "environment"):
        assert stat.S_IMODE((running.folder / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(running.folder.stat().st_mode) & 0o066 == 0


def test_asks_for_passwords(running: starting.Started) -> None:
    told = starting.environment_of(running.folder)
    secrets = starting.secrets_of(running.folder)
    for user in ("market", "postgres"):
        url = told["DATABASE_URL"].replace(secrets["postgres_password"], "guess").replace("market:", f"{user}:")
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(url)
    broker_url = told["REDIS_URL"].replace(secrets["valkey_password"], "guess")
    with pytest.raises(redis.AuthenticationError), redis.Redis.from_url(broker_url) as client:
        client.ping()
    assert starting.query(running.folder, "SELECT rolsuper FROM pg_roles WHERE rolname = 'market'") == [(False,)]


def test_lets_gpu_workers_hear_their_doorbell_alone(running: starting.Started) -> None:
    with redis.Redis.from_url(starting.environment_of(running.folder)["ATOMS_GPU_REDIS_URL"]) as gpu:
        gpu.lpush("atoms-gpu:gpu", "ding")
        assert gpu.brpop(["atoms-gpu:gpu"], timeout=1) is not None
        for command in (
            ("LPUSH", "default", "a forged job"),
            ("GET", "answered:x"),
            ("KEYS", "*"),
            ("FLUSHALL",),
            ("CONFIG", "GET", "*"),
            ("PUBLISH", "celery.pidbox", "shutdown"),
        ):
            with pytest.raises(redis.ResponseError, match="permissions"):
                gpu.execute_command(*command)


def test_a_second_market_may_not_use_the_folder(running: starting.Started) -> None:
    with starting.start(running.folder, ONLY_SERVICES) as second:
        assert second.end() == 2
        assert f"A market is running from {running.folder} already (process {running.process.pid})" in second.said
    assert starting.query(running.folder, "SELECT 1") == [(1,)]


def test_keeps_its_data_between_starts(data_folder: Path) -> None:
    with starting.start(data_folder, ONLY_SERVICES) as first:
        first.wait_for(starting.SERVICES_READY)
        starting.query(data_folder, "CREATE TABLE kept (word text)")
        secrets = starting.secrets_of(data_folder)
        assert first.stop(signal.SIGINT) == 0
    starting.wait_until_gone(data_folder)

    with starting.start(data_folder, ONLY_SERVICES) as second:
        second.wait_for(starting.SERVICES_READY)
        assert starting.query(data_folder, "SELECT word FROM kept") == []
        assert starting.secrets_of(data_folder) == secrets
        assert "making a new cluster" not in second.said


def test_leaves_nothing_behind_when_killed(data_folder: Path) -> None:
    with starting.start(data_folder, ONLY_SERVICES) as killed:
        killed.wait_for(starting.SERVICES_READY)
        starting.query(data_folder, "CREATE TABLE survived (word text)")
        assert killed.stop(signal.SIGKILL) == -signal.SIGKILL

        # At once, while the services of the first are still on their way out.
        with starting.start(data_folder, ONLY_SERVICES) as next_start:
            next_start.wait_for(starting.SERVICES_READY)
            assert starting.query(data_folder, "SELECT * FROM survived") == []
            next_start.stop(signal.SIGKILL)
    starting.wait_until_gone(data_folder)


@pytest.mark.parametrize("moment", ["making a new cluster", "PostgreSQL answers"])
def test_stops_in_the_middle_of_a_start(data_folder: Path, moment: str) -> None:
    with starting.start(data_folder, ONLY_SERVICES) as started:
        started.wait_for(moment)
        assert started.stop(signal.SIGTERM) == 0
    starting.wait_until_gone(data_folder)

    with starting.start(data_folder, ONLY_SERVICES) as again:
        again.wait_for(starting.SERVICES_READY)


def test_starts_a_killed_service_again(data_folder: Path) -> None:
    with starting.start(data_folder, ONLY_SERVICES) as started:
        started.wait_for(starting.SERVICES_READY)
        pid = int((data_folder / "logs" / "postgres.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        started.wait_for("postgres started again")
        end_s = time.monotonic() + 30
        while True:
            try:
                assert starting.query(data_folder, "SELECT 1") == [(1,)]
                break
            except psycopg.OperationalError:
                assert time.monotonic() < end_s


def test_goes_below_a_folder_closed_to_other_accounts(data_folder: Path) -> None:
    closed = data_folder.parent / "closed"
    closed.mkdir(mode=0o700)
    with starting.start(closed / "data", ONLY_SERVICES) as started:
        started.wait_for(starting.SERVICES_READY)
        assert starting.query(closed / "data", "SELECT 1") == [(1,)]


def test_goes_below_a_path_that_a_socket_address_cannot_hold(data_folder: Path) -> None:
    odd = data_folder.parent / f"with a space, a comma and {'length ' * 12}"
    odd.mkdir(mode=0o711)
    with starting.start(odd / "data", ONLY_SERVICES) as started:
        started.wait_for(starting.SERVICES_READY)
        assert starting.query(odd / "data", "SELECT 1") == [(1,)]


@pytest.mark.parametrize(("flags", "fsync"), [((), "off"), (("--durable",), "on")])
def test_a_command_beside_services_may_ask_for_durable_ones(flags: tuple[str, ...], fsync: str) -> None:
    asking = "import os, psycopg; print('fsync', psycopg.connect(os.environ['DATABASE_URL']).execute('SHOW fsync').fetchone()[0])"
    command = (
        "import sys; from market.config.supervisor import commands; sys.exit(commands.run(command='services', arguments=sys.argv[1:]))"
    )
    begin = [sys.executable, "-c", command, *flags]
    done = subprocess.run(
        [*begin, sys.executable, "-W", "ignore", "-c", asking], cwd=ROOT, capture_output=True, text=True, check=True, timeout=240
    )
    assert f"fsync {fsync}" in done.stdout.splitlines()
