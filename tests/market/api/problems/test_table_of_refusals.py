"""Every refusal comes out the same way: one table, RFC 9457, a code, what to do, and a request id."""

import ast
import json
import pathlib

import pytest
from django.test import RequestFactory
from rest_framework import exceptions
from rest_framework.request import Request

import market
from market.api import problems
from market.bounties import posting
from market.policy import mandates
from tests.market.api import bodies
from tests.market.api.caller import Caller

FIELDS = {"type", "title", "status", "code", "detail", "param", "next_step", "retryable", "request_id", "docs_url"}


def make(kind: type[Exception]) -> Exception:
    """Make an exception of a kind in the way it is raised."""
    if kind is posting.BadTerms:
        return posting.BadTerms([posting.FieldError("slots", "is too many")])
    if kind is mandates.SpendLimitExceeded:
        return mandates.SpendLimitExceeded(limit="per_bounty", limit_minor=500, left_minor=0, currency="USD", renews_at=None)
    attempts: list[tuple[object, ...]] = [("not_a_photo",), ("x",), ("param", "message"), ("name", ["code"]), ({},), ()]
    for arguments in attempts:
        try:
            return kind(*arguments)
        except (TypeError, KeyError, AttributeError):
            continue
    return kind.__new__(kind)


@pytest.mark.parametrize("kind", problems.TABLE, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_answers_each_exception(kind: type[Exception]) -> None:
    request = Request(RequestFactory().get("/v1/x"))
    response = problems.handle(make(kind), {"request": request})
    assert response is not None
    refusal = problems.TABLE[kind]
    assert response.status_code == refusal.status
    assert response.content_type == "application/problem+json"
    assert set(response.data) >= FIELDS
    assert (response.data["status"], response.data["code"], response.data["retryable"]) == (
        refusal.status,
        refusal.code,
        refusal.is_retryable,
    )
    assert response.data["detail"]
    assert response.data["next_step"].endswith((".", "..."))
    assert (response.status_code == 401) == ("WWW-Authenticate" in response.headers)
    json.dumps(response.data)


def test_gives_one_code_one_status() -> None:
    statuses: dict[str, set[int]] = {}
    for refusal in problems.every_refusal():
        statuses.setdefault(refusal.code, set()).add(refusal.status)
    assert {code for code, found in statuses.items() if len(found) > 1} == set()


def test_leaves_faults_of_ours_alone() -> None:
    assert problems.refusal_for(RuntimeError("bug")) is None
    assert problems.refusal_for(KeyError("bug")) is None


# Raised inside, and by design never the answer to a request: wrong calls of our own code, jobs, operators' pages.
NEVER_ANSWERED = {
    "accounts.keys.MisfitKey",
    "bounties.settlement.TermsMismatch",
    "bounties.settlement.VerdictOutOfTurn",
}


def test_knows_every_exception_that_a_use_case_of_the_api_raises() -> None:
    """A new exception of bounties or accounts needs a row in the table (or in the list above)."""
    known = {f"{kind.__module__.removeprefix('market.')}.{kind.__name__}" for kind in problems.TABLE}
    root = pathlib.Path(market.__file__).parent
    found = {
        f"{path.relative_to(root).with_suffix('').as_posix().replace('/', '.')}.{node.name}"
        for app in ("bounties", "accounts")
        for path in (root / app).glob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id.endswith(("Exception", "Error")) for base in node.bases)
    }
    assert found - known == NEVER_ANSWERED & found, found - known - NEVER_ANSWERED


@pytest.mark.django_db
class TestThroughTheWholeStack:
    """What Django and DRF refuse before a view is reached looks the same."""

    def test_unknown_address(self) -> None:
        for path in ("nowhere", "bounties/", "bounties/x/y/z", "", "..%2f", "bounties/\u202e"):
            problem = Caller().get(path)
            assert problem.status in (401, 404)
            assert problem.body["request_id"] == problem.response.headers["X-Request-Id"]
        Caller().post("nowhere").refused(404, "no_such_route")

    def test_wrong_method(self, as_agent: Caller) -> None:
        answer = as_agent.delete("bounties")
        answer.refused(405, "method_not_allowed")
        assert answer.response.headers["Allow"] == "GET, HEAD, POST"

    def test_missing_and_wrong_keys(self) -> None:
        answer = Caller().get("bounties")
        answer.refused(401, "api_key_missing")
        assert answer.response.headers["WWW-Authenticate"] == "Bearer"
        Caller("test_agent_nonsense").get("bounties").refused(401, "api_key_refused")
        for header in ("Basic dXNlcjpwYXNz", "Bearer", "Bearer  ", "bearer\x00"):
            response = Caller().client.get("/v1/bounties", headers={"Authorization": header})
            assert (response.status_code, response.json()["code"]) == (401, "api_key_refused")

    def test_wrong_media_type(self, as_agent: Caller) -> None:
        as_agent.post_raw("bounties", b"a=1", content_type="application/x-www-form-urlencoded").refused(415, "unsupported_media_type")
        as_agent.post_raw("bounties", b"<a/>", content_type="application/xml").refused(415, "unsupported_media_type")

    def test_not_acceptable(self, as_agent: Caller) -> None:
        response = as_agent.client.get("/v1/bounties", headers={"Authorization": f"Bearer {as_agent.secret}", "Accept": "text/html"})
        assert (response.status_code, response.headers["Content-Type"]) == (406, "application/problem+json")
        assert response.json()["code"] == "not_acceptable"

    def test_foreign_host(self) -> None:
        response = Caller().client.get("/v1/bounties", headers={"Host": "evil.example"})
        assert (response.status_code, response.json()["code"]) == (400, "malformed_request")

    def test_too_large_body(self, as_agent: Caller) -> None:
        body = json.dumps(bodies.bounty(question="x" * 140_000)).encode()
        as_agent.post_raw("bounties", body).refused(413, "body_too_large")

    def test_pages_are_not_answered_with_problems(self) -> None:
        response = Caller().client.get("/nowhere-at-all")
        assert response.status_code == 404
        assert response.headers["Content-Type"].startswith("text/html")

    def test_table_is_published(self) -> None:
        rows = Caller().get("errors").ok()["data"]
        assert {row["code"] for row in rows} == {refusal.code for refusal in problems.every_refusal()}
        assert all(row["meaning"] and row["next_step"] for row in rows)


def test_takes_the_nearest_class() -> None:
    class Special(exceptions.NotFound):
        pass

    refusal = problems.refusal_for(Special())
    assert refusal is not None
    assert refusal.code == "not_found"
