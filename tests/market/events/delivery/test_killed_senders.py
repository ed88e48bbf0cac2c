"""A sender that is killed uses up an attempt of what it was sending, and of nothing else."""

import datetime
from collections.abc import Iterator

import pytest
from django.db.models.functions import Now
from django.utils import timezone
from pytest_django import Settings

from market.accounts.models import Agent
from market.events import delivery, feed
from market.events.models import Delivery
from tasks.leases import LeaseState
from tests import forking, listener, sweepers

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hanging(feed_owner: Agent, settings: Settings) -> Iterator[listener.Listener]:
    """An endpoint that answers nothing, and more events than are sent to it at once."""
    with listener.listen(b"") as found:
        settings.EGRESS_TEST_HOSTS = [f"hooks.test:{found.port}"]
        delivery.add_endpoint(agent=feed_owner, url=f"http://hooks.test:{found.port}/in")
        for _ in range(delivery.BATCH_SIZE):
            feed.record(agent=feed_owner, type="bounty.funded", subject="bty_0", actor="agent", data={})
        feed.sequence()
        yield found


def deliver() -> None:
    delivery.deliver_due(now=timezone.now(), resolve=sweepers.loopback)


def kill_while_it_sends(hanging: listener.Listener) -> None:
    """Kill a sender once all it has taken is under way, and let its leases end."""
    heard = len(hanging.requests)
    before = forking.sessions()
    pid = forking.fork(deliver)
    with hanging.changed:
        assert hanging.changed.wait_for(lambda: len(hanging.requests) == heard + delivery.MAX_AT_ONCE_PER_ENDPOINT, timeout=60)
    forking.kill(pid)
    forking.wait_for_sessions_to_end(before)


def lapse_leases() -> None:
    Delivery.objects.filter(lease_state=LeaseState.LEASED).update(lease_until=Now() - datetime.timedelta(seconds=1))


def test_leaves_alone_what_is_not_sent(hanging: listener.Listener) -> None:
    before = dict(Delivery.objects.values_list("pk", "available_at"))
    oldest = list(Delivery.objects.order_by("available_at", "pk").values_list("pk", flat=True)[: delivery.MAX_AT_ONCE_PER_ENDPOINT])
    kill_while_it_sends(hanging)
    held = Delivery.objects.filter(lease_state=LeaseState.LEASED)
    assert sorted(held.values_list("pk", "attempts")) == sorted((pk, 1) for pk in oldest)
    rest = Delivery.objects.exclude(pk__in=oldest)
    assert set(rest.values_list("lease_state", "attempts", "token")) == {(LeaseState.READY, 0, 0)}
    assert dict(rest.values_list("pk", "available_at")).items() <= before.items()


def test_does_not_use_up_three_days_in_minutes(hanging: listener.Listener) -> None:
    oldest = list(Delivery.objects.order_by("available_at", "pk")[: delivery.MAX_AT_ONCE_PER_ENDPOINT])
    Delivery.objects.exclude(pk__in=[row.pk for row in oldest]).delete()
    for _ in range(2):
        kill_while_it_sends(hanging)
        lapse_leases()
    sent = len(hanging.requests)
    deliver()
    assert len(hanging.requests) == sent
    assert set(Delivery.objects.values_list("lease_state", "attempts")) == {(LeaseState.READY, 2)}
    waits = Delivery.objects.filter(available_at__gt=Now() + datetime.timedelta(seconds=delivery.RETRY_DELAYS_S[1] - 30))
    assert waits.count() == delivery.MAX_AT_ONCE_PER_ENDPOINT
