"""Errors are one tree, and say what to do ..."""

import httpx
import pytest

from agents_sdk import errors
from tests.agents_sdk import replies

CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]


def test_all_have_one_root() -> None:
    assert all(issubclass(each, errors.AtomsError) for each in CLASSES)


def test_the_tree_in_the_docstring_is_the_real_one() -> None:
    drawn = {line.split("─ ")[1].split()[0] for line in (errors.__doc__ or "").splitlines() if "─ " in line}
    assert drawn | {"AtomsError"} == {each.__name__ for each in CLASSES}


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "malformed_body", errors.BadRequest),
        (401, "api_key_refused", errors.Unauthenticated),
        (402, "insufficient_funds", errors.InsufficientFunds),
        (403, "wrong_scope", errors.Forbidden),
        (403, "spend_limit_exceeded", errors.SpendLimitExceeded),
        (404, "not_found", errors.NotFound),
        (409, "already_claimed", errors.AlreadyClaimed),
        (409, "stale_lease", errors.StaleLease),
        (409, "something_new", errors.Conflict),
        (418, "something_new", errors.APIStatusError),
        (422, "invalid_parameter", errors.BadRequest),
        (422, "blocked_by_policy", errors.BlockedByPolicy),
    ],
)
def test_code_and_status_choose_the_class(status: int, code: str, expected: type[errors.APIStatusError]) -> None:
    market = replies.FakeMarket(replies.problem(status, code, param="reward", docs_url="https://market.test/errors#x"))
    with pytest.raises(errors.APIStatusError) as caught:
        market.ask("sync", lambda m: m.balance())
    error = caught.value
    assert type(error) is expected
    assert (error.status_code, error.code, error.param, error.request_id) == (status, code, "reward", "req_1")
    assert (error.message, error.next_step, error.docs_url) == ("It says why.", "Do this.", "https://market.test/errors#x")
    assert str(error) == "It says why. Do this."


def test_a_block_names_the_rules() -> None:
    market = replies.FakeMarket(replies.problem(422, "blocked_by_policy", policy_codes=["identity_proxy", "minors", "not a code", 7]))
    with pytest.raises(errors.BlockedByPolicy) as caught:
        market.ask("sync", lambda m: m.balance())
    assert caught.value.policy_codes == ("identity_proxy", "minors")


def test_a_redirect_is_not_followed_with_the_key() -> None:
    market = replies.FakeMarket(httpx.Response(302, headers={"Location": "https://elsewhere.test/"}))
    with pytest.raises(errors.APIStatusError):
        market.ask("sync", lambda m: m.balance())
    assert [request.url.host for request in market.requests] == ["market.test"]


def test_the_request_id_comes_from_the_header_where_the_body_has_none() -> None:
    market = replies.FakeMarket(httpx.Response(404, headers={"X-Request-Id": "req_9"}))
    with pytest.raises(errors.NotFound) as caught:
        market.ask("sync", lambda m: m.balance())
    assert caught.value.request_id == "req_9"
