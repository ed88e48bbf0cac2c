"""Events are numbered after commit: 1, 2, 3 ... per agent, and a reader who saw n never misses one up to n."""

import contextlib
import os
import signal
import subprocess
import sys
import threading

import pytest
from django.db import connection, connections, transaction

from market.accounts.models import Agent, User
from market.events import feed
from market.events.models import Event

pytestmark = pytest.mark.django_db(transaction=True)


def note(agent: Agent, mark: int) -> Event:
    return feed.record(agent=agent, type="test.noted", subject="tsk_0", actor="machine", data={"mark": mark})


def read_all(agent: Agent) -> list[tuple[int | None, object]]:
    return [(event.seq, event.data["mark"]) for event in feed.after(agent, 0, 1_000)]


def test_numbers_each_feed_from_one(feed_owner: Agent) -> None:
    other = Agent.objects.create(owner=User.objects.create_user("other"), name="Other", mode="test")
    for mark in range(3):
        note(feed_owner, mark)
        note(other, mark)
    assert read_all(feed_owner) == read_all(other) == [(1, 0), (2, 1), (3, 2)]


def test_gives_later_number_to_who_commits_later(feed_owner: Agent) -> None:
    """The event with the smaller id commits last; a reader in between must not be led past it."""
    is_written, may_commit = threading.Event(), threading.Event()

    def write_slowly() -> None:
        with transaction.atomic():
            note(feed_owner, 1)
            is_written.set()
            assert may_commit.wait(20)
        connections.close_all()

    slow = threading.Thread(target=write_slowly)
    slow.start()
    assert is_written.wait(20)
    note(feed_owner, 2)
    assert read_all(feed_owner) == [(1, 2)]
    may_commit.set()
    slow.join()
    assert read_all(feed_owner) == [(1, 2), (2, 1)]


def test_leaves_no_gap_after_rollback(feed_owner: Agent) -> None:
    note(feed_owner, 1)
    with contextlib.suppress(InterruptedError), transaction.atomic():
        note(feed_owner, 2)
        feed.sequence()
        raise InterruptedError
    note(feed_owner, 3)
    assert read_all(feed_owner) == [(1, 1), (2, 3)]


def test_stays_gap_free_under_many_writers_and_readers(feed_owner: Agent) -> None:
    """Six writers commit and roll back at will while two readers follow; both readers see every event once, in order."""
    writers, each = 6, 25
    is_over = threading.Event()
    followed: list[list[int]] = [[], []]

    def write(number: int) -> None:
        for turn in range(each):
            try:
                with transaction.atomic():
                    note(feed_owner, number * 1_000 + turn)
                    if turn % 5 == 4:
                        raise InterruptedError
            except InterruptedError:
                continue
        connections.close_all()

    def follow(seen: list[int]) -> None:
        while True:
            was_over = is_over.is_set()
            batch = feed.after(feed_owner, len(seen), 7)
            assert [event.seq for event in batch] == list(range(len(seen) + 1, len(seen) + 1 + len(batch)))
            seen.extend(event.pk for event in batch)
            if was_over and not batch:
                break
        connections.close_all()

    readers = [threading.Thread(target=follow, args=(seen,)) for seen in followed]
    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in readers + threads:
        thread.start()
    for thread in threads:
        thread.join()
    is_over.set()
    for thread in readers:
        thread.join()
    assert len(followed[0]) == writers * each * 4 // 5
    assert followed[0] == followed[1]


KILLED = """
import sys, django
django.setup()
from django.db import connection, transaction
from market.accounts.models import Agent
from market.events import feed
with transaction.atomic():
    feed.record(agent=Agent.objects.get(), type="test.noted", subject="tsk_0", actor="machine", data={"mark": 2})
    feed.sequence()
    print("numbered", flush=True)
    sys.stdin.read()
"""


def test_survives_kill_of_sequencer(feed_owner: Agent) -> None:
    """A process killed with the lock in hand leaves neither a lock nor a number behind."""
    note(feed_owner, 1)
    name = str(connection.settings_dict["NAME"])
    url = os.environ["DATABASE_URL"].rpartition("/")[0] + "/" + name
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED],
        env={**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "market.config.settings"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == "numbered\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdin.close()
    child.stdout.close()
    note(feed_owner, 3)
    assert read_all(feed_owner) == [(1, 1), (2, 3)]


def test_numbers_more_than_one_batch(feed_owner: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "BATCH_SIZE", 4)
    for mark in range(10):
        note(feed_owner, mark)
    assert read_all(feed_owner) == [(mark + 1, mark) for mark in range(10)]
