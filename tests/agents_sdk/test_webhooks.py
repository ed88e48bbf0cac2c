"""A webhook is believed only if the market signed it lately ..."""

import base64
import datetime
import json

import pytest
import standardwebhooks

from agents_sdk import errors, webhooks
from tests.agents_sdk import replies

SECRET = "whsec_" + base64.b64encode(b"0" * 24).decode()
BODY = json.dumps(replies.event(7)).encode()


def headers(body: bytes = BODY, *, age_s: float = 0, secret: str = SECRET) -> dict[str, str]:
    # The library's sign() reads an aware time as UTC.
    at = datetime.datetime.now(tz=datetime.UTC) - datetime.timedelta(seconds=age_s)
    signature = standardwebhooks.Webhook(secret).sign("msg_1", at, body.decode())
    return {"Webhook-Id": "msg_1", "Webhook-Timestamp": str(int(at.timestamp())), "Webhook-Signature": signature}


def test_a_signed_event_is_unwrapped() -> None:
    assert webhooks.unwrap(BODY, headers(), SECRET).seq == 7
    assert webhooks.unwrap(BODY.decode(), headers(), SECRET).type == "bounty.opened"


def test_one_of_several_signatures_is_enough_while_secrets_change() -> None:
    both = headers()
    both["Webhook-Signature"] = f"v1,{base64.b64encode(bytes(32)).decode()} {both['Webhook-Signature']}"
    assert webhooks.unwrap(BODY, both, SECRET).seq == 7


@pytest.mark.parametrize("age_s", [301, -301])
def test_five_minutes_are_the_limit(age_s: float) -> None:
    with pytest.raises(errors.WebhookInvalid):
        webhooks.unwrap(BODY, headers(age_s=age_s), SECRET)


def test_a_changed_body_is_refused() -> None:
    with pytest.raises(errors.WebhookInvalid):
        webhooks.unwrap(BODY.replace(b"7", b"8"), headers(), SECRET)


def test_another_secret_is_refused() -> None:
    with pytest.raises(errors.WebhookInvalid):
        webhooks.unwrap(BODY, headers(secret="whsec_" + base64.b64encode(b"1" * 24).decode()), SECRET)


@pytest.mark.parametrize(
    "change",
    [
        {"Webhook-Signature": ""},
        {"Webhook-Signature": "v1"},
        {"Webhook-Signature": "v1,###"},
        {"Webhook-Signature": "v1,a,b"},
        {"Webhook-Signature": "v1,\ud800"},
        {"Webhook-Timestamp": "soon"},
        {"Webhook-Timestamp": "1e400"},
        {"Webhook-Id": ""},
    ],
)
def test_malformed_headers_are_refused(change: dict[str, str]) -> None:
    with pytest.raises(errors.WebhookInvalid):
        webhooks.unwrap(BODY, headers() | change, SECRET)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"id": 1}', b"\xff"])
def test_what_is_signed_but_no_event_is_refused(body: bytes) -> None:
    signed = headers(body) if body != b"\xff" else headers()
    with pytest.raises(errors.WebhookInvalid):
        webhooks.unwrap(body, signed, SECRET)


def test_a_body_of_megabytes_is_refused_before_it_is_hashed() -> None:
    with pytest.raises(errors.WebhookInvalid, match="larger"):
        webhooks.unwrap(b"x" * 300_000, headers(), SECRET)


def test_an_empty_secret_would_let_anybody_in() -> None:
    with pytest.raises(errors.ConfigurationError):
        webhooks.unwrap(BODY, headers(), "")
