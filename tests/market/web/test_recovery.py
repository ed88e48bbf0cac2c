"""Recovery: the code opens the account on another phone, and nothing else does."""

import pytest
from django.test import Client

from market.accounts.models import Agent
from market.web import limits, visitors
from tests import stories
from tests.market.web import steps

pytestmark = pytest.mark.django_db


@pytest.fixture
def code(client: Client, agent: Agent) -> str:
    """The recovery code of a new worker."""
    steps.claimed(client, stories.post_photo_bounty(agent))
    return str(client.session[visitors.SHOWN_CODE])


@pytest.mark.parametrize("typed", ["{}", " {} ", "{}-"])
def test_the_code_opens_the_account_elsewhere(code: str, typed: str) -> None:
    other = Client()
    shown = "-".join(code[start : start + 4] for start in range(0, 16, 4)).lower()
    answer = other.post("/recover", {"code": typed.format(shown)})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/work")
    assert other.session["_auth_user_id"] == str(steps.only_worker().pk)


def test_easily_mistaken_characters_are_the_same(code: str) -> None:
    other = Client()
    other.post("/recover", {"code": code.replace("O", "0").replace("I", "1").replace("B", "8")})
    assert other.session["_auth_user_id"] == str(steps.only_worker().pk)


@pytest.mark.parametrize("typed", ["", "AAAA-AAAA-AAAA-AAAA", "x" * 5000, "\x00", "worker"])
def test_other_codes_open_nothing(code: str, typed: str) -> None:
    other = Client()
    answer = other.post("/recover", {"code": typed})
    assert answer.status_code == 422
    assert "_auth_user_id" not in other.session


def test_guessing_is_limited(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(limits.PER_HOUR, "recover", 1)
    other = Client()
    assert other.post("/recover", {"code": "x"}).status_code == 422
    assert other.post("/recover", {"code": code}).status_code == 429
    assert "_auth_user_id" not in other.session


def test_a_suspended_account_stays_closed(code: str) -> None:
    worker = steps.only_worker()
    worker.user.is_active = False
    worker.user.save(update_fields=["is_active"])
    assert Client().post("/recover", {"code": code}).status_code == 422


def test_leaving_signs_out(client: Client, code: str) -> None:
    assert client.get("/leave").status_code == 405
    client.post("/leave")
    assert client.get("/work").status_code == 403
