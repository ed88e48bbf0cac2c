"""A web server of ours, as the market starts it in production, before the database that a test or campaign uses."""

import contextlib
import http.client
import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from market.config.supervisor import credentials, folders, processes, services
from tests import processes as children
from tests.faults import campaign

START_WITHIN_S = 60
# So long may one answer take before it counts as lost.
PATIENCE_S = 60.0
APPLICATION = "market.config.wsgi:application"


@dataclass(frozen=True)
class Reply:
    """A status, headers in lower case, and the bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def problem(self) -> Mapping[str, object]:
        """The problem document of a refusal."""
        read: Mapping[str, object] = json.loads(self.body)
        return read


@contextlib.contextmanager
def server(*, application: str = APPLICATION, **changes: str) -> Iterator[int]:
    """Start Granian with its production command and wait until each of its processes serves; return the port.

    ``application`` may be one with a guard taken away; ``changes`` are variables of its environment ("" takes one away).
    """
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="atoms-web-") as folder:
        program = _plan(Path(folder), port).web()
        arguments = [application if argument == APPLICATION else argument for argument in program.arguments]
        # Test pages read their static files where they are written; nothing is collected here.
        told = {**program.environment, "ATOMS_ENV": "test", "ATOMS_MEDIA_DIR": str(settings.MEDIA_ROOT), **changes}
        log = Path(folder) / "web.log"
        with log.open("wb") as written:
            process = subprocess.Popen(arguments, cwd=campaign.ROOT, env=told, stdout=written, stderr=written)
        try:
            _wait_until_open(process, port, log)
            yield port
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def send(port: int, method: str, path: str, content: bytes = b"", *, headers: Mapping[str, str], patience_s: float = PATIENCE_S) -> Reply:
    """Send one request on a connection of its own.

    Raises:
        OSError, http.client.HTTPException: no answer came in time.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience_s)
    with contextlib.closing(connection):
        connection.request(method, path, body=content or None, headers=dict(headers))
        answer = connection.getresponse()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


def _plan(folder: Path, port: int) -> processes.Plan:
    (folder / "logs").mkdir()
    secrets: credentials.Credentials = {
        "secret_key": settings.SECRET_KEY,
        "receipt_seed": "",
        "postgres_superuser_password": "",
        "postgres_password": "",
        "valkey_password": "",
        "gpu_valkey_password": "",
    }
    return processes.Plan(
        folder=folders.DataFolder(root=folder, service_identity=None),
        addresses=services.Addresses(children.database_url(), settings.REDIS_URL, settings.GPU_REDIS_URL),
        secrets=secrets,
        address=processes.Address("127.0.0.1", port, settings.PUBLIC_URL, "127.0.0.1"),
    )


def _wait_until_open(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end_s = time.monotonic() + START_WITHIN_S
    while time.monotonic() < end_s and process.poll() is None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            # The first request of a process loads the rest of it.
            if send(port, "GET", "/healthz", headers={}).status == 200:
                return
        time.sleep(0.05)
    raise AssertionError(f"The web server did not open (status {process.poll()}):\n{log.read_text(errors='replace')[-4000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
