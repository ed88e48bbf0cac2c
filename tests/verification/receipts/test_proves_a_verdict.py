"""Receipts: what they say, and that the SDK believes them and nothing else."""

import base64
import json

import pytest
from pydantic import JsonValue

from agents_sdk import errors
from agents_sdk.receipts import Receipt
from tasks import evidence
from tests.verification import scenes
from verification import receipts
from verification.models import Verdict

pytestmark = pytest.mark.django_db

BOUNTY = "bty_" + "0" * 32


def issue() -> receipts.Receipt:
    submission = scenes.hand_in()
    scenes.advance(submission)
    scenes.read(submission, [scenes.SURE])
    return receipts.issue(verdict=Verdict.objects.get(), bounty_id=BOUNTY)


def over_the_wire(receipt: receipts.Receipt) -> dict[str, JsonValue]:
    document: dict[str, JsonValue] = json.loads(json.dumps(receipt))
    return document


def keys() -> dict[str, str]:
    return {key["key_id"]: key["public_key"] for key in receipts.public_keys()}


def test_says_what_was_decided_on_which_evidence() -> None:
    receipt = issue()
    payload, verdict = receipt["payload"], Verdict.objects.get()
    file = verdict.submission.evidence.get()
    assert payload["bounty"] == BOUNTY
    assert payload["submission"] == str(verdict.submission)
    assert (payload["evidence"], payload["display"]) == ([file.sha256], [file.display_sha256])
    assert payload["verdict"] == {"id": str(verdict), "outcome": "ACCEPTED", "decided_by": "MACHINE", "criteria": verdict.criteria}
    assert payload["place"] == {"latitude": 52.52, "longitude": 13.405, "accuracy_m": 12.0}
    assert payload["models"] == [scenes.MODEL_HASH]
    assert payload["terms_hash"] == scenes.TERMS_HASH


def test_is_the_same_again() -> None:
    receipt = issue()
    assert receipts.issue(verdict=Verdict.objects.get(), bounty_id=BOUNTY) == receipt


def test_convinces_the_sdk_offline() -> None:
    receipt = Receipt(over_the_wire(issue()), terms_hash=scenes.TERMS_HASH)
    file = Verdict.objects.get().submission.evidence.get()
    with evidence.open_original(file.sha256) as original, evidence.open_display(file.display_sha256) as display:
        assert receipt.verify(keys=keys(), files=[original.read(), display.read()])
    assert receipt.payload.verdict.outcome == "ACCEPTED"
    assert receipt.payload.times.received_at is not None


@pytest.mark.parametrize(
    "path",
    [("verdict", "outcome"), ("terms_hash",), ("bounty",), ("place", "latitude"), ("times", "received_at"), ("evidence", 0), ("version",)],
)
def test_does_not_convince_when_anything_was_changed(path: tuple[str | int, ...]) -> None:
    document = over_the_wire(issue())
    inner: object = document["payload"]
    for step in path[:-1]:
        inner = inner[step]  # type: ignore[index]
    inner[path[-1]] = 2 if path == ("version",) else "0" * 64  # type: ignore[index]
    with pytest.raises(errors.ReceiptInvalid):
        Receipt(document).verify(keys=keys())


def test_does_not_convince_with_another_key(settings: object) -> None:
    document = over_the_wire(issue())
    settings.RECEIPT_SEED = bytes(32)  # type: ignore[attr-defined]
    with pytest.raises(errors.ReceiptInvalid):
        Receipt(document).verify(keys=keys())


def test_convinces_after_its_key_was_changed(settings: object) -> None:
    document = over_the_wire(issue())
    (old,) = receipts.public_keys()
    settings.RECEIPT_SEED = bytes(32)  # type: ignore[attr-defined]
    settings.RECEIPT_OLD_KEYS = [base64.urlsafe_b64decode(old["public_key"] + "=")]  # type: ignore[attr-defined]
    assert Receipt(document).verify(keys=keys())
    assert [key["key_id"] for key in receipts.public_keys()][1:] == [old["key_id"]]
    # What is signed now is signed with the new key, and that is checkable too.
    now = receipts.sign({"version": 1})
    assert now["key_id"] == receipts.public_keys()[0]["key_id"] != old["key_id"]


def test_lists_no_key_twice(settings: object) -> None:
    (key,) = receipts.public_keys()
    settings.RECEIPT_OLD_KEYS = [base64.urlsafe_b64decode(key["public_key"] + "=")]  # type: ignore[attr-defined]
    assert receipts.public_keys() == [key]


def test_never_holds_a_workers_words() -> None:
    text = json.dumps(issue())
    assert "coffee" not in text
    assert "the cup" not in text
