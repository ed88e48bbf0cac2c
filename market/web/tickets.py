"""Tickets: a random key in each form that creates something, so that a double tap or a retry is done once."""

import dataclasses
import secrets

from django.core import signing

MAX_AGE_S = 24 * 3600
_SALT = "market.web.tickets"


class BadTicket(Exception):
    """The form is too old or not ours: load the page again."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ticket:
    """128 random bits that only this form's browser and we know."""

    nonce: str


def issue() -> str:
    """Return a new ticket for a hidden field."""
    return signing.dumps(secrets.token_urlsafe(16), salt=_SALT)


def read(text: str) -> Ticket:
    """Read a ticket that `issue` made.

    Raises:
        BadTicket: too old, or not made by us.
    """
    try:
        return Ticket(signing.loads(text, salt=_SALT, max_age=MAX_AGE_S))
    except signing.BadSignature:
        raise BadTicket("This page has been open for too long. Load it again.") from None
