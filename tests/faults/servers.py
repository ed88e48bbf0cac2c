"""A market's real processes around a durable PostgreSQL and a Valkey that keeps nothing, each to be killed and started again."""

import contextlib
import dataclasses
import json
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg

from market.config.supervisor import children, credentials, folders, identity, postgres, processes, services, valkey, waiting
from tests import listener

PATIENCE_S = 120.0
# The shortest that /v1/leases gives.
SHORTEST_LEASE_S = 5
# What PostgreSQL is told in a control: an answer may leave before its commit is on disk.
EARLY_ANSWERS = ("-c", "synchronous_commit=off")


@dataclasses.dataclass(frozen=True)
class Options:
    """How a market is opened. ``lease_s``: shorter leases than the market's own, for tests that cannot wait a minute."""

    clients: int
    workers_a_client: int = 4
    lease_s: int | None = None
    has_vision_model: bool = False


@dataclasses.dataclass(frozen=True)
class ClientKeys:
    """Secrets of one client: its agent's, and those of the workers it sends."""

    agent: str
    workers: tuple[str, ...]


class Market:
    """Servers and processes by name: ``postgres``, ``valkey``, ``web``, ``worker``, ``beat`` and ``gpu-worker``."""

    def __init__(self, folder: folders.DataFolder, options: Options, hooks: listener.Listener) -> None:
        self._folder = folder
        self._options = options
        self._hooks = hooks
        self._children: dict[str, children.Child] = {}
        self._connection: psycopg.Connection | None = None
        self.ended_by_themselves: list[str] = []
        secrets = credentials.load_or_make(folder.secrets_file)
        run_folder = folder.run_folder()
        self._cluster = postgres.Cluster(folder=folder, run_folder=run_folder, secrets=secrets, is_durable=True)
        self._valkey = valkey.Server(folder=folder, run_folder=run_folder, secrets=secrets, is_durable=False)
        addresses = services.Addresses(self._cluster.url, self._valkey.url, self._valkey.gpu_url)
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._redis_url = self._valkey.url
        address = processes.Address(host="127.0.0.1", port=port, public_url=self.url, allowed_hosts="127.0.0.1")
        self._plan = processes.Plan(folder=folder, addresses=addresses, secrets=secrets, address=address)

    def open(self) -> list[ClientKeys]:
        """Start everything; return the keys of the clients that were asked for."""
        for name in ("postgres", "valkey"):
            self.start(name)
        keys_file = self._folder.root / "clients.json"
        hooks_url = f"http://{self._hooks_address}/in"
        self._run("tests.faults.cast", str(keys_file), str(self._options.clients), str(self._options.workers_a_client), hooks_url)
        made = json.loads(keys_file.read_text(encoding="utf-8"))
        for name in ("web", "worker", "beat", "gpu-worker"):
            self.start(name)
        waiting.for_web(self._children["web"], url=self.url)
        self.wait_for_worker()
        return [ClientKeys(each["agent"], tuple(each["workers"])) for each in made]

    def close(self) -> None:
        """End everything, the servers last: PostgreSQL in order, so that it leaves no shared memory behind, the others at once."""
        for name in reversed(self._children.copy()):
            if name == "postgres":
                self.stop(name)
            else:
                self.kill(name)

    def start(self, name: str, *more: str) -> None:
        """Start one of them, with ``more`` arguments; a server answers when this returns."""
        program = self._program(name)
        child = children.Child(dataclasses.replace(program, arguments=(*program.arguments, *more)))
        self._children[name] = child
        if name == "postgres":
            self._cluster.wait_until_ready(child)
        elif name == "valkey":
            self._valkey.wait_until_ready(child)

    def stop(self, name: str) -> None:
        """Let one of them end in order."""
        if name == "postgres":
            self._disconnect()
        self._children[name].ask_to_stop()
        self._children.pop(name).wait_until_stopped()

    def kill(self, name: str) -> None:
        """SIGKILL one of them with all of its children at the same moment, and wait until nothing of it runs."""
        if name == "postgres":
            self._disconnect()
        child = self._children.pop(name)
        leader = child.process.pid
        if child.exit_code is None:
            # Stopped first: it shall have no children that are not counted.
            os.kill(leader, signal.SIGSTOP)
        family = [leader, *children_of(leader)]
        for pid in family:
            _kill(pid)
        child.wait_until_stopped()
        _wait_until(lambda: not any(map(_is_running, family)), f"{name} is gone")

    def kill_a_part(self, name: str, *, chance: random.Random) -> str:
        """SIGKILL one of a process and its children alone; say which. Then start what is gone."""
        leader = self._children[name].process.pid
        pids = [leader, *children_of(leader)]
        chosen = chance.randrange(len(pids))
        _kill(pids[chosen])
        if chosen == 0:
            # As the supervisor does: what is left of its group goes, then it is started again.
            self._children.pop(name).wait_until_stopped()
            self.start(name)
        return "its parent" if chosen == 0 else "one of its children"

    def wait_for_worker(self) -> None:
        """Wait until the worker has done a job that was given to it now."""
        waiting.for_worker(self._children["worker"], redis_url=self._redis_url)

    def freeze_wal_writer(self) -> None:
        """Keep PostgreSQL from writing what has been committed early, so that a kill shows what was not on disk."""
        for pid in children_of(self._children["postgres"].process.pid):
            if b"walwriter" in _command_of(pid):
                os.kill(pid, signal.SIGSTOP)
                return
        raise AssertionError("This PostgreSQL has no walwriter.")

    def query(self, statement: str) -> list[tuple[object, ...]]:
        """Run a statement in the market's database, as its own role."""
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._cluster.url, autocommit=True, connect_timeout=10)
        return self._connection.execute(statement.encode()).fetchall()

    def webhooks_heard(self) -> frozenset[str]:
        """Return the ids of all events that have arrived at the agents' endpoint."""
        return frozenset(self._hooks.head(number)["webhook-id"] for number in range(len(self._hooks.requests)))

    def audit(self) -> list[str]:
        """Return the differences that the market's own audit of its books finds."""
        try:
            self._run("django", "ledger_audit")
        except AssertionError as found:
            return [str(found)]
        return []

    def start_what_ended(self) -> None:
        """Start again what ended by itself, as the supervisor does: kombu's worker gives up where the broker dies in the wrong moment."""
        for name in [name for name, child in self._children.items() if child.exit_code is not None]:
            self.ended_by_themselves.append(name)
            # What is left of its group would hold its port or its files.
            self._children.pop(name).wait_until_stopped()
            self.start(name)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self, *module: str) -> None:
        prepare = self._plan.prepare()
        program = dataclasses.replace(prepare, name=module[0], arguments=(sys.executable, "-m", *module), environment=self._told(prepare))
        child = children.Child(program)
        child.process.wait(timeout=PATIENCE_S)
        child.wait_until_stopped()
        assert child.exit_code == 0, child.last_words(lines=60)

    def _program(self, name: str) -> children.Program:
        if name == "postgres":
            return self._cluster.program()
        if name == "valkey":
            return self._valkey.program()
        program = (
            self._gpu_worker() if name == "gpu-worker" else {"web": self._plan.web, "worker": self._worker, "beat": self._plan.beat}[name]()
        )
        return dataclasses.replace(program, environment=self._told(program))

    def _worker(self) -> children.Program:
        program = self._plan.worker()
        if self._options.lease_s is None:
            return program
        arguments = tuple("tests.faults.short_leases" if each == "market.config.celery_app" else each for each in program.arguments)
        return dataclasses.replace(
            program, arguments=arguments, environment={**program.environment, "FAULTS_LEASE_S": str(self._options.lease_s)}
        )

    def _gpu_worker(self) -> children.Program:
        local_keys = credentials.read_strings(self._folder.keys_file)
        program = self._plan.gpu_worker(lease_key=local_keys["lease_key"], replay_key=local_keys["replay_key"])
        if self._options.has_vision_model:
            return program
        return dataclasses.replace(
            program, arguments=(sys.executable, "-m", "tests.faults.reader", str(max(self._options.lease_s or 60, SHORTEST_LEASE_S)))
        )

    def _told(self, program: children.Program) -> dict[str, str]:
        # The caller's own media folder is that of other tests.
        told = {"ATOMS_MEDIA_DIR": str(self._folder.root / "media"), "ATOMS_EGRESS_TEST_HOSTS": self._hooks_address}
        return {**program.environment, **told}

    @property
    def _hooks_address(self) -> str:
        return f"127.0.0.1:{self._hooks.port}"


@contextlib.contextmanager
def open_market(options: Options) -> Iterator[tuple[Market, list[ClientKeys]]]:
    """Open a market in a folder of its own and end it with all that it left."""
    with throwaway_folder() as folder, market_in(folder, options) as market:
        yield market, market.open()


@contextlib.contextmanager
def market_in(folder: folders.DataFolder, options: Options) -> Iterator[Market]:
    """Give a market in a folder, with no process yet, and end what was started of it."""
    with listener.listen() as hooks:
        market = Market(folder, options, hooks)
        try:
            yield market
        finally:
            market.close()


@contextlib.contextmanager
def throwaway_folder() -> Iterator[folders.DataFolder]:
    """Give an empty folder that goes with all that is in it."""
    folder = folders.throwaway(service_identity=identity.for_services())
    folder.open()
    try:
        yield folder
    finally:
        folder.close()
        folder.remove()


def children_of(parent: int) -> list[int]:
    """Return the processes that ``parent`` has started and that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _state_and_parent(int(entry.name))[1] == parent:
            found.append(int(entry.name))
    return found


def _state_and_parent(pid: int) -> tuple[str, int]:
    """Return a process's state and its parent (proc(5), fields 3 and 4), or "" and 0 where it is gone."""
    try:
        # The second field is the name in brackets and may hold anything, so read from behind its end.
        state, parent = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:2]
    except OSError:
        return "", 0
    return state, int(parent)


def _is_running(pid: int) -> bool:
    return _state_and_parent(pid)[0] not in ("", "Z", "X")


def _command_of(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _wait_until(is_so: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end_s, f"Not within {PATIENCE_S:.0f} s: {what}"
        time.sleep(children.POLL_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
