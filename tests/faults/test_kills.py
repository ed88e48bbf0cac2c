import random
import time
from collections.abc import Callable

import pytest
from django.core.management import call_command
from django.db import transaction

from market.escrow import holds
from market.events import feed
from tests.faults import actors, killing

pytestmark = pytest.mark.django_db(transaction=True)

Plant = Callable[[pytest.MonkeyPatch], None]


def test_nothing_is_lost_and_nothing_is_done_twice() -> None:
    report = killing.run(seed=1, rounds=100)
    assert report.violations == []
    assert int(report.figures["slots paid"]) > 0
    assert int(report.figures["slots refunded"]) > 0
    assert int(report.figures["repeated by the next in the seat"]) > 0


def later(step: Callable[..., object], *, after_kills: int, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a step that is done a moment, or so many kills, after the commit of its transaction; and surely, but for a kill."""
    boards: list[actors.Board] = []
    live = actors.Actor.live

    def live_seen(actor: actors.Actor, chance: random.Random) -> None:
        boards.append(actor.board)
        live(actor, chance)

    def late(**given: object) -> None:
        for board in boards:  # None in the process that kills.
            enough, ends_at = board.kills() + after_kills, time.monotonic() + 5
            time.sleep(0.05)
            while board.kills() < enough and time.monotonic() < ends_at:
                time.sleep(0.005)
        step(**given)

    monkeypatch.setattr(actors.Actor, "live", live_seen)
    return lambda **given: transaction.on_commit(lambda: late(**given))


def capture_after_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "capture", later(holds.capture, after_kills=5, monkeypatch=monkeypatch))


def tell_after_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "record", later(feed.record, after_kills=0, monkeypatch=monkeypatch))


def campaign_of(seed: int) -> str:
    """Return what a small campaign finds in an empty market."""
    call_command("flush", interactive=False, verbosity=0)
    return " ".join(killing.run(seed=seed, rounds=30).violations)


@pytest.mark.broken_books
@pytest.mark.parametrize(("plant", "words"), [(capture_after_the_commit, "funded"), (tell_after_the_commit, "is lost")])
def test_finds_what_is_planted(plant: Plant, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    # When a kill comes is the machine's affair, so a campaign that met no gap is followed by another.
    assert any(words in campaign_of(seed) for seed in range(8))
