"""Receipts: what the market signs about a verdict, so that anyone can check it later without asking the market."""

import base64
import datetime
import hashlib
from collections.abc import Mapping
from typing import TypedDict

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings

from tasks import ids
from verification.models import CheckRun, Verdict, VisionRun

VERSION = 1

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class Receipt(TypedDict):
    """A signed payload: Ed25519 (RFC 8032) over its RFC 8785 JSON; the signature is base64url without padding."""

    payload: dict[str, Json]
    key_id: str
    signature: str


class PublicKey(TypedDict):
    """A key that receipts were signed with; ``public_key`` is 32 bytes, base64url without padding."""

    key_id: str
    algorithm: str
    public_key: str


def issue(*, verdict: Verdict, bounty_id: str) -> Receipt:
    """Sign what was decided, on which evidence, where and when, by which checks and models.

    ``bounty_id`` is the prefixed id by which the poster knows it. Everything else is read from the rows, so that the
    same verdict always gives the same receipt.
    """
    return sign(payload_of(verdict=verdict, bounty_id=bounty_id))


def payload_of(*, verdict: Verdict, bounty_id: str) -> dict[str, Json]:
    """Return the facts a receipt states; numbers, enums, digests and times only."""
    submission = verdict.submission
    files = list(submission.evidence.order_by("created_at", "pk"))
    runs = CheckRun.objects.filter(submission=submission).order_by("check_name", "criterion", "check_version")
    models = VisionRun.objects.filter(case=submission.pk).exclude(model_hash="").values_list("model_hash", flat=True)
    return {
        "version": VERSION,
        "bounty": bounty_id,
        "submission": ids.encode("sub", submission.pk),
        "kind": submission.kind,
        "terms_hash": verdict.terms_hash,
        "evidence": [file.sha256 for file in files],
        "display": [file.display_sha256 for file in files],
        "verdict": {
            "id": ids.encode("vrd", verdict.pk),
            "outcome": verdict.outcome,
            "decided_by": verdict.decided_by,
            "criteria": [dict(line) for line in verdict.criteria],
        },
        "place": _place(submission.reported_latitude, submission.reported_longitude, submission.reported_accuracy_m),
        "times": {
            "claimed_at": _time(submission.claim.created_at),
            "captured_at": _time(submission.reported_captured_at),
            "received_at": _time(submission.received_at),
            "decided_at": _time(verdict.created_at),
        },
        "checks": [
            {"name": run.check_name, "version": run.check_version, "criterion": run.criterion, "outcome": run.outcome} for run in runs
        ],
        "models": list[Json](sorted(set(models))),
    }


def sign(payload: Mapping[str, Json]) -> Receipt:
    """Sign a payload with the market's key."""
    key = _key()
    signature = key.sign(rfc8785.dumps(dict(payload)))
    return {"payload": dict(payload), "key_id": _key_id(key.public_key().public_bytes_raw()), "signature": _base64url(signature)}


def public_keys() -> list[PublicKey]:
    """Return the keys by which receipts can be checked: the one that signs first, then those that signed before it."""
    found = dict.fromkeys([_key().public_key().public_bytes_raw(), *settings.RECEIPT_OLD_KEYS])
    return [{"key_id": _key_id(raw), "algorithm": "Ed25519", "public_key": _base64url(raw)} for raw in found]


def _key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(settings.RECEIPT_SEED)


def _key_id(public_key: bytes) -> str:
    return hashlib.sha256(public_key).hexdigest()[:16]


def _place(latitude: float | None, longitude: float | None, accuracy_m: float | None) -> dict[str, Json] | None:
    if latitude is None or longitude is None:
        return None
    return {"latitude": latitude, "longitude": longitude, "accuracy_m": accuracy_m}


def _time(moment: datetime.datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
