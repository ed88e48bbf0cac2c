"""One valid request of every page, each by a visitor to whom it is open: what campaigns mutate, and whom pages are shown to."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from django.test import Client

from market.accounts.models import User
from market.bounties import maturing
from market.bounties.research.models import ResearchBounty
from market.web import photo_paths, tickets, urls
from tasks import clock, evidence
from tasks.models import Claim, Submission, WorkerProfile
from tests import people, stories
from tests.faults import calls
from tests.market.web import research_scene
from verification.models import Review
from verification.research.models import Candidate, Run


@dataclass(frozen=True)
class Visit:
    """A request of a page; ``who`` names its visitor: "nobody", "worker" (its own) or "operator"."""

    name: str
    method: str
    path: str
    who: str
    form: Mapping[str, str] = field(default_factory=dict)
    has_photo: bool = False


@dataclass(frozen=True)
class Place:
    """What the pages are about: one object of each kind, all of one worker, and an operator who has a case to look at."""

    worker: WorkerProfile
    operator: User
    claim: Claim
    submission: Submission
    review: Review
    # What another worker has not claimed yet.
    task: str
    photo: str
    research: ResearchBounty
    candidate: Candidate
    # Runs that were judged invalid: one that may be appealed, one whose appeal is decided.
    replay: Run
    parted: Run

    def client(self, who: str) -> Client:
        """Open a browser as a visitor."""
        client = Client(raise_request_exception=False)
        if who != "nobody":
            client.force_login(self.operator if who == "operator" else User.objects.get(pk=self.worker.pk))
        return client

    def visits(self) -> list[Visit]:
        """Make a request of every page."""
        claim, submission, place = f"/claims/{self.claim}", f"/submissions/{self.submission}", f"{stories.PLACE[0]},{stories.PLACE[1]}"
        capture = {"latitude": "52.5", "longitude": "13.4", "accuracy_m": "8", "captured_at": "2030-01-01T00:00:00Z", "note": "Here."}
        money = {"amount": "1.00", "currency": "USD", "destination": "test_ok", "request_id": "0" * 32}
        decision = {"decision": "REJECTED", "criterion": "sharp", "reason": "I looked at it at full size."}
        return [
            Visit("listing", "GET", "/", "nobody"),
            Visit("place", "POST", "/place", "nobody", {"place": place}),
            Visit("task", "GET", f"/tasks/{self.task}", "nobody"),
            Visit("claim-task", "POST", f"/tasks/{self.task}/claim", "nobody", {"ticket": tickets.issue(), "country": "DE"}),
            Visit("claim", "GET", claim, "worker"),
            Visit("send", "POST", f"{claim}/send", "worker", capture, has_photo=True),
            Visit("cannot", "GET", f"{claim}/cannot", "worker"),
            Visit("cannot", "POST", f"{claim}/cannot", "worker", {**capture, "reason": "closed"}, has_photo=True),
            Visit("extend", "POST", f"{claim}/extend", "worker", {"place": place}),
            Visit("drop", "POST", f"{claim}/drop", "worker"),
            Visit("submission", "GET", submission, "worker"),
            Visit("retake", "POST", f"{submission}/retake", "worker"),
            Visit("appeal", "POST", f"{submission}/appeal", "worker", {"statement": "Look again."}),
            Visit("waive", "POST", f"{submission}/waive", "worker"),
            Visit("work", "GET", "/work", "worker"),
            Visit("money", "GET", "/money", "worker"),
            Visit("money", "POST", "/money", "worker", money),
            Visit("recover", "GET", "/recover", "nobody"),
            Visit("recover", "POST", "/recover", "nobody", {"code": "ABCD-EFGH-IJKL-MNOP"}),
            Visit("leave", "POST", "/leave", "worker"),
            Visit("photo", "GET", self.photo, "worker"),
            Visit("research", "GET", "/research", "nobody"),
            Visit("research-bounty", "GET", f"/research/{self.research}", "nobody"),
            Visit("frontier-csv", "GET", f"/research/{self.research}/frontier.csv", "nobody"),
            Visit("candidate", "GET", f"/candidates/{self.candidate}", "nobody"),
            Visit("curves-csv", "GET", f"/candidates/{self.candidate}/curves.csv", "nobody"),
            Visit("gains-csv", "GET", f"/candidates/{self.candidate}/gains.csv", "nobody"),
            Visit("test-csv", "GET", f"/candidates/{self.candidate}/test.csv", "nobody"),
            Visit("earnings", "GET", "/earnings", "worker"),
            Visit("earnings-csv", "GET", "/earnings.csv", "worker"),
            Visit("earning-days-csv", "GET", "/earnings/days.csv", "worker"),
            Visit("replay", "GET", f"/replays/{self.replay}", "worker"),
            Visit("replay-appeal", "POST", f"/replays/{self.replay}/appeal", "worker"),
            Visit("parting-csv", "GET", f"/replays/{self.parted}/curves.csv", "worker"),
            Visit("reviews", "GET", "/review", "operator"),
            Visit("review", "GET", f"/review/{self.review}", "operator"),
            Visit("review", "POST", f"/review/{self.review}", "operator", decision),
        ]


def names() -> set[str]:
    """Return the names of all pages of the URL configuration."""
    return {str(route.name) for route in urls.urlpatterns}


def prepare(cast: calls.Cast) -> Place:
    """Let one worker be paid once, be rejected once, and hold a claim; let another's rejection wait for the operator."""
    worker = people.open_worker(accepted_count=1_000)
    operator = User.objects.create_user("reviewer", is_staff=True)
    stories.accepted(cast.bounty(), worker)
    maturing.mature_due(now=clock.now())
    taken = evidence.take_in(calls.small_photo())
    submission = stories.submit(stories.claim(cast.bounty(), worker), file=taken)
    stories.settle(submission, "REJECTED")
    appealed = cast.rejected()
    stories.appeal(appealed)
    research = research_scene.post(cast.agent)
    sent = research_scene.send(research, research_scene.searcher(), "LEARNING_RATE = 0.02\n", reported_gain=0.02)
    parted = research_scene.invalid(sent, worker, number=1)
    research_scene.repeat(parted, differs_from=4)
    return Place(
        worker=worker,
        operator=operator,
        claim=stories.claim(cast.bounty(), worker),
        submission=submission,
        review=Review.objects.get(submission=appealed),
        task=str(cast.bounty().task),
        photo=photo_paths.path_for(worker.pk, submission.evidence.get(), "display"),
        research=research,
        candidate=sent,
        replay=research_scene.invalid(sent, worker),
        parted=parted,
    )
