"""`manage.py market`: a whole market on this machine, until Ctrl-C."""

import argparse
import os
import re
import socket
from pathlib import Path
from typing import NoReturn

from market.config import install
from market.config.supervisor import (
    children,
    credentials,
    folders,
    identity,
    keeping,
    processes,
    progress,
    refusal,
    services,
    stopping,
    waiting,
)

LOOK_EVERY_S = 0.3
QUICKSTART = install.ROOT / "docs" / "api" / "quickstart.md"


def run(*, arguments: list[str]) -> int:
    """Start everything, keep it alive, stop it when asked; return the exit code.

    Raises:
        Refused: something the user can mend stands in the way.
    """
    options = _parser().parse_args(arguments)
    _refuse_production()
    stopping.listen()
    said = progress.Progress()
    market = _Market(options=options, said=said)
    try:
        market.start()
        market.watch()
    except stopping.Stopped:
        said.say("stopping")
        return 0
    finally:
        market.stop()
        said.say("stopped")


class _Market:
    def __init__(self, *, options: argparse.Namespace, said: progress.Progress) -> None:
        self._options = options
        self._said = said
        root = Path(os.environ.get("ATOMS_DATA_DIR") or install.ROOT / ".atoms").absolute()
        self._folder = folders.DataFolder(root=root, service_identity=identity.for_services())
        self._keeper = keeping.Keeper(said=said)
        self._services: services.Services | None = None

    def start(self) -> None:
        """Go from nothing to a market that answers, in the order in which each part needs the ones before."""
        self._folder.open()
        for name in children.end_orphans(self._folder.logs):
            self._said.say(f"ended {name}, left over from a start that was killed")
        address = _address(host=self._options.host, port=self._options.port)
        if not self._options.services_only:
            _refuse_used_port(address)
        secrets = credentials.load_or_make(self._folder.secrets_file)
        self._services = services.Services(folder=self._folder, secrets=secrets, said=self._said, is_durable=True)
        addresses = self._services.start(given=services.given_in_environment())
        plan = processes.Plan(folder=self._folder, addresses=addresses, secrets=secrets, address=address)
        credentials.write_private(self._folder.environment_file, plan.environment_file())
        if self._options.services_only:
            print(f"The services are ready. Their addresses are in {self._folder.environment_file}; Ctrl-C stops them.", flush=True)
            return
        self._start_processes(plan, addresses, address)
        print(_welcome(address, credentials.read_strings(self._folder.keys_file)), flush=True)

    def _start_processes(self, plan: processes.Plan, addresses: services.Addresses, address: processes.Address) -> None:
        self._said.say("migrating the database, collecting static files")
        prepare = children.Child(plan.prepare())
        try:
            waiting.for_end(prepare)
        finally:
            prepare.ask_to_stop()
            prepare.wait_until_stopped()
        local_keys = credentials.read_strings(self._folder.keys_file)
        stopping.check()
        self._said.say("starting web server, worker, beat, GPU worker, simulated worker and two GPU owners")
        web = self._keeper.start(plan.web())
        worker = self._keeper.start(plan.worker())
        self._keeper.start(plan.beat())
        gpu_worker = self._keeper.start(plan.gpu_worker(lease_key=local_keys["lease_key"], replay_key=local_keys["replay_key"]))
        waiting.for_web(web, url=address.local_url)
        self._said.say("the web server answers")
        if self._options.simulated_worker:
            self._keeper.start(plan.simulated_worker(worker_key=local_keys["worker_key"]))
        if self._options.gpu_owners:
            # Two, because a baseline counts when two owners agree who know nothing of each other.
            for number, name in enumerate(("first_owner_key", "second_owner_key"), 1):
                self._keeper.start(plan.gpu_owner(number=number, lease_key=local_keys[name]))
        waiting.for_worker(worker, redis_url=addresses.redis_url)
        self._said.say("the worker does its jobs")
        waiting.for_gpu_worker(gpu_worker, redis_url=addresses.gpu_redis_url)
        self._said.say("the GPU worker answers its doorbell")

    def watch(self) -> NoReturn:
        """Keep everything alive until somebody wishes to stop."""
        assert self._services is not None
        while True:
            self._services.keeper.look()
            self._keeper.look()
            stopping.pause(LOOK_EVERY_S)

    def stop(self) -> None:
        """End the processes before the services they use."""
        self._keeper.stop()
        if self._services is not None:
            self._services.stop()
        self._folder.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="manage.py market", description="Start a whole market on this machine; Ctrl-C stops it. Its data stays in .atoms/."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 lets your phone in (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=8000, help="port to listen on (default: %(default)s)")
    parser.add_argument(
        "--no-simulated-worker",
        dest="simulated_worker",
        action="store_false",
        help="leave the test bounties to real people, such as yourself",
    )
    parser.add_argument(
        "--no-gpu-owners",
        dest="gpu_owners",
        action="store_false",
        help="leave replays of training runs to real GPU owners, such as yourself",
    )
    parser.add_argument("--services-only", action="store_true", help="start PostgreSQL and Valkey alone")
    return parser


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to 65535")
    return int(text)


def _refuse_production() -> None:
    if os.environ.get("ATOMS_ENV", "local") != "local":
        raise refusal.Refused(
            f"`manage.py market` starts a local market with test accounts, but ATOMS_ENV={os.environ['ATOMS_ENV']}. Unset it, or "
            " start the services one by one: docs/operating.md."
        )


def _address(*, host: str, port: int) -> processes.Address:
    names = ["127.0.0.1", "localhost"]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - the user's own wish
        shown = _own_network_address()
        names.append(shown)
    else:
        shown = host
        if host not in names:
            names.append(host)
    return processes.Address(host=host, port=port, public_url=f"http://{shown}:{port}", allowed_hosts=",".join(names))


def _own_network_address() -> str:
    """Return the address by which the local network knows this machine. Connecting a datagram socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def _refuse_used_port(address: processes.Address) -> None:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the server will: connections of the last run that linger do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            raise refusal.Refused(
                f"Port {address.port} of {address.host} cannot be used: {error.strerror}. "
                f"Choose another: python3 manage.py market --port {address.port + 1}"
            ) from error


def _welcome(address: processes.Address, local_keys: dict[str, str]) -> str:
    lines = [
        "",
        f"The market is open: {address.public_url}/   (Ctrl-C closes it)",
        f"  On a phone: start with --host 0.0.0.0 and open http://{_own_network_address()}:{address.port}/ (docs/operating.md, Phones).",
        f"  Operator:   {address.public_url}/admin/   user operator, password {local_keys['operator_password']}",
        "",
        "Ask for your first photograph, in another terminal:",
        f"  export ATOMS_URL={address.local_url} ATOMS_API_KEY={local_keys['agent_key']}",
        "  .venv/bin/python",
        "and paste:",
        "",
        # Not indented: Python takes these lines as they stand.
        *_quickstart(),
        "",
    ]
    return "\n".join(lines)


def _quickstart() -> list[str]:
    """Return the lines of the quickstart, which stands once: in the documentation."""
    found = re.search(r"^```python\n(.*?)^```", QUICKSTART.read_text(), flags=re.S | re.M) if QUICKSTART.exists() else None
    return found[1].splitlines() if found else []
