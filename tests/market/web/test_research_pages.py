"""Pages of research bounties: the list, a bounty's story, and what strangers' words and other modes may not do to them."""

import datetime

import pytest
from django.test import Client

from market.accounts.models import Agent, User
from market.bounties.research.models import ResearchBounty
from tasks import clock
from tasks.models import WorkerProfile
from tests.market.web import research_scene as scene
from verification.research.models import Idea, ResearchTask

pytestmark = pytest.mark.django_db

BOOM = "<script>boom()</script>"


def _accepted(bounty: ResearchBounty, maker: Agent, text: str, gain: float, by: list[WorkerProfile]) -> None:
    candidate = scene.send(bounty, maker, text, reported_gain=gain)
    scene.replay(candidate, [gain, gain], by)
    scene.decide(candidate, "ACCEPTED", gain=gain, reward_minor=1500)


def test_lists_what_takes_candidates_with_price_and_held_funds(client: Client, agent: Agent) -> None:
    bounty = scene.post(agent)
    page = client.get("/research").content.decode()
    assert f'href="/research/{bounty}"' in page
    assert "$10.00" in page
    assert "for each 0.01 bits per byte gained" in page
    assert "$200.00 held" in page
    assert "0 accepted" in page


def test_does_not_list_what_is_closing_past_or_of_the_other_mode(client: Client, agent: Agent) -> None:
    closing, past, live, closed = (scene.post(agent) for _ in range(4))
    ResearchBounty.objects.filter(pk=closing.pk).update(closed_because="CANCELLED")
    ResearchBounty.objects.filter(pk=past.pk).update(deadline=clock.now() - datetime.timedelta(seconds=1))
    ResearchBounty.objects.filter(pk=live.pk).update(mode="live")
    ResearchTask.objects.filter(pk=closed.task_id).update(status="CLOSED")
    assert b"Nothing open right now" in client.get("/research").content
    assert [client.get(f"/research/{each}").status_code for each in (closing, past, live, closed)] == [200, 200, 404, 200]
    assert b"Takes no candidates any more" in client.get(f"/research/{past}").content
    ResearchBounty.objects.filter(pk=live.pk).update(mode="test")


def test_a_bounty_that_was_never_funded_is_not_found(client: Client, agent: Agent) -> None:
    bounty = scene.draft(agent)
    assert bounty.status == "SCREENED"
    assert str(bounty) not in client.get("/research").content.decode()
    assert client.get(f"/research/{bounty}").status_code == 404
    assert client.get(f"/research/{bounty}/frontier.csv").status_code == 404
    assert client.get("/research/rsb_nothing").status_code == 404


def test_tells_a_bountys_story(client: Client, agent: Agent) -> None:
    bounty = scene.post(agent)
    one, two, by = scene.searcher("one"), scene.searcher("two"), scene.owners(2)
    _accepted(bounty, one, "LEARNING_RATE = 0.02\n", 0.03, by)
    refused = scene.send(bounty, two, "LEARNING_RATE = 9\n", reported_gain=0.5)
    scene.replay(refused, [-0.1, -0.1], by)
    scene.decide(refused, "REJECTED", gain=-0.1)
    waiting = scene.send(bounty, two, "LEARNING_RATE = 0.04\n")
    scene.idea(bounty, "Tie the embeddings", "FAILED", "Worse in three seeds.")
    page = client.get(f"/research/{bounty}").content.decode()
    assert "2 candidates judged by replays: 1 accepted, 1 rejected, 0 inconclusive. The chain gains 0.03 bits per byte" in page
    assert '<svg class="plot"' in page
    assert f'href="/research/{bounty}/frontier.csv"' in page
    assert "by 1 accepted commit<" in page
    assert "paid $15.00" in page
    assert "gained 0.03 bits per byte over the base" in page
    assert f'href="/candidates/{waiting}"' in page
    assert f'href="/candidates/{refused}"' in page
    assert "Worse in three seeds." in page
    assert f"POST /v1/research/{bounty}/candidates" in page
    assert "atoms-gpu doctor" in page
    assert "secret" not in page.replace("secret seed", "")
    assert "escrow" not in page.lower()


def test_a_withdrawn_commit_leaves_the_chain_and_the_leaderboard(client: Client, agent: Agent) -> None:
    bounty = scene.post(agent)
    candidate = scene.send(bounty, scene.searcher(), "LEARNING_RATE = 0.02\n")
    scene.replay(candidate, [0.03], scene.owners(2))
    scene.decide(candidate, "ACCEPTED", gain=0.03).tip.withdrawn_at = clock.now()
    candidate.tip.withdrawn_at = clock.now()
    candidate.tip.save()
    page = client.get(f"/research/{bounty}").content.decode()
    assert "withdrawn" in page
    assert "Nobody yet. The base can be beaten." in page
    assert "The chain gains 0 bits per byte" in page


def test_strangers_words_stay_words(client: Client, agent: Agent) -> None:
    bounty = scene.post(agent)
    # Past the screening, as if it had let them through.
    ResearchTask.objects.filter(pk=bounty.task_id).update(title=f"{BOOM}\u202e" + "x" * 150, description=BOOM * 9)
    Agent.objects.filter(pk=agent.pk).update(name=BOOM)
    scene.idea(bounty, f"{BOOM}\u202e", "FAILED", BOOM)
    for address in ("/research", f"/research/{bounty}"):
        page = client.get(address).content.decode()
        assert BOOM not in page
        assert "&lt;script&gt;boom()&lt;/script&gt;" in page
    figures = client.get(f"/research/{bounty}/frontier.csv").content.decode()
    assert figures == "number,candidate,outcome,gain,gain_of_the_chain,pay\r\n"


def test_says_that_there_is_no_room_at_the_moment(client: Client, agent: Agent) -> None:
    bounty = scene.post(agent, budget="40.00")
    assert b"No room at the moment" not in client.get(f"/research/{bounty}").content
    scene.send(bounty, scene.searcher(), "LEARNING_RATE = 0.02\n")
    assert b"No room at the moment" in client.get(f"/research/{bounty}").content


def test_has_pages(client: Client, agent: Agent) -> None:
    bounty = scene.post(agent)
    for number in range(21):
        copy = ResearchTask.objects.get(pk=bounty.task_id)
        copy.pk, copy._state.adding, copy.title = None, True, f"Copy {number}"
        copy.id = ResearchTask._meta.get_field("id").get_default()
        copy.save()
        other = ResearchBounty.objects.get(pk=bounty.pk)
        other.id, other._state.adding, other.task = ResearchBounty._meta.get_field("id").get_default(), True, copy
        other.save()
    first = client.get("/research").content.decode()
    assert first.count('class="what"') == 20
    link = first.partition('href="?after=')[2].partition('"')[0]
    assert client.get(f"/research?after={link}").content.decode().count('class="what"') == 2
    assert client.get("/research?after=rsb_x").status_code == 404
    ResearchBounty.objects.exclude(pk=bounty.pk).delete()


def test_ideas_show_what_is_open_first(client: Client, agent: Agent) -> None:
    bounty = scene.post(agent)
    scene.idea(bounty, "Old and failed", "FAILED", "No.")
    scene.idea(bounty, "Fresh", "OPEN")
    page = client.get(f"/research/{bounty}").content.decode()
    assert page.index("Fresh") < page.index("Old and failed")
    assert Idea.objects.count() == 2


def test_marks_your_own_place(client: Client, agent: Agent) -> None:
    bounty, maker = scene.post(agent), scene.searcher()
    _accepted(bounty, maker, "LEARNING_RATE = 0.02\n", 0.03, scene.owners(2))
    assert b">you<" not in client.get(f"/research/{bounty}").content
    client.force_login(User.objects.get(pk=maker.owner_id))
    assert b">you<" in client.get(f"/research/{bounty}").content
