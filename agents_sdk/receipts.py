"""Receipts: what the market signed about a verdict, and whether it proves what it is shown with. No I/O."""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pydantic
import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import JsonValue

from agents_sdk import errors, models


class ReceiptPayload(models.Model):
    """The signed facts, typed."""

    version: int
    bounty: models.Code
    submission: models.Code
    terms_hash: models.Digest
    evidence: tuple[models.Digest, ...]
    display: tuple[models.Digest, ...] = ()
    verdict: models.Verdict
    place: models.Place | None = None
    times: models.Times = models.Times()
    checks: tuple[models.Check, ...] = ()


class ReceiptKey(models.Model):
    """One of the market's public keys: 32 bytes of Ed25519, base64url."""

    key_id: models.Code
    public_key: str = pydantic.Field(pattern=r"^[A-Za-z0-9+/_-]{43}=?$")


class _Envelope(models.Model):
    payload: dict[str, JsonValue]
    key_id: models.Code
    signature: str = pydantic.Field(pattern=r"^[A-Za-z0-9_-]{86}={0,2}$")


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt beside the submission that it was shown with.

    Attributes:
        document: the JSON to archive; it can be verified for as long as the key is known.
        subject: what the receipt must speak of, or None if it stands alone.
        keys: the market's public keys by key id, as served by ``GET /v1/keys``.
    """

    document: dict[str, JsonValue]
    subject: models.Submission | None = None
    terms_hash: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def payload(self) -> ReceiptPayload:
        """The signed facts; trust them after `verify`.

        Raises:
            ReceiptInvalid: it is not a receipt.
        """
        try:
            return ReceiptPayload.model_validate(_envelope(self.document).payload)
        except pydantic.ValidationError:
            raise errors.ReceiptInvalid("The receipt's payload is malformed.") from None

    def verify(self, *, keys: Mapping[str, str] | None = None, files: Iterable[bytes] = ()) -> bool:
        """Return True, or say why not by raising.

        Checks the Ed25519 signature (RFC 8032) over the RFC 8785 form of the payload; that it speaks of this bounty,
        submission, terms and verdict; and that each of ``files`` is among its evidence.

        Args:
            keys: public keys that you pinned, by key id. Without them the keys are those of the market itself, which shows
                that nobody in between changed the receipt, not that the market is the one you know.
            files: bytes that you downloaded.

        Raises:
            ReceiptInvalid: says which of these does not hold.
        """
        signed_payload(self.document, keys=self.keys if keys is None else keys)
        self._require_subject(self.payload)
        self._require_files(self.payload, files)
        return True

    def _require_subject(self, payload: ReceiptPayload) -> None:
        if self.terms_hash and payload.terms_hash != self.terms_hash:
            raise errors.ReceiptInvalid("The receipt is about other terms.")
        subject = self.subject
        if subject is None:
            return
        if payload.submission != subject.id or (subject.bounty and payload.bounty != subject.bounty):
            raise errors.ReceiptInvalid("The receipt is about another submission.")
        if subject.verdict is not None and payload.verdict.outcome != subject.verdict.outcome:
            raise errors.ReceiptInvalid("The receipt is about another verdict.")
        if {evidence.sha256 for evidence in subject.evidence} != set(payload.evidence):
            raise errors.ReceiptInvalid("The receipt is about other evidence.")

    @staticmethod
    def _require_files(payload: ReceiptPayload, files: Iterable[bytes]) -> None:
        digests = {*payload.evidence, *payload.display}
        for content in files:
            digest = hashlib.sha256(content).hexdigest()
            if digest not in digests:
                raise errors.ReceiptInvalid(f"The file with SHA-256 {digest} is not in the receipt.")


def signed_payload(document: Mapping[str, JsonValue], *, keys: Mapping[str, str]) -> dict[str, JsonValue]:
    """Return what the market signed, once its Ed25519 signature (RFC 8032) over the RFC 8785 form has been checked.

    It serves every document of this form: a photo's receipt, and a candidate's, which speaks of trees and gains.

    Raises:
        ReceiptInvalid: not a receipt, signed with none of ``keys``, or changed since.
    """
    envelope = _envelope(document)
    if envelope.key_id not in keys:
        raise errors.ReceiptInvalid(f"The receipt was signed with the key {envelope.key_id}, which is not among the known ones.")
    try:
        signed = rfc8785.dumps(envelope.payload)
        _public_key(keys[envelope.key_id]).verify(_bytes(envelope.signature), signed)
    except (InvalidSignature, ValueError, rfc8785.CanonicalizationError):
        raise errors.ReceiptInvalid("The receipt's signature does not fit.") from None
    return envelope.payload


def _envelope(document: Mapping[str, JsonValue]) -> _Envelope:
    try:
        return _Envelope.model_validate(document)
    except pydantic.ValidationError:
        raise errors.ReceiptInvalid("This is not a receipt.") from None


def _public_key(text: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(_bytes(text))


def _bytes(text: str) -> bytes:
    """Read base64url or base64, padded or not."""
    plain = text.rstrip("=").replace("+", "-").replace("/", "_")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64url") from None
