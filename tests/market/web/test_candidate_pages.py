"""The page of a candidate: its verdict with what was measured, and what stays hidden before its time or for good."""

import pytest
from django.test import Client

from market.accounts.models import Agent
from market.bounties.research import entering
from market.bounties.research.models import ResearchSettlement
from tasks import clock
from tests.market.web import research_scene as scene
from verification.research import candidates
from verification.research.models import Candidate, Finding, Run, Tree

pytestmark = pytest.mark.django_db

FILES = ("curves", "gains", "test")


def _candidate(agent: Agent, gains: list[float], *, hidden: int = 0, text: str = "LEARNING_RATE = 0.02\n") -> Candidate:
    candidate = scene.send(scene.post(agent), scene.searcher(), text, reported_gain=0.08, note="Warm up longer.")
    scene.replay(candidate, gains, scene.owners(3), hidden=hidden)
    return candidate


def _page(client: Client, candidate: Candidate) -> str:
    answer = client.get(f"/candidates/{candidate}")
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_rejection_shows_its_reason_curves_gains_and_tolerance(client: Client, agent: Agent) -> None:
    candidate = _candidate(agent, [-0.02, -0.01])
    scene.decide(candidate, "REJECTED", gain=-0.015)
    page = _page(client, candidate)
    assert "Not accepted" in page
    assert "The replays show no gain of the size that the bounty asks for." in page
    assert "Its maker reported a gain of 0.08 bits per byte. 2 pairs of replays measured \N{MINUS SIGN}0.015 on average" in page
    assert "One pair differs from the next by 0.004 (one standard deviation)." in page
    assert "2 runs of the candidate ended between" in page
    assert page.count('<svg class="plot"') == 3
    assert "log-likelihood ratio" in page
    assert "2 segments trained again" in page
    assert "-LEARNING_RATE = 0.01" in page
    assert "Warm up longer." in page


def test_an_accepted_one_shows_pay_and_the_challenge_window(client: Client, agent: Agent) -> None:
    candidate = _candidate(agent, [0.03, 0.03])
    scene.decide(candidate, "ACCEPTED", gain=0.03, reward_minor=2700)
    page = _page(client, candidate)
    assert "$27.00" in page
    assert "The challenge window closes" in page
    assert "in 3 days" in page
    ResearchSettlement.objects.update(final_at=clock.now())
    page = _page(client, candidate)
    assert "The challenge window closes" not in page
    assert "<strong>Final</strong>" in page


def test_owners_are_numbers(client: Client, agent: Agent) -> None:
    candidate = _candidate(agent, [0.01, 0.01])
    page = _page(client, candidate)
    assert {f"by owner {number}" for number in (1, 2, 3)} == {each for each in (f"by owner {n}" for n in range(1, 9)) if each in page}
    for run in Run.objects.all():
        assert run.owner_id is not None
        assert run.owner_id.hex not in page.replace("-", "")
        assert run.owner_id.hex[-6:] not in page


def test_nothing_of_a_sealed_round_is_shown(client: Client, agent: Agent) -> None:
    candidate = _candidate(agent, [0.03, 0.07], hidden=1)
    pages = [_page(client, candidate), *(client.get(f"/candidates/{candidate}/{name}.csv").content.decode() for name in FILES)]
    # The second pair: its candidate's run is sealed, its tip's run was judged before; neither may be seen.
    sealed = Run.objects.get(stage="SEALED")
    assert sealed.report
    curves = pages[1]
    assert "pair 1," in curves
    assert "pair 2" not in curves
    assert len(pages[2].splitlines()) == 2
    for page in pages:
        assert "2.43" not in page
        assert "0.07" not in page
    assert pages[0].count("2.5 bits per byte") == 1
    assert "its report is sealed" in pages[0]
    assert "Shown once it is decided." in pages[0]
    assert "+LEARNING_RATE" not in pages[0]
    Run.objects.filter(pk=sealed.pk).update(stage="REVEALED")
    Run.objects.filter(pk=sealed.pk).update(stage="HANDED_IN")
    Run.objects.filter(pk=sealed.pk).update(stage="VALID")
    assert "pair 2" in client.get(f"/candidates/{candidate}/curves.csv").content.decode()


def test_secrets_of_runs_are_on_no_page(client: Client, agent: Agent) -> None:
    candidate = _candidate(agent, [0.03, 0.03])
    scene.decide(candidate, "ACCEPTED", gain=0.03)
    bounty = candidate.task.bounty
    addresses = [f"/candidates/{candidate}", f"/research/{bounty}", *(f"/candidates/{candidate}/{name}.csv" for name in FILES)]
    scores = [str(run.holdout_score)[:6] for run in Run.objects.all()]
    for address in addresses:
        page = client.get(address).content.decode()
        # The seed and its index, the hold-out score, the root, a leaf, the seal, the hold-out's hash.
        for secret in ("7000000000", *scores, "d00f", "beef", "5e5e", candidate.task.spec["data"][2]["sha256"]):
            assert secret not in page, (address, secret)


def test_of_an_announced_one_only_its_place_is_known(client: Client, agent: Agent) -> None:
    bounty, maker = scene.post(agent), scene.searcher()
    seal = candidates.seal_of(tree_digest="a" * 64, salt="b" * 32)
    candidate = entering.announce(bounty=bounty, user=maker.owner, source=maker, sealed_sha256=seal, now=clock.now())
    page = _page(client, candidate)
    assert "Candidate 1 is sealed" in page
    assert seal not in page
    assert maker.owner_id.hex[-6:] not in page
    assert [client.get(f"/candidates/{candidate}/{name}.csv").status_code for name in FILES] == [404, 404, 404]
    assert "sealed: only its hash is known" in client.get(f"/research/{bounty}").content.decode()


def test_what_was_found_later_is_told(client: Client, agent: Agent) -> None:
    candidate = _candidate(agent, [0.03, 0.03])
    scene.decide(candidate, "ACCEPTED", gain=0.03)
    tip = candidate.tip
    tip.withdrawn_at = clock.now()
    tip.save()
    Finding.objects.create(
        candidate=candidate, source="REJUDGED", check_name="state", check_version=2, is_upheld=True, reason_code="evaluation_failed"
    )
    page = _page(client, candidate)
    assert "Accepted, then withdrawn" in page
    assert "found a fault" in page
    assert "The trained model failed a check of the evaluation." in page
    assert "The challenge window closes" not in page


def test_a_strangers_code_is_text_that_reads_as_it_is(client: Client, agent: Agent) -> None:
    candidate = _candidate(agent, [0.03])
    # Past the gate, which refuses signs that hide.
    Tree.objects.filter(pk=candidate.tree_id).update(
        untrusted_files={"train.py": "x = '</pre><script>boom()</script>' # \u202e\u2066hidden\n"}
    )
    scene.decide(candidate, "INCONCLUSIVE", gain=0.001)
    page = _page(client, candidate)
    assert "<script>boom" not in page
    assert "&lt;U+202E&gt;&lt;U+2066&gt;hidden" in page


def test_a_long_diff_is_cut(client: Client, agent: Agent) -> None:
    lines = "".join(f"weight_{number} = {number}  # the same words again\n" for number in range(1500))
    candidate = _candidate(agent, [0.03], text=lines)
    scene.decide(candidate, "REJECTED", gain=0.0)
    page = _page(client, candidate)
    assert "the rest is left out here" in page
    assert "weight_1499" not in page


def test_candidates_of_the_other_mode_are_not_found(client: Client, agent: Agent) -> None:
    candidate = _candidate(agent, [0.03])
    type(candidate.task).objects.filter(pk=candidate.task_id).update(mode="live")
    assert client.get(f"/candidates/{candidate}").status_code == 404
    assert client.get("/candidates/cnd_x").status_code == 404
