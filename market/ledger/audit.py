"""The books, proved: trial balance, and the full audit that recomputes everything from the transfers.

The ledger knows no hold and no payout. Apps above it compare theirs with its accounts in a module ``ledger_checks``,
with functions under `check`, which `audit` finds by that name.
"""

from collections.abc import Callable
from dataclasses import dataclass

from django.db import connection, transaction
from django.utils.module_loading import autodiscover_modules

from market.common import account_paths

Check = Callable[[], list[str]]

# A broken ledger may break in a million places; the first of each kind tell enough.
_MAX_BREACHES_OF_A_KIND = 100

_TRIAL_BALANCE = """
    SELECT account.currency,
           sum(CASE WHEN account.is_guarded THEN account.balance_minor
                    ELSE coalesce(mark.balance_minor, 0)
                       + coalesce((SELECT sum(amount_minor) FROM ledger_transfer
                                   WHERE destination_id = account.id AND seq > coalesce(mark.upto_seq, 0)), 0)
                       - coalesce((SELECT sum(amount_minor) FROM ledger_transfer
                                   WHERE source_id = account.id AND seq > coalesce(mark.upto_seq, 0)), 0) END)
    FROM ledger_account account
    LEFT JOIN LATERAL (
        SELECT upto_seq, balance_minor FROM ledger_balancemark
        WHERE account_id = account.id AND NOT account.is_guarded ORDER BY upto_seq DESC LIMIT 1
    ) mark ON true
    WHERE %(mode)s IS NULL OR split_part(account.path, ':', 1) = %(mode)s
    GROUP BY account.currency ORDER BY account.currency
"""

# One statement, so one snapshot: transfers that are posted meanwhile are either wholly in it or not at all.
_AUDIT = """
    WITH mark AS (
        SELECT DISTINCT ON (account_id) account_id, upto_seq, balance_minor
        FROM ledger_balancemark ORDER BY account_id, upto_seq DESC
    ), leg AS (
        SELECT source_id AS account_id, seq, -amount_minor AS delta FROM ledger_transfer
        UNION ALL
        SELECT destination_id, seq, amount_minor FROM ledger_transfer
    ), summed AS (
        SELECT leg.account_id, sum(leg.delta) AS total,
               coalesce(sum(leg.delta) FILTER (WHERE leg.seq <= mark.upto_seq), 0) AS total_at_mark
        FROM leg LEFT JOIN mark USING (account_id)
        GROUP BY leg.account_id
    ), book AS (
        SELECT coalesce(account.path, 'account ' || summed.account_id) AS path, account.id, account.currency, account.is_guarded,
               split_part(account.path, ':', 1) AS mode, account.balance_minor AS stored, mark.balance_minor AS marked,
               coalesce(summed.total, 0) AS total, coalesce(summed.total_at_mark, 0) AS total_at_mark
        FROM ledger_account account
        FULL JOIN summed ON summed.account_id = account.id
        LEFT JOIN mark ON mark.account_id = account.id
    ), breach (kind, place, detail) AS (
        SELECT 'stored balance differs', path, format('stored %%s, transfers make %%s', stored, total)
        FROM book WHERE is_guarded AND stored IS DISTINCT FROM total
        UNION ALL
        SELECT 'guarded account is below zero', path, format('transfers make %%s', total) FROM book WHERE is_guarded AND total < 0
        UNION ALL
        SELECT 'mark differs', path, format('marked %%s, transfers make %%s', marked, total_at_mark)
        FROM book WHERE marked IS NOT NULL AND marked <> total_at_mark
        UNION ALL
        SELECT 'transfers without their account', path, format('%%s minor units', total) FROM book WHERE id IS NULL
        UNION ALL
        SELECT 'account is not what its path says', path, format('currency %%s, guarded %%s', currency, is_guarded)
        FROM book
        WHERE id IS NOT NULL AND (currency <> split_part(path, ':', -1)
                                  OR is_guarded = (split_part(path, ':', 2) = ANY (%(shared_kinds)s)))
        UNION ALL
        SELECT 'transfer between currencies or modes', transfer.id::text, format('%%s to %%s', source.path, destination.path)
        FROM ledger_transfer transfer
        JOIN ledger_account source ON source.id = transfer.source_id
        JOIN ledger_account destination ON destination.id = transfer.destination_id
        WHERE source.currency <> destination.currency
           OR split_part(source.path, ':', 1) <> split_part(destination.path, ':', 1)
        UNION ALL
        SELECT 'trial balance is not zero', mode || ' ' || currency, format('%%s minor units', sum(balance))
        FROM (
            SELECT mode, currency, CASE WHEN is_guarded THEN stored ELSE coalesce(marked, 0) + total - total_at_mark END AS balance
            FROM book WHERE id IS NOT NULL
        ) presented
        GROUP BY mode, currency HAVING sum(balance) <> 0
    ), numbered AS (
        SELECT breach.*, row_number() OVER (PARTITION BY kind ORDER BY place) AS number FROM breach
    )
    SELECT (SELECT count(*) FROM ledger_account), (SELECT count(*) FROM ledger_transfer),
           (SELECT array_agg(kind || ': ' || place || ': ' || detail ORDER BY kind, place)
            FROM numbered WHERE number <= %(max_breaches)s)
"""

_checks: dict[str, Check] = {}


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit looked at, and every difference it found in words for people."""

    account_count: int
    transfer_count: int
    checks: tuple[str, ...]
    breaches: tuple[str, ...]


def check(function: Check) -> Check:
    """Have `audit` call ``function``, which returns one line a difference between an app's rows and the ledger."""
    _checks[f"{function.__module__}.{function.__qualname__}"] = function
    return function


def trial_balance(mode: str | None = None) -> dict[str, int]:
    """Return the sum of all balances by currency, of one mode or of both; anything but 0 is a breach."""
    with connection.cursor() as cursor:
        cursor.execute(_TRIAL_BALANCE, {"mode": mode})
        return {currency: int(minor) for currency, minor in cursor.fetchall()}


def audit() -> Report:
    """Recompute the ledger and run every app's checks, all as of one moment; return the report."""
    autodiscover_modules("ledger_checks")
    is_outermost = not connection.in_atomic_block
    with transaction.atomic(), connection.cursor() as cursor:
        if is_outermost:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            # A long ledger takes longer than a request may.
            cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute(_AUDIT, {"shared_kinds": sorted(account_paths.SHARED_KINDS), "max_breaches": _MAX_BREACHES_OF_A_KIND})
        account_count, transfer_count, breaches = cursor.fetchone()
        found = list(breaches or [])
        for name in sorted(_checks):
            found += _checks[name]()
    return Report(account_count, transfer_count, tuple(sorted(_checks)), tuple(found))
