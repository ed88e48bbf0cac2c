"""python -m tests.faults.egress: every address, name and answer that could lead a webhook inwards, before canaries that count.

The code under test is the real delivery of webhooks, from the row to the socket. What is ours here is the world around
it: a name service whose answers change between look-ups, and a network in which everything that is not one of a few
public addresses is the inside. Public addresses lead nowhere: nothing leaves this machine.
"""

import argparse
import ast
import contextlib
import errno
import ipaddress
import os
import random
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from market.events import egress
from tests import listener
from tests.faults import campaign
from tests.faults.hostile_servers import BEHAVIOURS, Behaviour, serving

if TYPE_CHECKING:
    from market.accounts.models import Agent

ROUNDS = 1_000
PUBLIC_V4 = ("93.184.216.34", "1.1.1.1", "8.8.8.8", "192.30.255.113")
PUBLIC_V6 = ("2606:4700:4700::1111", "2a00:1450:4001:81b::200e")
_PUBLIC = frozenset({*PUBLIC_V4, *PUBLIC_V6})
# Written out apart from the guard's own list: a range that is missing there must not be missing here.
INSIDE_V4 = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "172.16.0.0/12"),
    *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
    *("224.0.0.0/4", "240.0.0.0/4"),
)
INSIDE_V6 = (
    *("::1", "::", "fe80::1", "fe80::1%lo", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "ff05::2", "100::1", "2001:db8::1"),
    *("2001:2::1", "2001:10::1", "2001:20::1", "3fff::1", "5f00::1", "4000::1", "e000::1", "2620:4f:8000::1"),
)


@dataclass(frozen=True)
class Case:
    """A webhook's URL, and what its name is said to be at each look-up; the last answer stays."""

    url: str
    answers: tuple[tuple[str, ...], ...] = ()

    @property
    def leads_inside(self) -> bool:
        """Whether a market without a guard would call inside: nothing but the list of addresses keeps it out."""
        return bool(self.answers) and self.answers[0][0] not in _PUBLIC


@dataclass
class World:
    """A name service and a network; ``attempts`` are the connections that were begun towards the inside."""

    names: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    attempts: list[tuple[str, int]] = field(default_factory=list)
    abroad: int = 0
    canary_connections: int = 0
    # Real addresses that stay reachable: our own Redis and the servers that a case talks to.
    open_doors: set[tuple[str, int]] = field(default_factory=set)
    _canaries: dict[int, socket.socket] = field(default_factory=dict)

    @property
    def canary_port(self) -> int:
        """The port of the canary on 127.0.0.1."""
        return int(self._canaries[socket.AF_INET].getsockname()[1])

    def look_up(self, host: str) -> list[tuple[str, ...]] | None:
        """Return the answers that a name has left, or None for a name that is not ours."""
        return self.names.get(host.rstrip(".").lower())


@contextlib.contextmanager
def world() -> Iterator[World]:
    """Put this process into a world of its own: every look-up and every connection of its Python code goes through it."""
    from django.conf import settings
    from redis.connection import parse_url

    look_up, connect = socket.getaddrinfo, socket.socket.connect
    redis = parse_url(settings.REDIS_URL)  # type: ignore[no-untyped-call]
    found = look_up(redis.get("host", "localhost"), redis.get("port", 6379), type=socket.SOCK_STREAM)
    here = World(open_doors={(str(each[4][0]), int(each[4][1])) for each in found})

    def answer(host: str, port: int, *arguments: object, **more: object) -> list[object]:
        left = here.look_up(host) if isinstance(host, str) else None
        if left is None:
            return list(look_up(host, port, *arguments, **more))  # type: ignore[arg-type]
        now = left.pop(0) if len(left) > 1 else left[0]
        return [each for address in now for each in look_up(address, port, type=socket.SOCK_STREAM)]

    def route(self: socket.socket, address: object) -> None:
        if not isinstance(address, tuple) or (address[0], address[1]) in here.open_doors or _is_ours(here, address):
            connect(self, address)  # type: ignore[arg-type]
        elif address[0] in _PUBLIC:
            here.abroad += 1
            raise OSError(errno.ENETUNREACH, "There is no internet here")
        else:
            here.attempts.append((str(address[0]), int(address[1])))
            canary = here._canaries.get(self.family)
            if canary is None:
                raise ConnectionRefusedError(errno.ECONNREFUSED, "Nothing listens inside")
            connect(self, canary.getsockname())

    with contextlib.ExitStack() as stack:
        for family, loopback in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with contextlib.suppress(OSError):  # A machine without IPv6 still sees the attempt.
                here._canaries[family] = socket.create_server((loopback, 0), family=family)
                stack.enter_context(_counting(here, here._canaries[family]))
        stack.enter_context(mock.patch.object(socket, "getaddrinfo", answer))
        stack.enter_context(mock.patch.object(socket.socket, "connect", route))
        # Where a library would ask the environment for a way out, it finds the canary.
        proxy = f"http://127.0.0.1:{here.canary_port}"
        stack.enter_context(mock.patch.dict(os.environ, {"HTTPS_PROXY": proxy, "HTTP_PROXY": proxy, "ALL_PROXY": proxy}))
        yield here


def _is_ours(here: World, address: tuple[object, ...]) -> bool:
    # The canaries themselves are inside: who comes to them by their own address must be counted as well.
    return any(canary.getsockname()[:2] == address[:2] for canary in here._canaries.values())


def _counting(here: World, canary: socket.socket) -> contextlib.AbstractContextManager[None]:
    def count(connection: socket.socket) -> None:
        here.canary_connections += 1
        connection.close()

    return listener.taking(canary, count)


def spelled_cases() -> list[Case]:
    """Return URLs that are refused by their look: odd spellings of addresses, users, ports, zones, other alphabets."""
    from tests.market.events.egress import test_refuses_addresses_that_are_not_public as spellings

    more = [
        "https://[fe80::1%25eth0]/",
        "https://127.0.0.1%2f@example.com/",
        "https://example.com%00.evil.test/",
        "https://example.com:443@10.0.0.1:443/",
        "https://example.com:443:8443/",
        "https://example.com:/",
        "https://example.com:+443/",
        "https://[::ffff:0:127.0.0.1]/",
        "https://[::ffff:0:0:127.0.0.1]/",
        "https://[0:0:0:0:0:ffff:7f00:0001]/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://[2001:0:7f00:1::]/",
        "https://0127.0.0.1/",
        "https://1.0x7f000001/",
        "https://4294967297/",
        "https://127.0.0.1.:8443/",
        "https://metadata/",
        "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
        "https://localhost\t/",
        "https:\\\\127.0.0.1\\",
        "https://example.com/\\..\\@10.0.0.1",
        "https://example.com?@10.0.0.1/",
    ]
    return [Case(url) for url in dict.fromkeys((*spellings.LOOPBACK_AND_FRIENDS, *spellings.MALFORMED, *more))]


def named_cases() -> list[Case]:
    """Return innocent names whose answers lead inside, at once or at the second look."""
    inside = [*(str(ipaddress.ip_network(text)[1 if "/32" not in text else 0]) for text in INSIDE_V4), "169.254.169.254", *INSIDE_V6]
    inside += [form for address in ("10.0.0.1", "127.0.0.1", "169.254.169.254") for form in wrapped(address)]
    cases = [Case(f"https://a{number}.hooks.test/", ((address,),)) for number, address in enumerate(dict.fromkeys(inside))]
    mixes: list[tuple[tuple[str, ...], ...]] = [
        (("10.0.0.1", PUBLIC_V4[0]),),
        ((PUBLIC_V4[0], "10.0.0.1"),),
        ((*PUBLIC_V4, "192.168.1.1"),),
        ((PUBLIC_V4[0], "::1"),),
        (("fd00::1", PUBLIC_V4[0]),),
        ((PUBLIC_V6[0], "::ffff:127.0.0.1"),),
        # Rebinding: harmless when it is looked at, and something else when it is called.
        ((PUBLIC_V4[0],), ("127.0.0.1",)),
        ((PUBLIC_V6[0],), ("::1",)),
        ((PUBLIC_V4[0],), ("169.254.169.254",)),
        ((PUBLIC_V4[0],), (PUBLIC_V4[0],), ("10.0.0.1",)),
        ((PUBLIC_V4[0],), ("10.0.0.1",), (PUBLIC_V4[0],), ("10.0.0.1",)),
        (("10.0.0.1",), (PUBLIC_V4[0],)),
        ((PUBLIC_V4[0], PUBLIC_V4[1]), (PUBLIC_V4[0], "10.0.0.1")),
    ]
    cases += [Case(f"https://m{number}.hooks.test/", answers) for number, answers in enumerate(mixes)]
    odd = ("trailing.hooks.test.", "UPPER.hooks.test", "xn--exmple-cua.hooks.test", "127.0.0.1.hooks.test", "port.hooks.test:8443")
    # A CNAME is followed by the name service: what arrives is the address at its end.
    return [*cases, *(Case(f"https://{host}/", (("127.0.0.1",),)) for host in (*odd, "cname-to-localhost.hooks.test"))]


def wrapped(address: str) -> list[str]:
    """Return the IPv6 addresses that carry an IPv4 address: mapped, translated, compatible, NAT64, 6to4, Teredo, ISATAP."""
    number = int(ipaddress.IPv4Address(address))
    high, low = number >> 16, number & 0xFFFF
    flipped = number ^ 0xFFFF_FFFF
    return [
        f"::ffff:{address}",
        f"::ffff:0:{high:x}:{low:x}",
        f"::{address}",
        f"64:ff9b::{high:x}:{low:x}",
        f"64:ff9b:1::{high:x}:{low:x}",
        f"2002:{high:x}:{low:x}::1",
        f"2001:0:{high:x}:{low:x}:0:f227:{flipped >> 16:x}:{flipped & 0xFFFF:x}",
        f"2a00:1450:4001:81b:0:5efe:{high:x}:{low:x}",
        f"2a00:1450:4001:81b:200:5efe:{high:x}:{low:x}",
    ]


def drawn_case(dice: random.Random, number: int) -> Case:
    """Draw an address of the inside, in some form, and a way to it."""
    network = ipaddress.IPv4Network(dice.choice(INSIDE_V4))
    address = str(network[dice.randrange(network.num_addresses)])
    form = dice.choice([address, dice.choice(wrapped(address)), dice.choice(INSIDE_V6)])
    way = dice.randrange(4)
    if way == 0:
        return Case(f"https://{spelled(dice, address)}/")
    answers = [form, *dice.sample(PUBLIC_V4, dice.randrange(4))]
    if way == 1:
        dice.shuffle(answers)
        return Case(f"https://r{number}.hooks.test/", (tuple(answers),))
    if way == 2:
        return Case(f"https://r{number}.hooks.test/", ((dice.choice(_PUBLIC_LIST),), (form,)))
    return Case(f"https://r{number}.hooks.test:8443/", ((form,),))


_PUBLIC_LIST = sorted(_PUBLIC)


def spelled(dice: random.Random, address: str) -> str:
    """Write an IPv4 address in one of the ways that resolvers read, or inside an IPv6 address."""
    number, parts = int(ipaddress.IPv4Address(address)), [int(part) for part in address.split(".")]
    writers: list[Callable[[int], str]] = [str, hex, lambda part: f"0{part:o}", lambda part: f"0x{part:04X}"]
    ways = [
        address,
        str(number),
        hex(number),
        f"0{number:o}",
        ".".join(dice.choice(writers)(part) for part in parts),
        f"{parts[0]}.{number & 0xFFFFFF}",
        f"{parts[0]}.{parts[1]}.{number & 0xFFFF}",
        f"{address}.",
        *(f"[{form}]" for form in wrapped(address)),
    ]
    return dice.choice(ways)


@dataclass
class Outcome:
    """What became of one case: which word its log says, and how many connections it began towards the inside."""

    failure: str
    status_code: int | None
    duration_ms: int


def deliver(here: World, cases: list[Case], *, agent: "Agent") -> dict[str, Outcome]:
    """Send one event to the endpoint of every case, as the job does; return what the log of attempts says, by URL."""
    from django.utils import timezone

    from market.events import delivery, feed
    from market.events.models import DeliveryAttempt, WebhookEndpoint

    for case in cases:
        host = case.url.partition("://")[2].partition("/")[0].partition(":")[0].rstrip(".").lower()
        if case.answers:
            here.names[host] = list(case.answers)
    WebhookEndpoint.objects.filter(agent_id=agent.pk).update(is_enabled=False)
    # Put there past the check at registration: a row may be older than the guard.
    endpoints = WebhookEndpoint.objects.bulk_create(
        WebhookEndpoint(agent_id=agent.pk, url=case.url, secret="whsec_" + "a" * 40) for case in cases
    )
    feed.record(agent=agent, type="bounty.funded", subject="bty_0", actor="agent", data={})
    attempts = DeliveryAttempt.objects.filter(delivery__endpoint__in=endpoints).select_related("delivery__endpoint").order_by("-pk")
    # Until each was tried once: who failed first would be due again while the slow ones are under way.
    while attempts.values("delivery").distinct().count() < len(endpoints):
        if not delivery.deliver_due(now=timezone.now()):
            raise AssertionError("Deliveries were lost: not every endpoint has an attempt, and none is due.")
    return {each.delivery.endpoint.url: Outcome(each.failure, each.status_code, each.duration_ms) for each in attempts}


def is_registrable(url: str) -> bool:
    """Say whether an agent may register a URL."""
    try:
        egress.parse(url)
    except egress.EgressFailed:
        return False
    return True


def run(options: argparse.Namespace) -> campaign.Report:
    """Try every fixed case, ``--rounds`` drawn ones and every behaviour of a server; then see that the canaries sing without a guard."""
    from tests import people

    report, agent = campaign.Report(), people.open_agent("feed")
    dice = random.Random(options.seed)
    fixed = [case for case in (*spelled_cases(), *named_cases()) if _can_be_stored(case.url)]
    drawn = list({case.url: case for case in (drawn_case(dice, number) for number in range(options.rounds))}.values())
    report.figures |= {"fixed cases": len(fixed), "drawn cases": len(drawn)}
    for cases in (fixed, drawn):
        for start in range(0, len(cases), 200):
            try_cases(report, cases[start : start + 200], agent=agent, seed=options.seed)
    try_behaviours(report, agent=agent)
    see_control(report, agent=agent)
    return report


def _can_be_stored(url: str) -> bool:
    # Longer ones and NUL are refused by the column itself.
    return 0 < len(url) <= 500 and "\x00" not in url


def try_cases(report: campaign.Report, cases: list[Case], *, agent: "Agent", seed: int) -> None:
    """Deliver to each case; nothing may be begun towards the inside."""
    with world() as here:
        outcomes = deliver(here, cases, agent=agent)
        _count_inside(report, here, f"seed {seed}")
        report.count("connections abroad that were begun", here.abroad)
    for case in cases:
        outcome = outcomes.get(case.url)
        if outcome is None or not outcome.failure:
            report.violations.append(f"seed {seed}: {case} ended as {outcome}")
        elif case.leads_inside and outcome.failure not in ("refused_address", "refused_url", "timeout"):
            report.violations.append(f"seed {seed}: {case} was not refused for its address: {outcome}")
        if not case.answers and is_registrable(case.url):
            report.violations.append(f"seed {seed}: {case.url} can be registered")


def try_behaviours(report: campaign.Report, *, agent: "Agent") -> None:
    """Deliver to servers that redirect, drip, flood, bomb and lie about who they are; each costs one connection and its time."""
    # The slow ones side by side, in one batch: they take their whole time.
    slow = [name for name, behaviour in BEHAVIOURS.items() if behaviour.failure == "timeout"]
    quick = [name for name in BEHAVIOURS if name not in slow]
    report.figures |= {"behaviours of servers": len(BEHAVIOURS), "slowest delivery, s": _try_servers(report, slow, agent=agent)}
    # Which word is right must not depend on how busy this machine is.
    with mock.patch.object(egress, "TOTAL_TIMEOUT_S", 60.0):
        for start in range(0, len(quick), 16):
            _try_servers(report, quick[start : start + 16], agent=agent)


def _try_servers(report: campaign.Report, names: list[str], *, agent: "Agent") -> float:
    from django.test import override_settings

    with world() as here, contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(serving(BEHAVIOURS[name], inside=here.canary_port)) for name in names}
        here.open_doors |= {("127.0.0.1", server.port) for server in servers.values()}
        hosts = {name: f"{name}.hooks.test:{server.port}" for name, server in servers.items()}
        urls = {name: f"{BEHAVIOURS[name].scheme}://{host}/in" for name, host in hosts.items()}
        with override_settings(EGRESS_TEST_HOSTS=frozenset(hosts.values())):
            outcomes = deliver(here, [Case(url, (("127.0.0.1",),)) for url in urls.values()], agent=agent)
        _count_inside(report, here, "a server's answer")
        for name in names:
            _judge_behaviour(report, name, BEHAVIOURS[name], outcomes.get(urls[name]), servers[name].connections)
    return max(outcome.duration_ms for outcome in outcomes.values()) / 1_000


def _judge_behaviour(report: campaign.Report, name: str, behaviour: Behaviour, outcome: Outcome | None, connections: int) -> None:
    if outcome is None or (outcome.failure, outcome.status_code) != (behaviour.failure, behaviour.status_code):
        report.violations.append(f"{name}: {outcome} instead of {behaviour.failure!r} {behaviour.status_code}")
    if connections != 1:
        report.violations.append(f"{name}: {connections} connections for one delivery")


def _count_inside(report: campaign.Report, here: World, what: str) -> None:
    report.count("connections inside", max(len(here.attempts), here.canary_connections))
    report.violations += [f"{what}: a connection to {address} was begun" for address in sorted(set(here.attempts))]
    if here.canary_connections:
        report.violations.append(f"{what}: the canary was reached {here.canary_connections} times")


def see_control(report: campaign.Report, *, agent: "Agent") -> None:
    """Take the guard's list away, and separately let the name be looked up twice: each time the canary must be reached."""
    cases = [case for case in named_cases() if case.leads_inside]
    with world() as here, no_guard():
        outcomes = deliver(here, cases, agent=agent)
        # On a busy machine a case may be due, and so sent, a second time: connections alone don't say how many cases got in.
        got_in = [url for url, outcome in outcomes.items() if outcome.failure not in ("refused_address", "refused_url")]
        reached, sung = min(len(here.attempts), len(got_in)), here.canary_connections
    report.figures["control: inside without the list"] = reached
    if reached != len(cases) or not sung:
        report.violations.append(
            f"The control is blind: {reached} of {len(cases)} cases reached the inside without a guard, {sung} a canary."
        )
    rebinding = [case for case in named_cases() if len(case.answers) > 1 and not case.leads_inside and len(case.answers[0]) == 1]
    with world() as here, second_look():
        deliver(here, rebinding, agent=agent)
        reached = len(here.attempts)
    report.figures["control: inside by a second look-up"] = reached
    if not reached:
        report.violations.append("The control is blind: no name was rebound between two look-ups.")


@contextlib.contextmanager
def no_guard() -> Iterator[None]:
    """Let the guard take every address for a public one."""
    with mock.patch.object(egress, "is_public", return_value=True):
        yield


@contextlib.contextmanager
def second_look() -> Iterator[None]:
    """Judge the addresses of a name, then connect to the name: the mistake that rebinding lives on."""
    judge = egress.pin

    def forget(target: egress.Target, *, resolve: egress.Resolver, timeout_s: float = egress.TOTAL_TIMEOUT_S) -> str:
        judge(target, resolve=resolve, timeout_s=timeout_s)
        return target.host

    with mock.patch.object(egress, "pin", forget):
        yield


# Whoever imports one of these can open a connection.
_CONNECTS = frozenset(
    (
        *("socket", "ssl", "socketserver", "asyncio", "http.client", "http.server", "urllib.request", "ftplib", "smtplib"),
        *("poplib", "imaplib", "nntplib", "telnetlib", "xmlrpc.client", "httpx", "httpcore", "requests", "urllib3", "aiohttp"),
        *("websockets", "websocket", "stripe", "web3", "eth_account", "boto3", "botocore", "google", "grpc", "paramiko"),
        *("redis", "kombu", "celery", "psycopg", "django.core.mail", "huggingface_hub", "transformers", "torch.hub", "timm"),
        *("open_clip", "dns"),
    )
)
# Every module of ours that may, and where it goes. Whoever adds one says here why nobody else can choose its address.
_BROKER = "the broker of REDIS_URL, which the operator sets"
_DATABASE = "the database of DATABASE_URL, which the operator sets"
_MARKET = "the market's address, which whoever runs the client sets"
_JOBS = "declares jobs; the broker calls it"
DOORS: dict[str, tuple[frozenset[str], str]] = {
    path: (frozenset(modules.split()), why)
    for path, modules, why in (
        ("market/events/egress.py", "socket ssl", "addresses that strangers name: the guard itself"),
        ("market/events/delivery.py", "socket", "nowhere: the host's own name"),
        ("verification/pipeline.py", "socket", "nowhere: the host's own name"),
        ("verification/research/advancing.py", "socket", "nowhere: the host's own name"),
        ("verification/research/jobs.py", "celery", _BROKER),
        ("market/bounties/research/jobs.py", "celery", _BROKER),
        ("gpu_workers/environment.py", "socket", "nowhere: the host's own name"),
        ("gpu_workers/owner/starting.py", "socket", "nowhere: the host's own name"),
        ("gpu_workers/owner/doctor.py", "httpx", "the market of ATOMS_URL, which the owner sets: its clock and speed"),
        ("gpu_workers/sandbox/control.py", "socket", "itself: a listener on loopback that the sandbox must not reach"),
        ("gpu_workers/sandbox/seccomp.py", "socket", "nowhere: the numbers of address families"),
        ("market/config/settings.py", "psycopg redis", "nowhere: names the isolation level, and where the cache is"),
        ("market/config/health.py", "redis", _BROKER),
        ("market/config/jobs.py", "celery redis", _BROKER),
        ("market/config/celery_app.py", "celery", _BROKER),
        ("market/config/rates.py", "redis", _BROKER),
        ("market/web/limits.py", "redis", _BROKER),
        ("tasks/bells.py", "celery kombu redis", _BROKER + " and of ATOMS_GPU_REDIS_URL"),
        ("gpu_workers/celery_app.py", "celery", "the doorbell of ATOMS_GPU_REDIS_URL, which the operator sets"),
        ("market/accounts/jobs.py", "celery", _JOBS),
        ("market/bounties/jobs.py", "celery", _JOBS),
        ("market/events/jobs.py", "celery", _JOBS),
        ("market/ledger/jobs.py", "celery", _JOBS),
        ("market/payments/jobs.py", "celery", _JOBS),
        ("tasks/jobs.py", "celery", _JOBS),
        ("verification/jobs.py", "celery", _JOBS),
        ("market/config/supervisor/market_command.py", "socket", "loopback: looks for a free port"),
        ("market/config/supervisor/postgres.py", "psycopg", "the PostgreSQL that it started, or " + _DATABASE),
        ("market/config/supervisor/services.py", "psycopg redis", _DATABASE + "; " + _BROKER),
        ("market/config/supervisor/valkey.py", "redis", "the Valkey that it started"),
        ("market/config/supervisor/waiting.py", "celery kombu redis urllib.request", "the web server that it started; " + _BROKER),
        ("gpu_workers/vision/sentences.py", "transformers", "nowhere: reads a folder, with local_files_only"),
        ("agents_sdk/_core.py", "httpx", _MARKET),
        ("agents_sdk/_http.py", "asyncio httpx", _MARKET + "; files at addresses that the market names, without the key"),
        ("agents_sdk/async_market.py", "httpx", _MARKET),
        ("agents_sdk/market.py", "httpx", _MARKET),
        ("agents_sdk/leases.py", "httpx", _MARKET),
        ("agents_sdk/worker.py", "httpx", _MARKET),
        ("agents_sdk/cli/program.py", "httpx", _MARKET),
    )
}


def outgoing() -> dict[str, frozenset[str]]:
    """Return which modules of ours import something that connects."""
    found: dict[str, frozenset[str]] = {}
    folders = ("market", "tasks", "verification", "gpu_workers", "agents_sdk")
    for path in (campaign.ROOT / "manage.py", *(path for folder in folders for path in sorted((campaign.ROOT / folder).rglob("*.py")))):
        used = _CONNECTS & set(_imported(path))
        if used:
            found[str(path.relative_to(campaign.ROOT))] = frozenset(used)
    return found


def _imported(path: Path) -> Iterator[str]:
    """Yield the names that a file imports, each with all its parents."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{each.name}" for each in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("__import__", "importlib.import_module", "import_module"):
            names = [str(each.value) for each in node.args[:1] if isinstance(each, ast.Constant)]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:length]) for length in range(1, len(parts) + 1))


if __name__ == "__main__":
    campaign.command("tests.faults.egress", description=__doc__ or "", rounds=ROUNDS, run=run)
