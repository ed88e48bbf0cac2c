"""Held funds: place, capture, void, expire and raise a hold, each one conditional UPDATE and its transfers."""

import datetime
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Case, F, Value, When

from market.common import account_paths, retrying
from market.escrow.models import Hold
from market.ledger import transfers
from tasks import changes, ids

Kind = Hold.Kind
Status = Hold.Status


class InsufficientFunds(Exception):
    """The agent has too little available; nothing moved. Add money with a deposit, or post for less."""


class PlacedOtherwise(Exception):
    """The bounty has holds already, for other amounts or slots; nothing moved."""


class HoldEnded(Exception):
    """The hold has ended another way: it was captured, voided or expired before. Nothing moved."""


class NotEnoughHeld(Exception):
    """The parts come to more than the hold still has; nothing moved."""


class NotRaised(Exception):
    """A hold is never lowered; nothing moved."""


@dataclass(frozen=True, slots=True)
class Part:
    """One payee's part of a capture. A part of 0 moves nothing."""

    destination_path: str
    amount_minor: int
    reason: str


def place(
    *,
    bounty_id: uuid.UUID,
    agent_id: uuid.UUID,
    mode: str,
    currency: str,
    slot_amounts: list[int],
    reserve_minor: int,
    subject: str,
    now: datetime.datetime,
) -> list[Hold]:
    """Hold an agent's money for a bounty: one hold a slot (numbered from 1), and one for the reserve unless it is 0.

    All or nothing; a repeat returns the holds that are there, whatever has become of them. The slots come first, in
    order, then the reserve.

    Raises:
        InsufficientFunds: the agent has less available than all of it.
        PlacedOtherwise: the bounty's holds are there already, with other slots or amounts.
    """
    wanted = [_new(bounty_id, agent_id, mode, currency, Kind.SLOT, number, minor, now) for number, minor in enumerate(slot_amounts, 1)]
    if reserve_minor:
        wanted.append(_new(bounty_id, agent_id, mode, currency, Kind.RESERVE, 0, reserve_minor, now))
    return _place(bounty_id, wanted, subject)


def place_budget(
    *, bounty_id: uuid.UUID, agent_id: uuid.UUID, mode: str, currency: str, budget_minor: int, subject: str, now: datetime.datetime
) -> Hold:
    """Hold an agent's money for a research bounty: one hold for the whole budget, captured in parts. A repeat returns it.

    Raises:
        InsufficientFunds: the agent has less available than the budget.
        PlacedOtherwise: the bounty's money is held already, for another amount.
    """
    [hold] = _place(bounty_id, [_new(bounty_id, agent_id, mode, currency, Kind.BUDGET, 0, budget_minor, now)], subject)
    return hold


def _place(bounty_id: uuid.UUID, wanted: list[Hold], subject: str) -> list[Hold]:
    with retrying.part():
        # A rival's insert of the same bounty makes this wait; then its rows are read back.
        Hold.objects.bulk_create(wanted, ignore_conflicts=True)
        holds = list(Hold.objects.filter(bounty_id=bounty_id).order_by("-kind", "slot_number"))
        are_ours = {hold in wanted for hold in holds}
        # All are new, or none is: holds added to those of an earlier request would be a third thing.
        if [_place_of(hold) for hold in holds] != [_place_of(hold) for hold in wanted] or len(are_ours) > 1:
            raise PlacedOtherwise(f"Bounty {bounty_id} is held for other slots already.")
        # The amounts as asked now: the ledger tells a repeat from a request that differs.
        entries = [_from_agent(hold, minor=hold.amount_minor, effect="place", reason="hold_placed", subject=subject) for hold in wanted]
        try:
            transfers.post_all(entries)
        except transfers.Overdrawn as refused:
            total = sum(hold.amount_minor for hold in wanted)
            raise InsufficientFunds(
                f"Bounty {bounty_id} needs {total} minor units of {wanted[0].currency}; less is available."
            ) from refused
        except transfers.TransferConflict as refused:
            raise PlacedOtherwise(f"Bounty {bounty_id} is held for other amounts already.") from refused
    return holds


def capture(*, hold: Hold, parts: Sequence[Part], effect: str, now: datetime.datetime) -> Hold:
    """Pay the parts out of a hold and end it; what is left goes back to the agent.

    ``effect`` names what this is the consequence of (a settlement). The same effect with the same parts again returns
    the ended hold and moves nothing.

    Raises:
        HoldEnded: captured for another effect or other parts, in whole or in part, voided or expired before.
        NotEnoughHeld: the parts come to more than the hold has.
    """
    entries = _to_payees(hold, parts, effect)
    total = sum(entry.amount_minor for entry in entries)
    with retrying.part():
        moved = changes.update_one(
            hold,
            Hold.objects.filter(status=Status.HELD, amount_minor__gte=F("captured_minor") + F("returned_minor") + total),
            status=Status.CAPTURED,
            captured_minor=F("captured_minor") + total,
            returned_minor=F("amount_minor") - F("captured_minor") - total,
            ended_at=now,
        )
        if not moved:
            hold.refresh_from_db()
            _refuse_unless(hold, is_repeat=hold.status == Status.CAPTURED and _is_captured(hold, entries, effect))
            return hold
        _post_first(hold, entries + _to_agent(hold), effect)
    return hold


def capture_part(*, hold: Hold, parts: Sequence[Part], effect: str, now: datetime.datetime) -> Hold:
    """Pay the parts out of a hold, which stays HELD until nothing is left (the reserve for negative outcomes).

    The same effect with the same parts again returns the hold and moves nothing.

    Raises:
        HoldEnded: the effect was captured with other parts before, or the hold has ended.
        NotEnoughHeld: the parts come to more than is left.
    """
    entries = _to_payees(hold, parts, effect)
    total = sum(entry.amount_minor for entry in entries)
    after = F("captured_minor") + F("returned_minor") + total
    with retrying.part():
        # Of two with the same effect the second waits for the row, and then finds the first one's transfers.
        Hold.objects.select_for_update(no_key=True).get(pk=hold.pk)
        if _is_captured(hold, entries, effect):
            hold.refresh_from_db()
            return hold
        moved = Hold.objects.filter(pk=hold.pk, status=Status.HELD, amount_minor__gte=after).update(
            captured_minor=F("captured_minor") + total,
            status=Case(When(amount_minor=after, then=Value(Status.CAPTURED)), default=F("status")),
            ended_at=Case(When(amount_minor=after, then=Value(now)), default=F("ended_at")),
        )
        hold.refresh_from_db()
        if not moved:
            _refuse_unless(hold, is_repeat=False)
        _post_first(hold, entries, effect)
    return hold


def void(*, unused: Sequence[Hold], now: datetime.datetime) -> None:
    """End holds that are not needed, all or none; what is left goes back to the agent. A voided hold stays as it is.

    Raises:
        HoldEnded: one was captured or expired before; nothing moved.
    """
    _end(unused, Status.VOIDED, now)


def expire(*, unused: Sequence[Hold], now: datetime.datetime) -> None:
    """End holds whose time is over, all or none; what is left goes back to the agent. An expired hold stays as it is.

    Raises:
        HoldEnded: one was captured or voided before; nothing moved.
    """
    _end(unused, Status.EXPIRED, now)


def raise_to(*, hold: Hold, amount_minor: int, now: datetime.datetime) -> Hold:  # noqa: ARG001 - every step takes the time
    """Hold more of the agent's money, because the offer was improved. The same amount again moves nothing.

    Raises:
        InsufficientFunds: the agent has too little available for the difference.
        NotRaised: the hold is for more already.
        HoldEnded: captured, voided or expired before.
    """
    with retrying.part():
        before_minor = Hold.objects.select_for_update(no_key=True).get(pk=hold.pk).amount_minor
        moved = Hold.objects.filter(pk=hold.pk, status=Status.HELD, amount_minor__lt=amount_minor).update(amount_minor=amount_minor)
        hold.refresh_from_db()
        if not moved:
            if hold.status == Status.HELD and before_minor > amount_minor:
                raise NotRaised(f"Hold {hold.pk} is for {before_minor} minor units; it can't be lowered to {amount_minor}.")
            _refuse_unless(hold, is_repeat=hold.status == Status.HELD)
            return hold
        entry = _from_agent(
            hold,
            minor=amount_minor - before_minor,
            effect=f"raise {amount_minor}",
            reason="hold_raised",
            subject=_subject(hold),
        )
        try:
            transfers.post_all([entry])
        except transfers.Overdrawn as refused:
            raise InsufficientFunds(f"Hold {hold.pk} needs {entry.amount_minor} more minor units of {hold.currency}.") from refused
    return hold


def _end(ending: Sequence[Hold], status: Hold.Status, now: datetime.datetime) -> None:
    with retrying.part():
        # Locked in order, so that two over the same holds cannot deadlock.
        still_held = Hold.objects.filter(pk__in=[hold.pk for hold in ending], status=Status.HELD).order_by("pk")
        moved = changes.update(
            Hold.objects.filter(pk__in=still_held.select_for_update(no_key=True).values("pk"), status=Status.HELD),
            status=status,
            returned_minor=F("amount_minor") - F("captured_minor"),
            ended_at=now,
        )
        found = {hold.pk: hold for hold in moved}
        for hold in ending:
            if hold.pk in found:
                changes.bring_up_to_date(hold, found[hold.pk])
            else:
                hold.refresh_from_db()
                _refuse_unless(hold, is_repeat=hold.status == status)
        transfers.post_all([entry for hold in ending if hold.pk in found for entry in _to_agent(hold)])


def _is_captured(hold: Hold, entries: Sequence[transfers.Entry], effect: str) -> bool:
    """Tell whether an effect was captured before with exactly these parts."""
    return transfers.are_recorded(entries) and not transfers.is_used(_leg(hold, "capture", effect, str(len(entries))))


def _post_first(hold: Hold, entries: Sequence[transfers.Entry], effect: str) -> None:
    """Post the transfers of an effect that has none yet: the hold counts them, so one that is there must not count again."""
    try:
        outcomes = transfers.post_all(entries)
    except transfers.TransferConflict as refused:
        raise HoldEnded(f"Effect {effect} was captured from hold {hold.pk} with other parts.") from refused
    if transfers.Outcome.EXISTS in outcomes:
        raise HoldEnded(f"Effect {effect} was captured from hold {hold.pk} before, with other parts or as a part.")


def _refuse_unless(hold: Hold, *, is_repeat: bool) -> None:
    if is_repeat:
        return
    if hold.status == Status.HELD:
        left = hold.amount_minor - hold.captured_minor - hold.returned_minor
        raise NotEnoughHeld(f"Hold {hold.pk} has {left} minor units of {hold.currency} left.")
    raise HoldEnded(f"Hold {hold.pk} of bounty {hold.bounty_id} is {hold.get_status_display()} already.")


def _new(
    bounty_id: uuid.UUID, agent_id: uuid.UUID, mode: str, currency: str, kind: Hold.Kind, number: int, minor: int, now: datetime.datetime
) -> Hold:
    return Hold(
        bounty_id=bounty_id,
        agent_id=agent_id,
        mode=mode,
        currency=currency,
        kind=kind,
        slot_number=number,
        amount_minor=minor,
        created_at=now,
    )


def _place_of(hold: Hold) -> tuple[str, int, uuid.UUID, str, str]:
    return hold.kind, hold.slot_number, hold.agent_id, hold.mode, hold.currency


def _subject(hold: Hold) -> str:
    return ids.encode("rsb" if hold.kind == Kind.BUDGET else "bty", hold.bounty_id)


def _held_path(hold: Hold) -> str:
    return account_paths.bounty_held(mode=hold.mode, bounty_id=hold.bounty_id, currency=hold.currency)


def _agent_path(hold: Hold) -> str:
    return account_paths.agent_available(mode=hold.mode, agent_id=hold.agent_id, currency=hold.currency)


def _leg(hold: Hold, *effect: str) -> uuid.UUID:
    # Named by its place, not by its row: a rival's insert that lost has another row id for the same hold.
    return transfers.effect_id("hold", hold.bounty_id.hex, hold.kind, str(hold.slot_number), *effect)


def _from_agent(hold: Hold, *, minor: int, effect: str, reason: str, subject: str) -> transfers.Entry:
    return transfers.Entry(_leg(hold, effect), _agent_path(hold), _held_path(hold), minor, hold.currency, reason, subject)


def _to_agent(hold: Hold) -> list[transfers.Entry]:
    """Return the transfer of what an ended hold gives back: nothing is returned before a hold ends."""
    if not hold.returned_minor:
        return []
    subject = _subject(hold)
    return [
        transfers.Entry(
            _leg(hold, "return"), _held_path(hold), _agent_path(hold), hold.returned_minor, hold.currency, "hold_returned", subject
        )
    ]


def _to_payees(hold: Hold, parts: Sequence[Part], effect: str) -> list[transfers.Entry]:
    subject = _subject(hold)
    if not any(part.amount_minor for part in parts):
        raise ValueError("A capture pays somebody; void the hold to give everything back.")
    # Numbered from 0 without gaps: two captures of one effect meet on the first leg, whatever their parts.
    paid = [part for part in parts if part.amount_minor]
    return [
        transfers.Entry(
            _leg(hold, "capture", effect, str(number)),
            _held_path(hold),
            part.destination_path,
            part.amount_minor,
            hold.currency,
            part.reason,
            subject,
        )
        for number, part in enumerate(paid)
    ]
