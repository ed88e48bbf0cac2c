"""Going through many rows: it ..."""

import contextlib
import datetime
import signal
import uuid

import pytest

from market.accounts.models import User
from tasks import batches, clock
from tasks.models import Setback
from tests import processes


def test_gives_every_row_its_turn_and_hides_no_error() -> None:
    done: list[int] = []

    def work(number: int) -> None:
        if number == 1:
            raise ValueError("bad row")
        done.append(number)

    with pytest.raises(ExceptionGroup, match="1 of 3 failed"):
        batches.for_each([0, 1, 2], work)
    assert done == [0, 2]


def user_keys(count: int) -> list[uuid.UUID]:
    return sorted(User.objects.create_user(username=f"row {number}").pk for number in range(count))


def drive(good: list[uuid.UUID], now: datetime.datetime, *, sweep: str = "rows") -> list[uuid.UUID]:
    """Drive two users at most; those that are not good fail. Return who got a turn."""
    tried: list[uuid.UUID] = []

    def work(pk: uuid.UUID) -> None:
        tried.append(pk)
        if pk not in good:
            raise ValueError("a worker's words")

    with contextlib.suppress(ExceptionGroup):
        batches.drive(sweep=sweep, due=User.objects.order_by("pk"), work=work, limit=2, now=now)
    return tried


@pytest.mark.django_db
def test_lets_rows_pass_behind_those_that_always_fail() -> None:
    now = clock.now()
    first, second, good = user_keys(3)
    assert drive([good], now) == [first, second]
    assert drive([good], now) == [good]
    # Another sweep over the same rows is another matter.
    assert drive([good], now, sweep="others") == [first, second]
    assert [(note.tries, note.error, note.next_try_at) for note in Setback.objects.filter(sweep="rows")] == [
        (1, "ValueError", now + datetime.timedelta(seconds=2))
    ] * 2


@pytest.mark.django_db
def test_waits_longer_after_each_failure_and_forgets_after_a_success() -> None:
    now = clock.now()
    [row] = user_keys(1)
    for seconds in (2, 4, 8):
        assert (drive([], now), drive([], now)) == ([row], [])
        assert drive([], now + datetime.timedelta(seconds=seconds, microseconds=-1)) == []
        now += datetime.timedelta(seconds=seconds)
    Setback.objects.update(tries=400, next_try_at=now)
    assert drive([], now) == [row]
    assert Setback.objects.get().next_try_at == now + datetime.timedelta(hours=1)
    assert drive([row], now + datetime.timedelta(hours=1)) == [row]
    assert not Setback.objects.exists()


@pytest.mark.django_db
def test_lets_a_row_rest_that_says_it_can_only_be_done_later_and_tells_nobody() -> None:
    now = clock.now()
    [row] = user_keys(1)

    def work(_: uuid.UUID) -> None:
        raise batches.TryLater

    assert batches.drive(sweep="rows", due=User.objects.order_by("pk"), work=work, limit=2, now=now) == []
    assert [(note.row, note.tries, note.next_try_at) for note in Setback.objects.all()] == [
        (str(row), 1, now + datetime.timedelta(seconds=2))
    ]
    assert drive([row], now) == []


# The first row kills the process that works on it.
KILLER = """
import datetime, os, signal
from market.accounts.models import User
from tasks import batches
now = datetime.datetime.fromisoformat("{now}")
batches.drive(sweep="rows", due=User.objects.order_by("pk"), work=lambda _: os.kill(os.getpid(), signal.SIGKILL), limit=2, now=now)
"""


@pytest.mark.django_db(transaction=True)
def test_lets_rows_pass_behind_one_that_kills_its_process() -> None:
    now = clock.now()
    poison, good = user_keys(2)
    for _ in range(2):
        with processes.python(KILLER.format(now=now.isoformat())) as child:
            assert child.wait() == -signal.SIGKILL
    assert drive([good], now) == [good]
    assert [(note.row, note.tries, note.error) for note in Setback.objects.all()] == [(str(poison), 1, "unfinished")]


@pytest.mark.django_db
def test_keeps_no_row_from_another_process_while_it_is_merely_begun() -> None:
    now = clock.now()
    first, second = user_keys(2)

    def work(pk: uuid.UUID) -> None:
        if pk == first:
            assert drive([first, second], now) == [first, second]

    batches.drive(sweep="rows", due=User.objects.order_by("pk"), work=work, limit=2, now=now)
    assert not Setback.objects.exists()
