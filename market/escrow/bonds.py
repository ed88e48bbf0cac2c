"""Bonds: money that backs somebody's word until it is given back where it came from, or lost to those whom the word cost."""

import datetime
import uuid
from collections.abc import Sequence

from market.common import account_paths, retrying
from market.escrow import holds
from market.escrow.models import Bond
from market.ledger import transfers
from tasks import changes

Status = Bond.Status


class BondPlacedOtherwise(Exception):
    """There is a bond for this already, from another account or of another amount; nothing moved."""


class BondEnded(Exception):
    """The bond has ended another way: it was given back, or lost to others, before. Nothing moved."""


def place(*, subject: str, mode: str, source_path: str, currency: str, amount_minor: int, now: datetime.datetime) -> Bond:
    """Take a bond for ``subject``, a prefixed id of at most 40 characters, from an account; a repeat returns the one that is there.

    Raises:
        market.escrow.holds.InsufficientFunds: the account has less than the bond.
        BondPlacedOtherwise: another bond stands, or stood, for this.
    """
    wanted = Bond(subject=subject, mode=mode, source_path=source_path, currency=currency, amount_minor=amount_minor, created_at=now)
    with retrying.part():
        # A rival's insert of the same bond makes this wait; then its row is read back.
        Bond.objects.bulk_create([wanted], ignore_conflicts=True)
        bond = Bond.objects.get(subject=subject)
        if _terms_of(bond) != _terms_of(wanted):
            raise BondPlacedOtherwise(f"{subject} has a bond of {bond.amount_minor} minor units of {bond.currency} already.")
        path = _held_path(bond)
        entry = transfers.Entry(_leg(bond, "place"), source_path, path, amount_minor, currency, "bond_placed", subject)
        try:
            transfers.post_all([entry])
        except transfers.Overdrawn as refused:
            raise holds.InsufficientFunds(
                f"The bond of {subject} needs {amount_minor} minor units of {currency}; less is available."
            ) from refused
    return bond


def give_back(*, bond: Bond, now: datetime.datetime) -> Bond:
    """End a bond that is not needed any more: it goes back where it came from. Again, nothing moves.

    Raises:
        BondEnded: it was lost before.
    """
    entry = transfers.Entry(
        _leg(bond, "return"), _held_path(bond), bond.source_path, bond.amount_minor, bond.currency, "bond_returned", bond.subject
    )
    with retrying.part():
        if _end(bond, Status.RETURNED, now):
            transfers.post_all([entry])
        elif bond.status != Status.RETURNED:
            raise BondEnded(f"The {bond} is {bond.get_status_display()} already.")
    return bond


def lose(*, bond: Bond, parts: Sequence[holds.Part], now: datetime.datetime) -> Bond:
    """Pay a bond out to those whom its maker's word cost; the parts come to all of it. The same again moves nothing.

    Raises:
        BondEnded: it was given back before, or lost with other parts.
        ValueError: the parts come to more or less than the bond: a bug in the caller.
    """
    if sum(part.amount_minor for part in parts) != bond.amount_minor:
        raise ValueError(f"The parts of {bond} must come to {bond.amount_minor} minor units.")
    entries = _to_payees(bond, parts)
    with retrying.part():
        if _end(bond, Status.LOST, now):
            transfers.post_all(entries)
        elif bond.status != Status.LOST or not transfers.are_recorded(entries):
            raise BondEnded(f"The {bond} is {bond.get_status_display()} already, perhaps to others.")
    return bond


def _end(bond: Bond, status: Bond.Status, now: datetime.datetime) -> bool:
    if changes.update_one(bond, Bond.objects.filter(status=Status.PLACED), status=status, ended_at=now):
        return True
    bond.refresh_from_db()
    return False


def _to_payees(bond: Bond, parts: Sequence[holds.Part]) -> list[transfers.Entry]:
    paid = [part for part in parts if part.amount_minor]
    return [
        transfers.Entry(
            _leg(bond, "lose", str(number)),
            _held_path(bond),
            part.destination_path,
            part.amount_minor,
            bond.currency,
            part.reason,
            bond.subject,
        )
        for number, part in enumerate(paid)
    ]


def _terms_of(bond: Bond) -> tuple[str, str, str, int]:
    return bond.mode, bond.source_path, bond.currency, bond.amount_minor


def _held_path(bond: Bond) -> str:
    return account_paths.bond_held(mode=bond.mode, bond_id=bond.pk, currency=bond.currency)


def _leg(bond: Bond, *effect: str) -> uuid.UUID:
    # Named by what it backs, not by its row: a rival's insert that lost has another row id for the same bond.
    return transfers.effect_id("bond", bond.subject, *effect)
