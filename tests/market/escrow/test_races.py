import copy
import functools
import uuid
from collections.abc import Callable

import pytest

from market.common import account_paths
from market.escrow import holds, queries
from market.escrow.models import Hold
from market.ledger import balances
from tasks import clock
from tests import processes, racing
from tests.market import in_turn
from tests.market.books import FEES, fund

pytestmark = pytest.mark.django_db(transaction=True)

AGENT, BOUNTY = uuid.UUID(int=1), uuid.UUID(int=2)
AVAILABLE = account_paths.agent_available(mode="test", agent_id=AGENT, currency="USD")


def place(bounty_id: uuid.UUID, *slots: int, reserve: int = 0) -> list[Hold]:
    return holds.place(
        bounty_id=bounty_id,
        agent_id=AGENT,
        mode="test",
        currency="USD",
        slot_amounts=list(slots),
        reserve_minor=reserve,
        subject="bty_test",
        now=clock.now(),
    )


def capture(hold: Hold, minor: int, effect: str) -> functools.partial[Hold]:
    parts = [holds.Part(FEES, minor, "platform_fee")]
    return functools.partial(holds.capture, hold=Hold.objects.get(pk=hold.pk), parts=parts, effect=effect, now=clock.now())


def capture_part(hold: Hold, minor: int, effect: str) -> functools.partial[Hold]:
    parts = [holds.Part(FEES, minor, "platform_fee")]
    return functools.partial(holds.capture_part, hold=Hold.objects.get(pk=hold.pk), parts=parts, effect=effect, now=clock.now())


def end(step: str, hold: Hold) -> Callable[[], Hold]:
    read = Hold.objects.get(pk=hold.pk)

    def ended() -> Hold:
        getattr(holds, step)(unused=[read], now=clock.now())
        return read

    return ended


def test_two_settlements_of_one_slot_one_wins() -> None:
    fund(AVAILABLE, 100)
    [hold] = place(BOUNTY, 100)
    first, second = in_turn.second_waits_for(capture(hold, 70, "set_1"), capture(hold, 80, "set_2"))
    assert isinstance(first, Hold)
    assert isinstance(second, holds.HoldEnded)
    assert balances.balances([AVAILABLE, FEES]) == {AVAILABLE: 30, FEES: 70}


def test_same_settlement_at_once_pays_once_and_neither_fails() -> None:
    fund(AVAILABLE, 100)
    [hold] = place(BOUNTY, 100)
    outcomes = in_turn.second_waits_for(capture(hold, 70, "set_1"), capture(hold, 70, "set_1"))
    assert [outcome.status for outcome in outcomes if isinstance(outcome, Hold)] == ["CAPTURED", "CAPTURED"]
    assert balances.balances([AVAILABLE, FEES]) == {AVAILABLE: 30, FEES: 70}


@pytest.mark.parametrize("step", ["void", "expire"])
def test_capture_and_return_at_once_one_wins(step: str) -> None:
    fund(AVAILABLE, 200)
    early, late = place(BOUNTY, 100, 100)
    first, second = in_turn.second_waits_for(capture(early, 70, "set_1"), end(step, early))
    assert (type(first), type(second)) == (Hold, holds.HoldEnded)
    first, second = in_turn.second_waits_for(end(step, late), capture(late, 70, "set_2"))
    assert (type(first), type(second)) == (Hold, holds.HoldEnded)
    assert balances.balances([AVAILABLE, FEES]) == {AVAILABLE: 130, FEES: 70}


def test_same_part_at_once_is_paid_once() -> None:
    fund(AVAILABLE, 100)
    [_, reserve] = place(BOUNTY, 50, reserve=50)
    outcomes = in_turn.second_waits_for(capture_part(reserve, 20, "set_1"), capture_part(reserve, 20, "set_1"))
    assert [outcome.captured_minor for outcome in outcomes if isinstance(outcome, Hold)] == [20, 20]
    assert balances.balance(FEES) == 20


def test_two_bounties_for_the_same_money_one_is_refused() -> None:
    fund(AVAILABLE, 100)
    rival = uuid.UUID(int=3)
    first, second = in_turn.second_waits_for(lambda: place(BOUNTY, 60), lambda: place(rival, 60))
    assert isinstance(first, list)
    assert isinstance(second, holds.InsufficientFunds)
    assert queries.totals(rival) == queries.Totals(0, 0, 0, 0)
    assert balances.balance(AVAILABLE) == 40


def test_same_bounty_funded_at_once_is_held_once() -> None:
    fund(AVAILABLE, 100)
    outcomes = in_turn.second_waits_for(lambda: place(BOUNTY, 60, 20), lambda: place(BOUNTY, 60, 20))
    assert [[hold.amount_minor for hold in outcome] for outcome in outcomes if isinstance(outcome, list)] == [[60, 20], [60, 20]]
    assert balances.balance(AVAILABLE) == 20


def test_same_bounty_funded_otherwise_at_once_is_refused() -> None:
    fund(AVAILABLE, 100)
    first, second = in_turn.second_waits_for(lambda: place(BOUNTY, 60), lambda: place(BOUNTY, 60, 20))
    assert (type(first), type(second)) == (list, holds.PlacedOtherwise)
    assert queries.totals(BOUNTY) == queries.Totals(60, 0, 0, 60)


def test_sixteen_slots_settled_and_returned_at_once_add_up() -> None:
    fund(AVAILABLE, 1600)
    placed = place(BOUNTY, *[100] * 16)
    rivals = [capture(hold, 90, f"set_{hold.slot_number}") for hold in placed] + [end("void", hold) for hold in placed]
    outcomes = racing.together(rivals)
    assert sum(isinstance(outcome, Hold) for outcome in outcomes) == 16
    assert sum(isinstance(outcome, holds.HoldEnded) for outcome in outcomes) == 16
    captured = Hold.objects.filter(status="CAPTURED").count()
    assert balances.balances([AVAILABLE, FEES]) == {AVAILABLE: 1600 - 90 * captured, FEES: 90 * captured}


def test_several_holds_voided_while_one_is_captured_all_stay() -> None:
    fund(AVAILABLE, 300)
    placed = place(BOUNTY, 100, 100, 100)
    outcomes = in_turn.second_waits_for(
        capture(placed[1], 70, "set_1"), functools.partial(holds.void, unused=placed[::-1], now=clock.now())
    )
    assert [type(outcome) for outcome in outcomes] == [Hold, holds.HoldEnded]
    assert list(Hold.objects.order_by("slot_number").values_list("status", flat=True)) == ["HELD", "CAPTURED", "HELD"]
    assert balances.balances([AVAILABLE, FEES]) == {AVAILABLE: 30, FEES: 70}


def test_same_holds_voided_at_once_in_any_order_go_back_once() -> None:
    fund(AVAILABLE, 800)
    placed = place(BOUNTY, *[100] * 8)
    orders = [[placed[(start + step) % 8] for step in range(8)] for start in range(8)]
    ends = [functools.partial(holds.void, unused=[copy.copy(hold) for hold in own], now=clock.now()) for own in orders]
    assert racing.together(ends) == [None] * 8
    assert set(Hold.objects.values_list("status", flat=True)) == {"VOIDED"}
    assert balances.balance(AVAILABLE) == 800


KILLED_BEFORE_COMMIT = """
from django.db import transaction
from market.escrow import holds
from market.escrow.models import Hold
from tasks import clock
with transaction.atomic():
    holds.capture(hold=Hold.objects.get(), parts=[holds.Part("test:platform:fees:USD", 70, "fee")], effect="set_1", now=clock.now())
    tell("captured")
    input()
"""


def test_kill_9_before_the_commit_leaves_the_hold_to_be_captured_again() -> None:
    fund(AVAILABLE, 100)
    [hold] = place(BOUNTY, 100)
    with processes.python(KILLED_BEFORE_COMMIT) as child:
        processes.wait_for_word(child, "captured")
        child.kill()
        child.wait()
    assert capture(hold, 70, "set_1")().status == "CAPTURED"
    assert balances.balances([AVAILABLE, FEES]) == {AVAILABLE: 30, FEES: 70}
