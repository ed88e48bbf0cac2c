"""The event feed of an agent: recorded inside the transaction of the change, numbered after its commit."""

import datetime
import uuid
from typing import Protocol

from django.db import connection, transaction

from market.events.models import Event

# One lock for all sequencers ("ATOM" + 1). It ends with the transaction, so a killed sequencer leaves nothing behind.
_SEQUENCER_LOCK = 0x41544F4D_00000001

# The most events that are numbered in one transaction.
BATCH_SIZE = 2_000

# The snapshot of this statement is taken after the lock is held, so it sees all that earlier sequencers did, and
# committed rows only. The counter's row keeps numbers contiguous; a rollback gives them all back.
_NUMBER = """
WITH pending AS (
    SELECT id, agent_id, row_number() OVER (PARTITION BY agent_id ORDER BY id) AS place
    FROM (SELECT id, agent_id FROM events_event WHERE seq IS NULL ORDER BY id LIMIT %(limit)s) AS oldest
), counted AS (
    INSERT INTO events_feedcounter AS counter (agent_id, last_seq)
    SELECT agent_id, max(place) FROM pending GROUP BY agent_id ORDER BY agent_id
    ON CONFLICT (agent_id) DO UPDATE SET last_seq = counter.last_seq + excluded.last_seq
    RETURNING counter.agent_id, counter.last_seq
), numbered AS (
    UPDATE events_event AS event
    SET seq = counted.last_seq - total.many + pending.place
    FROM pending
    JOIN counted USING (agent_id)
    JOIN (SELECT agent_id, max(place) AS many FROM pending GROUP BY agent_id) AS total USING (agent_id)
    WHERE event.id = pending.id
    RETURNING event.id, event.agent_id
), outbox AS (
    INSERT INTO events_delivery
        (id, endpoint_id, event_id, lease_state, lease_holder, token, attempts, available_at, created_at)
    SELECT gen_random_uuid(), endpoint.id, numbered.id, 'READY', '', 0, 0, now(), now()
    FROM numbered
    JOIN events_webhookendpoint AS endpoint ON endpoint.agent_id = numbered.agent_id AND endpoint.is_enabled
    ON CONFLICT (endpoint_id, event_id) DO NOTHING
)
SELECT count(*) FROM numbered
"""


class FeedOwner(Protocol):
    """An agent, as far as its feed needs it: `market.accounts.models.Agent` is one."""

    @property
    def pk(self) -> uuid.UUID: ...


def record(*, agent: FeedOwner, type: str, subject: str, actor: str, data: dict[str, object]) -> Event:  # noqa: A002
    """Write an event in the caller's transaction; it is numbered once that has committed.

    Args:
        agent: in whose feed it goes.
        type: for example ``bounty.funded``.
        subject: the prefixed id of what changed.
        actor: agent, worker, machine, reviewer, poster, clock or operator.
        data: JSON for the reader: ids, enums, numbers and times; worker words only under ``untrusted``.
    """
    return Event.objects.create(agent_id=agent.pk, type=type, subject=subject, actor=actor, data=data)


def sequence() -> int:
    """Number the committed events that have none yet, put them into the outbox, and return how many there were."""
    done = 0
    while _has_unnumbered():
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_SEQUENCER_LOCK])
            cursor.execute(_NUMBER, {"limit": BATCH_SIZE})
            (many,) = cursor.fetchone()
        done += many
        if many < BATCH_SIZE:
            break
    return done


def after(agent: FeedOwner, seq: int, limit: int) -> list[Event]:
    """Return up to ``limit`` events of an agent that follow number ``seq``, without a gap, in order of commit.

    The sequencer runs first, so whoever made a change and then reads sees it.
    """
    sequence()
    return list(Event.objects.filter(agent_id=agent.pk, seq__gt=seq).order_by("seq")[:limit])


def as_json(event: Event) -> dict[str, object]:
    """Write an event as the feed and webhooks carry it."""
    return {
        "id": str(event),
        "object": "event",
        "seq": event.seq,
        "type": event.type,
        "subject": event.subject,
        "actor": event.actor,
        "timestamp": event.created_at.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": event.data,
    }


def _has_unnumbered() -> bool:
    return Event.objects.filter(seq=None).exists()
