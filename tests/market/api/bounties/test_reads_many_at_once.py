"""A page of bounties: it ..."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries

from market.accounts.models import Agent
from tests import people, stories
from tests.market.api.caller import calling_as

pytestmark = pytest.mark.django_db


def test_asks_the_database_as_often_for_twenty_as_for_two(agent: Agent, django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
    caller = calling_as(agent)
    posted = [stories.post_photo_bounty(agent, reward="1.00", slots=2) for _ in range(20)]
    for bounty in posted:
        stories.rejected(bounty, people.open_worker())
        stories.accepted(bounty, people.open_worker())
    caller.get("bounties", limit=2).ok()  # The key's use is noted with the first request of an hour.
    with CaptureQueriesContext(connection) as captured:
        caller.get("bounties", limit=2).ok()
    with django_assert_max_num_queries(len(captured)):
        listed = caller.get("bounties", limit=100).ok()["data"]
    assert [row["id"] for row in listed] == [str(bounty) for bounty in reversed(posted)]
    assert {(row["held"]["held"]["amount"], row["held"]["captured"]["amount"]) for row in listed} == {("1.60", "1.10")}
    assert [[each["status"] for each in row["submissions"]] for row in listed] == [["REJECTED", "ACCEPTED"]] * 20
    assert listed[0] == caller.get(f"bounties/{posted[-1]}").ok()
