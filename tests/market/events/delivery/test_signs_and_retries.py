"""Every event reaches every endpoint of its agent, signed, at least once within three days, and each attempt is logged."""

import datetime
import json
import threading

import pytest
import standardwebhooks
from django.db import connections, transaction
from django.utils import timezone
from pytest_django import Settings

from market.accounts.models import Agent
from market.events import delivery, feed, jobs
from market.events.models import Delivery, DeliveryAttempt, WebhookEndpoint
from tests.listener import OK, Listener, listen

pytestmark = pytest.mark.django_db(transaction=True)

BROKEN = b"HTTP/1.1 500 Oops\r\n\r\n"


def loopback(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


def endpoint_at(listener: Listener, agent: Agent, settings: Settings) -> WebhookEndpoint:
    settings.EGRESS_TEST_HOSTS = frozenset({*settings.EGRESS_TEST_HOSTS, f"hooks.test:{listener.port}"})
    return delivery.add_endpoint(agent=agent, url=f"http://hooks.test:{listener.port}/in")


def note(agent: Agent) -> None:
    feed.record(agent=agent, type="bounty.funded", subject="bty_0", actor="agent", data={"mark": 1})


def deliver() -> int:
    return delivery.deliver_due(now=timezone.now(), resolve=loopback)


def make_due() -> None:
    """Stand at the next attempt's time: the database's clock can't be moved, so the row is."""
    Delivery.objects.update(available_at=timezone.now() - datetime.timedelta(seconds=1))


def test_sends_signed_event(feed_owner: Agent, settings: Settings) -> None:
    with listen(OK) as listener:
        endpoint = endpoint_at(listener, feed_owner, settings)
        note(feed_owner)
        assert deliver() == 1
        assert deliver() == 0
    payload = standardwebhooks.Webhook(endpoint.secret).verify(listener.body(), listener.head())
    assert payload == json.loads(listener.body())
    assert payload["type"] == "bounty.funded"
    assert payload["seq"] == 1
    assert payload["data"] == {"mark": 1}
    assert listener.head()["webhook-id"] == payload["id"]
    assert Delivery.objects.get().lease_state == "DONE"
    assert DeliveryAttempt.objects.get().status_code == 200


def test_signature_breaks_with_every_bit(feed_owner: Agent, settings: Settings) -> None:
    """Flip each bit of the body, the id, the time and the signature: none verifies."""
    with listen(OK) as listener:
        endpoint = endpoint_at(listener, feed_owner, settings)
        note(feed_owner)
        deliver()
    webhook = standardwebhooks.Webhook(endpoint.secret)
    body, head = listener.body(), listener.head()
    for place in range(len(body) * 8):
        flipped = bytearray(body)
        flipped[place // 8] ^= 1 << place % 8
        assert not verifies(webhook, bytes(flipped), head)
    for name in ("webhook-id", "webhook-timestamp"):
        for place in range(len(head[name]) * 7):
            text = bytearray(head[name].encode())
            text[place // 7] ^= 1 << place % 7
            assert not verifies(webhook, body, {**head, name: text.decode()})
    signature = head["webhook-signature"].removeprefix("v1,")
    for place in range(43):
        other = "A" if signature[place] != "A" else "Q"
        assert not verifies(webhook, body, {**head, "webhook-signature": f"v1,{signature[:place]}{other}{signature[place + 1 :]}"})
    assert verifies(webhook, body, head)


def verifies(webhook: standardwebhooks.Webhook, body: bytes, head: dict[str, str]) -> bool:
    try:
        webhook.verify(body, head)
    except (standardwebhooks.WebhookVerificationError, UnicodeDecodeError):
        return False
    return True


def test_retries_until_taken(feed_owner: Agent, settings: Settings) -> None:
    with listen(BROKEN, b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", OK) as listener:
        endpoint_at(listener, feed_owner, settings)
        note(feed_owner)
        assert deliver() == 1
        assert deliver() == 0, "the second attempt is not due yet"
        for _ in range(2):
            make_due()
            assert deliver() == 1
    assert list(DeliveryAttempt.objects.order_by("pk").values_list("status_code", "failure")) == [
        (500, "status"),
        (302, "redirect"),
        (200, ""),
    ]
    assert {listener.head(number)["webhook-id"] for number in range(3)} == {str(Delivery.objects.get().event)}


def test_gives_up_after_three_days(feed_owner: Agent, settings: Settings) -> None:
    assert sum(delivery.RETRY_DELAYS_S) == 3 * 24 * 3600
    with listen(BROKEN) as listener:
        endpoint_at(listener, feed_owner, settings)
        note(feed_owner)
        for _ in range(len(delivery.RETRY_DELAYS_S) + 1):
            assert deliver() == 1
            make_due()
        assert deliver() == 0
    assert Delivery.objects.get().lease_state == "DEAD"


def test_sends_again_on_request(feed_owner: Agent, settings: Settings) -> None:
    with listen(OK) as listener:
        endpoint_at(listener, feed_owner, settings)
        note(feed_owner)
        deliver()
        delivery.resend(delivery=Delivery.objects.get())
        with pytest.raises(delivery.NotResendable):
            delivery.resend(delivery=Delivery.objects.get())
        assert deliver() == 1
    assert listener.body(0) == listener.body(1)
    assert DeliveryAttempt.objects.count() == 2


def test_stops_when_endpoint_says_gone(feed_owner: Agent, settings: Settings) -> None:
    with listen(b"HTTP/1.1 410 Gone\r\n\r\n") as listener:
        endpoint_at(listener, feed_owner, settings)
        note(feed_owner)
        deliver()
        make_due()
        note(feed_owner)
        assert deliver() == 0
    assert listener.connections == 1
    assert not WebhookEndpoint.objects.get().is_enabled


def test_logs_address_that_became_private(feed_owner: Agent) -> None:
    delivery.add_endpoint(agent=feed_owner, url="https://rebind.example.com/")
    note(feed_owner)
    assert delivery.deliver_due(now=timezone.now(), resolve=lambda host, port: ["10.0.0.1"]) == 1
    assert DeliveryAttempt.objects.get().failure == "refused_address"


def test_sends_once_when_two_workers_run(feed_owner: Agent, settings: Settings) -> None:
    with listen(OK) as listener:
        endpoint_at(listener, feed_owner, settings)
        for _ in range(3):
            note(feed_owner)

        def work() -> None:
            deliver()
            connections.close_all()

        workers = [threading.Thread(target=work) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert listener.connections == 3


def test_delivers_again_what_a_killed_worker_held(feed_owner: Agent, settings: Settings) -> None:
    with listen(OK) as listener:
        endpoint_at(listener, feed_owner, settings)
        note(feed_owner)
        feed.sequence()
        Delivery.objects.hand_out(limit=1, holder="killed", lease_s=0)
        assert deliver() == 1
    assert Delivery.objects.get().lease_state == "DONE"


def test_hanging_endpoint_does_not_starve_others(feed_owner: Agent, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("market.events.egress.TOTAL_TIMEOUT_S", 0.2)
    with listen(b"") as hanging, listen(OK) as healthy:
        endpoint_at(hanging, feed_owner, settings)
        for _ in range(delivery.BATCH_SIZE // 2):
            note(feed_owner)
        feed.sequence()
        endpoint_at(healthy, feed_owner, settings)
        note(feed_owner)
        deliver()
        assert len(healthy.requests) == 1
        assert hanging.connections <= delivery.MAX_AT_ONCE_PER_ENDPOINT


def test_limits_endpoints_of_an_agent(feed_owner: Agent) -> None:
    for number in range(delivery.MAX_ENDPOINTS_PER_AGENT):
        delivery.add_endpoint(agent=feed_owner, url=f"https://hooks{number}.example.com/")
    with pytest.raises(delivery.TooManyEndpoints):
        delivery.add_endpoint(agent=feed_owner, url="https://more.example.com/")


def test_refuses_to_send_inside_a_transaction(feed_owner: Agent, settings: Settings) -> None:
    with listen(OK) as listener:
        endpoint_at(listener, feed_owner, settings)
        note(feed_owner)
        with transaction.atomic(), pytest.raises(RuntimeError):
            deliver()
        assert listener.connections == 0
        assert deliver() == 1


def test_takes_no_more_while_enough_is_being_sent(feed_owner: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "MAX_IN_FLIGHT", 2)
    delivery.add_endpoint(agent=feed_owner, url="https://hooks.example.com/")
    for _ in range(3):
        note(feed_owner)
    feed.sequence()
    Delivery.objects.hand_out(limit=2, holder="slow", lease_s=60)
    assert deliver() == 0
    Delivery.objects.filter(lease_holder="slow").update(lease_until=timezone.now() - datetime.timedelta(seconds=1))
    assert delivery.deliver_due(now=timezone.now(), resolve=lambda host, port: ["10.0.0.1"]) == 2


def test_job_sends_what_is_due(feed_owner: Agent, settings: Settings) -> None:
    with listen(OK) as listener:
        endpoint_at(listener, feed_owner, settings)
        settings.EGRESS_TEST_HOSTS = [f"127.0.0.1:{listener.port}"]
        WebhookEndpoint.objects.update(url=f"http://127.0.0.1:{listener.port}/in")
        note(feed_owner)
        jobs.deliver(added_by_a_later_version=True)
    assert listener.connections == 1
    assert Delivery.objects.get().lease_state == "DONE"
