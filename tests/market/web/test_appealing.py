"""The page of one run: its owner appeals there without a script, and sees where his run and the pool's part."""

import csv
import html
import io

import pytest
from django.test import Client

from market.accounts.models import Agent, User
from market.bounties.research import sweeping
from market.web import owner_plots
from tasks import clock
from tasks.models import WorkerProfile
from tests import people
from tests.market.web import research_scene as scene
from verification.research import rules
from verification.research.models import Appeal, Candidate, Run

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner(client: Client) -> WorkerProfile:
    """A GPU owner, who is signed in."""
    worker = people.open_worker("owner")
    client.force_login(User.objects.get(pk=worker.pk))
    return worker


@pytest.fixture
def candidate(agent: Agent) -> Candidate:
    return scene.send(scene.post(agent), scene.searcher(), "LEARNING_RATE = 0.02\n")


def _page(client: Client, run: Run) -> str:
    return html.unescape(client.get(f"/replays/{run}").content.decode())


def test_has_a_button_that_asks_once(client: Client, owner: WorkerProfile, candidate: Candidate) -> None:
    run = scene.invalid(candidate, owner)
    assert f'action="/replays/{run}/appeal"' in _page(client, run)
    for _ in range(2):
        answer = client.post(f"/replays/{run}/appeal")
        assert (answer.status_code, answer.headers["Location"]) == (303, f"/replays/{run}")
    assert Run.objects.filter(kind=Run.Kind.APPEAL).count() == 1
    page = _page(client, run)
    assert "The trusted pool trains the run again" in page
    assert "<form" not in page.partition("<main")[2].partition("</main>")[0]
    assert client.get(f"/replays/{run}/curves.csv").status_code == 404


def test_shows_both_curves_and_where_they_part(client: Client, owner: WorkerProfile, candidate: Candidate) -> None:
    run = scene.invalid(candidate, owner)
    scene.repeat(run, differs_from=4)
    page = _page(client, run)
    assert "The trusted pool came to another outcome. The finding stands." in page
    assert "The weights differ from checkpoint 4 (step 80) on. Up to checkpoint 3 they are the same, bit for bit." in page
    assert "The printed losses differ from step 80 on." in page
    assert page.count('class="line ') == 2
    answer = client.get(f"/replays/{run}/curves.csv")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert [row["step"] for row in rows if row["your_loss"] != row["pool_loss"]] == [str(step) for step in range(80, 200, 2)]
    # Neither seeds, nor hold-out scores, nor digests.
    for secret in ("7000000000", "987654", "beef", "d00f", "f00d"):
        assert secret not in page


def test_says_that_the_finding_was_overturned(client: Client, owner: WorkerProfile, candidate: Candidate) -> None:
    run = scene.invalid(candidate, owner)
    scene.repeat(run, differs_from=None)
    sweeping.sweep(now=clock.now())
    page = _page(client, run)
    assert "The trusted pool came to your outcome." in page
    assert "The printed losses are the same throughout." in page
    assert "right, paid by the platform" in client.get("/earnings").content.decode()
    assert Appeal.objects.get().status == Appeal.Status.OVERTURNED


def test_hides_the_pools_curve_while_others_train_the_same(client: Client, owner: WorkerProfile, candidate: Candidate) -> None:
    run = scene.invalid(candidate, owner)
    scene.repeat(run, differs_from=4)
    Run.objects.create(
        task=run.task, mode=run.mode, kind="CANDIDATE", candidate=candidate, tip=run.tip, tree=run.tree, spec=run.spec,
        replica=1, seed_index=run.seed_index, seed=run.seed, class_text=run.class_text, hardware=["cpu"], level="bwrap-cpu",
    )  # fmt: skip
    page = _page(client, run)
    assert "The finding stands." in page
    assert 'class="plot"' not in page


def test_refuses_late_ones_and_strangers(client: Client, owner: WorkerProfile, candidate: Candidate) -> None:
    run = scene.invalid(candidate, owner)
    late = run.judged_at - rules.APPEAL_WITHIN if run.judged_at else None
    Run.objects.filter(pk=run.pk).update(judged_at=late)
    assert "<button" not in _page(client, run).partition("<main")[2].partition("</main>")[0]
    assert client.post(f"/replays/{run}/appeal").status_code == 409
    theirs = scene.invalid(candidate, people.open_worker("another"), number=1)
    for method, path in (("get", ""), ("post", "/appeal"), ("get", "/curves.csv")):
        assert getattr(client, method)(f"/replays/{theirs}{path}").status_code == 404
    assert not Appeal.objects.exists()


def test_needs_no_curve_to_say_where_weights_differ() -> None:
    plot = owner_plots.parting([], [(0, 2.0)], differs_from=(0, 0), key="parting")
    assert plot.words == "One of the two printed no losses, so there are no curves to compare."
    assert plot.rows == ((0, None, 2.0),)
