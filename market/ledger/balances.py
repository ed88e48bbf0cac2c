"""Reading balances: the guarded ones from their row, the shared ones from the last mark and what came after."""

from collections.abc import Iterable

from django.db import connection
from django.db.models import Q

from market.ledger.models import Account


def balance(path: str) -> int:
    """Return the balance of one account in minor units; an account that nobody has used yet has 0."""
    return balances([path])[path]


def balances(paths: Iterable[str]) -> dict[str, int]:
    """Return the balance of each account in minor units, 0 for those that nobody has used yet."""
    found = dict.fromkeys(paths, 0)
    shared: dict[int, str] = {}
    for account in Account.objects.filter(path__in=found):
        if account.balance_minor is None:
            shared[account.pk] = account.path
        else:
            found[account.path] = account.balance_minor
    if shared:
        with connection.cursor() as cursor:
            cursor.execute("SELECT account_id, balance_minor FROM ledger_shared_balances(%s)", [list(shared)])
            found.update({shared[account_id]: int(minor) for account_id, minor in cursor.fetchall()})
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
