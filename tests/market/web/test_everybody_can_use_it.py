"""Every page in light and dark: no fault that axe finds, targets a thumb hits, no sideways scrolling, no inline script or style."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from django.test import Client
from playwright.sync_api import Page

import market.web
from market.accounts.models import Agent, User
from market.bounties import maturing
from market.bounties.research import paying
from tasks import clock
from tasks.models import WorkerProfile
from tests import people, stories
from tests.market.web import research_scene

_FOLDER = Path(market.web.__file__).parent
_SMALL = """() => [...document.querySelectorAll('a, button, summary, select, textarea, label.choice, input')]
  .filter((e) => !['hidden', 'radio'].includes(e.type))
  .filter((e) => e.checkVisibility({ checkOpacity: false }) && e.getClientRects().length)
  .map((e) => [e.outerHTML.slice(0, 90), e.getBoundingClientRect()])
  .filter(([, r]) => r.width < 47.5 || r.height < 47.5)
  .map(([html, r]) => `${html} ${r.width.toFixed(0)}x${r.height.toFixed(0)}`)"""


def _signed_in(page: Page, user: User) -> Page:
    client = Client()
    client.force_login(user)
    page.goto("/recover")
    page.context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": page.url}])
    return page


def _pages(phone: Page, operator: Page, agent: Agent, verifier: User) -> Iterator[tuple[str, Page]]:
    """Walk through every page in a state that shows most of it."""
    open_bounty = stories.post_photo_bounty(agent)
    for address in ("/", f"/tasks/{open_bounty.task}", "/money", "/recover", "/nothing-here"):
        phone.goto(address)
        yield address, phone
    worker = people.open_worker(accepted_count=30)
    _signed_in(phone, User.objects.get(pk=worker.pk))
    claim = stories.claim(stories.post_photo_bounty(agent), worker)
    for address in (f"/claims/{claim}", f"/claims/{claim}/cannot"):
        phone.goto(address)
        phone.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        yield address, phone
    checking, rejected, appealed = (stories.submit(stories.claim(stories.post_photo_bounty(agent), worker)) for _ in range(3))
    stories.settle(rejected, "REJECTED")
    stories.settle(appealed, "REJECTED")
    stories.appeal(appealed)
    stories.accepted(stories.post_photo_bounty(agent), worker)
    maturing.mature_due(now=clock.now())
    paid = worker.submissions.get(status="ACCEPTED")
    for address in (f"/submissions/{checking}", f"/submissions/{rejected}", f"/submissions/{paid}", "/work", "/money", "/"):
        phone.goto(address)
        phone.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        yield address, phone
    yield from _research_pages(phone, agent, worker)
    _signed_in(operator, verifier)
    for address in ("/review", f"/review/{appealed.reviews.get()}"):
        operator.goto(address)
        yield address, operator


def _research_pages(phone: Page, agent: Agent, owner: WorkerProfile) -> Iterator[tuple[str, Page]]:
    bounty = research_scene.post(agent, budget="500.00")
    maker, by = research_scene.searcher(), [owner, *research_scene.owners(1)]
    decided = []
    for number, (outcome, gain) in enumerate((("ACCEPTED", 0.03), ("REJECTED", -0.02), ("INCONCLUSIVE", 0.004))):
        candidate = research_scene.send(bounty, maker, f"LEARNING_RATE = 0.{number + 2}\n", reported_gain=0.08, note="Longer warm-up.")
        research_scene.replay(candidate, [gain, gain * 0.8], by)
        decided.append(research_scene.decide(candidate, outcome, gain=gain))
    research_scene.idea(bounty, "Tie the embeddings", "FAILED", "Worse in three seeds.")
    research_scene.idea(bounty, "A cosine schedule", "OPEN")
    waiting = research_scene.send(bounty, maker, "LEARNING_RATE = 0.9\n")
    paying.pay_runs_due(now=clock.now())
    open_one, parted = research_scene.invalid(waiting, owner), research_scene.invalid(waiting, owner, number=1)
    research_scene.repeat(parted, differs_from=4)
    shown = ("/research", f"/research/{bounty}", *(f"/candidates/{each}" for each in (*decided, waiting)))
    for address in (*shown, "/earnings", f"/replays/{open_one}", f"/replays/{parted}"):
        phone.goto(address)
        phone.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        yield address, phone


@pytest.mark.django_db(transaction=True)
def test_every_page_in_light_and_dark(open_phone: Callable[..., Page], agent: Agent, verifier: User) -> None:
    axe = Axe()
    faults: list[str] = []
    seen = 0
    for address, page in _pages(open_phone(), open_phone(), agent, verifier):
        seen += 1
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found = axe.run(page)
            faults += [f"{address} {scheme}: {each['id']} {each['nodes'][0]['html'][:120]}" for each in found.response["violations"]]
        faults += [f"{address}: small {each}" for each in page.evaluate(_SMALL)]
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            faults.append(f"{address}: scrolls sideways")
    assert faults == []
    assert seen == 24


@pytest.mark.parametrize("path", sorted((_FOLDER / "templates").rglob("*.html")), ids=lambda path: path.name)
def test_no_inline_script_or_style(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"""\son[a-z]+\s*=|style=|<style|javascript:|<script(?! type="module" src=)""", text), path
    assert not re.search(r"\|\s*safe|autoescape|mark_safe", text), path
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), path
    assert "escrow" not in text.lower()


def test_the_sheets_know_no_left_and_right() -> None:
    css = "".join(path.read_text(encoding="utf-8") for path in sorted((_FOLDER / "static" / "web").glob("*.css")))
    found = re.findall(r"(?<![\w-])(?:left|right|(?:margin|padding|border)-(?:left|right)|text-align:\s*(?:left|right))(?![\w-])", css)
    assert found == []
    assert not re.search(r"url\(|@import", css)


def test_the_script_writes_no_markup() -> None:
    script = (_FOLDER / "static" / "web" / "atoms.js").read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|https?://", script)


@pytest.mark.django_db
def test_pages_say_their_language_and_stay_uncached(client: Client, agent: Agent, worker: WorkerProfile) -> None:
    bounty = stories.post_photo_bounty(agent)
    for address in ("/", f"/tasks/{bounty.task}", "/recover"):
        answer = client.get(address)
        assert b'<html lang="en" dir="ltr">' in answer.content
        assert answer.headers["Cache-Control"] == "no-store"
        assert "script-src" not in answer.headers["Content-Security-Policy"] or "'unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")
