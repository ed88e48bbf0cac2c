"""The readers of strangers' bytes: what each is given, which refusals it documents, and what its results promise."""

import base64
import contextlib
import datetime
import io
import ipaddress
import json
import warnings
from collections.abc import Callable, Sequence

import standardwebhooks
from django.http import HttpRequest
from django.test import RequestFactory
from rest_framework import exceptions
from rest_framework.request import Request

from agents_sdk import errors, webhooks
from market.accounts.models import ApiKey
from market.api import base, once, parsing, problems
from market.common.money import EXPONENTS, MalformedMoney, Money
from market.events import egress
from market.payments.providers import base as providers
from market.payments.providers import registry
from tasks import ids, intake, text
from tests.agents_sdk import replies
from tests.faults.hostile_files import containers

Reader = Callable[[bytes], None]

_SECRET = "whsec_" + base64.b64encode(bytes(24)).decode()
_FACTORY = RequestFactory()
_KEY = ApiKey(scope="agent")
_PUBLIC_ID = f"bty_{'0123456789abcdef' * 2}"


class Broken(Exception):
    """A result that is not what its reader promises."""


def _promise(is_kept: bool, what: object) -> None:
    if not is_kept:
        raise Broken(what)


def read_json(data: bytes) -> None:
    """A body is refused, or is an object that says the same when it is written and read again."""
    with contextlib.suppress(exceptions.ParseError, parsing.BodyTooLarge):
        value = _parse_json(data)
        again = _parse_json(json.dumps(value).encode())
        _promise(again == value, value)


def _parse_json(data: bytes) -> object:
    return parsing.JsonBody().parse(io.BytesIO(data))


def read_address(data: bytes) -> None:
    """A webhook's URL is refused, or leads to the one address that is public."""
    url, _, resolved = data.decode("latin-1").partition("\n")
    with contextlib.suppress(egress.EgressFailed):
        target = egress.parse(url)
        _promise(target.is_tls and target.port in egress.ALLOWED_PORTS and not target.is_test_host, url)
        _promise(not set(target.host_header + target.path) & set(" \r\n\t\0"), url)
        pinned = egress.pin(target, resolve=lambda *_: list(filter(_is_address, resolved.split())))
        _promise(ipaddress.ip_address(pinned).is_global, (url, resolved))


def _is_address(answer: str) -> bool:
    """Say whether a system's resolver could answer so."""
    try:
        ipaddress.ip_address(answer)
    except ValueError:
        return False
    return True


def read_money(data: bytes) -> None:
    """An amount is refused, or is the same amount when it is written and read again."""
    amount, _, currency = data.decode("utf-8", "surrogateescape").partition(" ")
    for each in (currency, *EXPONENTS):
        with contextlib.suppress(MalformedMoney):
            money = Money.parse(amount, each)
            _promise(Money.parse(money.decimal_text(), each) == money, amount)


def read_id(data: bytes) -> None:
    """An id is refused, or is written as it was read."""
    word = data.decode("utf-8", "surrogateescape")
    with contextlib.suppress(ids.MalformedId):
        _promise(ids.encode("bty", ids.decode("bty", word)) == word, word)


def read_page(data: bytes) -> None:
    """A query of a list is refused, or has a limit within bounds."""
    http = HttpRequest()
    http.META["QUERY_STRING"] = data.decode("latin-1")
    request = Request(http)
    with contextlib.suppress(problems.BadParameter):
        base.cursor_of(request, "bty")
        _promise(1 <= base.limit_of(request) <= base.MAX_LIMIT, data)


def read_idempotency_key(data: bytes) -> None:
    """A key and a body are refused, or give the same digest each time."""
    key, _, body = data.partition(b"\n")
    with contextlib.suppress(exceptions.ParseError, parsing.BodyTooLarge, problems.MissingIdempotencyKey, problems.MalformedIdempotencyKey):
        asked = once.asked_of(_post(key, body))
        _promise(asked == once.asked_of(_post(key, body)), data)
        _promise(1 <= len(asked.key) <= once.MAX_KEY_LENGTH and asked.key.isascii() and asked.key.isprintable(), asked.key)


def _post(key: bytes, body: bytes) -> Request:
    # As WSGI hands headers on.
    headers = {"HTTP_IDEMPOTENCY_KEY": key.decode("latin-1")}
    http = _FACTORY.generic("POST", "/v1/bounties", body, content_type="application/json", **headers)  # type: ignore[arg-type]
    request = Request(http, parsers=[parsing.JsonBody()])
    request.auth = _KEY
    return request


def read_photo(data: bytes) -> None:
    """A file is refused by its head, or is a photo whose facts can be written down."""
    with warnings.catch_warnings():
        # As in the decoder's own process.
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")
        with contextlib.suppress(intake.Refused, MemoryError):
            photo, media_type = intake.open_photo(data)
            facts, orientation = intake.facts_of(photo)
            json.dumps(facts, allow_nan=False).encode()
            _promise(media_type.startswith("image/") and 0 <= orientation <= 8, orientation)
            _promise(photo.width * photo.height <= intake.MAX_PIXELS, photo.size)


def read_webhook(data: bytes) -> None:
    """A body that the market has signed is an event or is refused; without its signature it is refused."""
    try:
        body = data.decode()
    except UnicodeDecodeError:
        body = data.decode("latin-1")
    at = datetime.datetime.now(tz=datetime.UTC)
    signature = standardwebhooks.Webhook(_SECRET).sign("msg_1", at, body)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}
    with contextlib.suppress(errors.WebhookInvalid):
        webhooks.unwrap(body, headers, _SECRET)
    with contextlib.suppress(errors.WebhookInvalid):
        webhooks.unwrap(body, {**headers, "webhook-signature": data[:200].decode("latin-1")}, _SECRET)
        raise Broken(data)


def read_bank_event(data: bytes) -> None:
    """A bank's event is refused, or moves a positive amount."""
    with contextlib.suppress(providers.MalformedEvent):
        notice = registry.named("test_money").read_event(data)
        _promise(notice.money.amount_minor > 0, data)


def read_text(data: bytes) -> None:
    """Words are refused, or come out as they would again; what is only cleaned needs no cleaning twice."""
    words = data.decode("utf-8", "replace")
    cleaned = text.strip_to_plain(words, max_length=200)
    _promise(len(cleaned) <= 200 and text.strip_to_plain(cleaned, max_length=200) == cleaned, words)
    with contextlib.suppress(text.ForbiddenCharacter):
        plain = text.require_plain(words)
        _promise(text.require_plain(plain) == plain, words)


_JSON = (
    b'{"kind":"photo","reward":{"amount":"1.00","currency":"USD"},"place":{"latitude":52.5,"longitude":-1e-3},"list":[1,true,null]}',
    b'{"a":{"a":{"a":{"a":{"a":{"a":{"a":{}}}}}}},"b":-9223372036854775808,"c":"\\ud83d\\ude00\\u0000"}',
)
_EVENT = b'{"id":"e-1","type":"payout.paid","key":"payout-00","reference":"bank-1","amount_minor":1000,"currency":"USD","reason":""}'

# What reads, what it is given at first, and the longest input in bytes.
READERS: dict[str, tuple[Reader, Sequence[bytes], int]] = {
    "json": (read_json, _JSON, 4_096),
    "address": (
        read_address,
        (
            b"https://example.com/hook?a=b\n93.184.216.34",
            b"https://[2606:2800:220:1::1]:8443/\n2606:2800:220:1::1",
            b"https://0x7f.1/\n127.0.0.1 ::1",
            b"https://a.example:443/\n::ffff:10.0.0.1 64:ff9b::a00:1 100.64.0.1",
        ),
        600,
    ),
    "money": (read_money, (b"10.00 USD", b"0.000001 USDC", b"9007199254740992 JPY", b"1e5 EUR", b"-1 GBP"), 64),
    "ids": (read_id, (_PUBLIC_ID.encode(), _PUBLIC_ID.upper().encode(), "bty_\u0660".encode()), 80),
    "cursor": (read_page, (f"limit=20&cursor={_PUBLIC_ID}".encode(), b"limit=%31&cursor=", b"limit=-1", b"limit=1_0;cursor=%00"), 200),
    "idempotency": (read_idempotency_key, tuple(b"a-key-1\n" + body for body in _JSON), 2_048),
    "photo": (read_photo, tuple(containers.picture(kind) for kind in ("JPEG", "PNG", "WEBP")), 16_384),
    "webhook": (read_webhook, (json.dumps(replies.event(7)).encode(), b"v1,AAAA"), 2_048),
    "bank": (read_bank_event, (_EVENT, _EVENT.replace(b"payout.paid", b"deposit.confirmed")), 1_024),
    "text": (read_text, ("Straße\u200c سلام می\u200cروم".encode(), b"a\tb\r\nc \xe2\x80\xae"), 400),
}
