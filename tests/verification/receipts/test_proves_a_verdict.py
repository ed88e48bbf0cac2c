"""Receipts: what they say, and that the SDK believes them and nothing else."""

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


def test_never_holds_a_workers_words() -> None:
    text = json.dumps(issue())
    assert "coffee" not in text
    assert "the cup" not in text
