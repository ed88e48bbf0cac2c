"""PostgreSQL and Valkey together: embedded ones, or those that the environment names."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg
import redis

from market.config.supervisor import children, credentials, folders, keeping, postgres, progress, refusal, stopping, valkey

CONNECT_WITHIN_S = 10.0


@dataclass(frozen=True)
class Addresses:
    """Where the services answer, in the words of `market.config.environment`."""

    database_url: str
    redis_url: str
    gpu_redis_url: str


class Services:
    """Starts what the environment does not name, and stops what it started."""

    def __init__(self, *, folder: folders.DataFolder, secrets: credentials.Credentials, said: progress.Progress, is_durable: bool) -> None:
        self._folder = folder
        self._secrets = secrets
        self._said = said
        self._is_durable = is_durable
        self.keeper = keeping.Keeper(said=said)

    def start(self, *, given: Addresses) -> Addresses:
        """Try the given addresses, and start the embedded service for each empty one.

        Raises:
            Refused: a service does not start or does not answer.
        """
        # A wrong address is found before anything is started for nothing.
        if given.database_url:
            _try_database(given.database_url)
            self._said.say("the database of DATABASE_URL answers")
        if given.redis_url:
            _try_redis("REDIS_URL", given.redis_url)
            self._said.say("the server of REDIS_URL answers")
        if given.gpu_redis_url:
            _try_redis("ATOMS_GPU_REDIS_URL", given.gpu_redis_url)
        stopping.check()
        run_folder = self._folder.run_folder()
        cluster = None if given.database_url else self._cluster(run_folder)
        server = None if given.redis_url else self._server(run_folder)
        # Both at once: each needs a second of its own.
        database = cluster and self.keeper.start(cluster.program())
        broker = server and self.keeper.start(server.program())
        if cluster and database:
            cluster.wait_until_ready(database)
            self._said.say("PostgreSQL answers")
        if server and broker:
            server.wait_until_ready(broker)
            self._said.say("Valkey answers")
        redis_url = server.url if server else given.redis_url
        return Addresses(
            database_url=cluster.url if cluster else given.database_url,
            redis_url=redis_url,
            gpu_redis_url=given.gpu_redis_url or (server.gpu_url if server else redis_url),
        )

    def _cluster(self, run_folder: Path) -> postgres.Cluster:
        cluster = postgres.Cluster(folder=self._folder, run_folder=run_folder, secrets=self._secrets, is_durable=self._is_durable)
        if cluster.is_new:
            self._said.say("PostgreSQL: making a new cluster")
        return cluster

    def _server(self, run_folder: Path) -> valkey.Server:
        return valkey.Server(folder=self._folder, run_folder=run_folder, secrets=self._secrets, is_durable=self._is_durable)

    def stop(self) -> None:
        """Stop what was started, the last first."""
        self.keeper.stop()


NONE_GIVEN = Addresses(database_url="", redis_url="", gpu_redis_url="")


def given_in_environment() -> Addresses:
    """Return the addresses that the environment names; empty ones where it names none."""
    return Addresses(
        database_url=os.environ.get("DATABASE_URL", ""),
        redis_url=os.environ.get("REDIS_URL", ""),
        gpu_redis_url=os.environ.get("ATOMS_GPU_REDIS_URL", ""),
    )


def _try_database(url: str) -> None:
    end_s = time.monotonic() + CONNECT_WITHIN_S
    while True:
        try:
            psycopg.connect(url, connect_timeout=5).close()
            return
        except psycopg.OperationalError as error:
            # A server that is starting up itself is worth a moment; a wrong name or password is not.
            if "starting up" in str(error) and time.monotonic() < end_s:
                stopping.pause(children.POLL_S)
                continue
            reason = str(error).strip().splitlines()[-1]
        except psycopg.Error as error:
            reason = str(error).strip()
        raise refusal.Refused(
            f"DATABASE_URL does not lead to a PostgreSQL that answers: {reason}. Mend it, or unset it to use the embedded one."
        )


def _try_redis(variable: str, url: str) -> None:
    try:
        redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5).ping()
    except (redis.RedisError, ValueError) as error:
        raise refusal.Refused(
            f"{variable} does not lead to a server that answers: {error}. Mend it, or unset it to use the embedded one."
        ) from error
