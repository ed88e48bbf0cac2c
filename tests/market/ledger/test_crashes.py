import pytest
from django.db import IntegrityError, connection, transaction

from market.ledger import balances, transfers
from market.ledger.models import Transfer
from tests import forking, processes
from tests.market.books import OUTSIDE, entry, fund, purse

A, B = purse(1), purse(2)


class PowerCut(Exception):
    pass


@pytest.mark.django_db
def test_exception_after_posting_takes_everything_back() -> None:
    fund(A, 100)

    def post_and_fail() -> None:
        with transaction.atomic():
            transfers.post_all([entry(A, B, 60)])
            raise PowerCut

    with pytest.raises(PowerCut):
        post_and_fail()
    assert balances.balances([A, B]) == {A: 100, B: 0}
    assert Transfer.objects.count() == 1


@pytest.mark.django_db
def test_statement_that_fails_half_way_takes_everything_back() -> None:
    """An amount that the table refuses is found while rows are written: the balances move with the rows or not at all."""
    fund(A, 100)
    call = (
        "SELECT ledger_post(ARRAY[%s, %s], ARRAY[gen_random_uuid(), gen_random_uuid()], ARRAY[1, 1], ARRAY[2, 2],"
        " ARRAY[60, 0]::bigint[], ARRAY['USD', 'USD'], ARRAY['r', 'r'], ARRAY['s', 's'], false)"
    )
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(call, [A, B])
    assert balances.balances([A, B]) == {A: 100, B: 0}


POSTER = """
import uuid
from django.db import IntegrityError, connection, transaction
from market.ledger import transfers
def entry(number, n):
    return transfers.Entry(transfers.effect_id("kill", str(number), str(n)), SOURCE, DESTINATION, 1, "USD", "test", "test")
def batch(number):
    return [entry(number, n) for n in range(5)]
number = 0
while True:
    number += 1
    with transaction.atomic():
        transfers.post_all(batch(number))
    if number == 3:
        tell("running")
"""

OPEN_TRANSACTION = """
from django.db import transaction
from market.ledger import transfers
with transaction.atomic():
    transfers.post_all([transfers.Entry(transfers.effect_id("open"), SOURCE, DESTINATION, 7, "USD", "test", "test")])
    tell("posted")
    input()
"""


def with_paths(code: str) -> str:
    return f"SOURCE, DESTINATION = {OUTSIDE!r}, {A!r}\n{code}"


@pytest.mark.django_db(transaction=True)
def test_kill_9_in_the_middle_leaves_whole_batches() -> None:
    before = forking.sessions()
    with processes.python(with_paths(POSTER)) as child:
        processes.wait_for_word(child, "running")
        child.kill()
        child.wait()
    forking.wait_for_sessions_to_end(before)
    count = Transfer.objects.count()
    assert count >= 15
    assert count % 5 == 0
    assert balances.balance(A) == count


@pytest.mark.django_db(transaction=True)
def test_kill_9_before_the_commit_leaves_nothing_and_the_repeat_works() -> None:
    before = forking.sessions()
    with processes.python(with_paths(OPEN_TRANSACTION)) as child:
        processes.wait_for_word(child, "posted")
        child.kill()
        child.wait()
    forking.wait_for_sessions_to_end(before)
    assert not Transfer.objects.exists()
    again = transfers.Entry(transfers.effect_id("open"), OUTSIDE, A, 7, "USD", "test", "test")
    assert transfers.post([again]) == [transfers.Outcome.POSTED]
