"""Posting: the one way into the ledger, by the SQL function ``ledger_post``. It knows accounts, never what they are for."""

import enum
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import connection, transaction

from market.common import money, retrying
from market.ledger.models import Transfer

_EFFECTS = uuid.UUID("5f0a6f5e-6c0b-5b7e-9b0e-6d6f6e657921")

_COLUMNS = "%s::text[], %s::uuid[], %s::integer[], %s::integer[], %s::bigint[], %s::text[], %s::text[], %s::text[]"


class MalformedEntry(ValueError):
    """An entry that no ledger could take: a bug in the caller."""


class Refused(Exception):
    """The ledger refused an entry, and so all entries posted with it; nothing moved."""

    def __init__(self, entry: "Entry", outcome: "Outcome") -> None:
        super().__init__(
            f"Transfer {entry.id} of {entry.amount_minor} {entry.currency} from {entry.source} to {entry.destination}: {outcome.value}."
        )
        self.entry = entry
        self.outcome = outcome


class Overdrawn(Refused):
    """A guarded account had too little for an entry; nothing moved."""


class TransferConflict(Refused):
    """An id was used before for other content, or the accounts don't fit each other; nothing moved."""


class Outcome(enum.StrEnum):
    """What became of one entry of a batch."""

    POSTED = "POSTED"
    EXISTS = "EXISTS"
    CONFLICT = "CONFLICT"
    OVERDRAWN = "OVERDRAWN"
    CURRENCY_MISMATCH = "CURRENCY_MISMATCH"
    MODE_MISMATCH = "MODE_MISMATCH"
    WITHHELD = "WITHHELD"


_OUTCOMES = {outcome.value: outcome for outcome in Outcome}


@dataclass(frozen=True, slots=True)
class Entry:
    """A transfer to be posted. The caller makes the id (see `effect_id`), so a second attempt is harmless."""

    id: uuid.UUID
    source: str
    destination: str
    amount_minor: int
    currency: str
    reason: str
    subject: str

    def __post_init__(self) -> None:
        if not 0 < self.amount_minor <= money.MAX_MINOR:
            raise MalformedEntry(f"An entry moves 1 to {money.MAX_MINOR} minor units, not {self.amount_minor}.")
        if self.source == self.destination:
            raise MalformedEntry(f"An entry joins two accounts; {self.source} is both.")
        if len(self.reason) > 32 or len(self.subject) > 40:
            raise MalformedEntry(f"A reason has at most 32 characters and a subject 40: {self.reason!r}, {self.subject!r}.")


def effect_id(*parts: str) -> uuid.UUID:
    """Return the id of a transfer from what it is the effect of: the same parts give the same id for ever."""
    # The separator can't stand in a part, so ("a", "bc") and ("ab", "c") differ.
    assert all(part and "\x1f" not in part for part in parts), parts
    return uuid.uuid5(_EFFECTS, "\x1f".join(parts))


def post(entries: Sequence[Entry]) -> list[Outcome]:
    """Post a batch; return what became of each entry, in the same order. A refused entry does not refuse its neighbours.

    Entries are decided in the order given: an earlier one may pay for a later one. Outside a transaction the batch is
    one of its own and is tried again after a deadlock.

    Raises:
        django.db.OperationalError: a deadlock or a race for an id, inside a transaction that the caller must try again.
    """
    return retrying.retry(lambda: _call(entries, is_all_or_nothing=False))


def post_all(entries: Sequence[Entry]) -> list[Outcome]:
    """Post all entries, or none; return of each whether it was POSTED now, or EXISTS: recorded before with the same content.

    Raises:
        Overdrawn: a guarded account had too little; nothing moved.
        TransferConflict: an id was used before for other content, or accounts of different currency or mode were joined.
        django.db.transaction.TransactionManagementError: not inside ``transaction.atomic``: what the transfers belong to
            would be committed apart from them.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("Post inside the transaction that changes what the transfers are for.")
    outcomes = _call(entries, is_all_or_nothing=True)
    for entry, outcome in zip(entries, outcomes, strict=True):
        if outcome is Outcome.OVERDRAWN:
            raise Overdrawn(entry, outcome)
        if outcome in (Outcome.CONFLICT, Outcome.CURRENCY_MISMATCH, Outcome.MODE_MISMATCH):
            raise TransferConflict(entry, outcome)
    return outcomes


def _call(entries: Sequence[Entry], *, is_all_or_nothing: bool) -> list[Outcome]:
    if not entries:
        return []
    # Each account is looked up once, however many entries move from or to it.
    places: dict[str, int] = {}
    sources = [places.setdefault(entry.source, len(places) + 1) for entry in entries]
    destinations = [places.setdefault(entry.destination, len(places) + 1) for entry in entries]
    columns = [
        _words(places),
        _numbers([entry.id.hex for entry in entries]),
        _numbers([str(place) for place in sources]),
        _numbers([str(place) for place in destinations]),
        _numbers([str(entry.amount_minor) for entry in entries]),
        _words([entry.currency for entry in entries]),
        _words([entry.reason for entry in entries]),
        _words([entry.subject for entry in entries]),
    ]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT ledger_post({_COLUMNS}, %s)", [*columns, is_all_or_nothing])
        outcomes: list[str] = cursor.fetchone()[0]
    return [_OUTCOMES[outcome] for outcome in outcomes]


# PostgreSQL's notation of arrays: the driver, which asks of each element what it is, takes ten times as long.
def _numbers(values: Iterable[str]) -> str:
    return "{" + ",".join(values) + "}"


def _words(values: Iterable[str]) -> str:
    return '{"' + '","'.join([value.replace("\\", r"\\").replace('"', r"\"") for value in values]) + '"}'


def are_recorded(entries: Sequence[Entry]) -> bool:
    """Tell whether every entry has been posted before with the same content (also true of no entries)."""
    found = {
        (t.id, t.source.path, t.destination.path, t.amount_minor, t.source.currency, t.reason, t.subject)
        for t in Transfer.objects.filter(pk__in=[entry.id for entry in entries]).select_related("source", "destination")
    }
    return found == {(e.id, e.source, e.destination, e.amount_minor, e.currency, e.reason, e.subject) for e in entries}


def is_used(identity: uuid.UUID) -> bool:
    """Tell whether a transfer has this id."""
    return Transfer.objects.filter(pk=identity).exists()
