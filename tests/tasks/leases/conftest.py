"""Slots to lease."""

import datetime
from collections.abc import Callable

import pytest

from market.accounts.models import User
from tasks import clock
from tasks.models import Slot, Task


@pytest.fixture
def make_slots(db: None) -> Callable[[int], list[Slot]]:
    def make(count: int) -> list[Slot]:
        now = clock.now()
        task = Task.objects.create(
            mode="test",
            kind="photo",
            owner=User.objects.create_user("owner"),
            title="A door",
            terms={},
            latitude=52.5,
            longitude=13.4,
            within_m=50,
            country="DE",
            h3_cell=1,
            opens_at=now,
            closes_at=now + datetime.timedelta(hours=1),
            task_time_s=600,
        )
        return [Slot.objects.create(task=task, number=number) for number in range(1, count + 1)]

    return make
