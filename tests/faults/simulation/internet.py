"""The world behind webhooks: names, connections and servers that fail, hang up after they have read, and keep a log."""

import hashlib
import json
import socket
import threading
from contextlib import ExitStack
from unittest import mock

from django.test import override_settings

HOSTS = ("hooks-1.example:8080", "hooks-2.example:8080")
_ADDRESS = "93.184.215.14"


class Internet:
    """Servers at `HOSTS`; what each does with a request follows from the seed, the message and how often it came."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._lock = threading.Lock()
        self._came: dict[tuple[str, str], int] = {}
        # (host, webhook id) -> how often it was read whole, and how often the market heard that it was.
        self.received: dict[tuple[str, str], int] = {}
        self.acknowledged: dict[tuple[str, str], int] = {}
        self.sequences: dict[tuple[str, str], int] = {}
        self.is_healed = False

    def heal(self) -> None:
        """Answer everything well from now on."""
        self.is_healed = True

    def open(self, stack: ExitStack) -> None:
        """Put this internet in the place of the real one, at the last calls before the wire."""
        stack.enter_context(override_settings(EGRESS_TEST_HOSTS=list(HOSTS)))
        stack.enter_context(mock.patch.object(socket, "getaddrinfo", self._resolve))
        stack.enter_context(mock.patch.object(socket, "create_connection", self._connect))

    def _resolve(self, host: str, port: int, **_: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return [(2, 1, 6, "", (_ADDRESS, port))]

    def _connect(self, address: tuple[str, int], timeout: float) -> "_Connection":
        return _Connection(self)

    def take(self, request: bytes) -> bytes:
        """Read one request and return the bytes of the answer; none where the line breaks."""
        head, _, body = request.partition(b"\r\n\r\n")
        lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        place = (lines["Host"], lines["webhook-id"])
        with self._lock:
            self._came[place] = self._came.get(place, 0) + 1
            fate = self._fate(place)
            if fate == "lost":
                return b""
            if fate == "broken":
                return b"HTTP/1.1 500 Oh\r\n\r\n"
            self.received[place] = self.received.get(place, 0) + 1
            self.sequences[place] = json.loads(body)["seq"]
            if fate == "hung up":
                return b""
            self.acknowledged[place] = self.acknowledged.get(place, 0) + 1
            return b"HTTP/1.1 204 Thanks\r\n\r\n"

    def _fate(self, place: tuple[str, str]) -> str:
        if self.is_healed:
            return "read"
        drawn = hashlib.sha256(f"{self._seed} {place} {self._came[place]}".encode()).digest()[0]
        return "lost" if drawn < 20 else "broken" if drawn < 40 else "hung up" if drawn < 60 else "read"


class _Connection:
    """As much of a socket as `market.events.egress` uses."""

    def __init__(self, internet: Internet) -> None:
        self._internet, self._answer = internet, b""

    def __enter__(self) -> "_Connection":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def settimeout(self, seconds: float) -> None:
        """Take a limit: nothing here waits."""

    def sendall(self, request: bytes) -> None:
        """Hand the request over."""
        self._answer = self._internet.take(request)

    def recv(self, most: int) -> bytes:
        """Return the answer, then the end."""
        answer, self._answer = self._answer, b""
        return answer
