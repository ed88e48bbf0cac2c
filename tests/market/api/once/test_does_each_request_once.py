"""One key, one effect: repeated, at once ten times, reformatted, or with the process killed before it answers."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from django.db import connection
from django.test import Client

from market.accounts.models import Agent, IdempotentRequest
from market.bounties.models import Bounty
from market.escrow.models import Hold
from tasks.models import Submission, WorkerProfile
from tests import people, photographs, racing, stories
from tests.market.api import bodies
from tests.market.api.caller import Answer, Caller

pytestmark = pytest.mark.django_db(transaction=True)


def test_gives_the_first_answer_again(as_agent: Caller) -> None:
    first = as_agent.post("bounties", bodies.bounty(), key="one")
    again = as_agent.post("bounties", bodies.bounty(), key="one")
    assert not first.is_replay
    assert again.is_replay
    assert again.status == 201
    assert again.response.content == first.response.content
    assert Bounty.objects.count() == 1


def test_answers_alike_however_the_body_is_written(as_agent: Caller) -> None:
    first = as_agent.post("bounties", bodies.bounty(), key="one").ok(201)
    other_form = json.dumps(bodies.bounty(), indent=4, sort_keys=True).encode()
    again = as_agent.post_raw("bounties", other_form, **{"Idempotency-Key": "one"})
    assert again.is_replay
    assert again.body == first


@pytest.mark.parametrize("changed", [{"slots": 2}, {"reward": {"amount": "10.01", "currency": "USD"}}, {"fund": False}])
def test_refuses_the_key_for_another_body(as_agent: Caller, changed: dict[str, object]) -> None:
    as_agent.post("bounties", bodies.bounty(), key="one").ok(201)
    as_agent.post("bounties", bodies.bounty(**changed), key="one").refused(409, "idempotency_key_reused")
    assert Bounty.objects.count() == 1


def test_refuses_the_key_for_another_address_or_query(as_agent: Caller) -> None:
    bounty = as_agent.post("bounties", bodies.bounty(fund=False), key="one").ok(201)["id"]
    as_agent.post(f"bounties/{bounty}/fund", key="one").refused(409, "idempotency_key_reused")
    as_agent.post("bounties?dry_run=false", bodies.bounty(fund=False), key="one").refused(409, "idempotency_key_reused")


def test_keeps_the_keys_of_callers_apart(as_agent: Caller, as_other_agent: Caller) -> None:
    mine = as_agent.post("bounties", bodies.bounty(), key="one").ok(201)
    theirs = as_other_agent.post("bounties", bodies.bounty(), key="one").ok(201)
    assert mine["id"] != theirs["id"]


def test_does_one_of_ten_at_once(agent: Agent) -> None:
    secret = people.secret_of(agent)
    body = bodies.bounty()

    def post() -> Answer:
        return Caller(secret, Client()).post("bounties", body, key="one")

    answers = racing.together([post] * 10)
    done = [answer for answer in answers if isinstance(answer, Answer) and answer.status == 201]
    late = [answer for answer in answers if isinstance(answer, Answer) and answer.status == 409]
    assert len(done) + len(late) == 10, answers
    for answer in late:
        problem = answer.refused(409, "idempotency_key_in_use")
        assert problem["retryable"] is True
        assert answer.response.headers["Retry-After"] == "1"
    assert len({answer.response.content for answer in done}) == 1
    assert Bounty.objects.count() == 1
    assert Hold.objects.filter(kind="SLOT").count() == 1
    assert post().is_replay


def test_does_one_deposit_of_ten_at_once() -> None:
    secret = people.secret_of(people.open_agent())
    body = {"amount": {"amount": "25.00", "currency": "USD"}}
    answers = racing.together([lambda: Caller(secret, Client()).post("deposits", body, key="one")] * 10)
    bodies_seen = {answer.response.content for answer in answers if isinstance(answer, Answer) and answer.status == 201}
    assert len(bodies_seen) == 1, answers
    assert Caller(secret).get("balance").ok()["available"] == [{"amount": "25.00", "currency": "USD"}]


def test_hands_in_once_under_any_boundary(agent: Agent, worker: WorkerProfile, as_worker: Caller) -> None:
    claim = stories.claim(stories.post_photo_bounty(agent), worker)
    path, photo = f"/v1/claims/{claim}/submissions", photographs.jpeg()

    def form(boundary: str) -> bytes:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="photo"; filename="{boundary}.jpg"\r\n'
        return f"{head}Content-Type: image/jpeg\r\n\r\n".encode() + photo + f"\r\n--{boundary}--\r\n".encode()

    answers = [
        as_worker.post_raw(path, form(name), content_type=f"multipart/form-data; boundary={name}", **{"Idempotency-Key": "one"})
        for name in ("first", "second")
    ]
    assert [answer.status for answer in answers] == [201, 201]
    assert answers[1].is_replay
    assert Submission.objects.count() == 1
    as_worker.send(path, [photographs.jpeg(quality=80)], key="one").refused(409, "idempotency_key_reused")


def test_remembers_a_refusal_that_stays(as_agent: Caller) -> None:
    dear = bodies.bounty(reward={"amount": "950.00", "currency": "USD"})
    first = as_agent.post("bounties", dear, key="one")
    first.refused(402, "insufficient_funds")
    as_agent.post("deposits", {"amount": {"amount": "600.00", "currency": "USD"}}).ok(201)
    again = as_agent.post("bounties", dear, key="one")
    assert again.is_replay
    assert again.body == first.body
    as_agent.post("bounties", dear, key="two").ok(201)


def test_forgets_what_was_wrong_with_the_form(as_agent: Caller) -> None:
    as_agent.post("bounties", bodies.bounty(question="no"), key="one").refused(422, "invalid_parameter")
    as_agent.post("bounties", bodies.bounty(), key="one").ok(201)


def test_forgets_a_fault_of_ours(as_agent: Caller) -> None:
    """A trigger breaks the insert of events: the answer is 500, nothing is kept, and the same key works when it is mended."""
    as_agent.client.raise_request_exception = False
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE events_event ADD CONSTRAINT broken CHECK (id < 0) NOT VALID")
    try:
        answer = as_agent.post("bounties", bodies.bounty(), key="one")
        problem = answer.refused(500, "internal_error")
        assert problem["request_id"] == answer.response.headers["X-Request-Id"]
        assert not IdempotentRequest.objects.filter(key="one").exists()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE events_event DROP CONSTRAINT broken")
    as_agent.post("bounties", bodies.bounty(), key="one").ok(201)
    assert Bounty.objects.count() == 1


def test_says_when_the_first_is_still_running(agent: Agent, as_agent: Caller) -> None:
    """Somebody holds the agent's money: the first request waits on it, the second is told to come back."""
    slow: list[Answer] = []

    def post_slowly() -> None:
        slow.append(as_agent.post("bounties", bodies.bounty(), key="one"))
        connection.close()

    thread = threading.Thread(target=post_slowly)
    holder = connection.copy()
    with holder.cursor() as cursor:
        cursor.execute("BEGIN; SELECT 1 FROM ledger_account FOR UPDATE")
        thread.start()
        while thread.is_alive() and not waits_for_lock():
            threading.Event().wait(0.01)
        calling = Caller(as_agent.secret, Client())
        answer = calling.post("bounties", bodies.bounty(), key="one")
        cursor.execute("ROLLBACK")
    holder.close()
    thread.join()
    answer.refused(409, "idempotency_key_in_use")
    slow[0].ok(201)
    assert calling.post("bounties", bodies.bounty(), key="one").is_replay
    assert Bounty.objects.count() == 1


def waits_for_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
        return bool(cursor.fetchone()[0])


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 121, "a\x7f"])
def test_wants_a_plain_key(as_agent: Caller, key: str) -> None:
    response = as_agent.client.post(
        "/v1/bounties",
        bodies.bounty(),
        content_type="application/json",
        headers={"Authorization": f"Bearer {as_agent.secret}", "Idempotency-Key": key},
    )
    assert response.status_code == 400
    assert response.json()["code"] in ("idempotency_key_missing", "idempotency_key_malformed")
    assert not Bounty.objects.exists()


KILLED = """
import os, signal, sys, json
import django
django.setup()
from django.db import connection
from django.test import Client
from django.test.utils import setup_test_environment
setup_test_environment()
from market.accounts import idempotency
kept = idempotency._keep
def keep_and_die(*args, **kwargs):
    kept(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[3] == "before commit":
    idempotency._keep = keep_and_die
Client().post("/v1/bounties", json.loads(sys.argv[2]), content_type="application/json",
              headers={"Authorization": "Bearer " + sys.argv[1], "Idempotency-Key": "one"})
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("moment", ["before commit", "after commit"])
def test_survives_kill(as_agent: Caller, moment: str) -> None:
    """Killed when the effect is done and its answer kept, but not committed; or when committed, but not answered."""
    url = os.environ["DATABASE_URL"].rpartition("/")[0] + "/" + str(connection.settings_dict["NAME"])
    environment = {**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "market.config.settings"}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, as_agent.secret, json.dumps(bodies.bounty()), moment], env=environment, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert Bounty.objects.count() == (0 if moment == "before commit" else 1)
    answer = as_agent.post("bounties", bodies.bounty(), key="one")
    answer.ok(201)
    assert answer.is_replay == (moment == "after commit")
    assert Bounty.objects.count() == 1
