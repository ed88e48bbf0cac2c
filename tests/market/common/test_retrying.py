from collections.abc import Callable

import pytest
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction
from pytest_django import DjangoAssertNumQueries

from market.accounts.models import User
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


def write(name: str) -> None:
    User.objects.create_user(username=name)


def write_and_fail(name: str) -> None:
    write(name)
    raise KeyError(name)


@pytest.mark.django_db(transaction=True)
def test_a_part_that_fails_undoes_the_whole_whoever_catches_it() -> None:
    def outer() -> None:
        write("outer")
        with pytest.raises(KeyError):
            retrying.in_transaction(lambda: write_and_fail("inner"))
        # Nothing is told to go on: the next statement is refused.
        write("after")

    with pytest.raises(transaction.TransactionManagementError):
        retrying.in_transaction(outer)
    assert not User.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_apart_undoes_itself_alone() -> None:
    def outer() -> None:
        write("outer")
        with pytest.raises(KeyError):
            retrying.apart(lambda: retrying.in_transaction(lambda: write_and_fail("inner")))
        write("after")

    retrying.in_transaction(outer)
    assert set(User.objects.values_list("username", flat=True)) == {"outer", "after"}


@pytest.mark.django_db(transaction=True)
def test_a_strangers_block_may_go_on_after_a_failure() -> None:
    with transaction.atomic():
        write("outer")
        with pytest.raises(KeyError):
            retrying.in_transaction(lambda: write_and_fail("inner"))
        write("after")
    assert set(User.objects.values_list("username", flat=True)) == {"outer", "after"}


@pytest.mark.django_db(transaction=True)
def test_parts_need_no_savepoints(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(3):  # BEGIN, the count, COMMIT.
        retrying.in_transaction(lambda: retrying.in_transaction(User.objects.count))


@pytest.mark.django_db
def test_exceptions_of_the_work_pass_through() -> None:
    def work() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        retrying.in_transaction(work)
    assert not retrying.is_lost_to_another(IntegrityError())
    assert transaction.get_connection().in_atomic_block
