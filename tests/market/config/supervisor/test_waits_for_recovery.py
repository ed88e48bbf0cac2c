"""A PostgreSQL that is being restored is waited for, however long it reads its archive."""

import time

import psycopg
import pytest

from market.config.supervisor import children, credentials, folders, identity, postgres, stopping


def test_waits_while_the_server_says_that_it_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folders.throwaway(service_identity=identity.for_services())
    folder.open()
    secrets = credentials.load_or_make(folder.secrets_file)
    cluster = postgres.Cluster(folder=folder, run_folder=folder.run_folder(), secrets=secrets, is_durable=True)
    started = children.Child(cluster.program())
    try:
        cluster.wait_until_ready(started)
        started.ask_to_stop()
        started.wait_until_stopped()

        gate = folder.for_service("gate") / "open"
        data = started.program.folder
        with (data / "postgresql.auto.conf").open("a", encoding="utf-8") as settings:
            settings.write(f"restore_command = 'while [ ! -e {gate} ]; do sleep 0.1; done; false'\n")
        (data / "recovery.signal").touch()
        started = children.Child(cluster.program())
        address = f"host={folder.run_folder()} dbname=postgres".encode()
        end_s = time.monotonic() + 60
        while psycopg.pq.PGconn.ping(address) != psycopg.pq.Ping.REJECT:
            assert time.monotonic() < end_s, started.last_words()
            time.sleep(children.POLL_S)

        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 3:
                monkeypatch.setattr(postgres, "READY_WITHIN_S", 60.0)
            elif len(pauses) == 4:
                gate.touch()
            time.sleep(seconds)

        # No patience at all with a server that says nothing, and none is needed.
        monkeypatch.setattr(postgres, "READY_WITHIN_S", 0.0)
        monkeypatch.setattr(stopping, "pause", pause)
        cluster.wait_until_ready(started)
        assert len(pauses) >= 4
        with psycopg.connect(cluster.url) as connection:
            assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)
    finally:
        started.ask_to_stop()
        started.wait_until_stopped()
        folder.close()
        folder.remove()
