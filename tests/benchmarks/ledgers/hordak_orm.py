"""django-hordak, a double-entry ledger of transactions and legs; balances are sums over the legs."""

import functools
import random

from django.core.management import call_command
from django.db import connection, transaction
from hordak.models import Account, AccountType
from moneyed import Money

# Its accounts form a tree, and adding one renumbers the others.
ACCOUNTS = 200


def prepare(argument: str = "") -> None:
    """Make its tables and accounts."""
    call_command("migrate", verbosity=0)
    for n in range(ACCOUNTS):
        Account.objects.create(name=f"account {n}", code=f"{n:03}", type=AccountType.liability, currencies=["USD"])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


@functools.cache
def accounts() -> list[Account]:
    """Return the accounts, read once."""
    return list(Account.objects.order_by("pk"))


def move(generator: random.Random, *, is_hot: bool = False) -> int:
    """Move ten cents as its documentation says."""
    source = generator.randrange(1, ACCOUNTS)
    other = 0 if is_hot else generator.randrange(ACCOUNTS)
    with transaction.atomic():
        accounts()[source].transfer_to(accounts()[0 if other == source else other], Money("0.10", "USD"))
    return 1


def read_balance(generator: random.Random) -> int:
    """Read the balance of the account with the most legs."""
    accounts()[0].get_balance()
    return 1


WAYS = {
    "one at a time": functools.partial(move),
    "one at a time into one account": functools.partial(move, is_hot=True),
    "balance": read_balance,
}
