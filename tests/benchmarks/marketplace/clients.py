"""Clients over HTTP, each with a connection of its own, that repeat one cycle of requests for a while."""

import contextlib
import http.client
import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

PATIENCE_S = 60.0


class Refused(Exception):
    """An answer that the cycle can't go on with."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Seen:
    """How long each kind of request took, and what was answered instead of what was hoped for."""

    cycles: int = 0
    seconds: dict[str, list[float]] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)

    def add(self, other: "Seen") -> None:
        """Take in what another client, or another round, has seen."""
        self.cycles += other.cycles
        self.refusals += other.refusals
        for name, seconds in other.seconds.items():
            self.seconds.setdefault(name, []).extend(seconds)


class Client:
    """One connection that is kept open."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        self.seen = Seen()

    def send(
        self, name: str, method: str, path: str, body: Mapping[str, object] | None = None, *, secret: str = "", status: int
    ) -> dict[str, object]:
        """Send a request and time it under ``name``; return the document.

        Raises:
            Refused: another status came.
        """
        headers = {"Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex} if method == "POST" else {}
        if secret:
            headers["Authorization"] = f"Bearer {secret}"
        content = None if body is None else json.dumps(body).encode()
        start = time.perf_counter()
        self._connection.request(method, path, body=content, headers=headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != status:
            raise Refused(f"{name}: {answer.status} {text[:300].decode(errors='replace')}", answer.status)
        self.seen.seconds.setdefault(name, []).append(time.perf_counter() - start)
        document: dict[str, object] = json.loads(text)
        return document

    def close(self) -> None:
        """Let the connection go."""
        self._connection.close()


Cycle = Callable[[Client], None]


def run(port: int, cycles: list[Cycle], *, seconds: float) -> tuple[Seen, float]:
    """Let every cycle be repeated by a client of its own, all at once; return what they saw, and cycles a second."""
    begin = threading.Barrier(len(cycles), timeout=PATIENCE_S)
    with ThreadPoolExecutor(len(cycles)) as pool:
        found = list(pool.map(lambda cycle: _repeat(port, cycle, begin, seconds), cycles))
    seen = Seen()
    for each, _ in found:
        seen.add(each)
    return seen, sum(each.cycles / elapsed_s for each, elapsed_s in found)


def _repeat(port: int, cycle: Cycle, begin: threading.Barrier, seconds: float) -> tuple[Seen, float]:
    with contextlib.closing(Client(port)) as client:
        begin.wait()
        start = time.perf_counter()
        while (elapsed_s := time.perf_counter() - start) < seconds:
            try:
                cycle(client)
            except Refused as refused:
                client.seen.refusals.append(str(refused))
            else:
                client.seen.cycles += 1
        return client.seen, elapsed_s
