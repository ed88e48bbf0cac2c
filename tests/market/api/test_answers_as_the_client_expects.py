"""The shipped client reads what this API answers: every resource, through WSGI, without a network."""

import datetime

import httpx
import pytest

from agents_sdk import Market, errors
from agents_sdk.leases import LeaseClient
from agents_sdk.worker import WorkerMarket
from market.accounts.models import Agent
from market.config.wsgi import application
from tasks import clock
from tasks.models import Submission, WorkerProfile
from tests import people, photographs, stories
from tests.market.api.caller import Caller

pytestmark = pytest.mark.django_db(transaction=True)

URL = "http://127.0.0.1:8000"


def over_wsgi() -> httpx.Client:
    return httpx.Client(transport=httpx.WSGITransport(app=application))


def test_tells_a_whole_story(agent: Agent, worker: WorkerProfile, as_machine: Caller) -> None:
    buyer = Market(api_key=people.secret_of(agent), base_url=URL, http_client=over_wsgi())
    earner = WorkerMarket(api_key=people.secret_of(worker), base_url=URL, http_client=over_wsgi())
    bounty = buyer.ask_photo(stories.QUESTION, at=stories.PLACE, within_m=50, reward="10.00", by="2h")
    shown = bounty.show()
    assert (shown.status, str(shown.reward)) == ("OPEN", "10.00 USD")
    assert [found.id for found in buyer.bounties.list()] == [shown.id]
    (task,) = earner.tasks(near=stories.PLACE)
    claim = earner.claim(task.id, at=stories.PLACE)
    assert [found.id for found in earner.claims(status="ACTIVE")] == [claim.id]
    sent = earner.submit(claim.id, photos=[photographs.jpeg()], at=stories.PLACE, accuracy_m=8.0, captured_at=clock.now(), note="Here.")
    assert sent.status == "CHECKING"
    with LeaseClient(URL, as_machine.secret, http_client=over_wsgi()) as machine:
        assert machine.lease("vision", 4, holder="gpu-1").retry_after_s > 0
    stories.settle(Submission.objects.get())
    answer = bounty.wait(timeout=10)
    assert answer.verdict is not None
    assert answer.verdict.outcome == "ACCEPTED"
    assert answer.receipt is not None
    assert answer.receipt.verify()
    assert len(answer.photos) == 1
    assert answer.photos[0].download()[:3] == b"\xff\xd8\xff"
    assert [event.seq for event in buyer.events()] == list(range(1, 1 + len(list(buyer.events()))))
    assert str(buyer.balance().held) == "()"
    assert buyer.deposits.create("5.00").status == "CONFIRMED"
    hook = buyer.webhook_endpoints.create("https://hooks.example.com/in")
    assert hook.secret.startswith("whsec_")
    buyer.webhook_endpoints.delete(hook.id)
    assert str(earner.balance().data[0].earned) == "10.00 USD"


def test_raises_what_the_client_names(agent: Agent, worker: WorkerProfile) -> None:
    buyer = Market(api_key=people.secret_of(agent), base_url=URL, http_client=over_wsgi())
    with pytest.raises(errors.InsufficientFunds):
        buyer.ask_photo(stories.QUESTION, at=stories.PLACE, within_m=50, reward="950.00", by="2h")
    with pytest.raises(errors.BlockedByPolicy):
        buyer.ask_photo("Log in with my password and show me the one-time code.", at=stories.PLACE, within_m=50, reward="1.00", by="2h")
    with pytest.raises(errors.BadRequest) as caught:
        buyer.ask_photo("short", at=stories.PLACE, within_m=50, reward="1.00", by="2h")
    assert caught.value.param == "question"
    assert caught.value.request_id.startswith("req_")
    bounty = stories.post_photo_bounty(agent, deadline=clock.now() + datetime.timedelta(hours=1))
    stories.claim(bounty, worker)
    late = WorkerMarket(api_key=people.secret_of(people.open_worker("bo")), base_url=URL, http_client=over_wsgi())
    with pytest.raises(errors.AlreadyClaimed):
        late.claim(str(bounty.task))
