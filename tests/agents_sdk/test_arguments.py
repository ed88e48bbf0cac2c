"""What the client is given is checked before anything is sent ..."""

import datetime
import decimal
from typing import Any

import pytest

from agents_sdk import _calls, _core, errors
from tests.agents_sdk import replies

ASK: dict[str, Any] = {"at": (52.52, 13.405), "within_m": 50, "reward": "1.00", "by": "2h"}


def options(**given: str | None) -> _core.Options:
    environment = {name.upper(): value for name, value in given.items() if value is not None and name.startswith("atoms")}
    return _core.options_from(
        api_key=given.get("api_key"), base_url=given.get("base_url"), environment=environment, timeout_s=30, max_retries=2
    )


def test_key_and_address_come_from_the_environment() -> None:
    found = options(atoms_api_key="test_agent_x", atoms_url="https://market.test/")
    assert (found.api_key, found.base_url) == ("test_agent_x", "https://market.test")
    assert options(api_key="test_agent_y", atoms_api_key="test_agent_x").api_key == "test_agent_y"
    assert options(api_key="test_agent_y").base_url == "http://127.0.0.1:8000"


@pytest.mark.parametrize("key", ["", " ", "a b", "schlüssel", "a\nb", "a\x00b"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(errors.ConfigurationError):
        options(api_key=key)


@pytest.mark.parametrize(
    "url", ["market.test", "ftp://market.test", "https://", "https://u:p@market.test", "https://market.test?x=1", "https://market.test#x"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="ATOMS_URL"):
        options(api_key="test_agent_x", base_url=url)


def test_a_live_key_does_not_travel_unencrypted() -> None:
    with pytest.raises(errors.ConfigurationError, match="unencrypted"):
        options(api_key="live_agent_x", base_url="http://market.test")
    assert options(api_key="live_agent_x", base_url="http://127.0.0.1:8000").base_url == "http://127.0.0.1:8000"
    assert options(api_key="live_agent_x", base_url="https://market.test").api_key == "live_agent_x"


@pytest.mark.parametrize(
    ("text", "expected"), [("2h", 7200), ("30m", 1800), ("90s", 90), ("1d", 86_400), ("1h30m", 5400), (" 2H ", 7200), (45, 45), (0.5, 0.5)]
)
def test_lengths_of_time(text: str | float, expected: float) -> None:
    assert _calls.seconds(text) == expected


@pytest.mark.parametrize("text", ["", "2", "h", "-2h", "2h 30m", "2 hours", "0m", 0, -1, float("nan"), float("inf"), "9999999999s"])
def test_what_is_no_length_of_time(text: str | float) -> None:
    with pytest.raises(errors.ConfigurationError):
        _calls.seconds(text)


@pytest.mark.parametrize(
    ("amount", "expected"), [("10.00", "10.00"), (decimal.Decimal("0.10"), "0.10"), (decimal.Decimal("1E+1"), "10"), (7, "7")]
)
def test_amounts(amount: _calls.MoneyText, expected: str) -> None:
    assert _calls.amount_text(amount) == expected


@pytest.mark.parametrize(
    "amount", [10.0, 0.1, True, "10,00", "1e3", "-1", "", "\u0661", "1" * 20, decimal.Decimal("NaN"), decimal.Decimal("-1")]
)
def test_what_is_no_amount(amount: object) -> None:
    with pytest.raises(errors.ConfigurationError, match="amount"):
        _calls.amount_text(amount)  # type: ignore[arg-type]


def test_the_body_of_a_photo_bounty() -> None:
    body = _calls.photo_body("Is the bakery open?", **ASK, must_show="the door sign", slots=2, negative_fee="0.20", simulate="late")
    assert body == {
        "kind": "photo",
        "question": "Is the bakery open?",
        "place": {"latitude": 52.52, "longitude": 13.405, "within_m": 50},
        "reward": {"amount": "1.00", "currency": "USD"},
        "slots": 2,
        "fund": True,
        "deadline_in_s": 7200,
        "must_show": ["the door sign"],
        "negative_fee": {"amount": "0.20", "currency": "USD"},
        "simulate": "late",
    }


def test_a_moment_needs_its_time_zone() -> None:
    berlin = datetime.timezone(datetime.timedelta(hours=2))
    by = datetime.datetime(2030, 1, 1, 14, 0, tzinfo=berlin)
    assert _calls.photo_body("Is it open?", **ASK | {"by": by})["deadline"] == "2030-01-01T12:00:00.000Z"
    with pytest.raises(errors.ConfigurationError, match="time zone"):
        _calls.photo_body("Is it open?", **ASK | {"by": by.replace(tzinfo=None)})


@pytest.mark.parametrize("bounty_id", ["", "bty_1", "../keys", "bty_" + "g" * 32, "bty_" + "1" * 32 + "/cancel", "bty_" + "1" * 32 + "\n"])
def test_an_id_is_safe_in_a_path(bounty_id: str) -> None:
    market = replies.FakeMarket(replies.ok(replies.bounty()))
    with pytest.raises(errors.ConfigurationError, match="is not an id"):
        market.ask("sync", lambda m: m.bounties.get(bounty_id))
    assert market.requests == []


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_every_call_has_its_route(kind: replies.Kind) -> None:
    bounty, submission, endpoint = replies.BOUNTY_ID, replies.SUBMISSION_ID, "whe_" + "5" * 32
    money = {"amount": "1.00", "currency": "USD"}
    quote = dict.fromkeys(("price", "fee", "reserve", "total"), money) | {"policy": {"is_allowed": True, "codes": []}}
    deposit = {"id": "dep_" + "6" * 32, "status": "CONFIRMED", "amount": money}
    calls = [
        (lambda m: m.ask_photo("Is it open?", **ASK, dry_run=True), quote, "POST /v1/bounties?dry_run=true"),
        (lambda m: m.bounties.list(status="OPEN"), replies.page(replies.bounty()), "GET /v1/bounties?limit=50&status=OPEN"),
        (lambda m: m.bounties.get(bounty), replies.bounty(), f"GET /v1/bounties/{bounty}"),
        (lambda m: m.bounties.cancel(bounty), replies.bounty(), f"POST /v1/bounties/{bounty}/cancel"),
        (lambda m: m.bounties.fund(bounty), replies.bounty(), f"POST /v1/bounties/{bounty}/fund"),
        (lambda m: m.bounties.improve(bounty, reward="2.00"), replies.bounty(), f"POST /v1/bounties/{bounty}/improve"),
        (lambda m: m.bounty(bounty).show(), replies.bounty(), f"GET /v1/bounties/{bounty}"),
        (lambda m: m.bounty(bounty).cancel(), replies.bounty(), f"POST /v1/bounties/{bounty}/cancel"),
        (lambda m: m.submissions.list(bounty), replies.page(), f"GET /v1/bounties/{bounty}/submissions"),
        (lambda m: m.submissions.get(submission), replies.submission(), f"GET /v1/submissions/{submission}"),
        (lambda m: m.submissions.accept(submission), replies.submission(), f"POST /v1/submissions/{submission}/review"),
        (lambda m: m.submissions.reject(submission, criterion="sharp"), replies.submission(), f"POST /v1/submissions/{submission}/review"),
        (lambda m: m.balance(), {"available": [money], "held": []}, "GET /v1/balance"),
        (lambda m: m.deposits.create("5.00"), deposit, "POST /v1/deposits"),
        (lambda m: m.deposits.list(), replies.page(deposit), "GET /v1/deposits"),
        (lambda m: m.webhook_endpoints.create("https://a.test/"), {"id": endpoint, "url": "https://a.test/"}, "POST /v1/webhook_endpoints"),
        (lambda m: m.webhook_endpoints.list(), replies.page(), "GET /v1/webhook_endpoints"),
        (lambda m: m.webhook_endpoints.delete(endpoint), {}, f"DELETE /v1/webhook_endpoints/{endpoint}"),
    ]
    for do, reply, route in calls:
        market = replies.FakeMarket(replies.ok(reply))
        market.ask(kind, do)
        assert market.paths == [route]
        assert ("Idempotency-Key" in market.requests[0].headers) is route.startswith("POST")
