"""Candidates over HTTP: handed in on the tip, announced before, refused with every reason, read by everybody when decided."""

import pytest

from market.accounts.models import Agent
from market.bounties.research import settlement
from market.bounties.research.models import ResearchBounty
from market.common.money import Money
from tasks import clock
from tests import people
from tests.faults import research_calls
from tests.market.api.caller import Caller, calling_as
from tests.market.bounties.research import scene
from verification.replay import trees
from verification.research import candidates
from verification.research.models import Candidate

pytestmark = pytest.mark.django_db


def test_hands_one_in_with_its_bond(bounty: ResearchBounty, as_maker: Caller) -> None:
    body = as_maker.post(f"research/{bounty}/candidates", research_calls.candidate_body(bounty)).ok(201)
    assert (body["status"], body["place"], body["is_yours"], body["is_final"]) == ("RECEIVED", 1, True, False)
    assert body["bond"] == {"amount": {"amount": "1.00", "currency": "USD"}, "status": "PLACED"}
    assert (body["reported_gain"], body["untrusted"]) == (0.01, {"note": "wider"})
    assert as_maker.get(f"candidates/{body['id']}").ok() == body
    assert as_maker.get("balance").ok()["available"] == [{"amount": "19.00", "currency": "USD"}]


def test_hides_what_is_tried_until_it_is_decided(bounty: ResearchBounty, as_maker: Caller, as_other_agent: Caller) -> None:
    sent = as_maker.post(f"research/{bounty}/candidates", research_calls.candidate_body(bounty)).ok(201)
    seen = as_other_agent.get(f"candidates/{sent['id']}").ok()
    assert (seen["is_yours"], seen["tree"], seen["reported_gain"], seen["untrusted"]["note"], seen["bond"]) == (False, "", None, "", None)
    scene.decide(Candidate.objects.get(), Candidate.Status.REJECTED, now=clock.now())
    (seen,) = as_other_agent.get(f"research/{bounty}/candidates").ok()["data"]
    assert (seen["status"], seen["reason_code"], seen["untrusted"]["note"]) == ("REJECTED", "no_gain", "wider")
    assert "several seeds" in seen["reason"]
    assert as_other_agent.get(f"research/{bounty}/candidates", mine="true").ok()["data"] == []
    assert len(as_maker.get(f"research/{bounty}/candidates", mine="true", status="REJECTED").ok()["data"]) == 1


def test_says_every_reason_of_the_gate(bounty: ResearchBounty, as_maker: Caller) -> None:
    files = {"secret.py": "x = 1\n", "train.py": "\x01"}
    refused = as_maker.post(f"research/{bounty}/candidates", research_calls.candidate_body(bounty, files=files))
    errors = refused.refused(422, "candidate_refused")["errors"]
    assert {each["param"] for each in errors} == {"files.secret.py", "files.train.py"}
    assert Candidate.objects.count() == 0
    assert as_maker.get("balance").ok()["available"] == [{"amount": "20.00", "currency": "USD"}]


def test_refuses_a_second_time_the_same(bounty: ResearchBounty, as_maker: Caller) -> None:
    body = research_calls.candidate_body(bounty)
    as_maker.post(f"research/{bounty}/candidates", body).ok(201)
    other = calling_as(scene.open_maker())
    other.post(f"research/{bounty}/candidates", body).refused(409, "duplicate_tree")
    other.post(f"research/{bounty}/candidates", {**body, "parent": "0" * 64}).refused(422, "unknown_parent")


def test_takes_nothing_from_the_poster_nor_without_a_bond(bounty: ResearchBounty, as_agent: Caller, as_worker: Caller) -> None:
    body = research_calls.candidate_body(bounty)
    as_agent.post(f"research/{bounty}/candidates", body).refused(409, "own_task")
    # A worker's bond comes from what he may have paid out: nothing yet.
    as_worker.post(f"research/{bounty}/candidates", body).refused(402, "insufficient_funds")
    assert Candidate.objects.count() == 0


def test_says_when_to_come_again_where_the_budget_is_reserved(agent: Agent, as_maker: Caller) -> None:
    bounty = scene.post(agent, now=clock.now(), terms=scene.offer(Money(scene.CASE_MINOR, "USD").decimal_text()))
    scene.submit(bounty, scene.open_maker(), now=clock.now())
    key = "one-key"
    body = research_calls.candidate_body(bounty)
    refused = as_maker.post(f"research/{bounty}/candidates", body, key=key)
    assert refused.refused(409, "budget_reserved")["retryable"]
    assert refused.response.headers["Retry-After"] == "300"
    # Not kept under its key: the same request may succeed when the first one is decided.
    assert not as_maker.post(f"research/{bounty}/candidates", body, key=key).is_replay


def test_sends_what_was_announced(bounty: ResearchBounty, as_maker: Caller, as_other_agent: Caller) -> None:
    edited, salt = scene.edit(), "ab" * 16
    seal = candidates.seal_of(tree_digest=trees.tree_digest({**scene.BASE, **edited}), salt=salt)
    sealed = as_maker.post(f"research/{bounty}/precommits", {"sealed_sha256": seal}).ok(201)
    assert (sealed["status"], sealed["place"], sealed["tree"]) == ("SEALED", 1, "")
    assert sealed["reveal_until"]
    as_maker.post(f"research/{bounty}/precommits", {"sealed_sha256": "0" * 64}).refused(409, "announced_before")
    body = research_calls.candidate_body(bounty, files=edited, announced=sealed["id"], salt=salt)
    as_other_agent.post(f"research/{bounty}/candidates", body).refused(404, "not_found")
    as_maker.post(f"research/{bounty}/candidates", {**body, "salt": "cd" * 16}).refused(409, "not_announced")
    sent = as_maker.post(f"research/{bounty}/candidates", body).ok(201)
    assert (sent["id"], sent["status"], sent["place"]) == (sealed["id"], "RECEIVED", 1)
    as_maker.post(f"research/{bounty}/candidates", {**body, "salt": None}).refused(422, "invalid_parameter")


@pytest.mark.parametrize(
    "change",
    [
        {"parent": "x"},
        {"files": ["train.py"]},
        {"files": {"train.py": None}},
        {"reported_gain": "0.1"},
        {"reported_gain": 1e9},
        {"note": "x" * 501},
        {"announced": "cnd_1"},
        {"claimant": "me"},
    ],
)
def test_refuses_odd_bodies(bounty: ResearchBounty, as_maker: Caller, change: dict[str, object]) -> None:
    as_maker.post(f"research/{bounty}/candidates", research_calls.candidate_body(bounty, **change)).refused(422, "invalid_parameter")


def test_shows_leaderboard_and_lineage(bounty: ResearchBounty, maker: Agent, as_maker: Caller, as_agent: Caller) -> None:
    for effects in (1.0, 3.0, 2.0):
        one = scene.submit(bounty, maker, now=clock.now())
        scene.decide(one, Candidate.Status.ACCEPTED, effects=effects, now=clock.now())
    settlement.apply_due(now=clock.now())
    first = as_maker.get(f"research/{bounty}/leaderboard", limit=2).ok()
    assert [(row["rank"], row["tip_number"], row["shrunk_gain"]) for row in first["data"]] == [(1, 2, 0.03), (2, 3, 0.02)]
    assert first["data"][0]["reward"]["amount"] == "30.00"
    assert first["data"][0]["is_yours"]
    second = as_maker.get(f"research/{bounty}/leaderboard", limit=2, cursor=first["next_cursor"]).ok()
    assert [(row["rank"], row["tip_number"]) for row in second["data"]] == [(3, 1)]
    assert not second["has_more"]
    chain = as_agent.get(f"research/{bounty}/lineage", limit=3).ok()
    assert [row["number"] for row in chain["data"]] == [3, 2, 1]
    (base,) = as_agent.get(f"research/{bounty}/lineage", cursor=chain["next_cursor"]).ok()["data"]
    assert (base["number"], base["candidate"], base["gain"]) == (0, "", None)
    as_agent.get(f"research/{bounty}/lineage", cursor="x").refused(422, "invalid_parameter")
    as_agent.get(f"research/{bounty}/leaderboard", cursor="cnd_" + "0" * 32).refused(422, "invalid_parameter")
    assert as_agent.get(f"research/{bounty}").ok()["tip"]["number"] == 3


def test_gives_the_tip_and_the_public_data(bounty: ResearchBounty, as_worker: Caller) -> None:
    tip = as_worker.get(f"research/{bounty}/tip").ok()
    assert tip["untrusted"] == {"files": scene.BASE}
    assert trees.tree_digest(tip["untrusted"]["files"]) == tip["digest"]
    research_calls.accepted(bounty)
    newest = as_worker.get(f"research/{bounty}/tip").ok()
    assert (newest["number"], newest["digest"] != tip["digest"]) == (1, True)
    assert as_worker.get(f"research/{bounty}/tip", digest=tip["digest"]).ok() == tip
    as_worker.get(f"research/{bounty}/tip", digest="0" * 64).refused(404, "not_found")
    assert as_worker.get(f"research/{bounty}/data/seen.bin").body == b"seen.bin" * 1000
    # Of a hold-out nobody has more than its digest.
    as_worker.get(f"research/{bounty}/data/secret.bin").refused(404, "not_found")
    as_worker.get(f"research/{bounty}/data/other.bin").refused(404, "not_found")


def test_challenges_an_accepted_one(bounty: ResearchBounty, as_maker: Caller, as_worker: Caller) -> None:
    waiting = scene.submit(bounty, scene.open_maker(), now=clock.now())
    as_maker.post(f"candidates/{waiting}/challenge").refused(409, "not_challengeable")
    candidate = research_calls.accepted(bounty)
    settlement.apply_due(now=clock.now())
    as_worker.post(f"candidates/{candidate}/challenge").refused(402, "insufficient_funds")
    made = as_maker.post(f"candidates/{candidate}/challenge", {"statement": "It reads the future."}).ok(201)
    assert (made["status"], made["stake"]["amount"], made["candidate"]) == ("OPEN", "2.00", str(candidate))
    assert made["untrusted"] == {"statement": "It reads the future."}
    as_other = calling_as(scene.open_maker())
    as_other.post(f"candidates/{candidate}/challenge").refused(409, "not_challengeable")
    as_author = Caller(people.secret_of(Agent.objects.get(owner=candidate.claimant_id)))
    as_author.post(f"candidates/{candidate}/challenge").refused(409, "own_candidate")


def test_keeps_test_and_live_apart(bounty: ResearchBounty) -> None:
    live = calling_as(people.open_agent("live", mode="live"))
    candidate = scene.submit(bounty, scene.open_maker(), now=clock.now())
    assert live.get("research").ok()["data"] == []
    for path in (f"research/{bounty}", f"research/{bounty}/tip", f"candidates/{candidate}"):
        live.get(path).refused(404, "not_found")
    live.post(f"research/{bounty}/candidates", research_calls.candidate_body(bounty)).refused(404, "not_found")
