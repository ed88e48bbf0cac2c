"""A real HTTP(S) server on loopback that notes what reaches it and answers as it is told."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Door:
    """Where a server listens, and how often it was called."""

    port: int = 0
    connections: int = 0


@dataclass
class Listener(Door):
    answers: list[bytes] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    # Told of each request.
    changed: threading.Condition = field(default_factory=threading.Condition)

    def head(self, number: int = 0) -> dict[str, str]:
        lines = self.requests[number].split(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    def body(self, number: int = 0) -> bytes:
        return self.requests[number].split(b"\r\n\r\n", 1)[1]


@contextlib.contextmanager
def listen(*answers: bytes, tls: ssl.SSLContext | None = None) -> Iterator[Listener]:
    """Answer connections with ``answers`` in turn, the last one again and again; an empty one hangs until the caller leaves."""
    listener = Listener(answers=list(answers) or [OK])

    def answer(connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(connection.close)
            channel = tls.wrap_socket(connection, server_side=True) if tls else connection
            channel.settimeout(20)
            stack.callback(channel.close)
            request = read_request(channel)
            with listener.changed:
                listener.requests.append(request)
                listener.changed.notify_all()
            reply = listener.answers[min(number, len(listener.answers) - 1)]
            if reply:
                channel.sendall(reply)
            else:
                channel.recv(1)

    with accepting(listener, answer):
        yield listener


@contextlib.contextmanager
def accepting(door: Door, answer: Callable[[socket.socket, int], None]) -> Iterator[None]:
    """Open a door on loopback and answer each connection, numbered from 0, in a thread of its own."""
    server = socket.create_server(("127.0.0.1", 0))
    door.port = server.getsockname()[1]

    def take(connection: socket.socket) -> None:
        number = door.connections
        door.connections += 1
        threading.Thread(target=answer, args=(connection, number), daemon=True).start()

    with taking(server, take):
        yield


@contextlib.contextmanager
def taking(server: socket.socket, take: Callable[[socket.socket], None]) -> Iterator[None]:
    """Hand each connection that comes to ``take``, one after the other, and close the door at the end."""

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            take(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        # close() alone leaves accept() waiting on Linux.
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def read_request(channel: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        received += channel.recv(65_536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += channel.recv(65_536)
    return head + b"\r\n\r\n" + body
