"""Changing rows and reading them back: it ..."""

import pytest
from django.db.models import F

from tasks import changes
from tasks.models import WorkerProfile
from tests import people

pytestmark = pytest.mark.django_db


def test_changes_and_returns_the_rows_that_fit() -> None:
    workers = [people.open_worker(accepted_count=count) for count in (1, 2, 3)]
    # By a column of another table, in an order, from an object that is out of date.
    fitting = WorkerProfile.objects.filter(user__is_active=True, accepted_count__gte=2).order_by("-accepted_count")
    changed = changes.update(fitting, accepted_count=F("accepted_count") + 10, country="FR")
    assert {(row.pk, row.accepted_count, row.country) for row in changed} == {(workers[1].pk, 12, "FR"), (workers[2].pk, 13, "FR")}
    assert [WorkerProfile.objects.get(pk=worker.pk).accepted_count for worker in workers] == [1, 12, 13]


def test_brings_one_object_up_to_date_or_leaves_it() -> None:
    worker = people.open_worker(accepted_count=1)
    WorkerProfile.objects.filter(pk=worker.pk).update(rejected_count=7)
    assert not changes.update_one(worker, WorkerProfile.objects.filter(accepted_count=2), accepted_count=5)
    assert (worker.accepted_count, worker.rejected_count) == (1, 0)
    assert changes.update_one(worker, WorkerProfile.objects.filter(accepted_count=1), accepted_count=F("accepted_count") + 1)
    assert (worker.accepted_count, worker.rejected_count) == (2, 7)
