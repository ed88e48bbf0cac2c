"""Money on the pages: what is where, and a payout that a double tap does not repeat."""

import uuid

import pytest
from django.test import Client

from market.accounts.models import Agent, User
from market.bounties import maturing
from market.payments.models import Payout
from tasks import clock
from tasks.models import WorkerProfile
from tests import people, stories
from tests.market.web import steps

pytestmark = pytest.mark.django_db


@pytest.fixture
def earner(client: Client, agent: Agent) -> WorkerProfile:
    """The visitor, with 10.00 USD payable."""
    worker = people.open_worker()
    client.force_login(User.objects.get(pk=worker.pk))
    stories.accepted(stories.post_photo_bounty(agent), worker)
    maturing.mature_due(now=clock.now())
    return worker


def _form(client: Client, **changes: str) -> dict[str, str]:
    page = client.get("/money")
    return {"amount": "10.00", "currency": "USD", "destination": "test_ok", "request_id": steps.field(page, "request_id"), **changes}


def test_asks_where_to_pay_only_when_there_is_money(client: Client) -> None:
    client.force_login(User.objects.get(pk=people.open_worker().pk))
    page = client.get("/money").content
    assert b"$0.00" in page
    assert b'name="destination"' not in page


def test_the_same_form_twice_pays_once(client: Client, earner: WorkerProfile) -> None:
    form = _form(client)
    assert [client.post("/money", form).status_code for _ in range(2)] == [303, 303]
    payout = Payout.objects.get()
    assert (payout.amount_minor, payout.destination, payout.worker_id) == (1000, "test_ok", earner.pk)
    assert b"requested" in client.get("/money").content


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"amount": "10.01"}, 409),
        ({"amount": "0"}, 409),
        ({"amount": "-1"}, 422),
        ({"amount": "1e2"}, 422),
        ({"amount": ""}, 422),
        ({"currency": "ZZZ"}, 422),
        ({"currency": "EUR"}, 409),
        ({"destination": "my pocket"}, 422),
        ({"request_id": "x"}, 422),
    ],
)
def test_a_wrong_form_moves_nothing(client: Client, earner: WorkerProfile, changes: dict[str, str], status: int) -> None:
    answer = client.post("/money", _form(client, **changes))
    assert answer.status_code == status
    assert b"Not done." in answer.content
    assert not Payout.objects.exists()


def test_another_amount_under_the_same_form_is_refused(client: Client, earner: WorkerProfile) -> None:
    form = _form(client, amount="4.00")
    client.post("/money", form)
    assert client.post("/money", {**form, "amount": "5.00"}).status_code == 409
    assert Payout.objects.get().amount_minor == 400


def test_a_country_that_cannot_be_paid_is_told(client: Client, earner: WorkerProfile) -> None:
    form = _form(client)
    WorkerProfile.objects.update(country="IR")
    assert b"pay people who live in your country" in client.get("/money").content
    assert client.post("/money", form).status_code == 403
    assert not Payout.objects.exists()


def test_a_strangers_request_id_is_not_his_payout(client: Client, earner: WorkerProfile, stranger: User) -> None:
    form = _form(client)
    client.post("/money", form)
    other = Client()
    other.force_login(stranger)
    assert other.post("/money", form).status_code == 409
    assert other.post("/money", {**form, "request_id": uuid.uuid4().hex}).status_code == 409
    assert Payout.objects.count() == 1
