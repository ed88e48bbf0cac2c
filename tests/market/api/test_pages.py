"""Pages: every row once, in order, whatever is added meanwhile."""

import datetime

import pytest

from market.accounts.models import Agent
from market.payments.models import Deposit
from tasks import clock
from tests import people, stories
from tests.market.api.caller import Caller, calling_as

pytestmark = pytest.mark.django_db


def test_shows_every_row_once_while_rows_are_added(agent: Agent) -> None:
    caller = calling_as(agent)
    made = [str(stories.draft_photo_bounty(agent)) for _ in range(7)]
    seen: list[str] = []
    cursor = ""
    while True:
        page = caller.get("bounties", limit=3, **({"cursor": cursor} if cursor else {})).ok()
        seen += [row["id"] for row in page["data"]]
        stories.draft_photo_bounty(agent)  # Added at the front: no page shifts.
        cursor = page["next_cursor"]
        assert page["has_more"] == bool(cursor)
        if not cursor:
            break
    assert seen == list(reversed(made))


def test_orders_by_time_where_ids_do_not() -> None:
    agent = people.open_agent()
    caller = calling_as(agent)
    for amount in range(1, 6):
        caller.post("deposits", {"amount": {"amount": f"{amount}.00", "currency": "USD"}}).ok(201)
    # Several in one moment: the id decides, and none is lost or doubled.
    Deposit.objects.update(created_at=Deposit.objects.latest("created_at").created_at)
    seen: list[str] = []
    cursor = ""
    while not seen or cursor:
        page = caller.get("deposits", limit=2, **({"cursor": cursor} if cursor else {})).ok()
        seen += [row["id"] for row in page["data"]]
        cursor = page["next_cursor"]
    assert sorted(seen) == sorted(str(deposit) for deposit in Deposit.objects.all())
    assert len(seen) == 5


@pytest.mark.parametrize("place", [{}, {"near": "52.5200,13.4050"}])
def test_shows_every_open_task_once_while_tasks_are_taken(agent: Agent, place: dict[str, str]) -> None:
    worker, now = people.open_worker(), clock.now()
    # Two close at one moment at one place: the id decides.
    made = [
        stories.post_photo_bounty(agent, reward="1.00", deadline=now + datetime.timedelta(hours=hours), latitude=52.52 + hours / 100)
        for hours in (1, 2, 2, 3, 4)
    ]
    full = stories.post_photo_bounty(agent, reward="1.00", deadline=now + datetime.timedelta(hours=2), latitude=52.54)
    stories.claim(full, people.open_worker())
    half = stories.post_photo_bounty(agent, reward="1.00", slots=2, deadline=now + datetime.timedelta(hours=2), latitude=52.54)
    stories.claim(half, worker)
    caller = calling_as(worker)
    seen: list[str] = []
    cursor = ""
    while not seen or cursor:
        page = caller.get("tasks", limit=2, **place, **({"cursor": cursor} if cursor else {})).ok()
        seen += [row["id"] for row in page["data"]]
        cursor = page["next_cursor"]
        assert page["has_more"] == bool(cursor)
        # The last one shown is taken by somebody else: the next page begins where it did.
        stories.claim(next(bounty for bounty in made if str(bounty.task) == seen[-1]), people.open_worker())
    assert seen == [str(bounty.task) for bounty in made]


def test_begins_no_page_of_tasks_behind_what_was_never_listed(agent: Agent, as_worker: Caller) -> None:
    draft = stories.draft_photo_bounty(agent)
    for cursor in (str(draft.task), "tsk_" + "0" * 32, "bty_" + "0" * 32):
        assert as_worker.get("tasks", cursor=cursor).refused(422, "invalid_parameter")["param"] == "cursor"


@pytest.mark.parametrize("limit", ["0", "101", "-1", "x", "1.0", "", "9" * 50, " 5", "\u0665"])
def test_refuses_odd_limits(as_agent: Caller, limit: str) -> None:
    assert as_agent.get("bounties", limit=limit).refused(422, "invalid_parameter")["param"] == "limit"


@pytest.mark.parametrize("cursor", ["x", "bty_", "sub_" + "0" * 32, "' OR 1=1", "\x00"])
def test_refuses_odd_cursors(as_agent: Caller, cursor: str) -> None:
    assert as_agent.get("bounties", cursor=cursor).refused(422, "invalid_parameter")["param"] == "cursor"


def test_gives_nothing_away_by_a_foreign_cursor(agent: Agent, as_other_agent: Caller) -> None:
    foreign = str(stories.draft_photo_bounty(agent))
    assert as_other_agent.get("bounties", cursor=foreign).ok()["data"] == []
    deposit = str(Deposit.objects.filter(agent=agent).latest("created_at"))
    as_other_agent.get("deposits", cursor=deposit).refused(422, "invalid_parameter")
