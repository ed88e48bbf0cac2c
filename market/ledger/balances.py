"""Reading balances: the guarded ones from their row, the shared ones from the last mark and what came after."""

from collections.abc import Iterable

from django.db import connection
from django.db.models import Q

from market.ledger.models import Account

# Statement-wide snapshot: the mark and the transfers after it are read as of one moment.
_SHARED = """
    SELECT account.path,
           coalesce(mark.balance_minor, 0)
           + coalesce((SELECT sum(amount_minor) FROM ledger_transfer
                       WHERE destination_id = account.id AND seq > coalesce(mark.upto_seq, 0)), 0)
           - coalesce((SELECT sum(amount_minor) FROM ledger_transfer
                       WHERE source_id = account.id AND seq > coalesce(mark.upto_seq, 0)), 0)
    FROM ledger_account account
    LEFT JOIN LATERAL (
        SELECT upto_seq, balance_minor FROM ledger_balancemark
        WHERE account_id = account.id ORDER BY upto_seq DESC LIMIT 1
    ) mark ON true
    WHERE account.id = ANY(%s)
"""


def balance(path: str) -> int:
    """Return the balance of one account in minor units; an account that nobody has used yet has 0."""
    return balances([path])[path]


def balances(paths: Iterable[str]) -> dict[str, int]:
    """Return the balance of each account in minor units, 0 for those that nobody has used yet."""
    found = dict.fromkeys(paths, 0)
    shared_ids = []
    for account in Account.objects.filter(path__in=found):
        if account.balance_minor is None:
            shared_ids.append(account.pk)
        else:
            found[account.path] = account.balance_minor
    if shared_ids:
        with connection.cursor() as cursor:
            cursor.execute(_SHARED, [shared_ids])
            found.update({path: int(minor) for path, minor in cursor.fetchall()})
    return found


def guarded_under(prefix: str) -> dict[str, int]:
    """Return the balances of all guarded accounts whose path begins with ``prefix``."""
    rows = Account.objects.filter(path__startswith=prefix, is_guarded=True).values_list("path", "balance_minor")
    return {path: minor for path, minor in rows if minor is not None}


def guarded_like(*parts: str) -> dict[str, int]:
    """Return the balances of all guarded accounts that hold money and whose path has all the parts; it is for audits."""
    filled = Account.objects.filter(*[Q(path__contains=part) for part in parts], is_guarded=True, balance_minor__gt=0)
    rows = filled.values_list("path", "balance_minor")
    return {path: minor for path, minor in rows if minor is not None}


def shared_like(part: str) -> dict[str, int]:
    """Return the balances of all shared accounts whose path has the part."""
    return balances(Account.objects.filter(path__contains=part, is_guarded=False).values_list("path", flat=True))
