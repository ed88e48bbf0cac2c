"""Servers that a webhook may meet: they redirect inwards, drip, flood, bomb, hang up, and lie about who they are."""

import contextlib
import datetime
import functools
import gzip
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests import listener

# Longer than any delivery may take; who still waits then is let go.
_PATIENCE_S = 30.0
# A server that floods stops after so much: a client that takes it all has no bound.
_FLOOD_BYTES = 64 << 20

Speak = Callable[[socket.socket], None]


@dataclass(frozen=True)
class Behaviour:
    """What a server does after the request, and what the log of attempts must say of it."""

    failure: str
    status_code: int | None = None
    # Bytes to send, with PORT for the canary's; or what to do.
    answer: bytes | Speak = b""
    certificate_for: str = ""
    days: int = 1
    scheme: str = "http"


def _head(status: str, *lines: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


def _drip(start: bytes) -> Speak:
    def speak(channel: socket.socket) -> None:
        channel.sendall(start)
        is_over = threading.Event()
        for _ in range(int(_PATIENCE_S * 10)):
            channel.sendall(b"x")
            # A server that waits is the subject here; it ends when the client hangs up.
            is_over.wait(0.1)

    return speak


def _flood(start: bytes, piece: bytes) -> Speak:
    def speak(channel: socket.socket) -> None:
        channel.sendall(start)
        for _ in range(_FLOOD_BYTES // len(piece)):
            channel.sendall(piece)

    return speak


def _silence(channel: socket.socket) -> None:
    channel.recv(1)


def _reset(channel: socket.socket) -> None:
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


_INSIDE = "http://127.0.0.1:PORT/"
BEHAVIOURS: dict[str, Behaviour] = {
    **{
        f"moved-{status}": Behaviour("redirect", status, _head(f"{status} Moved", f"Location: {_INSIDE}"))
        for status in (300, 301, 302, 303, 307, 308)
    },
    "moved-metadata": Behaviour("redirect", 302, _head("302 Found", "Location: http://169.254.169.254/latest/meta-data/")),
    "moved-relative": Behaviour("redirect", 302, _head("302 Found", "Location: //127.0.0.1:PORT/")),
    "moved-twice": Behaviour("redirect", 302, _head("302 Found", f"Location: {_INSIDE}", f"Location: {_INSIDE}")),
    "proxy": Behaviour("redirect", 305, _head("305 Use Proxy", f"Location: {_INSIDE}")),
    "refresh": Behaviour("", 200, _head("200 OK", f"Refresh: 0; url={_INSIDE}", "Content-Length: 0")),
    "created": Behaviour("", 201, _head("201 Created", f"Location: {_INSIDE}", f"Content-Location: {_INSIDE}")),
    "alternative": Behaviour("", 200, _head("200 OK", 'Alt-Svc: h2="127.0.0.1:PORT"', f"Link: <{_INSIDE}>; rel=preload")),
    "page": Behaviour("", 200, _head("200 OK", "Content-Type: text/html") + f'<meta http-equiv="refresh" content="0;{_INSIDE}">'.encode()),
    "asks-password": Behaviour("status", 401, _head("401 Unauthorized", "WWW-Authenticate: Basic realm=x", f"Location: {_INSIDE}")),
    "asks-proxy-password": Behaviour("status", 407, _head("407 Proxy", "Proxy-Authenticate: NTLM")),
    "upgrades": Behaviour("not_http", None, _head("101 Switching Protocols", "Upgrade: h2c")),
    "slow-head": Behaviour("timeout", None, _drip(b"HTTP/1.1 200 OK\r\nX: ")),
    "slow-body": Behaviour("", 200, _drip(_head("200 OK", "Content-Length: 1000000"))),
    "endless-head": Behaviour("not_http", None, _flood(b"HTTP/1.1 200 OK\r\nX: ", b"a" * 65_536)),
    "endless-body": Behaviour("", 200, _flood(_head("200 OK", "Transfer-Encoding: chunked"), b"10000\r\n" + b"a" * 65_536 + b"\r\n")),
    "endless-hints": Behaviour("timeout", None, _drip(_head("103 Early Hints") * 3)),
    "bomb": Behaviour("", 200, _head("200 OK", "Content-Encoding: gzip") + gzip.compress(bytes(64 << 20), 9)),
    "bomb-in-bomb": Behaviour("", 200, _head("200 OK", "Content-Encoding: gzip, gzip") + gzip.compress(gzip.compress(bytes(64 << 20), 9))),
    "silence": Behaviour("timeout", None, _silence),
    "hangs-up": Behaviour("not_http", None, lambda channel: None),
    "resets": Behaviour("connection", None, _reset),
    "no-http": Behaviour("not_http", None, b"SSH-2.0-OpenSSH_9.9\r\n\r\n"),
    "no-status": Behaviour("not_http", None, b"HTTP/1.1 OK\r\n\r\n"),
    "zeros": Behaviour("not_http", None, bytes(200_000)),
    "tls-self-signed": Behaviour("certificate", None, _head("200 OK"), certificate_for="tls-self-signed.hooks.test", scheme="https"),
    "tls-other-name": Behaviour("certificate", None, _head("200 OK"), certificate_for="bank.test", scheme="https"),
    "tls-expired": Behaviour("certificate", None, _head("200 OK"), certificate_for="tls-expired.hooks.test", days=-1, scheme="https"),
    "tls-is-plain": Behaviour("connection", None, _head("200 OK"), scheme="https"),
    "tls-silent": Behaviour("timeout", None, _silence, scheme="https"),
}


@contextlib.contextmanager
def serving(behaviour: Behaviour, *, inside: int) -> Iterator[listener.Door]:
    """Serve one behaviour on loopback; ``inside`` is the port of the canary that redirects name."""
    secured = _context(behaviour.certificate_for, behaviour.days) if behaviour.certificate_for else None

    def answer(connection: socket.socket, _number: int) -> None:
        # Whoever hangs up in the middle is the subject, not a fault of the server.
        with contextlib.suppress(OSError), contextlib.closing(connection):
            connection.settimeout(_PATIENCE_S)
            with contextlib.closing(secured.wrap_socket(connection, server_side=True) if secured else connection) as channel:
                if secured or behaviour.scheme == "http":
                    # To its end: closing with bytes unread would reset the connection and take the answer with it.
                    listener.read_request(channel)
                else:
                    channel.recv(65_536)
                if callable(behaviour.answer):
                    behaviour.answer(channel)
                else:
                    channel.sendall(behaviour.answer.replace(b"PORT", str(inside).encode()))

    door = listener.Door()
    with listener.accepting(door, answer):
        yield door


@functools.cache
def _context(name: str, days: int) -> ssl.SSLContext:
    """Return a server's TLS context with a certificate for ``name`` that nobody has signed, good for ``days`` from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(tz=datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=7))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pem")
        secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + secret)
        context.load_cert_chain(path)
    return context
