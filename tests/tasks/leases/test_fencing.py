"""A fencing token: it ..."""

from collections.abc import Callable

import pytest

from tasks.leases import LeaseState, StaleLease
from tasks.models import Slot

Make = Callable[[int], list[Slot]]


@pytest.fixture
def handed(make_slots: Make) -> tuple[Slot, Slot]:
    """The same row, first with ana's token and then with ben's."""
    make_slots(1)
    [first] = Slot.objects.hand_out(limit=1, holder="ana", lease_s=0)
    assert Slot.objects.sweep(max_attempts=5) == 1
    [second] = Slot.objects.hand_out(limit=1, holder="ben", lease_s=60)
    return first, second


@pytest.mark.parametrize("step", ["heartbeat", "finish", "give_back"])
def test_refuses_who_lost_the_row(handed: tuple[Slot, Slot], step: str) -> None:
    first, second = handed
    before = Slot.objects.values().get()
    more = {"lease_s": 60} if step == "heartbeat" else {}
    with pytest.raises(StaleLease, match="lease again"):
        getattr(Slot.objects, step)(pk=first.pk, token=first.token, **more)
    assert Slot.objects.values().get() == before
    assert (first.token, second.token) == (1, 2)


def test_lets_the_newest_holder_finish_and_write(handed: tuple[Slot, Slot]) -> None:
    _, second = handed
    Slot.objects.finish(pk=second.pk, token=second.token, number=7)
    slot = Slot.objects.get()
    assert (slot.lease_state, slot.lease_until, slot.number) == (LeaseState.DONE, None, 7)


def test_refuses_a_second_finish(handed: tuple[Slot, Slot]) -> None:
    _, second = handed
    Slot.objects.finish(pk=second.pk, token=second.token)
    with pytest.raises(StaleLease):
        Slot.objects.finish(pk=second.pk, token=second.token, number=9)
    assert Slot.objects.get().number == 1


def test_counts_a_late_result_while_nobody_else_has_the_row(make_slots: Make) -> None:
    make_slots(1)
    [slot] = Slot.objects.hand_out(limit=1, holder="ana", lease_s=0)
    Slot.objects.finish(pk=slot.pk, token=slot.token)
    assert Slot.objects.sweep(max_attempts=5) == 0


def test_gives_back_with_a_delay(handed: tuple[Slot, Slot]) -> None:
    _, second = handed
    Slot.objects.give_back(pk=second.pk, token=second.token, delay_s=60)
    assert Slot.objects.get().lease_state == LeaseState.READY
    assert Slot.objects.hand_out(limit=1, holder="eve", lease_s=60) == []
