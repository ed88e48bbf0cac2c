"""Which processes a local market is made of, and what each of them is told. Standard library only."""

import dataclasses
import os
import sys
from collections.abc import Mapping

from market.config import brokers, install
from market.config.supervisor import children, credentials, folders, services

WEB_WORKERS = 2
# Many for two cores: what three quarters of them can't take at once is shed, and a burst is no overload.
WEB_THREADS = 16
JOB_PROCESSES = 2
# Of another market or for another program; a child must not take them for its own.
FOREIGN = ("PYTHONHOME", "PYTEST_XDIST_WORKER", "ATOMS_API_KEY", "ATOMS_URL", "ATOMS_LEASE_KEY")


@dataclasses.dataclass(frozen=True)
class Address:
    """Where the web server listens, and where people find it."""

    host: str
    port: int
    public_url: str
    allowed_hosts: str

    @property
    def local_url(self) -> str:
        """The address that processes on this machine use."""
        return f"http://127.0.0.1:{self.port}"


class Plan:
    """The programs of one market, given its folder, services and secrets."""

    def __init__(
        self, *, folder: folders.DataFolder, addresses: services.Addresses, secrets: credentials.Credentials, address: Address
    ) -> None:
        self._folder = folder
        self._address = address
        self._addresses = addresses
        self._market = {
            "ATOMS_ENV": "local",
            "ATOMS_DATA_DIR": str(folder.root),
            "ATOMS_SECRET_KEY": secrets["secret_key"],
            "ATOMS_RECEIPT_SEED": secrets["receipt_seed"],
            "ATOMS_PUBLIC_URL": address.public_url,
            "ATOMS_ALLOWED_HOSTS": address.allowed_hosts,
            "DATABASE_URL": addresses.database_url,
            "REDIS_URL": addresses.redis_url,
            "ATOMS_GPU_REDIS_URL": addresses.gpu_redis_url,
        }

    def environment_file(self) -> str:
        """Return what other commands of manage.py need beside this market, as lines of NAME='value'."""
        return "".join(f"{name}='{value}'\n" for name, value in self._market.items())

    def prepare(self) -> children.Program:
        """Migrations, static files and local accounts."""
        return self._ours("prepare", "manage.py", "prepare_local", stop_within_s=5)

    def web(self) -> children.Program:
        """Granian: pages and API."""
        program = self._ours(
            "web", "-m", "granian", "--interface", "wsgi", "--host", self._address.host, "--port", str(self._address.port),
            "--workers", str(WEB_WORKERS), "--no-ws", "--respawn-failed-workers",
            "--workers-kill-timeout", "8", "--log-level", "info", "market.config.wsgi:application",
        )  # fmt: skip
        # In the environment, not as an argument: the market reads it too, to keep some of them for money.
        return dataclasses.replace(program, environment={**program.environment, "GRANIAN_BLOCKING_THREADS": str(WEB_THREADS)})

    def worker(self) -> children.Program:
        """Celery: the queues default and money."""
        return self._celery(
            "worker", "-A", "market.config.celery_app", "worker", "--queues", "default,money", "--concurrency", str(JOB_PROCESSES)
        )

    def beat(self) -> children.Program:
        """Celery beat: rings the sweepers. Its memory is not kept, because every bell rings within seconds anyway."""
        return self._ours(
            "beat", "-m", "celery", "-A", "market.config.celery_app", "beat", "--scheduler", "celery.beat:Scheduler", "--pidfile="
        )

    def gpu_worker(self, *, lease_key: str, replay_key: str) -> children.Program:
        """Celery with the vision models and the trusted replay pool: it knows its doorbell and the HTTP address, neither database
        nor the market's broker.
        """
        told = {
            "ATOMS_GPU_REDIS_URL": brokers.celery_url(self._addresses.gpu_redis_url),
            "ATOMS_URL": self._address.local_url,
            "ATOMS_LEASE_KEY": lease_key,
            "ATOMS_REPLAY_LEASE_KEY": replay_key,
        }
        program = self._celery("gpu-worker", "-A", "gpu_workers.celery_app", "worker", "--queues", "gpu", "--pool", "solo")
        return self._told(program, {"HF_HUB_OFFLINE": "1", **self._strangers_environment(), **told})

    def simulated_worker(self, *, worker_key: str) -> children.Program:
        """A worker like any other: the public API and a test key."""
        program = self._ours("simulated-worker", "-m", "agents_sdk.simulated_worker")
        told = {"ATOMS_URL": self._address.local_url, "ATOMS_API_KEY": worker_key}
        return self._told(program, {**self._strangers_environment(), **told})

    def gpu_owner(self, *, number: int, lease_key: str) -> children.Program:
        """A GPU owner's program like any other, with a key and a folder of its own."""
        program = self._ours(f"gpu-owner-{number}", "-m", "gpu_workers.owner.program", "run")
        told = {
            "ATOMS_URL": self._address.local_url,
            "ATOMS_API_KEY": lease_key,
            "ATOMS_GPU_HOME": str(self._folder.root / program.name),
        }
        return self._told(program, {**self._strangers_environment(), **told})

    def _celery(self, name: str, *arguments: str) -> children.Program:
        return self._ours(
            name, "-m", "celery", *arguments, "--without-gossip", "--without-mingle", "--hostname", f"{name}@%h", "--loglevel", "INFO"
        )

    def _ours(self, name: str, *arguments: str, stop_within_s: float = 20) -> children.Program:
        return children.Program(
            name=name,
            arguments=(sys.executable, *arguments),
            environment={**_own_environment(), "DJANGO_SETTINGS_MODULE": "market.config.settings", **self._market},
            log=self._folder.logs / f"{name}.log",
            pid_folder=self._folder.logs,
            stop_within_s=stop_within_s,
            folder=install.ROOT,
        )

    def _told(self, program: children.Program, environment: Mapping[str, str]) -> children.Program:
        return children.Program(
            name=program.name,
            arguments=program.arguments,
            environment=environment,
            log=program.log,
            pid_folder=program.pid_folder,
            folder=program.folder,
        )

    def _strangers_environment(self) -> dict[str, str]:
        """Return this process's environment without anything that opens the market's services."""
        hidden = (*self._market, "DJANGO_SETTINGS_MODULE", "ATOMS_MEDIA_DIR", "PGPASSWORD", "PGHOST", "PGUSER")
        return {name: value for name, value in _own_environment().items() if name not in hidden}


def _own_environment() -> dict[str, str]:
    """Return our environment with a home that can be written to: libraries keep their caches there."""
    environment = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    if not os.access(environment.get("HOME", "/nonexistent"), os.W_OK):
        environment["HOME"] = os.environ.get("TMPDIR", "/tmp")  # noqa: S108 - caches alone
    return environment
