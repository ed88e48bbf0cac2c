"""No spelling of an address that is not public, and no answer of a resolver, leads a webhook inwards."""

import ipaddress

import pytest
from pytest_django import Settings

from market.events import egress

LOOPBACK_AND_FRIENDS = [
    "https://127.0.0.1/",
    "https://127.0.0.1:8443/",
    "https://127.1/",
    "https://127.0.1/",
    "https://127.255.255.254/",
    "https://0/",
    "https://0.0.0.0/",
    "https://00.0.0.0/",
    "https://0x7f.0.0.1/",
    "https://0x7f.1/",
    "https://0x7F000001/",
    "https://0x7f000001./",
    "https://2130706433/",
    "https://017700000001/",
    "https://0177.0.0.1/",
    "https://0177.0.0.0x1/",
    "https://127.0.0.1./",
    "https://localhost/",
    "https://localhost./",
    "https://LOCALHOST/",
    "https://[::1]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[0000:0000:0000:0000:0000:0000:0000:0001]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::127.0.0.1]/",
    "https://[::7f00:1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b::127.0.0.1]/",
    "https://[64:ff9b:1::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[2002:a00:1::1]/",
    "https://[2001:0:4136:e378:8000:63bf:80ff:fffe]/",
    "https://[2a00:1450:4001:81b:0:5efe:10.0.0.1]/",
    "https://[2a00:1450:4001:81b:200:5efe:127.0.0.1]/",
    "https://[fe80::1]/",
    "https://[fec0::1]/",
    "https://[fc00::1]/",
    "https://[fd00:ec2::254]/",
    "https://[ff02::1]/",
    "https://[100::1]/",
    "https://[2001:db8::1]/",
    "https://[2001:2::1]/",
    "https://[2001:10::1]/",
    "https://[3fff::1]/",
    "https://[5f00::1]/",
    "https://10.0.0.1/",
    "https://10.255.255.255/",
    "https://100.64.0.1/",
    "https://100.127.255.254/",
    "https://169.254.169.254/latest/meta-data/",
    "https://0xA9FEA9FE/",
    "https://2852039166/",
    "https://[::ffff:169.254.169.254]/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.0.0.8/",
    "https://192.0.0.192/",
    "https://192.0.2.1/",
    "https://192.88.99.1/",
    "https://192.168.0.1/",
    "https://192.168.1/",
    "https://198.18.0.1/",
    "https://198.51.100.7/",
    "https://203.0.113.7/",
    "https://224.0.0.1/",
    "https://239.255.255.250/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://168.63.129.16/",
]
MALFORMED = [
    "http://example.com/",
    "https://example.com:22/",
    "https://example.com:80/",
    "https://example.com:6379/",
    "https://example.com:99999/",
    "https://user@example.com/",
    "https://user:pass@example.com/",
    "https://example.com@127.0.0.1/",
    "https://example.com#@127.0.0.1/",
    "https://example.com\\@127.0.0.1/",
    "https://example.com/\r\nHost: internal",
    "https://example.com/ x",
    "https://example.com/\x00",
    "https://example.com/é",
    "https://①②⑦.⓪.⓪.①/",
    "https://127。0。0。1/",
    "https://exämple.com/",
    "https://[::1%25lo]/",
    "https://[::1%lo]/",
    "https://[127.0.0.1]/",
    "https:///path",
    "https://",
    "https:example.com",
    "//example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "HTTPS://example.com/",
    "https://intranet/",
    "https://example.com?x=1",
    "https://example.com/" + "a" * 500,
    "",
]


@pytest.mark.parametrize("url", LOOPBACK_AND_FRIENDS + MALFORMED)
def test_refuses_before_connecting(url: str) -> None:
    with pytest.raises((egress.RefusedUrl, egress.RefusedAddress)):
        egress.pin(egress.parse(url), resolve=resolve_literally)


def resolve_literally(host: str, port: int) -> list[str]:
    """Read the spellings like the system's resolver does, without asking any network."""
    return egress.system_resolve(host, port) if host.replace(".", "").isalnum() else [host]


@pytest.mark.parametrize("url", LOOPBACK_AND_FRIENDS)
def test_refuses_whatever_a_name_leads_to(url: str) -> None:
    """The same addresses again, this time as the answer for an innocent name."""
    host = egress._URL.fullmatch(url)["host"].strip("[]").rstrip(".")  # type: ignore[index]
    answers = egress.system_resolve(host, 443)
    with pytest.raises(egress.RefusedAddress):
        egress.pin(egress.parse("https://hooks.example.com/"), resolve=lambda name, port: answers)


@pytest.mark.parametrize("answers", [["93.184.216.34", "10.0.0.1"], ["2606:4700::1111", "::1"], ["1.1.1.1", "fe80::1%eth0"]])
def test_checks_all_answers(answers: list[str]) -> None:
    with pytest.raises(egress.RefusedAddress):
        egress.pin(egress.parse("https://hooks.example.com/"), resolve=lambda name, port: answers)


@pytest.mark.parametrize(
    "text", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e", "64:ff9b::101:101", "::ffff:8.8.8.8"]
)
def test_lets_public_addresses_pass(text: str) -> None:
    assert egress.is_public(ipaddress.ip_address(text))


def test_asks_resolver_once(settings: Settings) -> None:
    """A name that answers with a public address first and with loopback the second time finds no second time."""
    asked: list[str] = []

    def rebind(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["93.184.216.34"] if len(asked) == 1 else ["127.0.0.1"]

    assert egress.pin(egress.parse("https://rebind.example.com/"), resolve=rebind) == "93.184.216.34"
    assert asked == ["rebind.example.com"]


@pytest.mark.parametrize("error", [OSError("no such host"), UnicodeError("label too long")])
def test_names_unknown_host(error: Exception) -> None:
    def fail(host: str, port: int) -> list[str]:
        raise error

    with pytest.raises(egress.UnknownHost):
        egress.pin(egress.parse("https://gone.example.com/"), resolve=fail)


def test_lets_only_loopback_pass_for_test_hosts(settings: Settings) -> None:
    settings.EGRESS_TEST_HOSTS = frozenset({"hooks.test:9000"})
    target = egress.parse("http://hooks.test:9000/in")
    assert egress.pin(target, resolve=lambda host, port: ["127.0.0.1"]) == "127.0.0.1"
    with pytest.raises(egress.RefusedAddress):
        egress.pin(target, resolve=lambda host, port: ["169.254.169.254"])
    with pytest.raises(egress.RefusedUrl):
        egress.parse("http://hooks.test:9001/in")
