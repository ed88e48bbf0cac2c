"""Research pages in a real browser: how much a first visit weighs, no script needed, and nothing that runs from strangers' words."""

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Response

from market.accounts.models import Agent
from market.bounties.research.models import ResearchBounty
from tests import people
from tests.market.web import research_scene as scene
from verification.research.models import Candidate, ResearchTask, Tree

pytestmark = pytest.mark.django_db(transaction=True)

KIB = 1024
BOOM = "</title></svg><script>boom()</script>"


def _story(agent: Agent) -> tuple[ResearchBounty, Candidate]:
    """Return a bounty with a long story and a candidate with as many pairs as a test may have here."""
    people.top_up(agent, "2000.00")
    bounty = scene.post(agent, budget="2000.00")
    maker, by = scene.searcher(), scene.owners(4)
    for number in range(30):
        candidate = scene.send(
            bounty, maker, f"LEARNING_RATE = 0.{number + 10}\n" + "".join(f"x_{n} = {n} + {number}\n" for n in range(40))
        )
        scene.replay(candidate, [0.011], by)
        scene.decide(candidate, "ACCEPTED" if number % 5 == 0 else "INCONCLUSIVE", gain=0.011 if number % 5 == 0 else 0.002)
        scene.idea(
            bounty, f"Idea number {number}: change the width, the depth and the schedule together.", "FAILED", "It was worse by far."
        )
    last = scene.send(bounty, maker, "LEARNING_RATE = 0.9\n", reported_gain=0.05)
    scene.replay(last, [0.011 + 0.001 * number for number in range(8)], by)
    return bounty, scene.decide(last, "ACCEPTED", gain=0.015)


def test_a_first_visit_is_small_and_stays_at_home(phone: Page, agent: Agent) -> None:
    bounty, candidate = _story(agent)
    answers: list[Response] = []
    phone.on("response", lambda answer: answers.append(answer))
    for address in ("/research", f"/research/{bounty}", f"/candidates/{candidate}"):
        answers.clear()
        phone.context.clear_cookies()
        phone.goto(address, wait_until="networkidle")
        sizes = [(answer.url, answer.request.sizes()["responseBodySize"]) for answer in answers if answer.url[:5] != "data:"]
        assert {urlsplit(url).netloc for url, _ in sizes} == {urlsplit(phone.url).netloc}
        assert 0 < sum(size for _, size in sizes) <= 30 * KIB, sizes


def test_works_without_a_script(open_phone: Callable[..., Page], agent: Agent) -> None:
    _, candidate = _story(agent)
    page = open_phone(java_script_enabled=False)
    page.goto("/")
    page.locator("footer a:has-text('Research bounties')").tap()
    page.wait_for_url("**/research")
    page.locator(".tasks a").tap()
    page.wait_for_url("**/research/rsb_*")
    assert page.locator("svg.plot").count() == 1
    page.locator(".chain a").first.tap()
    page.wait_for_url(f"**/candidates/{candidate}")
    assert page.locator("svg.plot").count() == 3
    assert page.locator("svg.plot").first.bounding_box() is not None
    with page.expect_download() as download:
        page.locator("text=These figures as CSV").first.tap()
    assert download.value.suggested_filename == f"{candidate}-gains.csv"


def test_nothing_in_strangers_words_runs(phone: Page, agent: Agent) -> None:
    ran: list[str] = []
    refused: list[str] = []
    phone.expose_function("boom", lambda: ran.append(phone.url))
    phone.on("console", lambda message: refused.append(message.text) if "Content Security Policy" in message.text else None)
    bounty = scene.post(agent)
    candidate = scene.send(bounty, scene.searcher(), "LEARNING_RATE = 0.02\n", note=BOOM)
    scene.replay(candidate, [0.01], scene.owners(1))
    scene.decide(candidate, "REJECTED", gain=0.0)
    scene.idea(bounty, BOOM, "FAILED", BOOM)
    # Past the screening and the gate, as if they had let it through.
    ResearchTask.objects.filter(pk=bounty.task_id).update(title=BOOM, description=BOOM)
    Tree.objects.filter(pk=candidate.tree_id).update(untrusted_files={"train.py": BOOM})
    Agent.objects.filter(pk=agent.pk).update(name=BOOM)
    for address in ("/research", f"/research/{bounty}", f"/candidates/{candidate}"):
        phone.goto(address, wait_until="networkidle")
        assert "boom()" in phone.locator("main").inner_text()
    assert (ran, refused) == ([], [])
