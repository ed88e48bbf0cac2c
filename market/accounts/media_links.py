"""Short-lived links to media: signed, bound to one viewer, and useless to anybody else or a minute later."""

import uuid
from dataclasses import dataclass
from typing import Literal

from django.conf import settings
from django.core import signing

MAX_AGE_S = 60
Variant = Literal["display", "preview"]
# What a photo is sent with, so that nothing keeps it, guesses its type, embeds it or shows it as a page of ours.
HEADERS = {
    "Cache-Control": "no-store, private",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}

_SALT = "market.accounts.media_links"


class BadLink(Exception):
    """The link was changed, has ended, or was made for somebody else; the message does not say which."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a link opens: a copy of one evidence file."""

    evidence_id: uuid.UUID
    variant: Variant


def viewer_with_key(key_id: uuid.UUID) -> str:
    """Name a viewer who calls with an API key."""
    return f"key:{key_id.hex}"


def viewer_with_session(user_id: uuid.UUID) -> str:
    """Name a viewer who is signed in to the pages."""
    return f"user:{user_id.hex}"


def url(*, evidence_id: uuid.UUID, variant: Variant, viewer: str) -> str:
    """Return the address at which this viewer, and nobody else, gets the copy during the next `MAX_AGE_S` seconds."""
    token = signing.dumps([evidence_id.hex, variant, viewer], salt=_SALT)
    return f"{settings.PUBLIC_URL}/v1/media/{token}"


def open_link(*, token: str, viewer: str) -> Link:
    """Read a token that `url` made.

    Raises:
        BadLink: changed, ended, or another viewer's.
    """
    try:
        evidence_hex, variant, bound_to = signing.loads(token, salt=_SALT, max_age=MAX_AGE_S)
    except (signing.BadSignature, ValueError):
        raise BadLink("This link has ended or was made for another viewer.") from None
    if bound_to != viewer:
        raise BadLink("This link has ended or was made for another viewer.")
    return Link(uuid.UUID(hex=evidence_hex), variant)
