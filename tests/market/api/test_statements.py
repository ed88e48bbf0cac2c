"""Requests that move money or keep a right to it: they ask the database so often, and no oftener where there is more."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from market.accounts.models import Agent
from tasks.models import WorkerProfile
from tests import people, stories
from tests.market.api import bodies
from tests.market.api.caller import Caller, calling_as

pytestmark = pytest.mark.django_db


def statements(work: Callable[[], object]) -> int:
    """Count what is sent to the database, without the savepoint that stands for the test's transaction."""
    with CaptureQueriesContext(connection) as captured:
        work()
    return sum("SAVEPOINT" not in each["sql"] for each in captured)


def used_before(someone: Agent | WorkerProfile) -> Caller:
    """Return a caller whose key's use in this hour is noted already."""
    caller = calling_as(someone)
    caller.get("bounties" if isinstance(someone, Agent) else "claims").ok()
    return caller


def test_claim_and_drop_ask_for_nothing_twice(agent: Agent, worker: WorkerProfile) -> None:
    bounty, caller = stories.post_photo_bounty(agent), used_before(worker)
    answers: list[str] = []
    assert statements(lambda: answers.append(caller.post(f"tasks/{bounty.task}/claims", {}).ok(201)["id"])) <= 13
    assert statements(lambda: caller.post(f"claims/{answers[0]}/drop", {}).ok()) <= 12


@pytest.mark.parametrize("slots", [1, 60])
def test_post_and_cancel_ask_as_often_for_many_slots_as_for_one(agent: Agent, slots: int) -> None:
    people.top_up(agent)
    caller = used_before(agent)
    body = {**bodies.bounty(), "slots": slots, "reward": {"amount": "1.00", "currency": "USD"}}
    answers: list[str] = []
    assert statements(lambda: answers.append(caller.post("bounties", body).ok(201)["id"])) <= 23
    assert statements(lambda: caller.post(f"bounties/{answers[0]}/cancel", {}).ok()) <= 20
    assert caller.get(f"bounties/{answers[0]}").ok()["held"]["held"]["amount"] == "0.00"
