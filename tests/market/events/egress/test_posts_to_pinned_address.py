"""The connection goes to the address that was judged, under the name of the URL, within limits, without detours."""

import datetime
import pathlib
import ssl
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pytest_django import Settings

from market.events import egress
from tests.listener import OK, listen


def loopback(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


def allow(settings: Settings, port: int) -> str:
    settings.EGRESS_TEST_HOSTS = frozenset({f"hooks.test:{port}"})
    return f"hooks.test:{port}"


def post(url: str, tls: ssl.SSLContext | None = None) -> int:
    return egress.post(url=url, headers={"X-Mark": "1"}, body=b"{}", resolve=loopback, tls=tls)


def test_sends_name_of_url_to_pinned_address(settings: Settings) -> None:
    with listen(OK) as listener:
        host = allow(settings, listener.port)
        assert post(f"http://{host}/in?x=1") == 200
    assert listener.requests[0].startswith(b"POST /in?x=1 HTTP/1.1\r\n")
    assert listener.head() == {"host": host, "x-mark": "1", "content-length": "2", "connection": "close"}
    assert listener.body() == b"{}"


def test_does_not_follow_redirects(settings: Settings) -> None:
    with listen(OK) as inside, listen(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/\r\n\r\n" % inside.port) as listener:
        assert post(f"http://{allow(settings, listener.port)}/") == 302
    assert inside.connections == 0


def test_skips_interim_answers(settings: Settings) -> None:
    with listen(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + b"HTTP/1.1 204 No Content\r\n\r\n") as listener:
        assert post(f"http://{allow(settings, listener.port)}/") == 204


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
        b"\x00" * 100_000,
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000,
        b"HTTP/1.1 99 No\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
    ],
)
def test_cuts_off_what_is_not_http(settings: Settings, answer: bytes) -> None:
    with listen(answer) as listener, pytest.raises(egress.EgressFailed):
        post(f"http://{allow(settings, listener.port)}/")


def test_gives_up_on_silence(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress, "TOTAL_TIMEOUT_S", 0.2)
    with listen(b"") as listener, pytest.raises(egress.TimedOut):
        post(f"http://{allow(settings, listener.port)}/")


def test_gives_up_on_resolver_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    is_over = threading.Event()

    def hang(host: str, port: int) -> list[str]:
        is_over.wait(20)
        return ["1.1.1.1"]

    with pytest.raises(egress.TimedOut):
        egress.pin(egress.parse("https://slow.example.com/"), resolve=hang, timeout_s=0.05)
    is_over.set()


def test_names_closed_port(settings: Settings) -> None:
    with listen(OK) as listener:
        host = allow(settings, listener.port)
    with pytest.raises(egress.EgressFailed) as caught:
        post(f"http://{host}/")
    assert caught.value.failure == "connection"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A self-signed certificate for hooks.test, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hooks.test")])
    now = datetime.datetime.now(tz=datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.test")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "hooks.pem"
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


def test_proves_host_by_its_name_not_its_address(settings: Settings, certificate: pathlib.Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    asked_for: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: asked_for.append(name)
    trusting = ssl.create_default_context(cafile=str(certificate))
    with listen(OK, tls=server) as listener:
        host = allow(settings, listener.port)
        assert post(f"https://{host}/", tls=trusting) == 200
        with pytest.raises(egress.BadCertificate):
            post(f"https://{host}/")
        settings.EGRESS_TEST_HOSTS = frozenset({f"other.test:{listener.port}"})
        with pytest.raises(egress.BadCertificate):
            post(f"https://other.test:{listener.port}/", tls=trusting)
    assert asked_for == ["hooks.test", "hooks.test", "other.test"]
