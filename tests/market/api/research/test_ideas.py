"""Ideas over HTTP: queued once, held by one, ended for good, and read by everybody before he trains."""

import pytest

from market.bounties.research.models import ResearchBounty
from tasks import clock
from tests.market.api.caller import Caller
from tests.market.bounties.research import scene
from verification.research.models import Idea

pytestmark = pytest.mark.django_db


def test_goes_from_the_queue_to_its_end(bounty: ResearchBounty, as_maker: Caller, as_worker: Caller) -> None:
    idea = as_worker.post(f"research/{bounty}/ideas", {"text": "Try RMS norm."}).ok(201)
    assert (idea["status"], idea["is_yours"], idea["untrusted"]["text"]) == ("OPEN", True, "Try RMS norm.")
    held = as_maker.post(f"ideas/{idea['id']}/hold").ok()
    assert (held["status"], held["is_held_by_you"]) == ("HELD", True)
    assert held["held_until"]
    as_worker.post(f"ideas/{idea['id']}/hold").refused(409, "idea_not_open")
    as_worker.post(f"ideas/{idea['id']}/finish", {"outcome": "WORKED"}).refused(409, "idea_not_held")
    body = {"outcome": "FAILED", "result": "0.3 % worse on 3 seeds.", "reported_gain": -0.004}
    ended = as_maker.post(f"ideas/{idea['id']}/finish", body).ok()
    assert (ended["status"], ended["reported_gain"], ended["untrusted"]["result"]) == ("FAILED", -0.004, "0.3 % worse on 3 seeds.")
    (seen,) = as_worker.get(f"research/{bounty}/ideas", status="FAILED").ok()["data"]
    assert (seen["id"], seen["is_held_by_you"]) == (idea["id"], False)


def test_answers_the_same_words_with_the_same_idea(bounty: ResearchBounty, as_maker: Caller, as_worker: Caller) -> None:
    first = as_worker.post(f"research/{bounty}/ideas", {"text": "Try RMS norm."}).ok(201)
    assert as_maker.post(f"research/{bounty}/ideas", {"text": "try  RMS-norm"}).ok(200)["id"] == first["id"]
    assert Idea.objects.count() == 1


def test_gives_one_back(bounty: ResearchBounty, as_maker: Caller) -> None:
    idea = as_maker.post(f"research/{bounty}/ideas", {"text": "Try RMS norm."}).ok(201)
    as_maker.post(f"ideas/{idea['id']}/release").refused(409, "idea_not_held")
    as_maker.post(f"ideas/{idea['id']}/hold").ok()
    assert as_maker.post(f"ideas/{idea['id']}/release").ok()["status"] == "OPEN"


def test_ends_one_with_a_candidate_of_ones_own(bounty: ResearchBounty, as_maker: Caller, as_worker: Caller) -> None:
    others = scene.submit(bounty, scene.open_maker(), now=clock.now())
    idea = as_maker.post(f"research/{bounty}/ideas", {"text": "Try RMS norm."}).ok(201)
    as_maker.post(f"ideas/{idea['id']}/hold").ok()
    as_maker.post(f"ideas/{idea['id']}/finish", {"outcome": "WORKED", "candidate": str(others)}).refused(404, "not_found")
    as_maker.post(f"ideas/{idea['id']}/finish", {"outcome": "MAYBE"}).refused(422, "invalid_parameter")


@pytest.mark.parametrize("text", ["", "ab", "...!", "x" * 1001, 1])
def test_refuses_what_is_no_idea(bounty: ResearchBounty, as_maker: Caller, text: object) -> None:
    as_maker.post(f"research/{bounty}/ideas", {"text": text}).refused(422, "invalid_parameter")
    assert Idea.objects.count() == 0
