"""An agent reads its feed, registers webhook endpoints, looks at deliveries and sends them again."""

import pytest

from market.accounts.models import Agent
from market.events import delivery
from market.events.models import Delivery, DeliveryAttempt
from tasks import clock
from tasks.models import WorkerProfile
from tests import stories
from tests.market.api import bodies
from tests.market.api.caller import Caller, calling_as

pytestmark = pytest.mark.django_db


def test_reads_the_feed_in_pages(agent: Agent, worker: WorkerProfile) -> None:
    caller = calling_as(agent)
    bounty = caller.post("bounties", bodies.bounty()).ok(201)
    first = caller.get("events", limit=1).ok()
    assert (first["data"][0]["seq"], first["data"][0]["type"], first["has_more"], first["next_after"]) == (1, "bounty.screened", True, 1)
    rest = caller.get("events", after=1).ok()
    assert [(event["seq"], event["type"]) for event in rest["data"]] == [(2, "bounty.opened")]
    assert rest["data"][0]["subject"] == bounty["id"]
    assert rest["has_more"] is False
    assert caller.get("events", after=2).ok() == {"object": "list", "data": [], "has_more": False, "next_after": 2}


def test_tells_the_whole_story_without_who_the_worker_is(agent: Agent, worker: WorkerProfile) -> None:
    stories.accepted(stories.post_photo_bounty(agent), worker)
    events = calling_as(agent).get("events").ok()["data"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert {"bounty.opened", "claim.made", "submission.received", "submission.accepted", "submission.paid", "bounty.settled"} <= {
        event["type"] for event in events
    }
    assert worker.pk.hex not in str(events)
    assert str(worker.pk) not in str(events)


@pytest.mark.parametrize("after", ["-1", "a", "1.5", "9223372036854775808", "\uff11"])
def test_refuses_odd_places_in_the_feed(as_agent: Caller, after: str) -> None:
    assert as_agent.get("events", after=after).refused(422, "invalid_parameter")["param"] == "after"


def test_registers_shows_and_deletes_an_endpoint(as_agent: Caller) -> None:
    made = as_agent.post("webhook_endpoints", {"url": "https://hooks.example.com/in"}).ok(201)
    assert made["secret"].startswith("whsec_")
    shown = {name: value for name, value in made.items() if name != "secret"}
    assert as_agent.get(f"webhook_endpoints/{made['id']}").ok() == shown
    assert as_agent.get("webhook_endpoints").ok()["data"] == [shown]
    for _ in range(2):
        assert as_agent.delete(f"webhook_endpoints/{made['id']}").status == 204
    assert as_agent.get(f"webhook_endpoints/{made['id']}").ok()["is_enabled"] is False


@pytest.mark.parametrize("url", ["http://example.com/", "https://127.0.0.1/", "https://169.254.169.254/", "https://[::1]/", "ftp://x", 5])
def test_refuses_endpoints_that_lead_inwards(as_agent: Caller, url: object) -> None:
    answer = as_agent.post("webhook_endpoints", {"url": url})
    assert answer.status == 422
    assert answer.body["code"] in ("refused_url", "invalid_parameter")


def test_shows_attempts_and_sends_again(as_agent: Caller) -> None:
    endpoint = as_agent.post("webhook_endpoints", {"url": "https://hooks.example.com/in"}).ok(201)
    as_agent.post("bounties", bodies.bounty(fund=False)).ok(201)
    delivery.deliver_due(now=clock.now(), resolve=lambda host, port: ["10.0.0.1"])
    path = f"webhook_endpoints/{endpoint['id']}/deliveries"
    (row,) = as_agent.get(path).ok()["data"]
    assert (row["status"], row["type"]) == ("WAITING", "bounty.screened")
    assert [attempt["failure"] for attempt in row["attempts"]] == ["refused_address"]
    as_agent.post(f"{path}/{row['id']}/resend").refused(409, "not_resendable")
    Delivery.objects.update(lease_state="DONE")
    again = as_agent.post(f"{path}/{row['id']}/resend").ok(202)
    assert again["status"] == "WAITING"
    assert DeliveryAttempt.objects.count() == 1
