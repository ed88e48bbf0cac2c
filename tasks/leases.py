"""The one queue of record: rows that one holder works on until ``lease_until``, with a fencing token."""

import datetime
from collections.abc import Callable
from typing import Any, TypeVar, cast

from django.core.exceptions import EmptyResultSet
from django.db import connections, models, transaction
from django.db.models import Case, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Now


class LeaseState(models.TextChoices):
    READY = "READY", "ready: waits for a holder"
    LEASED = "LEASED", "leased: a holder works on it until lease_until"
    DONE = "DONE", "done"
    DEAD = "DEAD", "given up: attempts used or withdrawn"


class StaleLease(Exception):
    """The token is not the newest, or the row is not leased any more: drop the result and lease again."""


_Row = TypeVar("_Row", bound="Leased")


class LeasedQuerySet(models.QuerySet[_Row]):
    """Hand out, keep, finish and take back leased rows; each is one statement by the database's clock.

    The methods respect the queryset's filters, so ``VisionRun.objects.filter(...).hand_out(...)`` hands out only those.
    """

    def hand_out(self, *, limit: int, holder: str, lease_s: int) -> list[_Row]:
        """Lease up to ``limit`` ready rows, oldest first, to ``holder`` for ``lease_s`` seconds.

        Rows another transaction is working on are passed over (``SKIP LOCKED``), so holders never wait for each other.
        """
        meta = self.model._meta
        assert meta.pk is not None
        assert meta.pk.column is not None
        # One statement: it needs a transaction, and no savepoint inside one.
        with transaction.atomic(using=self.db, savepoint=False):
            ready = (
                self.filter(lease_state=LeaseState.READY, available_at__lte=Now())
                .order_by("available_at", "pk")
                .select_for_update(skip_locked=True, no_key=True, of=("self",))
                .values("pk")[:limit]
            )
            try:
                ready_sql, ready_params = ready.query.get_compiler(using=self.db).as_sql()
            except EmptyResultSet:
                # A limit of 0, or a filter that no row can pass.
                return []
            quote = connections[self.db].ops.quote_name
            table, key = quote(meta.db_table), quote(meta.pk.column)
            # MATERIALIZED, because a planner that runs the inner select twice would lease more rows than it returns.
            # The names come from the model, every value is a parameter.
            statement = (
                f"WITH ready (ready_pk) AS MATERIALIZED ({ready_sql}) UPDATE {table}"  # noqa: S608
                " SET lease_state = %s, lease_holder = %s, lease_until = STATEMENT_TIMESTAMP() + make_interval(secs => %s),"
                f" token = token + 1, attempts = attempts + 1 FROM ready WHERE {table}.{key} = ready.ready_pk RETURNING {table}.*"
            )
            params = [*ready_params, LeaseState.LEASED, holder, lease_s]
            rows = cast(list[_Row], list(self.model._default_manager.using(self.db).raw(statement, params)))
        return sorted(rows, key=lambda row: (row.available_at, row.pk))

    def heartbeat(self, *, pk: object, token: int, lease_s: int) -> None:
        """Let the lease end ``lease_s`` seconds from now.

        Raises:
            StaleLease: the row was handed to another holder, finished or given back.
        """
        self._change(pk, token, lease_until=Now() + datetime.timedelta(seconds=lease_s))

    def finish(self, *, pk: object, token: int, **fields: Any) -> None:
        """Mark the row done and write ``fields``; a lease that ran out counts while nobody else got the row.

        Raises:
            StaleLease: the row was handed to another holder, finished or given back.
        """
        self._change(pk, token, lease_state=LeaseState.DONE, lease_until=None, **fields)

    def give_back(self, *, pk: object, token: int, delay_s: float = 0, **fields: Any) -> None:
        """Make the row ready again, to be handed out ``delay_s`` seconds from now at the earliest, and write ``fields``.

        Raises:
            StaleLease: the row was handed to another holder, finished or given back.
        """
        available_at = Now() + datetime.timedelta(seconds=delay_s)
        self._change(pk, token, lease_state=LeaseState.READY, lease_until=None, lease_holder="", available_at=available_at, **fields)

    def give_up(self, *, pk: object, token: int) -> None:
        """Mark the row dead: nobody gets it again until somebody makes it ready.

        Raises:
            StaleLease: the row was handed to another holder, finished or given back.
        """
        self._change(pk, token, lease_state=LeaseState.DEAD, lease_until=None, lease_holder="")

    def sweep(self, *, max_attempts: int, delay_s: Callable[[int], float] | float = 0) -> int:
        """Take back every row whose lease has ended: ready again, or dead after ``max_attempts``; return how many.

        ``delay_s`` is a number of seconds, or a function from attempts made to seconds.
        """
        with transaction.atomic(using=self.db, savepoint=False):
            ended = self.filter(lease_state=LeaseState.LEASED, lease_until__lte=Now())
            free = ended.select_for_update(skip_locked=True, no_key=True, of=("self",)).values("pk")
            return ended.filter(pk__in=free).update(
                lease_state=Case(When(attempts__gte=max_attempts, then=Value(LeaseState.DEAD)), default=Value(LeaseState.READY)),
                available_at=Now() + _delay(delay_s, max_attempts),
                lease_until=None,
                lease_holder="",
            )

    def _change(self, pk: object, token: int, **fields: Any) -> None:
        moved = self.filter(pk=pk, token=token, lease_state=LeaseState.LEASED).update(**fields)
        if not moved:
            raise StaleLease(f"Token {token} no longer holds {self.model._meta.model_name} {pk}: lease again.")


def _delay(delay_s: Callable[[int], float] | float, max_attempts: int) -> Combinable:
    if not callable(delay_s):
        return Value(datetime.timedelta(seconds=delay_s), output_field=models.DurationField())
    steps = [When(attempts=made, then=Value(datetime.timedelta(seconds=delay_s(made)))) for made in range(1, max_attempts)]
    return Case(*steps, default=Value(datetime.timedelta(0)), output_field=models.DurationField())


class Leased(models.Model):
    """Abstract row of work. Every hand-out raises ``token``; a result counts only with the newest token.

    ``lease_until`` is compared with the database's clock alone. A LEASED row without ``lease_until`` is held
    without a limit (a slot whose submission waits for its verdict).
    """

    lease_state = models.CharField(max_length=8, choices=LeaseState, default=LeaseState.READY)
    lease_until = models.DateTimeField(null=True, blank=True)
    lease_holder = models.CharField(max_length=80, blank=True, default="")
    token = models.BigIntegerField(default=0)
    attempts = models.PositiveSmallIntegerField(default=0)
    available_at = models.DateTimeField(db_default=Now())

    objects = LeasedQuerySet.as_manager()

    class Meta:
        abstract = True
