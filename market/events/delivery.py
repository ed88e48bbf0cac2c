"""Sending events to webhook endpoints: leased rows, Standard Webhooks 1.1 signatures, retries over three days.

The network is called between transactions, never inside one.
"""

import concurrent.futures
import datetime
import json
import os
import secrets
import socket
import string
import time
from dataclasses import dataclass

import standardwebhooks
from django.db import transaction
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now

from market.events import egress, feed
from market.events.models import Delivery, DeliveryAttempt, WebhookEndpoint
from tasks.leases import LeaseState, StaleLease

# Seconds to the next attempt after the 1st, 2nd ... one: 72 hours together, then the delivery is DEAD.
RETRY_DELAYS_S = [5, 60, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 73_435]
LEASE_S = 60
BATCH_SIZE = 32
# Sent at one moment by all workers together: slow endpoints must not take every worker from the other jobs.
MAX_IN_FLIGHT = 64
# An endpoint that hangs may take this many places of a batch, so that it can't starve the others.
MAX_AT_ONCE_PER_ENDPOINT = 4
MAX_ENDPOINTS_PER_AGENT = 8

_FIRST_OF_EACH_ENDPOINT = """
    SELECT due.id
    FROM events_webhookendpoint endpoint
    CROSS JOIN LATERAL (
        SELECT id FROM events_delivery
        WHERE endpoint_id = endpoint.id AND lease_state = 'READY' AND available_at <= STATEMENT_TIMESTAMP()
        ORDER BY available_at, id LIMIT %s
    ) due
    WHERE endpoint.is_enabled
"""


class TooManyEndpoints(Exception):
    """The agent has as many endpoints as are allowed: delete one first."""


class NotResendable(Exception):
    """The delivery is waiting or being sent already; there is nothing to resend yet."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    status_code: int | None
    failure: str
    duration_ms: int

    @property
    def is_success(self) -> bool:
        return not self.failure


def add_endpoint(*, agent: feed.FeedOwner, url: str) -> WebhookEndpoint:
    """Register where an agent wants its events.

    Raises:
        egress.RefusedUrl, egress.RefusedAddress: not the https URL of a public host.
        TooManyEndpoints: the agent has `MAX_ENDPOINTS_PER_AGENT` already.
    """
    egress.parse(url)
    if WebhookEndpoint.objects.filter(agent_id=agent.pk, is_enabled=True).count() >= MAX_ENDPOINTS_PER_AGENT:
        raise TooManyEndpoints(f"An agent has {MAX_ENDPOINTS_PER_AGENT} webhook endpoints at most: delete one first.")
    # 40 letters and digits: base64 of 30 bytes, without the characters that shells, URLs and logs stumble over.
    secret = "whsec_" + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(40))
    return WebhookEndpoint.objects.create(agent_id=agent.pk, url=url, secret=secret)


def remove_endpoint(*, endpoint: WebhookEndpoint) -> None:
    """Stop sending to an endpoint; its log stays. The second time changes nothing."""
    with transaction.atomic():
        WebhookEndpoint.objects.filter(pk=endpoint.pk).update(is_enabled=False)
        Delivery.objects.filter(endpoint=endpoint, lease_state=LeaseState.READY).update(lease_state=LeaseState.DEAD)


def resend(*, delivery: Delivery) -> Delivery:
    """Put a delivery that was made or given up back into the queue, with its attempts counted anew.

    Raises:
        NotResendable: it is waiting or being sent already, or its endpoint was removed.
    """
    moved = Delivery.objects.filter(pk=delivery.pk, lease_state__in=(LeaseState.DONE, LeaseState.DEAD), endpoint__is_enabled=True).update(
        lease_state=LeaseState.READY, available_at=Now(), attempts=0
    )
    if not moved:
        raise NotResendable("This delivery is waiting or being sent already, or its endpoint was deleted.")
    delivery.refresh_from_db()
    return delivery


def deliver_due(*, now: datetime.datetime, resolve: egress.Resolver = egress.system_resolve) -> int:
    """Number new events, then send one batch of due deliveries side by side; return how many were tried."""
    feed.sequence()
    Delivery.objects.sweep(max_attempts=len(RETRY_DELAYS_S) + 1, delay_s=_delay_after_death_s)
    # Durable: inside a caller's transaction this raises, because the network must not be called there.
    with transaction.atomic(durable=True):
        leased = _take_batch()
    if not leased:
        return 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=BATCH_SIZE, thread_name_prefix="webhook") as senders:
        # The threads touch no database: rows are read before and written after.
        waiting = {senders.submit(_send, delivery, now, resolve): delivery for delivery in leased}
        for done in concurrent.futures.as_completed(waiting):
            _note(waiting[done], done.result())
    return len(leased)


def _delay_after_death_s(attempts: int) -> float:
    """Return how long a delivery waits whose sender died: not at all once, then as long as after a refusal.

    Else a worker that is killed again and again would use up three days of attempts in minutes.
    """
    return 0 if attempts == 1 else RETRY_DELAYS_S[attempts - 1]


def _take_batch() -> list[Delivery]:
    """Lease what will be sent now, and nothing else: a sender that is killed takes no attempt from the rest."""
    holder = f"{socket.gethostname()}:{os.getpid()}"
    in_flight = Delivery.objects.filter(lease_state=LeaseState.LEASED, lease_until__gt=Now()).count()
    limit = max(0, min(BATCH_SIZE, MAX_IN_FLIGHT - in_flight))
    first_of_each = Delivery.objects.filter(pk__in=RawSQL(_FIRST_OF_EACH_ENDPOINT, [MAX_AT_ONCE_PER_ENDPOINT]))  # noqa: S611 - our own words
    rows = first_of_each.hand_out(limit=limit, holder=holder, lease_s=LEASE_S)
    whole = {row.pk: row for row in Delivery.objects.select_related("endpoint", "event").filter(pk__in=[row.pk for row in rows])}
    return [whole[row.pk] for row in rows]


def _send(delivery: Delivery, now: datetime.datetime, resolve: egress.Resolver) -> _Attempt:
    body = json.dumps(feed.as_json(delivery.event), separators=(",", ":"), ensure_ascii=True)
    started = time.monotonic()
    try:
        status_code = egress.post(
            url=delivery.endpoint.url, headers=sign(delivery=delivery, body=body, now=now), body=body.encode(), resolve=resolve
        )
    except egress.EgressFailed as error:
        return _Attempt(None, error.failure, _since(started))
    return _Attempt(status_code, _failure_of(status_code), _since(started))


def sign(*, delivery: Delivery, body: str, now: datetime.datetime) -> dict[str, str]:
    """Return the headers of a delivery. ``webhook-id`` is the event's id: the same on every attempt, so receivers can drop doubles."""
    webhook_id = str(delivery.event)
    signature = standardwebhooks.Webhook(delivery.endpoint.secret).sign(msg_id=webhook_id, timestamp=now, data=body)
    return {
        "Content-Type": "application/json",
        "User-Agent": "Atoms-Webhooks/1",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature,
    }


def _failure_of(status_code: int) -> str:
    if 200 <= status_code < 300:
        return ""
    return "redirect" if 300 <= status_code < 400 else "status"


def _since(started: float) -> int:
    return int((time.monotonic() - started) * 1_000)


def _note(delivery: Delivery, attempt: _Attempt) -> None:
    """Write one attempt and what follows from it, in one transaction."""
    with transaction.atomic():
        DeliveryAttempt.objects.create(
            delivery=delivery, status_code=attempt.status_code, failure=attempt.failure, duration_ms=attempt.duration_ms
        )
        try:
            _move_on(delivery, attempt)
        except StaleLease:
            return  # Our lease ran out while we sent; whoever has the row now goes on with it. The attempt stays in the log.
        if attempt.status_code == 410:
            # Standard Webhooks: 410 Gone asks for no more events.
            remove_endpoint(endpoint=delivery.endpoint)


def _move_on(delivery: Delivery, attempt: _Attempt) -> None:
    if attempt.is_success:
        Delivery.objects.finish(pk=delivery.pk, token=delivery.token)
    elif delivery.attempts <= len(RETRY_DELAYS_S):
        Delivery.objects.give_back(pk=delivery.pk, token=delivery.token, delay_s=RETRY_DELAYS_S[delivery.attempts - 1])
    else:
        moved = Delivery.objects.filter(pk=delivery.pk, token=delivery.token, lease_state=LeaseState.LEASED).update(
            lease_state=LeaseState.DEAD, lease_until=None
        )
        if not moved:
            raise StaleLease(f"Token {delivery.token} no longer holds {delivery}.")
