"""Posting a research bounty over HTTP: quoted, funded, cancelled; refused with the field that is wrong."""

import hashlib
import json

import pytest

from market.accounts.models import Agent
from market.bounties.research.models import ResearchBounty
from market.common.money import Money
from tests.faults import research_calls
from tests.market.api.caller import Caller
from tests.market.bounties.research import scene
from verification.research.models import DataFile

pytestmark = pytest.mark.django_db
FILE = "application/octet-stream"


def test_posts_and_funds_at_once(agent: Agent, as_agent: Caller) -> None:
    body = as_agent.post("research", research_calls.bounty_body(agent)).ok(201)
    assert (body["status"], body["is_yours"], body["takes_candidates"]) == ("OPEN", True, True)
    assert body["offer"]["budget"] == {"amount": "100.00", "currency": "USD"}
    assert (body["held"]["held"]["amount"], body["free"]["amount"]) == ("100.00", "100.00")
    assert body["tip"] == {**body["tip"], "number": 0, "digest": body["spec"]["base_tree"], "parent_number": None, "candidate": ""}
    assert body["untrusted"] == {"title": "Train a small model of bytes better", "description": "Anything in train.py may change."}
    assert as_agent.get(f"research/{body['id']}").ok() == body


def test_quotes_without_writing_anything(agent: Agent, as_agent: Caller) -> None:
    quote = as_agent.post("research?dry_run=true", research_calls.bounty_body(agent)).ok()
    assert (quote["total"]["amount"], quote["sure_candidates"]) == ("100.00", 10_000 // scene.CASE_MINOR)
    assert quote["most_a_candidate"] == {"amount": Money(scene.CASE_MINOR, "USD").decimal_text(), "currency": "USD"}
    assert quote["policy"]["is_allowed"]
    assert ResearchBounty.objects.count() == 0


def test_leaves_it_screened_until_it_is_funded(agent: Agent, as_agent: Caller, as_other_agent: Caller) -> None:
    draft = as_agent.post("research", research_calls.bounty_body(agent, fund=False)).ok(201)
    assert (draft["status"], draft["held"]["held"]["amount"], draft["takes_candidates"]) == ("SCREENED", "0.00", False)
    # A draft is its poster's.
    as_other_agent.get(f"research/{draft['id']}").refused(404, "not_found")
    assert as_other_agent.get("research").ok()["data"] == []
    assert as_agent.post(f"research/{draft['id']}/fund").ok()["status"] == "OPEN"
    seen = as_other_agent.get(f"research/{draft['id']}").ok()
    assert (seen["is_yours"], seen["held"], seen["policy"]) == (False, None, None)
    assert [row["id"] for row in as_other_agent.get("research").ok()["data"]] == [draft["id"]]


def test_cancels(bounty: ResearchBounty, as_agent: Caller, as_other_agent: Caller) -> None:
    as_other_agent.post(f"research/{bounty}/cancel").refused(404, "not_found")
    cancelled = as_agent.post(f"research/{bounty}/cancel").ok()
    assert (cancelled["status"], cancelled["held"]["returned"]["amount"]) == ("CANCELLED", "200.00")
    assert as_agent.get("research").ok()["data"] == []
    assert [row["id"] for row in as_agent.get("research", mine="true").ok()["data"]] == [str(bounty)]
    assert [row["id"] for row in as_other_agent.get("research", status="CANCELLED").ok()["data"]] == [str(bounty)]


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"title": "ab"}, "title"),
        ({"budget": {"amount": "1.00", "currency": "USD"}}, "budget"),
        ({"cap": {"amount": "30.00", "currency": "EUR"}}, "cap"),
        ({"run_fee": {"amount": 1, "currency": "USD"}}, "run_fee.amount"),
        ({"base": {"train.py": 1}}, "base.train.py"),
        ({"base": {}}, "spec.base_tree"),
        ({"spec": {}}, "spec.base_tree"),
        ({"deadline_in_s": None}, "deadline"),
        ({"owner": "me"}, "owner"),
    ],
)
def test_names_what_is_wrong(agent: Agent, as_agent: Caller, changes: dict[str, object], param: str) -> None:
    refused = as_agent.post("research", research_calls.bounty_body(agent, **changes)).refused(422, "invalid_parameter")
    if param != "spec.base_tree":
        assert refused["param"] == param
    assert ResearchBounty.objects.count() == 0


def test_names_the_field_of_the_spec(agent: Agent, as_agent: Caller) -> None:
    body = research_calls.bounty_body(agent)
    spec = {**scene.spec_json(agent.owner), "steps": 0}
    assert as_agent.post("research", {**body, "spec": spec}).refused(422, "invalid_parameter")["param"] == "spec.steps"


def test_asks_for_the_data_files_first(agent: Agent, as_agent: Caller, as_other_agent: Caller) -> None:
    body = research_calls.bounty_body(agent)
    # Those of another owner do not count: a digest alone gives nobody's file away.
    as_other_agent.post("research", body).refused(422, "missing_data")
    DataFile.objects.all().delete()
    as_agent.post("research", body).refused(422, "missing_data")


def test_keeps_a_blocked_bounty_and_says_why(agent: Agent, as_agent: Caller) -> None:
    body = research_calls.bounty_body(agent, title="Log in with my password and show me the one-time code")
    refused = as_agent.post("research", body).refused(422, "blocked_by_policy")
    assert refused["policy_codes"]
    assert ResearchBounty.objects.get().status == ResearchBounty.Status.BLOCKED


def test_keeps_a_data_file_once(as_agent: Caller) -> None:
    content = b"\x00\xff text" * 1000
    first = as_agent.post_raw("research/files", content, content_type=FILE).ok(201)
    assert first == {"object": "data_file", "sha256": hashlib.sha256(content).hexdigest(), "byte_count": len(content)}
    assert as_agent.post_raw("research/files", content, content_type=FILE).ok(201) == first
    assert DataFile.objects.count() == 1


def test_refuses_what_is_no_file(as_agent: Caller) -> None:
    as_agent.post_raw("research/files", b"", content_type=FILE).refused(400, "malformed_body")
    as_agent.post("research/files", {"a": 1}).refused(415, "unsupported_media_type")
    as_agent.post_raw("research/files", b"x", content_type=FILE, **{"Content-Length": str(64 * 1024 * 1024 + 1)}).refused(
        413, "body_too_large"
    )
    assert DataFile.objects.count() == 0


def test_takes_a_tree_of_a_megabyte_and_no_more(agent: Agent, as_agent: Caller) -> None:
    body = research_calls.bounty_body(agent, base={"train.py": "\n" * 900_000})
    # It is read; what it is not, is the tree of the spec.
    as_agent.post("research", body).refused(422, "invalid_parameter")
    raw = json.dumps({**body, "base": {"train.py": "x" * 2_400_000}}).encode()
    as_agent.post_raw("research", raw).refused(413, "body_too_large")
