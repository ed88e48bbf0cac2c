"""A receipt proves what it is shown with, or says why not ..."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents_sdk import errors, models, receipts
from tests.agents_sdk import replies

SUBJECT = models.Submission.model_validate(replies.submission())


def receipt(document: dict[str, Any] | None = None, **more: Any) -> receipts.Receipt:
    fields: dict[str, Any] = {"subject": SUBJECT, "terms_hash": replies.TERMS_HASH, "keys": {"key-1": replies.PUBLIC_KEY}} | more
    return receipts.Receipt(document=document or replies.receipt(), **fields)


def test_a_true_receipt_verifies() -> None:
    assert receipt().verify() is True
    assert receipt().verify(files=[replies.PHOTO]) is True
    assert receipt().payload.verdict.outcome == "ACCEPTED"


def test_it_stands_alone_with_a_pinned_key() -> None:
    assert receipts.Receipt(document=replies.receipt()).verify(keys={"key-1": replies.PUBLIC_KEY}) is True


def test_padded_and_standard_base64_keys_are_read() -> None:
    raw = base64.urlsafe_b64decode(replies.PUBLIC_KEY + "=")
    assert receipt(keys={"key-1": base64.b64encode(raw).decode()}).verify() is True


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": {"outcome": "REJECTED"}},
        {"submission": "sub_" + "9" * 32},
        {"bounty": "bty_" + "9" * 32},
        {"terms_hash": "ef" * 32},
        {"evidence": ["ef" * 32]},
        {"evidence": []},
        {"evidence": ["cd" * 32, "ef" * 32]},
    ],
)
def test_a_true_receipt_about_something_else_does_not(change: dict[str, Any]) -> None:
    with pytest.raises(errors.ReceiptInvalid, match="about"):
        receipt(replies.receipt(**change)).verify()


@pytest.mark.parametrize("field", ["bounty", "terms_hash", "evidence", "place", "times", "version"])
def test_one_changed_fact_breaks_the_signature(field: str) -> None:
    document = replies.receipt()
    document["payload"] = document["payload"] | {field: "x"}
    with pytest.raises(errors.ReceiptInvalid, match="signature"):
        receipt(document).verify()


def test_a_number_is_signed_by_value_not_by_spelling() -> None:
    document = replies.receipt(place={"latitude": 52.0, "longitude": 1e-7, "accuracy_m": 8})
    document["payload"] = document["payload"] | {"place": {"longitude": 0.0000001, "accuracy_m": 8.0, "latitude": 52}}
    assert receipt(document).verify() is True


def test_another_key_does_not_do() -> None:
    other = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32).public_key().public_bytes_raw()
    with pytest.raises(errors.ReceiptInvalid, match="signature"):
        receipt().verify(keys={"key-1": base64.urlsafe_b64encode(other).decode()})
    with pytest.raises(errors.ReceiptInvalid, match="not among the known"):
        receipt().verify(keys={})
    with pytest.raises(errors.ReceiptInvalid, match="signature"):
        receipt().verify(keys={"key-1": "short"})


def test_other_bytes_than_the_evidence_do_not_do() -> None:
    with pytest.raises(errors.ReceiptInvalid, match="is not in the receipt"):
        receipt().verify(files=[replies.PHOTO, b"another"])


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"payload": {}, "key_id": "key-1"},
        {"payload": [], "key_id": "key-1", "signature": "x"},
        {"payload": {}, "key_id": "key-1", "signature": "A" * 86},
        {"payload": {"n": 2**60}, "key_id": "key-1", "signature": "A" * 86},
        {"payload": {"n": "\ud800"}, "key_id": "key-1", "signature": "A" * 86},
    ],
)
def test_what_is_not_a_receipt_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(errors.ReceiptInvalid):
        receipt(document or {"x": 1}).verify()


def test_a_signed_payload_of_another_form_is_refused() -> None:
    with pytest.raises(errors.ReceiptInvalid, match="malformed"):
        receipt(replies.receipt(evidence="none")).verify()
