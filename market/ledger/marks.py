"""Balance marks of shared accounts, so that reading one need not add up its whole history."""

from django.db import connection


def mark() -> int:
    """Mark every shared account that moved since its last mark; return how many.

    Raises:
        django.db.OperationalError: somebody has been posting for a second; try again later, nothing is lost.
    """
    with connection.cursor() as cursor:
        # A statement of its own: outside a transaction the lock that it needs is gone again when it returns.
        cursor.execute("SELECT ledger_settled_seq()")
        settled_seq = cursor.fetchone()[0]
        cursor.execute("SELECT ledger_mark(%s)", [settled_seq])
        count: int = cursor.fetchone()[0]
    return count
