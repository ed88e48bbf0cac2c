from collections.abc import Callable

import pytest
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction

from market.common import retrying


def losing(times: int, sqlstate: str = "40001") -> Callable[[], int]:
    """Return work that PostgreSQL gives up ``times`` times, then returns how often it ran."""
    runs = 0

    def work() -> int:
        nonlocal runs
        runs += 1
        if runs <= times:
            with connection.cursor() as cursor:
                cursor.execute(f"DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '{sqlstate}'; END $$")
        return runs

    return work


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_lost_transaction_is_run_again(sqlstate: str) -> None:
    assert retrying.in_transaction(losing(3, sqlstate)) == 4


@pytest.mark.django_db(transaction=True)
def test_it_gives_up_in_the_end() -> None:
    with pytest.raises(OperationalError, match="lost"):
        retrying.in_transaction(losing(retrying.ATTEMPTS))
    assert retrying.in_transaction(losing(retrying.ATTEMPTS - 1)) == retrying.ATTEMPTS


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("sqlstate", ["23505", "55P03", "P0001"])
def test_other_errors_are_raised_at_once(sqlstate: str) -> None:
    work = losing(1, sqlstate)
    with pytest.raises(DatabaseError):
        retrying.in_transaction(work)
    assert work() == 2


@pytest.mark.django_db(transaction=True)
def test_inside_a_transaction_the_outermost_is_run_again() -> None:
    inner, runs = losing(2), 0

    def outer() -> int:
        nonlocal runs
        runs += 1
        return retrying.in_transaction(inner)

    assert retrying.in_transaction(outer) == 3
    assert runs == 3


@pytest.mark.django_db(transaction=True)
def test_every_attempt_begins_from_nothing() -> None:
    def work() -> int:
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE attempt_leftover ()")
        return fail()

    fail = losing(2)
    assert retrying.in_transaction(work) == 3
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE attempt_leftover")


@pytest.mark.django_db
def test_exceptions_of_the_work_pass_through() -> None:
    def work() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        retrying.in_transaction(work)
    assert not retrying.is_lost_to_another(IntegrityError())
    assert transaction.get_connection().in_atomic_block
