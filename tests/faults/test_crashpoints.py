import datetime
import types
import uuid
from collections.abc import Callable

import pytest
from django.db import transaction

from market.bounties import locks, settlement
from market.bounties.models import Bounty
from market.common.money import Money
from market.escrow import holds
from market.events import feed
from market.payments import notices, payouts
from market.payments.models import Payout
from market.payments.providers import registry
from tests.faults import crashing, money_paths

pytestmark = pytest.mark.django_db(transaction=True)

Plant = Callable[[pytest.MonkeyPatch], None]


def test_ends_as_without_a_crash_wherever_the_process_ends() -> None:
    report = crashing.run(seed=1, most_points=2)
    assert report.violations == []
    assert report.figures["points"] == 2 * len(money_paths.PATHS)


def test_every_point_of_holding_the_money() -> None:
    report = crashing.run(seed=1, names=["fund"])
    assert report.violations == []
    # Before and after each of some twenty statements.
    assert int(report.figures["points"]) >= 30


def capture_after_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    capture = holds.capture
    monkeypatch.setattr(holds, "capture", lambda **step: transaction.on_commit(lambda: capture(**step) and None))


def tell_after_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    record = feed.record
    monkeypatch.setattr(feed, "record", lambda **event: transaction.on_commit(lambda: record(**event) and None))


def settle_without_a_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settlement, "retrying", types.SimpleNamespace(in_transaction=lambda work: work()))
    monkeypatch.setattr(locks, "lock_bounty_of_task", read_without_a_lock)


def read_without_a_lock(task_id: uuid.UUID) -> Bounty:
    return Bounty.objects.select_related("task", "agent").get(task_id=task_id)


def send_after_it_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    def send(payout: Payout, now: datetime.datetime) -> None:
        payouts._finish(payout, provider_ref="", failure="", now=now)
        money = Money(payout.amount_minor, payout.currency)
        registry.named(payout.provider).pay(key=notices.key_of(payout), money=money, destination=payout.destination, now=now)

    monkeypatch.setattr(payouts, "_send", send)


@pytest.mark.broken_books
@pytest.mark.parametrize(
    ("plant", "name"),
    [
        (capture_after_the_commit, "accept the only slot"),
        (tell_after_the_commit, "claim"),
        (settle_without_a_transaction, "accept the only slot"),
        (send_after_it_is_noted, "send a payout"),
    ],
)
def test_finds_what_is_planted(plant: Plant, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each does no harm as long as nothing crashes."""
    plant(monkeypatch)
    report = crashing.run(seed=1, most_points=6, names=[name])
    assert report.violations
    assert all(" step " in violation for violation in report.violations)
