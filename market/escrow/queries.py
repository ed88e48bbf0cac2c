"""Reads of held funds: a bounty's totals, an agent's held money, and holds, bonds and stakes compared with the ledger."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection
from django.db.models import F, Sum

from market.common import account_paths
from market.escrow.models import Bond, Hold, Stake
from market.ledger import balances

_LEFT = F("amount_minor") - F("captured_minor") - F("returned_minor")

# The holds of each bounty beside what its ledger account received, paid, gave back and keeps.
_COMPARE = """
    WITH hold AS (
        SELECT mode || ':bounty:' || replace(bounty_id::text, '-', '') || ':held:' || currency AS path,
               sum(amount_minor) AS funded, sum(captured_minor) AS captured, sum(returned_minor) AS returned,
               sum(amount_minor - captured_minor - returned_minor) AS held
        FROM escrow_hold
        WHERE %(bounty_id)s::uuid IS NULL OR bounty_id = %(bounty_id)s::uuid
        GROUP BY 1
    ), account AS (
        SELECT id, path, balance_minor FROM ledger_account
        WHERE path LIKE %(pattern)s AND split_part(path, ':', 2) = 'bounty'
    ), book AS (
        SELECT account.path, account.balance_minor AS held, coalesce(received.funded, 0) AS funded,
               coalesce(spent.captured, 0) AS captured, coalesce(spent.returned, 0) AS returned
        FROM account
        LEFT JOIN (
            SELECT destination_id, sum(amount_minor) AS funded FROM ledger_transfer
            WHERE destination_id IN (SELECT id FROM account) GROUP BY destination_id
        ) received ON received.destination_id = account.id
        LEFT JOIN (
            SELECT source_id, sum(amount_minor) FILTER (WHERE reason <> 'hold_returned') AS captured,
                   sum(amount_minor) FILTER (WHERE reason = 'hold_returned') AS returned
            FROM ledger_transfer WHERE source_id IN (SELECT id FROM account) GROUP BY source_id
        ) spent ON spent.source_id = account.id
    )
    SELECT coalesce(hold.path, book.path),
           hold.funded, hold.captured, hold.returned, hold.held, book.funded, book.captured, book.returned, book.held
    FROM hold FULL JOIN book ON book.path = hold.path
    WHERE (coalesce(hold.funded, 0), coalesce(hold.captured, 0), coalesce(hold.returned, 0), coalesce(hold.held, 0))
       IS DISTINCT FROM
          (coalesce(book.funded, 0), coalesce(book.captured, 0), coalesce(book.returned, 0), coalesce(book.held, 0))
       OR book.funded <> book.captured + book.returned + book.held
    ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Totals:
    """A bounty's money in minor units of its currency; funded = captured + returned + held at every instant."""

    funded_minor: int
    captured_minor: int
    returned_minor: int
    held_minor: int


def totals(bounty_id: uuid.UUID) -> Totals:
    """Add up the holds of a bounty; a bounty that was never funded has zeros."""
    return totals_of([bounty_id])[bounty_id]


def totals_of(bounty_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Totals]:
    """Add up the holds of each bounty, zeros for those that were never funded."""
    sums = (
        Hold.objects.filter(bounty_id__in=bounty_ids)
        .values_list("bounty_id")
        .annotate(funded=Sum("amount_minor"), captured=Sum("captured_minor"), returned=Sum("returned_minor"), held=Sum(_LEFT))
        .order_by("bounty_id")
    )
    return {**dict.fromkeys(bounty_ids, Totals(0, 0, 0, 0)), **{bounty_id: Totals(*parts) for bounty_id, *parts in sums}}


def held_for_agent(agent_id: uuid.UUID) -> dict[str, int]:
    """Return what is held of an agent's money, in minor units by currency."""
    held = Hold.objects.filter(agent_id=agent_id, status=Hold.Status.HELD)
    return dict(held.values_list("currency").annotate(left=Sum(_LEFT)).order_by("currency"))


def check_bounty(bounty_id: uuid.UUID) -> list[str]:
    """Compare one bounty's holds with its ledger account; return the differences in words."""
    return _compare(bounty_id, f"%:bounty:{bounty_id.hex}:held:%")


def check_bounties() -> list[str]:
    """Compare all holds with the ledger; return the differences in words."""
    return _compare(None, "%:bounty:%")


def check_bonds() -> list[str]:
    """Compare every bond with its account: placed, it is there; ended, nothing is. Return the differences in words."""
    placed = Bond.objects.filter(status=Bond.Status.PLACED).values_list("mode", "pk", "currency", "amount_minor")
    expected = {account_paths.bond_held(mode=mode, bond_id=pk, currency=currency): minor for mode, pk, currency, minor in placed}
    return _differences("bond", expected, balances.guarded_like(":bond:", ":held:"))


def check_stakes() -> list[str]:
    """Compare every stake with its account; return the differences in words."""
    expected = {
        account_paths.worker_stake(mode=stake.mode, worker_id=stake.worker_id, currency=stake.currency): stake.left_minor
        for stake in Stake.objects.all()
        if stake.left_minor
    }
    return _differences("stake", expected, balances.guarded_like(":worker:", ":stake:"))


def _differences(name: str, expected: dict[str, int], found: dict[str, int]) -> list[str]:
    return [
        f"{name} differs from ledger: {path}: {expected.get(path, 0)} in rows, {found.get(path, 0)} in transfers"
        for path in sorted(expected.keys() | found.keys())
        if expected.get(path, 0) != found.get(path, 0)
    ]


def _compare(bounty_id: uuid.UUID | None, pattern: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(_COMPARE, {"bounty_id": bounty_id, "pattern": pattern})
        return [
            f"holds differ from ledger: {path}: funded, captured, returned, held are {hold} in holds, {book} in transfers"
            for path, hold, book in ((row[0], _words(row[1:5]), _words(row[5:])) for row in cursor.fetchall())
        ]


def _words(figures: tuple[object, ...]) -> str:
    return ", ".join("none" if figure is None else str(figure) for figure in figures)
