"""Who looks at a page: nobody yet, a worker, or an operator; and how a worker's account begins without a sign-up."""

import base64
import datetime
import hashlib
import hmac
import uuid

from django.conf import settings
from django.contrib.auth import login
from django.db import transaction
from django.http import HttpRequest

from market.accounts.models import User
from market.policy import countries
from market.web import tickets
from tasks import clock
from tasks.models import Mode, WorkerProfile

# What visitors without an account see. There is no live money provider yet.
VISITORS_MODE = Mode.TEST
# For so long the same form opens the same account again: a double tap, or an answer that was lost.
SAME_FORM = datetime.timedelta(minutes=10)
STAYS_SIGNED_IN_S = 365 * 24 * 3600
SHOWN_CODE = "recovery_code"

_BACKEND = "django.contrib.auth.backends.ModelBackend"
_CODE_BYTES = 10


class CountryNotServed(Exception):
    """The market can't let people who live there work, or can't pay them; ``codes`` say why."""

    def __init__(self, codes: tuple[str, ...]) -> None:
        super().__init__("Sorry: we can't pay people who live in this country, so we don't let you work for nothing.")
        self.codes = codes


class UnknownCode(Exception):
    """No account opens with this code."""


def worker_of(request: HttpRequest) -> WorkerProfile | None:
    """Return the worker who is signed in, if one is."""
    if not request.user.is_authenticated:
        return None
    return WorkerProfile.objects.filter(pk=request.user.pk).first()


def mode_of(worker: WorkerProfile | None) -> str:
    """Return whether this visitor sees test or live tasks."""
    return worker.mode if worker else VISITORS_MODE


def not_served(country: str) -> tuple[str, ...]:
    """Return why people who live there can't work or be paid; empty if they can."""
    return tuple(sorted({*countries.decide(country, "residence").codes, *countries.decide(country, "payout").codes}))


def open_worker(request: HttpRequest, *, ticket: tickets.Ticket, country: str) -> WorkerProfile:
    """Open an anonymous worker's account and sign it in; the same form again returns the same account.

    The recovery code stays in the session until the first photo is sent, and is stored as a digest only.

    Raises:
        CountryNotServed: before anything is written.
        tickets.BadTicket: the form opened an account long ago; it opens no other, and that one only by its code.
    """
    codes = not_served(country)
    if codes:
        raise CountryNotServed(codes)
    code = _code_of(ticket)
    with transaction.atomic():
        user, is_new = User.objects.get_or_create(
            username=_name_of(code), defaults={"recovery_code_hash": _digest(code), "is_anonymous_worker": True, "password": "!"}
        )
        if not is_new and user.date_joined < clock.now() - SAME_FORM:
            raise tickets.BadTicket("This page has been open for too long. Load it again.")
        worker, _ = WorkerProfile.objects.get_or_create(user=user, defaults={"mode": VISITORS_MODE, "country": country})
    _sign_in(request, user)
    request.session[SHOWN_CODE] = code
    return worker


def recover(request: HttpRequest, *, typed: str) -> None:
    """Sign in the worker whose recovery code this is.

    Raises:
        UnknownCode: it opens nothing.
    """
    code = _plain(typed)
    user = User.objects.filter(username=_name_of(code), is_anonymous_worker=True, is_active=True).first()
    if user is None or not hmac.compare_digest(user.recovery_code_hash, _digest(code)):
        raise UnknownCode("No account opens with this code. It has 16 letters and digits; look at it again.")
    _sign_in(request, user)


def code_to_show(request: HttpRequest) -> str:
    """Return the recovery code, in groups of four, as long as it is to be shown; else ""."""
    code = str(request.session.get(SHOWN_CODE, ""))
    return "-".join(code[start : start + 4] for start in range(0, len(code), 4))


def stop_showing_code(request: HttpRequest) -> None:
    """Forget the recovery code: its worker has had time to keep it."""
    request.session.pop(SHOWN_CODE, None)


def name_of(user_id: uuid.UUID) -> str:
    """Return a short name for an account, to tell two apart on a screen."""
    return f"worker {user_id.hex[-6:]}"


def _sign_in(request: HttpRequest, user: User) -> None:
    login(request, user, backend=_BACKEND)
    request.session.set_expiry(STAYS_SIGNED_IN_S)


def _code_of(ticket: tickets.Ticket) -> str:
    # From the form's key, so that the answers to a double tap show one code; useless without that key.
    digest = hmac.digest(settings.SECRET_KEY.encode(), f"recovery code {ticket.nonce}".encode(), "sha256")
    return _plain(base64.b32encode(digest[:_CODE_BYTES]).decode())


def _plain(typed: str) -> str:
    """Read a code as typed: any case, with or without dashes; what is easily mistaken is the same."""
    return "".join(c for c in typed.upper() if c.isalnum()).replace("0", "O").replace("1", "I").replace("8", "B")[:64]


def _name_of(code: str) -> str:
    return f"worker-{hashlib.sha256(f'name {code}'.encode()).hexdigest()[:40]}"


def _digest(code: str) -> str:
    return hashlib.sha256(f"recovery {code}".encode()).hexdigest()
