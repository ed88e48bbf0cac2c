"""Claiming on the pages: no account before it, one account for a double tap, and no work for nothing."""

import datetime

import pytest
from django.test import Client

from market.accounts.models import Agent, User
from market.web import limits, visitors
from tasks.models import Claim, WorkerProfile
from tests import people, stories
from tests.market.web import steps

pytestmark = pytest.mark.django_db


def test_looking_needs_no_account(client: Client, agent: Agent) -> None:
    bounty = stories.post_photo_bounty(agent)
    assert client.get("/").status_code == 200
    assert client.get(f"/tasks/{bounty.task}").status_code == 200
    assert User.objects.filter(is_anonymous_worker=True).count() == 0
    assert "sessionid" not in client.cookies


def test_first_claim_opens_an_account_and_shows_its_code(client: Client, agent: Agent) -> None:
    claim = steps.claimed(client, stories.post_photo_bounty(agent))
    page = client.get(f"/claims/{claim}").content.decode()
    worker = steps.only_worker()
    assert (worker.country, worker.mode, worker.user.has_usable_password()) == ("DE", "test", False)
    code = client.session[visitors.SHOWN_CODE]
    assert len(code) == 16
    assert "-".join(code[start : start + 4] for start in range(0, 16, 4)) in page
    assert code not in worker.user.recovery_code_hash


def test_a_double_tap_is_one_account_and_one_claim(client: Client, agent: Agent) -> None:
    bounty = stories.post_photo_bounty(agent, slots=2)
    ticket = steps.ticket_of(client, bounty)
    # The second request was on its way before the first one's answer: it has no session yet.
    other = Client()
    first, second = steps.claim(client, bounty, ticket=ticket), steps.claim(other, bounty, ticket=ticket)
    assert (first.status_code, second.status_code) == (303, 303)
    assert first.headers["Location"] == second.headers["Location"]
    assert (WorkerProfile.objects.count(), Claim.objects.count()) == (1, 1)
    assert client.session[visitors.SHOWN_CODE] == other.session[visitors.SHOWN_CODE]


def test_an_old_form_opens_nobody_elses_account(client: Client, agent: Agent) -> None:
    bounty = stories.post_photo_bounty(agent, slots=2)
    ticket = steps.ticket_of(client, bounty)
    steps.claim(client, bounty, ticket=ticket)
    User.objects.filter(is_anonymous_worker=True).update(date_joined=steps.only_worker().created_at - visitors.SAME_FORM * 2)
    thief = Client()
    assert steps.claim(thief, bounty, ticket=ticket).status_code == 422
    assert "_auth_user_id" not in thief.session


@pytest.mark.parametrize("ticket", ["", "x", "abc:def:ghi", "é" * 300])
def test_a_ticket_that_is_not_ours_opens_nothing(client: Client, agent: Agent, ticket: str) -> None:
    bounty = stories.post_photo_bounty(agent)
    answer = client.post(f"/tasks/{bounty.task}/claim", {"ticket": ticket, "country": "DE"})
    assert answer.status_code == 422
    assert WorkerProfile.objects.count() == 0


@pytest.mark.parametrize("country", ["IR", "CU", "KP", "SY", "XC", "ZZ", "", "de", "<script>"])
def test_a_country_that_cannot_be_paid_is_told_before_the_claim(client: Client, agent: Agent, country: str) -> None:
    answer = steps.claim(client, stories.post_photo_bounty(agent), country=country)
    assert answer.status_code == 422
    assert b"pay people who live in this country" in answer.content
    assert (WorkerProfile.objects.count(), Claim.objects.count()) == (0, 0)


def test_the_page_marks_countries_that_cannot_be_paid(client: Client, agent: Agent) -> None:
    page = client.get(f"/tasks/{stories.post_photo_bounty(agent).task}").content.decode()
    assert '<option value="IR" data-unserved>Iran (no pay there)</option>' in page
    assert '<option value="DE" selected>Germany</option>' in page


def test_one_network_opens_so_many_accounts_an_hour(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(limits.PER_HOUR, "open-worker", 2)
    bounty = stories.post_photo_bounty(agent, slots=4)
    assert [steps.claim(Client(), bounty).status_code for _ in range(3)] == [303, 303, 429]
    assert WorkerProfile.objects.count() == 2


def test_a_second_claim_waits_for_the_first(client: Client, agent: Agent) -> None:
    steps.claimed(client, stories.post_photo_bounty(agent))
    other = stories.post_photo_bounty(agent)
    answer = client.post(f"/tasks/{other.task}/claim")
    assert answer.status_code == 409
    assert b"Finish or drop the task you have first" in answer.content


def test_a_taken_task_says_so(client: Client, agent: Agent) -> None:
    bounty = stories.post_photo_bounty(agent)
    ticket = steps.ticket_of(client, bounty)
    stories.claim(bounty, people.open_worker())
    answer = steps.claim(client, bounty, ticket=ticket)
    assert answer.status_code == 409
    assert b"Somebody else is on it" in answer.content
    assert b"Not open." in answer.content


def test_a_task_that_is_gone_or_never_was_is_not_found(client: Client, agent: Agent) -> None:
    draft = stories.draft_photo_bounty(agent)
    for address in (f"/tasks/{draft.task}", "/tasks/tsk_0", "/tasks/%00", f"/tasks/{draft}"):
        assert client.get(address).status_code == 404


def test_an_operator_is_not_made_a_worker(client: Client, agent: Agent, verifier: User) -> None:
    bounty = stories.post_photo_bounty(agent)
    client.force_login(verifier)
    assert client.post(f"/tasks/{bounty.task}/claim").status_code == 403
    assert WorkerProfile.objects.count() == 0


def test_a_claim_is_its_workers_alone(client: Client, agent: Agent, stranger: User) -> None:
    claim = steps.claimed(client, stories.post_photo_bounty(agent))
    other = Client()
    other.force_login(stranger)
    for path in ("", "/cannot"):
        assert other.get(f"/claims/{claim}{path}").status_code == 404
    for path in ("/send", "/cannot", "/extend", "/drop"):
        assert other.post(f"/claims/{claim}{path}").status_code == 404
    claim.refresh_from_db()
    assert claim.status == Claim.Status.ACTIVE


def test_dropping_is_free(client: Client, agent: Agent) -> None:
    bounty = stories.post_photo_bounty(agent)
    claim = steps.claimed(client, bounty)
    assert client.post(f"/claims/{claim}/drop").status_code == 303
    assert b"You dropped this task" in client.get(f"/claims/{claim}").content
    assert steps.claim(Client(), bounty).status_code == 303


def test_time_is_added_once_and_only_there(client: Client, agent: Agent) -> None:
    claim = steps.claimed(client, stories.post_photo_bounty(agent))
    assert client.post(f"/claims/{claim}/extend", {"place": "52.6, 13.4"}).status_code == 409
    assert client.post(f"/claims/{claim}/extend", {"place": "somewhere"}).status_code == 409
    here = {"place": f"{stories.PLACE[0]}, {stories.PLACE[1]}"}
    assert client.post(f"/claims/{claim}/extend", here).status_code == 303
    assert client.post(f"/claims/{claim}/extend", here).status_code == 409
    before = claim.expires_at
    claim.refresh_from_db()
    assert claim.expires_at - before == datetime.timedelta(seconds=claim.task.task_time_s)


def test_a_place_stays_in_the_visitors_cookie_rounded(client: Client, agent: Agent) -> None:
    stories.post_photo_bounty(agent)
    answer = client.post("/place", {"place": "52.521934, 13.413215"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert client.cookies["place"].value == "52.522,13.413"
    page = client.get("/").content.decode()
    assert "<h1>Tasks near you<" in page
    assert "52.52" not in page.split("<ul")[1]
    client.post("/place", {"forget": "1"})
    assert "<h1>Tasks near you<" not in client.get("/").content.decode()


def test_a_place_that_is_none_says_what_to_write(client: Client) -> None:
    answer = client.post("/place", {"place": "my house"})
    assert answer.status_code == 422
    assert b"Write latitude and longitude" in answer.content


def test_far_tasks_are_not_near(client: Client, agent: Agent) -> None:
    stories.post_photo_bounty(agent)
    client.post("/place", {"place": "48.1, 11.5"})
    assert b"Nothing open within 25 km" in client.get("/").content


def test_forms_need_their_csrf_token(agent: Agent) -> None:
    bounty = stories.post_photo_bounty(agent)
    strict = Client(enforce_csrf_checks=True)
    answer = strict.post(f"/tasks/{bounty.task}/claim", {"country": "DE"})
    assert answer.status_code == 403
    assert b"Load the page again" in answer.content
