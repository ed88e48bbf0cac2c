"""A ledger as the textbook writes it with Django's ORM: lock both accounts, save both, create the transfer."""

import functools
import random
import uuid

from django.db import connection, models, transaction

ACCOUNTS = 10_000


class PlainAccount(models.Model):
    """An account with its balance."""

    path = models.CharField(max_length=120, unique=True)
    balance_minor = models.BigIntegerField()

    class Meta:
        app_label = "benchmarks"
        constraints = [models.CheckConstraint(condition=models.Q(balance_minor__gte=0), name="plain_account_not_below_zero")]

    def __str__(self) -> str:
        return self.path


class PlainTransfer(models.Model):
    """A transfer with real foreign keys."""

    id = models.UUIDField(primary_key=True)
    source = models.ForeignKey(PlainAccount, on_delete=models.PROTECT, related_name="+")
    destination = models.ForeignKey(PlainAccount, on_delete=models.PROTECT, related_name="+")
    amount_minor = models.BigIntegerField()
    reason = models.CharField(max_length=32)
    subject = models.CharField(max_length=40)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "benchmarks"

    def __str__(self) -> str:
        return f"transfer {self.pk}"


def prepare(argument: str = "") -> None:
    """Make the tables and the accounts."""
    with connection.schema_editor() as editor:
        editor.create_model(PlainAccount)
        editor.create_model(PlainTransfer)
    PlainAccount._default_manager.bulk_create([PlainAccount(path=f"account {n}", balance_minor=10**9) for n in range(ACCOUNTS)])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE benchmarks_plainaccount, benchmarks_plaintransfer")


def move(generator: random.Random, *, destination: int | None = None) -> int:
    """Move once; both accounts are locked in the order of their keys."""
    source = generator.randint(2, ACCOUNTS)
    other = destination or generator.randint(1, ACCOUNTS)
    other = 1 if other == source else other
    with transaction.atomic():
        locked = PlainAccount._default_manager.select_for_update().filter(pk__in=(source, other)).order_by("pk")
        rows = {row.pk: row for row in locked}
        rows[source].balance_minor -= 1
        rows[other].balance_minor += 1
        rows[source].save(update_fields=["balance_minor"])
        rows[other].save(update_fields=["balance_minor"])
        identity = uuid.UUID(int=generator.getrandbits(128), version=4)
        PlainTransfer._default_manager.create(
            id=identity, source=rows[source], destination=rows[other], amount_minor=1, reason="test", subject="test"
        )
    return 1


WAYS = {"one at a time": functools.partial(move), "one at a time into one account": functools.partial(move, destination=1)}
