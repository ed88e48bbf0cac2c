import uuid
from collections.abc import Callable

import pytest
from django.db import IntegrityError, transaction

from market.common import account_paths
from market.escrow import holds, queries
from market.escrow.models import Hold
from market.ledger import balances
from market.ledger.models import Transfer
from tasks import clock
from tests.market.books import FEES, fund

pytestmark = pytest.mark.django_db

AGENT, BOUNTY, WORKER = uuid.UUID(int=1), uuid.UUID(int=2), uuid.UUID(int=3)
AVAILABLE = account_paths.agent_available(mode="test", agent_id=AGENT, currency="USD")
HELD = account_paths.bounty_held(mode="test", bounty_id=BOUNTY, currency="USD")
EARNED = account_paths.worker_earned(mode="test", worker_id=WORKER, currency="USD")


@pytest.fixture(autouse=True)
def money() -> None:
    fund(AVAILABLE, 1000)


def place(*slots: int, reserve: int = 0) -> list[Hold]:
    return holds.place(
        bounty_id=BOUNTY,
        agent_id=AGENT,
        mode="test",
        currency="USD",
        slot_amounts=list(slots),
        reserve_minor=reserve,
        subject="bty_test",
        now=clock.now(),
    )


def pay(worker: int, fee: int) -> list[holds.Part]:
    return [holds.Part(EARNED, worker, "reward"), holds.Part(FEES, fee, "platform_fee")]


def money_now() -> tuple[int, int, int, int]:
    """Available, held, earned, fees."""
    found = balances.balances([AVAILABLE, HELD, EARNED, FEES])
    return found[AVAILABLE], found[HELD], found[EARNED], found[FEES]


def test_place_holds_every_slot_and_the_reserve() -> None:
    placed = place(300, 200, reserve=50)
    assert [(hold.kind, hold.slot_number, hold.amount_minor, hold.status) for hold in placed] == [
        ("SLOT", 1, 300, "HELD"),
        ("SLOT", 2, 200, "HELD"),
        ("RESERVE", 0, 50, "HELD"),
    ]
    assert money_now() == (450, 550, 0, 0)
    assert queries.totals(BOUNTY) == queries.Totals(550, 0, 0, 550)
    assert queries.held_for_agent(AGENT) == {"USD": 550}


def test_place_is_all_or_nothing() -> None:
    with pytest.raises(holds.InsufficientFunds):
        place(600, 400, reserve=1)
    assert money_now() == (1000, 0, 0, 0)
    assert not Hold.objects.exists()


def test_last_cent_can_be_held() -> None:
    place(600, 400)
    assert money_now() == (0, 1000, 0, 0)


def test_place_again_returns_the_same_holds() -> None:
    first = place(300, 200, reserve=50)
    assert [hold.pk for hold in place(300, 200, reserve=50)] == [hold.pk for hold in first]
    assert money_now() == (450, 550, 0, 0)


def test_place_again_after_the_end_returns_the_ended_hold() -> None:
    [hold] = place(300)
    holds.void(unused=[hold], now=clock.now())
    assert [found.status for found in place(300)] == ["VOIDED"]
    assert money_now() == (1000, 0, 0, 0)


@pytest.mark.parametrize(("slots", "reserve"), [((300,), 0), ((300, 200, 100), 0), ((300, 200), 50), ((300, 201), 0)])
def test_place_otherwise_is_refused(slots: tuple[int, ...], reserve: int) -> None:
    place(300, 200)
    with pytest.raises(holds.PlacedOtherwise):
        place(*slots, reserve=reserve)
    assert money_now() == (500, 500, 0, 0)
    assert Hold.objects.count() == 2


def test_capture_pays_the_parts_and_gives_the_rest_back() -> None:
    [hold] = place(300)
    now = clock.now()
    ended = holds.capture(hold=hold, parts=pay(200, 60), effect="set_1", now=now)
    assert (ended.status, ended.captured_minor, ended.returned_minor, ended.ended_at) == ("CAPTURED", 260, 40, now)
    assert money_now() == (740, 0, 200, 60)
    assert queries.totals(BOUNTY) == queries.Totals(300, 260, 40, 0)


def test_capture_again_moves_nothing() -> None:
    [hold] = place(300)
    holds.capture(hold=hold, parts=pay(200, 60), effect="set_1", now=clock.now())
    again = holds.capture(hold=Hold.objects.get(pk=hold.pk), parts=pay(200, 60), effect="set_1", now=clock.now())
    assert again.status == "CAPTURED"
    assert money_now() == (740, 0, 200, 60)


@pytest.mark.parametrize(("worker", "fee", "effect"), [(200, 60, "set_2"), (201, 60, "set_1"), (200, 59, "set_1")])
def test_slot_is_captured_once(worker: int, fee: int, effect: str) -> None:
    [hold] = place(300)
    holds.capture(hold=hold, parts=pay(200, 60), effect="set_1", now=clock.now())
    with pytest.raises(holds.HoldEnded):
        holds.capture(hold=hold, parts=pay(worker, fee), effect=effect, now=clock.now())
    assert money_now() == (740, 0, 200, 60)


def test_capture_of_more_than_is_held_moves_nothing() -> None:
    # Another slot's money lies in the same account; it is out of reach.
    hold, _ = place(300, 400)
    with pytest.raises(holds.NotEnoughHeld):
        holds.capture(hold=hold, parts=pay(300, 1), effect="set_1", now=clock.now())
    assert money_now() == (300, 700, 0, 0)
    assert Hold.objects.get(pk=hold.pk).status == "HELD"


def test_capture_without_a_fee_makes_no_transfer_of_it() -> None:
    [hold] = place(300)
    holds.capture(hold=hold, parts=pay(300, 0), effect="set_1", now=clock.now())
    assert money_now() == (700, 0, 300, 0)
    assert Transfer.objects.filter(source__path=HELD).count() == 1


def test_capture_that_pays_nobody_is_a_bug() -> None:
    [hold] = place(300)
    with pytest.raises(ValueError, match="void"):
        holds.capture(hold=hold, parts=pay(0, 0), effect="set_1", now=clock.now())
    assert money_now() == (700, 300, 0, 0)


def test_void_gives_everything_back_once() -> None:
    hold, _ = place(300, 100)
    for _ in range(2):
        holds.void(unused=[hold], now=clock.now())
        assert (hold.status, hold.returned_minor) == ("VOIDED", 300)
    assert money_now() == (900, 100, 0, 0)


def test_expire_gives_everything_back_once() -> None:
    [hold] = place(300)
    for _ in range(2):
        holds.expire(unused=[hold], now=clock.now())
        assert hold.status == "EXPIRED"
    assert money_now() == (1000, 0, 0, 0)


def test_ended_hold_ends_no_other_way() -> None:
    captured, voided, expired = place(100, 200, 300)
    now = clock.now()
    holds.capture(hold=captured, parts=pay(100, 0), effect="set_1", now=now)
    holds.void(unused=[voided], now=now)
    holds.expire(unused=[expired], now=now)
    attempts = [
        (captured, holds.void),
        (captured, holds.expire),
        (voided, holds.expire),
        (expired, holds.void),
    ]
    for hold, end in attempts:
        with pytest.raises(holds.HoldEnded):
            end(unused=[hold], now=now)
    for hold in (voided, expired):
        with pytest.raises(holds.HoldEnded):
            holds.capture(hold=hold, parts=pay(1, 0), effect="set_2", now=now)
        with pytest.raises(holds.HoldEnded):
            holds.capture_part(hold=hold, parts=pay(1, 0), effect="set_2", now=now)
        with pytest.raises(holds.HoldEnded):
            holds.raise_to(hold=hold, amount_minor=900, now=now)
    assert money_now() == (900, 0, 100, 0)


@pytest.mark.parametrize(("end", "status"), [(holds.void, "VOIDED"), (holds.expire, "EXPIRED")])
def test_several_holds_end_at_once_and_once(end: Callable[..., None], status: str) -> None:
    first, second, third, reserve = place(100, 200, 300, reserve=50)
    holds.capture_part(hold=reserve, parts=pay(20, 0), effect="set_1", now=clock.now())
    # One of them was read before it was paid from, and one has ended the same way.
    stale = Hold.objects.get(pk=reserve.pk)
    stale.captured_minor = 0
    end(unused=[second], now=clock.now())
    for _ in range(2):
        end(unused=[stale, Hold.objects.get(pk=second.pk), first], now=clock.now())
        assert (stale.status, stale.captured_minor, stale.returned_minor) == (status, 20, 30)
        assert (first.status, first.returned_minor) == (status, 100)
        assert money_now() == (680, 300, 20, 0)
    assert Hold.objects.get(pk=third.pk).status == "HELD"
    assert queries.check_bounty(BOUNTY) == []


@pytest.mark.parametrize("end", [holds.void, holds.expire])
def test_none_of_several_ends_where_one_was_captured(end: Callable[..., None]) -> None:
    first, second, third = place(100, 200, 300)
    holds.capture(hold=Hold.objects.get(pk=second.pk), parts=pay(150, 0), effect="set_1", now=clock.now())
    with pytest.raises(holds.HoldEnded):
        end(unused=[first, second, third], now=clock.now())
    assert list(Hold.objects.order_by("slot_number").values_list("status", flat=True)) == ["HELD", "CAPTURED", "HELD"]
    assert money_now() == (450, 400, 150, 0)


def test_reserve_is_paid_out_part_by_part() -> None:
    [_, reserve] = place(100, reserve=50)
    for number, left in ((1, 30), (2, 10)):
        holds.capture_part(hold=reserve, parts=pay(20, 0), effect=f"set_{number}", now=clock.now())
        assert (reserve.status, reserve.amount_minor - reserve.captured_minor) == ("HELD", left)
    with pytest.raises(holds.NotEnoughHeld):
        holds.capture_part(hold=reserve, parts=pay(20, 0), effect="set_3", now=clock.now())
    assert money_now() == (850, 110, 40, 0)
    holds.void(unused=[reserve], now=clock.now())
    assert reserve.returned_minor == 10
    assert money_now() == (860, 100, 40, 0)
    assert queries.totals(BOUNTY) == queries.Totals(150, 40, 10, 100)


def test_used_up_reserve_has_ended() -> None:
    [_, reserve] = place(100, reserve=50)
    holds.capture_part(hold=reserve, parts=pay(25, 0), effect="set_1", now=clock.now())
    holds.capture_part(hold=reserve, parts=pay(25, 0), effect="set_2", now=clock.now())
    assert (reserve.status, reserve.captured_minor, reserve.returned_minor) == ("CAPTURED", 50, 0)
    assert reserve.ended_at is not None
    # The last part again is a repeat, not a fault.
    holds.capture_part(hold=reserve, parts=pay(25, 0), effect="set_2", now=clock.now())
    with pytest.raises(holds.HoldEnded):
        holds.void(unused=[reserve], now=clock.now())
    assert money_now() == (850, 100, 50, 0)


def test_part_again_moves_nothing_and_otherwise_is_refused() -> None:
    [_, reserve] = place(100, reserve=50)
    holds.capture_part(hold=reserve, parts=pay(20, 0), effect="set_1", now=clock.now())
    holds.capture_part(hold=reserve, parts=pay(20, 0), effect="set_1", now=clock.now())
    with pytest.raises(holds.HoldEnded):
        holds.capture_part(hold=reserve, parts=pay(21, 0), effect="set_1", now=clock.now())
    assert Hold.objects.get(pk=reserve.pk).captured_minor == 20
    assert money_now() == (850, 130, 20, 0)


@pytest.mark.parametrize(("worker", "fee"), [(20, 5), (15, 0), (0, 20)])
@pytest.mark.parametrize("step", [holds.capture, holds.capture_part])
def test_effect_is_captured_once_whatever_its_parts(step: Callable[..., Hold], worker: int, fee: int) -> None:
    [_, reserve] = place(100, reserve=50)
    holds.capture_part(hold=reserve, parts=pay(20, 0), effect="set_1", now=clock.now())
    with pytest.raises(holds.HoldEnded):
        step(hold=reserve, parts=pay(worker, fee), effect="set_1", now=clock.now())
    assert (Hold.objects.get(pk=reserve.pk).captured_minor, money_now()) == (20, (850, 130, 20, 0))


def test_part_is_not_captured_again_as_the_whole() -> None:
    [_, reserve] = place(100, reserve=50)
    holds.capture_part(hold=reserve, parts=pay(20, 0), effect="set_1", now=clock.now())
    with pytest.raises(holds.HoldEnded):
        holds.capture(hold=reserve, parts=pay(20, 0), effect="set_1", now=clock.now())
    assert money_now() == (850, 130, 20, 0)


def test_fewer_parts_are_other_parts() -> None:
    [_, reserve] = place(100, reserve=50)
    holds.capture_part(hold=reserve, parts=pay(20, 5), effect="set_1", now=clock.now())
    with pytest.raises(holds.HoldEnded):
        holds.capture_part(hold=reserve, parts=pay(20, 0), effect="set_1", now=clock.now())
    assert money_now() == (850, 125, 20, 5)


def test_raise_holds_the_difference_once() -> None:
    [hold] = place(300)
    holds.raise_to(hold=hold, amount_minor=400, now=clock.now())
    holds.raise_to(hold=hold, amount_minor=400, now=clock.now())
    assert hold.amount_minor == 400
    assert money_now() == (600, 400, 0, 0)
    holds.capture(hold=hold, parts=pay(350, 50), effect="set_1", now=clock.now())
    assert money_now() == (600, 0, 350, 50)


def test_raise_never_lowers() -> None:
    [hold] = place(300)
    with pytest.raises(holds.NotRaised):
        holds.raise_to(hold=hold, amount_minor=299, now=clock.now())
    assert money_now() == (700, 300, 0, 0)


def test_raise_beyond_the_means_moves_nothing() -> None:
    [hold] = place(300)
    with pytest.raises(holds.InsufficientFunds):
        holds.raise_to(hold=hold, amount_minor=1001, now=clock.now())
    assert Hold.objects.get(pk=hold.pk).amount_minor == 300
    assert money_now() == (700, 300, 0, 0)


@pytest.mark.parametrize("step", ["capture", "void", "expire", "raise"])
def test_crash_after_a_step_takes_it_back(step: str) -> None:
    [hold] = place(300)

    def fail_after_the_step() -> None:
        with transaction.atomic():
            if step == "capture":
                holds.capture(hold=hold, parts=pay(200, 60), effect="set_1", now=clock.now())
            elif step == "raise":
                holds.raise_to(hold=hold, amount_minor=400, now=clock.now())
            else:
                getattr(holds, step)(unused=[hold], now=clock.now())
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail_after_the_step()
    assert money_now() == (700, 300, 0, 0)
    assert (Hold.objects.get(pk=hold.pk).status, Hold.objects.get(pk=hold.pk).amount_minor) == ("HELD", 300)


def test_database_refuses_a_hold_that_ends_with_money() -> None:
    [hold] = place(300)
    for fields in (
        {"status": "VOIDED"},
        {"status": "CAPTURED", "captured_minor": 299, "ended_at": clock.now()},
        {"captured_minor": 301},
        {"returned_minor": -1},
        {"status": "EXPIRED", "returned_minor": 300},
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            Hold.objects.filter(pk=hold.pk).update(**fields)
