"""Sweeping leases: it ..."""

from collections.abc import Callable

from django.db import connection

from tasks.leases import LeaseState
from tasks.models import Slot

Make = Callable[[int], list[Slot]]


def lease_again(times: int) -> None:
    for _ in range(times):
        assert len(Slot.objects.hand_out(limit=1, holder="ana", lease_s=0)) == 1
        Slot.objects.sweep(max_attempts=3)


def test_leaves_living_leases_alone(make_slots: Make) -> None:
    make_slots(1)
    Slot.objects.hand_out(limit=1, holder="ana", lease_s=60)
    assert Slot.objects.sweep(max_attempts=3) == 0
    assert Slot.objects.get().lease_state == LeaseState.LEASED


def test_leaves_leases_without_an_end_alone(make_slots: Make) -> None:
    make_slots(1)
    Slot.objects.hand_out(limit=1, holder="ana", lease_s=0)
    Slot.objects.update(lease_until=None)
    assert Slot.objects.sweep(max_attempts=3) == 0


def test_takes_back_what_ended(make_slots: Make) -> None:
    make_slots(1)
    lease_again(1)
    slot = Slot.objects.get()
    assert (slot.lease_state, slot.lease_holder, slot.lease_until, slot.attempts) == (LeaseState.READY, "", None, 1)


def test_gives_up_after_the_last_attempt(make_slots: Make) -> None:
    make_slots(1)
    lease_again(3)
    assert Slot.objects.get().lease_state == LeaseState.DEAD
    assert Slot.objects.hand_out(limit=1, holder="ana", lease_s=60) == []


def test_delays_by_the_attempts_made(make_slots: Make) -> None:
    make_slots(2)
    Slot.objects.hand_out(limit=2, holder="ana", lease_s=0)
    Slot.objects.filter(number=2).update(attempts=2)
    assert Slot.objects.sweep(max_attempts=5, delay_s=lambda attempts: 100.0 * attempts) == 2
    with connection.cursor() as cursor:
        cursor.execute("SELECT round(extract(epoch FROM available_at - now()) / 100) FROM tasks_slot ORDER BY number")
        assert [int(row[0]) for row in cursor.fetchall()] == [1, 2]
