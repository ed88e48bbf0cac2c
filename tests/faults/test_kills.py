import contextlib
import datetime
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import Model

from market.accounts import idempotency
from market.bounties import settlement
from market.bounties.models import Settlement
from market.escrow import holds
from market.escrow.models import Hold
from market.events import feed
from market.events.models import Delivery, Event
from market.ledger import transfers
from tasks import claims
from tasks.leases import StaleLease
from tasks.models import Claim
from tests import racing
from tests.faults import actors, killing

pytestmark = pytest.mark.django_db(transaction=True)

T = TypeVar("T")
# Planted faults that lose something, or do it twice, where a process is killed after their half.
Plant = Callable[[pytest.MonkeyPatch], None]


def test_nothing_is_lost_and_nothing_is_done_twice() -> None:
    report = killing.run(seed=1, rounds=100)
    assert report.violations == []
    assert int(report.figures["slots paid"]) > 0
    assert int(report.figures["slots refunded"]) > 0
    assert int(report.figures["repeated by the next in the seat"]) > 0


def gap(monkeypatch: pytest.MonkeyPatch, *, after_kills: int) -> Callable[[], None]:
    """Return a wait of a moment, or of so many kills, in which a process of the campaign may be killed; others do not wait."""
    boards: list[actors.Board] = []
    live = actors.Actor.live

    def live_seen(actor: actors.Actor, chance: random.Random) -> None:
        boards.append(actor.board)
        live(actor, chance)

    def wait() -> None:
        for board in boards:  # None in the process that kills.
            enough, ends_at = board.kills() + after_kills, time.monotonic() + 5
            time.sleep(0.05)
            while board.kills() < enough and time.monotonic() < ends_at:
                time.sleep(0.005)

    monkeypatch.setattr(actors.Actor, "live", live_seen)
    return wait


def later(step: Callable[..., object], wait: Callable[[], None]) -> Callable[..., None]:
    """Return a step that is done some time after the commit of its transaction, and surely, but for a kill."""

    def late(**given: object) -> None:
        wait()
        step(**given)

    return lambda **given: transaction.on_commit(lambda: late(**given))


def earlier(step: Callable[..., T], wait: Callable[[], None]) -> Callable[..., T]:
    """Return a step that is committed some time before the transaction it belongs to."""

    def early(*given: object, **named: object) -> T:
        def work() -> T:
            with transaction.atomic():
                return step(*given, **named)

        [done] = racing.together([work])
        if isinstance(done, Exception):
            raise done
        wait()
        return done

    return early


def capture_after_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "capture", later(holds.capture, gap(monkeypatch, after_kills=5)))


def tell_after_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "record", later(feed.record, gap(monkeypatch, after_kills=0)))


def tell_before_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "record", earlier(feed.record, gap(monkeypatch, after_kills=0)))


def pay_before_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a settlement that is made again, nothing stands in the way: no unique row, no ended hold, no used transfer id."""
    capture, complete = holds.capture, claims.complete

    def capture_again(*, hold: Hold, parts: Sequence[holds.Part], effect: str, now: datetime.datetime) -> Hold:
        if hold.status == Hold.Status.HELD:
            return capture(hold=hold, parts=parts, effect=effect, now=now)
        transfers.post_all(holds._to_payees(hold, parts, effect))
        return hold

    def complete_again(*, claim: Claim, now: datetime.datetime) -> None:
        with contextlib.suppress(StaleLease):
            complete(claim=claim, now=now)

    monkeypatch.setattr(holds, "capture", capture_again)
    monkeypatch.setattr(claims, "complete", complete_again)
    monkeypatch.setattr(settlement, "_pay_reward", earlier(settlement._pay_reward, gap(monkeypatch, after_kills=5)))


def send_before_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events go into the outbox some time before they are numbered, and no unique row tells that they are there."""
    number, wait = feed.sequence, gap(monkeypatch, after_kills=10)
    numbering, _, _ = feed._NUMBER.partition(", outbox AS (")
    monkeypatch.setattr(feed, "_NUMBER", numbering + "SELECT count(*) FROM numbered")  # noqa: S608 - our own words

    def sequence() -> int:
        with connection.cursor() as cursor:
            # One at a time, and a dead one holds nobody up: without kills nothing is sent twice.
            cursor.execute("SELECT pg_advisory_lock(1)")
            waiting = Event.objects.filter(seq=None, agent__webhook_endpoints__is_enabled=True)
            pairs = waiting.values_list("pk", "agent__webhook_endpoints")
            if Delivery.objects.bulk_create([Delivery(event_id=event, endpoint_id=endpoint) for event, endpoint in pairs]):
                wait()
            numbered = number()
            cursor.execute("SELECT pg_advisory_unlock(1)")
        return numbered

    monkeypatch.setattr(feed, "sequence", sequence)


def forget_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing remembers that a request was answered, and whoever asked hears of it late."""
    wait = gap(monkeypatch, after_kills=5)

    def done(asked: idempotency.Asked, effect: Callable[[], idempotency.Answer]) -> idempotency.Answer:
        answer = effect()
        wait()
        return answer

    monkeypatch.setattr(idempotency, "once", done)


@contextlib.contextmanager
def without_unique_rows(*models: type[Model]) -> Iterator[None]:
    """Take the unique rules of tables away, but for their primary keys; afterwards the database is empty and has them again."""
    asked = "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'u' AND conrelid = %s::regclass"
    with connection.cursor() as cursor:
        rules = {}
        for model in models:
            table = model._meta.db_table
            cursor.execute(asked, [table])
            rules[table] = dict(cursor.fetchall())
            for name in rules[table]:
                cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        try:
            yield
        finally:
            call_command("flush", interactive=False, verbosity=0)
            for table, of_table in rules.items():
                for name, words in of_table.items():
                    cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {words}")


def campaign_of(seed: int) -> str:
    """Return what a small campaign finds in an empty market."""
    call_command("flush", interactive=False, verbosity=0)
    return " ".join(killing.run(seed=seed, rounds=30).violations)


@pytest.mark.broken_books
@pytest.mark.parametrize(
    ("plant", "unruled", "words"),
    [
        (capture_after_the_commit, [], "funded"),
        (tell_after_the_commit, [], "is lost"),
        (tell_before_the_commit, [], "is one too many"),
        (pay_before_the_commit, [Settlement], "paid 2 times"),
        (send_before_the_number, [Delivery], "was delivered 2 times"),
        (forget_requests, [], "requests for bounties made"),
    ],
)
def test_finds_what_is_planted(plant: Plant, unruled: list[type[Model]], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with without_unique_rows(*unruled):
        # When a kill comes is the machine's affair, so a campaign that met no gap is followed by another.
        assert any(words in campaign_of(seed) for seed in range(8))
