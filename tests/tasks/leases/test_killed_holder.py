"""A holder that is killed with SIGKILL: it ..."""

from collections.abc import Callable

import pytest
from django.db import transaction

from tasks.leases import LeaseState
from tasks.models import Slot
from tests import processes

Make = Callable[[int], list[Slot]]

# It leases a row, and dies while the transaction that takes its result is open.
HOLDER = """
from django.db import transaction
from tasks.models import Slot
[slot] = Slot.objects.hand_out(limit=1, holder="doomed", lease_s=0)
with transaction.atomic():
    Slot.objects.finish(pk=slot.pk, token=slot.token, number=9)
    tell("finishing")
    sys.stdin.read()
"""


@pytest.mark.django_db(transaction=True)
def test_loses_its_row_to_the_next_holder_and_writes_nothing(make_slots: Make) -> None:
    make_slots(1)
    with processes.python(HOLDER) as child:
        processes.wait_for_word(child, "finishing")
        # Its row is locked: the sweep passes it over and does not wait.
        assert Slot.objects.sweep(max_attempts=5) == 0
        child.kill()
        child.wait()
    with transaction.atomic():
        # Waits until the server has noticed that the holder is gone.
        Slot.objects.select_for_update().get()
    assert Slot.objects.sweep(max_attempts=5) == 1
    [slot] = Slot.objects.hand_out(limit=1, holder="next", lease_s=60)
    assert (slot.number, slot.token, slot.lease_state) == (1, 2, LeaseState.LEASED)
