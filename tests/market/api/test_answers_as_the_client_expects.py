"""The shipped client reads what this API answers: every resource, through WSGI, without a network."""

import datetime
import json

import httpx
import pytest

from agents_sdk import Market, errors
from agents_sdk.leases import LeaseClient
from agents_sdk.worker import WorkerMarket
from market.accounts.models import Agent, User
from market.bounties.research import paying
from market.config.wsgi import application
from tasks import clock
from tasks.models import Submission, WorkerProfile
from tests import people, photographs, stories
from tests.faults import research_calls
from tests.market.api.caller import Caller
from tests.market.bounties.research import scene
from tests.verification.research import scenes
from verification.replay import reports
from verification.research.models import Run

pytestmark = pytest.mark.django_db(transaction=True)

URL = "http://127.0.0.1:8000"


@pytest.fixture
def gpu_owner(db: None) -> User:
    return people.open_user("gpu-owner")


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


def test_tells_an_owners_story(gpu_owner: User) -> None:
    with LeaseClient(URL, research_calls.owner_key(gpu_owner)[1], http_client=over_wsgi()) as machine:
        host = machine.register_host("garage", class_key=scenes.CLASS, sandbox_level="bwrap-cpu", facts={"cores": 8})
        assert [found.id for found in machine.hosts()] == [host.id]
        (item,) = machine.lease_replays(1, holder="box", class_key=scenes.CLASS, host_id=host.id).items
        assert [machine.fetch(file.url, sha256=file.sha256) for file in item.inputs]
        machine.keep(item.id, item.token, lease_s=60, step=40, steps=200)
        run = Run.objects.select_related("tree").get(pk=item.id.removeprefix("rpl_"))
        report = scenes.report_of(run)
        assert machine.seal(item.id, item.token, reports.seal(report, scenes.SALT)).is_reveal_due
        wanted = machine.reveal(item.id, item.token, report=json.loads(report.canonical()), salt=scenes.SALT).wanted_checkpoints
        for index in wanted:
            machine.upload(item.id, item.token, index, f"checkpoint {index}".encode())
        machine.finish(item.id, item.token)
        assert machine.replay(item.id).status == "HANDED_IN"
        assert machine.demand(scenes.CLASS).open_runs == 0
        scenes.work_pool()
        paying.pay_calibrations_due(now=clock.now())
        (page,) = machine.replays()
        assert (page.data[0].status, page.data[0].money_status, page.data[0].untrusted.title) == (
            "VALID",
            "PENDING",
            "Calibration of a new host",
        )
        assert str(page.totals[0].pending) == "0.05 USD"


def test_tells_the_trusted_pools_story(gpu_owner: User, agent: Agent) -> None:
    bounty = research_calls.bounty(agent)
    candidate = scene.submit(bounty, scene.open_maker(), now=clock.now())
    scenes.advance(candidate)
    with LeaseClient(URL, research_calls.owner_key(gpu_owner, is_trusted=True)[1], http_client=over_wsgi()) as machine:
        (item,) = machine.lease_trusted(4, holder="pool").items
        assert (item.kind, {file.role for file in item.inputs}) == ("smoke", {"tree", "train:text.bin"})
        assert [machine.fetch(file.url, sha256=file.sha256) for file in item.inputs]
        machine.heartbeat(item.id, item.token)
        machine.hand_in(item.id, item.token, {"is_passed": True, "codes": []})
    assert scenes.advance(candidate).status == "WAITING"
