"""The only door from the market to addresses that strangers name: one POST, to a public address, without detours.

Does not protect from a network whose own routes lead public addresses inwards; production adds an egress proxy.
"""

import concurrent.futures
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings

TOTAL_TIMEOUT_S = 5.0
# Of the answer only the status is wanted; a server that sends more head than this is cut off.
MAX_ANSWER_BYTES = 65_536
ALLOWED_PORTS = frozenset({443, 8443})
MAX_URL_LENGTH = 500

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
# (host, port) -> every address the name has, as text.
Resolver = Callable[[str, int], list[str]]

# Not `ipaddress.is_global`: on Python 3.11 it calls 192.88.99.1, 64:ff9b::7f00:1 and 2002:7f00:1:: public.
_REFUSED_V4 = [
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # a public number that one cloud answers from inside every machine
        "169.254.0.0/16",  # link local, cloud metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
]
# IANA has given out global unicast addresses from here only; the rest of IPv6 is refused without a list.
_GLOBAL_UNICAST_V6 = ipaddress.IPv6Network("2000::/3")
_REFUSED_V6 = [
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address in disguise
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
]
# Their last 32 bits are an IPv4 address, which is judged in their place.
_WRAPPERS = [ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("64:ff9b::/96")]

# ASCII only: a Unicode digit or dot would be normalised into another host behind our back.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253})(:(?P<port>[0-9]{1,5}))?(?P<path>/[!-\[\]-~]*)?"
)
_ENDS_IN_NUMBER = re.compile(r"(^|\.)(0x[0-9a-f]*|[0-9]+)\.?$")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})[ \r]")

_resolvers = concurrent.futures.ThreadPoolExecutor(max_workers=16, thread_name_prefix="resolve")


class EgressFailed(Exception):
    """Nothing usable came back; ``failure`` names why in one word for the attempt log."""

    failure = "connection"


class RefusedUrl(EgressFailed):
    """The URL is not one we call; the message says what is allowed."""

    failure = "refused_url"


class RefusedAddress(EgressFailed):
    """The name leads, at least in one of its answers, to an address that is not public."""

    failure = "refused_address"


class UnknownHost(EgressFailed):
    """The name has no address."""

    failure = "unknown_host"


class TimedOut(EgressFailed):
    """Resolving, connecting, sending and the answer's head took longer than `TOTAL_TIMEOUT_S` together."""

    failure = "timeout"


class BadCertificate(EgressFailed):
    """The server did not prove that it is the host of the URL."""

    failure = "certificate"


class NotHttp(EgressFailed):
    """The answer was not HTTP/1, or its head was too long."""

    failure = "not_http"


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart. ``is_test_host`` is true for hosts that the settings name for development."""

    is_tls: bool
    host: str
    port: int
    path: str
    is_test_host: bool

    @property
    def host_header(self) -> str:
        """The ``Host`` line: brackets for IPv6, the port where it is not the usual one."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == (443 if self.is_tls else 80) else f"{name}:{self.port}"


def parse(url: str) -> Target:
    """Take a URL apart.

    Raises:
        RefusedUrl: not a plain ``https://host[:443|:8443]/path``; ``http`` and other ports only for configured test hosts.
        RefusedAddress: the host is an address that is not public, or an odd spelling of one.
    """
    found = _URL.fullmatch(url) if len(url) <= MAX_URL_LENGTH else None
    if found is None:
        raise RefusedUrl("A webhook URL is https://host/path in ASCII, without user, password, fragment or spaces, 500 characters at most.")
    is_tls = found["scheme"] == "https"
    port = int(found["port"]) if found["port"] else (443 if is_tls else 80)
    host = found["host"].strip("[]").lower()
    is_test_host = f"{host}:{port}" in {name.lower() for name in settings.EGRESS_TEST_HOSTS}
    if not is_test_host:
        if not is_tls:
            raise RefusedUrl("A webhook URL begins with https://.")
        if port not in ALLOWED_PORTS:
            raise RefusedUrl("A webhook URL uses port 443 or 8443.")
        _refuse_plain_address(host)
    return Target(is_tls=is_tls, host=host, port=port, path=found["path"] or "/", is_test_host=is_test_host)


def _refuse_plain_address(host: str) -> None:
    """Judge a host that is a number already when it is registered; names are judged by what they lead to, at each call."""
    if ":" in host or _ENDS_IN_NUMBER.search(host):
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            # 127.1, 0x7f.1, 2130706433 ...: resolvers read them as addresses, people do not.
            raise RefusedAddress(f"{host} is not the usual spelling of an address.") from None
        if not is_public(address):
            raise RefusedAddress(f"{host} is not a public address.")
    elif "." not in host.strip("."):
        raise RefusedUrl("A webhook URL names a host with a domain.")


def is_public(address: IpAddress) -> bool:
    """Say whether an address belongs to the public internet, tunnels and translations looked through."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    if any(address in wrapper for wrapper in _WRAPPERS):
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    if address not in _GLOBAL_UNICAST_V6 or any(address in network for network in _REFUSED_V6):
        return False
    # ISATAP (RFC 5214, section 6.1) hides an IPv4 address behind the interface id 0000:5efe or 0200:5efe.
    return (int(address) >> 32) & 0xFFFF_FFFF not in (0x0000_5EFE, 0x0200_5EFE)


def system_resolve(host: str, port: int) -> list[str]:
    """Ask the system's resolver for every address of a name."""
    return [str(answer[4][0]) for answer in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def pin(target: Target, *, resolve: Resolver = system_resolve, timeout_s: float = TOTAL_TIMEOUT_S) -> str:
    """Resolve once and return the one address to connect to.

    Raises:
        RefusedAddress: one of the answers, any of them, is not public.
        UnknownHost: there is no answer.
        TimedOut: the resolver took too long.
    """
    try:
        answers = _resolvers.submit(resolve, target.host, target.port).result(timeout=timeout_s)
    except concurrent.futures.TimeoutError:
        raise TimedOut(f"Resolving {target.host} took more than {timeout_s:.1f} s.") from None
    except (OSError, UnicodeError):
        raise UnknownHost(f"{target.host} has no address.") from None
    if not answers:
        raise UnknownHost(f"{target.host} has no address.")
    for answer in answers:
        # A zone ("fe80::1%eth0") only ever belongs to an address that is not public.
        address = ipaddress.ip_address(answer.partition("%")[0])
        if not (is_public(address) or (target.is_test_host and address.is_loopback)):
            raise RefusedAddress(f"{target.host} leads to {address}, which is not a public address.")
    return answers[0]


def post(*, url: str, headers: dict[str, str], body: bytes, resolve: Resolver = system_resolve, tls: ssl.SSLContext | None = None) -> int:
    """POST ``body`` and return the status code; redirects are not followed, and the answer's body is not read.

    Raises:
        EgressFailed: one of its subclasses; its ``failure`` is the word for the log.
    """
    ends_at = time.monotonic() + TOTAL_TIMEOUT_S
    target = parse(url)
    address = pin(target, resolve=resolve)
    try:
        with socket.create_connection((address, target.port), timeout=_left(ends_at)) as plain:
            if not target.is_tls:
                return _exchange(plain, target, headers, body, ends_at)
            plain.settimeout(_left(ends_at))
            with (tls or ssl.create_default_context()).wrap_socket(plain, server_hostname=target.host) as secured:
                return _exchange(secured, target, headers, body, ends_at)
    except TimeoutError:
        raise TimedOut(f"{target.host} took more than {TOTAL_TIMEOUT_S:.0f} s.") from None
    except ssl.SSLCertVerificationError as error:
        raise BadCertificate(f"{target.host}: {error.verify_message}") from None
    except OSError as error:
        raise EgressFailed(f"{target.host}: {error.strerror or type(error).__name__}") from None


def _exchange(connection: socket.socket, target: Target, headers: dict[str, str], body: bytes, ends_at: float) -> int:
    head = {"Host": target.host_header, **headers, "Content-Length": str(len(body)), "Connection": "close"}
    lines = [f"POST {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    assert not any("\r" in line or "\n" in line for line in lines)
    connection.settimeout(_left(ends_at))
    connection.sendall("\r\n".join([*lines, "", ""]).encode("ascii") + body)
    return _read_status(connection, ends_at)


def _read_status(connection: socket.socket, ends_at: float) -> int:
    received = b""
    while True:
        head, is_whole, rest = received.partition(b"\r\n\r\n")
        if is_whole:
            found = _STATUS_LINE.match(head + b"\r")
            if found is None:
                raise NotHttp("The answer was not HTTP/1.")
            status = int(found[1])
            if status >= 200:
                return status
            received = rest  # An interim answer such as 103; the real one follows.
            continue
        if len(received) > MAX_ANSWER_BYTES:
            raise NotHttp(f"The answer's head is longer than {MAX_ANSWER_BYTES} bytes.")
        # One deadline over all reads: a server that sends a byte a second gains nothing.
        connection.settimeout(_left(ends_at))
        piece = connection.recv(8_192)
        if not piece:
            raise NotHttp("The connection ended before an answer.")
        received += piece


def _left(ends_at: float) -> float:
    left = ends_at - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
