"""Handing out leased rows: it ..."""

import datetime
import functools
from collections.abc import Callable

import pytest
from django.db.models.functions import Now

from tasks.leases import LeaseState
from tasks.models import Slot
from tests import racing

Make = Callable[[int], list[Slot]]


def hand_out(holder: str = "ana", *, limit: int = 1, lease_s: int = 60) -> list[Slot]:
    return Slot.objects.hand_out(limit=limit, holder=holder, lease_s=lease_s)


def test_gives_each_row_to_one_holder(make_slots: Make) -> None:
    make_slots(3)
    first, second = hand_out("ana", limit=2), hand_out("ben", limit=2)
    assert [slot.number for slot in first] == [1, 2]
    assert [slot.number for slot in second] == [3]
    assert hand_out("eve") == []


def test_returns_rows_as_they_are_stored(make_slots: Make) -> None:
    make_slots(1)
    [slot] = hand_out("ana")
    stored = Slot.objects.get()
    for name in ("lease_state", "lease_holder", "lease_until", "token", "attempts"):
        assert getattr(slot, name) == getattr(stored, name)
    assert (stored.lease_state, stored.lease_holder, stored.token, stored.attempts) == (LeaseState.LEASED, "ana", 1, 1)


def test_hands_out_only_rows_of_its_filter(make_slots: Make) -> None:
    make_slots(3)
    [slot] = Slot.objects.filter(number=2).hand_out(limit=5, holder="ana", lease_s=60)
    assert slot.number == 2


def test_gives_nothing_where_nothing_is_asked_for(make_slots: Make) -> None:
    make_slots(1)
    assert hand_out(limit=0) == []
    assert Slot.objects.filter(number__in=[]).hand_out(limit=1, holder="ana", lease_s=60) == []
    assert Slot.objects.get().lease_state == LeaseState.READY


def test_waits_until_a_row_is_available(make_slots: Make) -> None:
    [slot] = make_slots(1)
    Slot.objects.filter(pk=slot.pk).update(available_at=Now() + datetime.timedelta(seconds=30))
    assert hand_out() == []
    Slot.objects.filter(pk=slot.pk).update(available_at=Now())
    assert len(hand_out()) == 1


def test_measures_the_lease_by_the_database_clock(make_slots: Make) -> None:
    make_slots(1)
    [slot] = hand_out(lease_s=60)
    assert Slot.objects.filter(pk=slot.pk, lease_until__gt=Now() + datetime.timedelta(seconds=50)).exists()
    assert Slot.objects.filter(pk=slot.pk, lease_until__lte=Now() + datetime.timedelta(seconds=60)).exists()


@pytest.mark.django_db(transaction=True)
def test_gives_every_row_once_to_many_holders_at_once(make_slots: Make) -> None:
    make_slots(20)
    calls = [functools.partial(hand_out, f"holder {number}", limit=2) for number in range(30)]
    given = [slot.pk for slots in racing.together(calls) if isinstance(slots, list) for slot in slots]
    assert len(given) == len(set(given)) == 20
    assert set(Slot.objects.values_list("token", flat=True)) == {1}
