"""Who may call what, for every route of the URL configuration: a route without an entry fails, a foreign object is not found."""

from collections.abc import Callable
from urllib import parse

import pytest
from django.contrib.sessions.models import Session
from django.db import transaction
from django.test import Client
from django.urls import URLPattern

from market.accounts import keys
from market.accounts.models import Agent, ApiKey, User
from market.api import urls
from market.bounties import cancellation, claiming
from market.events import delivery, feed
from market.events.models import Delivery
from tasks import clock, evidence
from tasks.models import WorkerProfile
from tests import people, photographs, stories
from tests.faults import calls, research_calls
from tests.market.api.caller import Answer, Caller, calling_as
from tests.market.bounties.research import scene
from tests.verification.research import scenes
from verification import vision_runs
from verification.models import Case, VisionRun

pytestmark = pytest.mark.django_db

ROLES = ["nobody", "agent", "other_agent", "live_agent", "worker", "other_worker", "live_worker", "machine", "other_machine"]
ROLES += ["gpu_owner", "other_gpu_owner"]
# A key that was revoked; and no key, but a session of the pages: the worker's own, one that has ended, an operator's.
ROLES += ["revoked", "worker_session", "ended_session", "operator_session"]
# Columns as in ROLES; "yes" is any answer but 401, 403 and 404.
MATRIX = {
    ("bounties", "GET"): "401 yes yes yes 403 403 403 403 403 403 403 401 401 401 401",
    ("bounties", "POST"): "401 yes yes yes 403 403 403 403 403 403 403 401 401 401 401",
    ("bounty", "GET"): "401 yes 404 404 403 403 403 403 403 403 403 401 401 401 401",
    ("bounty-fund", "POST"): "401 yes 404 404 403 403 403 403 403 403 403 401 401 401 401",
    ("bounty-cancel", "POST"): "401 yes 404 404 403 403 403 403 403 403 403 401 401 401 401",
    ("bounty-improve", "POST"): "401 yes 404 404 403 403 403 403 403 403 403 401 401 401 401",
    ("bounty-submissions", "GET"): "401 yes 404 404 403 403 403 403 403 403 403 401 401 401 401",
    ("submission", "GET"): "401 yes 404 404 yes 404 404 403 403 403 403 401 401 401 401",
    ("submission-review", "POST"): "401 yes 404 404 403 403 403 403 403 403 403 401 401 401 401",
    ("submission-appeal", "POST"): "401 403 403 403 yes 404 404 403 403 403 403 401 401 401 401",
    ("submission-waive", "POST"): "401 403 403 403 yes 404 404 403 403 403 403 401 401 401 401",
    ("submission-receipt", "GET"): "401 404 404 404 404 404 404 403 403 403 403 401 401 401 401",
    ("tasks", "GET"): "401 403 403 403 yes yes 403 403 403 403 403 401 401 401 401",
    ("task", "GET"): "401 403 403 403 yes yes 403 403 403 403 403 401 401 401 401",
    ("task-claims", "POST"): "401 403 403 403 yes yes 403 403 403 403 403 401 401 401 401",
    ("claims", "GET"): "401 403 403 403 yes yes 403 403 403 403 403 401 401 401 401",
    ("claim", "GET"): "401 403 403 403 yes 404 403 403 403 403 403 401 401 401 401",
    ("claim-extend", "POST"): "401 403 403 403 yes 404 403 403 403 403 403 401 401 401 401",
    ("claim-drop", "POST"): "401 403 403 403 yes 404 403 403 403 403 403 401 401 401 401",
    ("claim-submissions", "POST"): "401 403 403 403 yes 404 403 403 403 403 403 401 401 401 401",
    ("balance", "GET"): "401 yes yes yes yes yes 403 403 403 403 403 401 401 401 401",
    ("deposits", "GET"): "401 yes yes yes 403 403 403 403 403 403 403 401 401 401 401",
    ("deposits", "POST"): "401 yes yes yes 403 403 403 403 403 403 403 401 401 401 401",
    ("payouts", "GET"): "401 403 403 403 yes yes 403 403 403 403 403 401 401 401 401",
    ("payouts", "POST"): "401 403 403 403 yes yes 403 403 403 403 403 401 401 401 401",
    ("events", "GET"): "401 yes yes yes 403 403 403 403 403 403 403 401 401 401 401",
    ("webhook-endpoints", "GET"): "401 yes yes yes 403 403 403 403 403 403 403 401 401 401 401",
    ("webhook-endpoints", "POST"): "401 yes yes yes 403 403 403 403 403 403 403 401 401 401 401",
    ("webhook-endpoint", "GET"): "401 yes 404 404 403 403 403 403 403 403 403 401 401 401 401",
    ("webhook-endpoint", "DELETE"): "401 yes 404 404 403 403 403 403 403 403 403 401 401 401 401",
    ("deliveries", "GET"): "401 yes 404 404 403 403 403 403 403 403 403 401 401 401 401",
    ("delivery-resend", "POST"): "401 yes 404 404 403 403 403 403 403 403 403 401 401 401 401",
    ("leases", "POST"): "401 403 403 403 403 403 403 yes yes 403 403 401 401 401 401",
    # Another machine gets the same answer as for a run that does not exist: its token is not the newest.
    ("lease-heartbeat", "POST"): "401 403 403 403 403 403 403 yes yes 403 403 401 401 401 401",
    ("lease-complete", "POST"): "401 403 403 403 403 403 403 yes 404 403 403 401 401 401 401",
    ("lease-fail", "POST"): "401 403 403 403 403 403 403 yes yes 403 403 401 401 401 401",
    ("lease-file", "GET"): "401 403 403 403 403 403 403 yes 404 404 404 401 401 401 401",
    ("media", "GET"): "401 yes 403 403 403 403 403 403 403 403 403 401 403 401 403",
    ("keys", "GET"): "yes yes yes yes yes yes yes yes yes yes yes 401 yes yes yes",
    ("calibration", "GET"): "yes yes yes yes yes yes yes yes yes yes yes 401 yes yes yes",
    ("errors", "GET"): "yes yes yes yes yes yes yes yes yes yes yes 401 yes yes yes",
    ("schema", "GET"): "yes yes yes yes yes yes yes yes yes yes yes 401 yes yes yes",
    ("nowhere", "GET"): "404 404 404 404 404 404 404 404 404 404 404 401 404 404 404",
    # Whatever a claimant needs is open to every key of the mode.
    ("research-list", "GET"): "401 yes yes yes yes yes yes yes yes yes yes 401 401 401 401",
    ("research-list", "POST"): "401 yes yes yes 403 403 403 403 403 403 403 401 401 401 401",
    ("research-files", "POST"): "401 yes yes yes 403 403 403 403 403 403 403 401 401 401 401",
    ("research", "GET"): "401 yes yes 404 yes yes 404 yes yes yes yes 401 401 401 401",
    ("research-fund", "POST"): "401 yes 404 404 403 403 403 403 403 403 403 401 401 401 401",
    ("research-improve", "POST"): "401 yes 404 404 403 403 403 403 403 403 403 401 401 401 401",
    ("research-cancel", "POST"): "401 yes 404 404 403 403 403 403 403 403 403 401 401 401 401",
    ("research-tip", "GET"): "401 yes yes 404 yes yes 404 yes yes yes yes 401 401 401 401",
    ("research-data", "GET"): "401 yes yes 404 yes yes 404 yes yes yes yes 401 401 401 401",
    ("research-candidates", "GET"): "401 yes yes 404 yes yes 404 yes yes yes yes 401 401 401 401",
    ("research-candidates", "POST"): "401 yes yes 404 yes yes 404 403 403 403 403 401 401 401 401",
    ("research-precommits", "POST"): "401 yes yes 404 yes yes 404 403 403 403 403 401 401 401 401",
    ("research-leaderboard", "GET"): "401 yes yes 404 yes yes 404 yes yes yes yes 401 401 401 401",
    ("research-lineage", "GET"): "401 yes yes 404 yes yes 404 yes yes yes yes 401 401 401 401",
    ("research-ideas", "GET"): "401 yes yes 404 yes yes 404 yes yes yes yes 401 401 401 401",
    ("research-ideas", "POST"): "401 yes yes 404 yes yes 404 403 403 403 403 401 401 401 401",
    ("candidate", "GET"): "401 yes yes 404 yes yes 404 yes yes yes yes 401 401 401 401",
    ("candidate-challenge", "POST"): "401 yes yes 404 yes yes 404 403 403 403 403 401 401 401 401",
    ("idea-hold", "POST"): "401 yes yes 404 yes yes 404 403 403 403 403 401 401 401 401",
    ("idea-release", "POST"): "401 yes yes 404 yes yes 404 403 403 403 403 401 401 401 401",
    ("idea-finish", "POST"): "401 yes yes 404 yes yes 404 403 403 403 403 401 401 401 401",
    ("lease-seal", "POST"): "401 403 403 403 403 403 403 403 403 yes 404 401 401 401 401",
    ("lease-artefacts", "POST"): "401 403 403 403 403 403 403 403 403 yes 404 401 401 401 401",
    ("lease-finish", "POST"): "401 403 403 403 403 403 403 403 403 yes 404 401 401 401 401",
    ("hosts", "GET"): "401 403 403 403 403 403 403 403 403 yes yes 401 401 401 401",
    ("hosts", "POST"): "401 403 403 403 403 403 403 403 403 yes yes 401 401 401 401",
    ("replays", "GET"): "401 403 403 403 403 403 403 403 403 yes yes 401 401 401 401",
    ("replay", "GET"): "401 403 403 403 403 403 403 403 403 yes 404 401 401 401 401",
    ("replay-appeal", "POST"): "401 403 403 403 403 403 403 403 403 yes 404 401 401 401 401",
    ("demand", "GET"): "401 403 403 403 403 403 403 403 403 yes yes 401 401 401 401",
    ("stakes", "GET"): "401 403 403 403 yes yes 403 403 403 403 403 401 401 401 401",
    ("stakes-withdraw", "POST"): "401 403 403 403 yes yes 403 403 403 403 403 401 401 401 401",
}
# Bodies that owners would be believed with; strangers must be refused before anybody reads them.
BODIES: dict[str, dict[str, object]] = {
    "bounty-improve": {"reward": {"amount": "11.00", "currency": "USD"}},
    "submission-review": {"decision": "ACCEPTED"},
    "claim-extend": {"latitude": stories.PLACE[0], "longitude": stories.PLACE[1]},
    "leases": {"kind": "vision", "holder": "gpu"},
    "lease-heartbeat": {"token": 1},
    "lease-complete": {
        "token": 1,
        "readings": {"labels": [], "phrase_scores": [0.0], "descriptor": ""},
        "model_hash": "0" * 64,
        "preprocessing": "v1",
    },
    "lease-fail": {"token": 1, "reason": "x"},
    "lease-seal": {"token": 1, "seal": "0" * 64},
    "lease-finish": {"token": 1},
    "research-candidates": {"parent": "0" * 64, "files": {"train.py": "x = 1\n"}},
    "research-precommits": {"sealed_sha256": "0" * 64},
    "research-improve": {"budget": {"amount": "101.00", "currency": "USD"}},
    "research-ideas": {"text": "Try a wider net."},
    "idea-finish": {"outcome": "FAILED"},
    "hosts": {"name": "box", "class_key": scenes.CLASS, "sandbox_level": "bwrap-cpu"},
    "stakes-withdraw": {"currency": "USD"},
}
# Bodies that are one file.
FILES = {"research-files", "lease-artefacts"}


def test_has_an_entry_for_every_route_and_method() -> None:
    found = {(route.name, method) for route in urls.urlpatterns for method in methods_of(route)}
    assert found == set(MATRIX)


def methods_of(route: URLPattern) -> list[str]:
    view = route.callback.view_class  # type: ignore[attr-defined]
    return [method for method in ("GET", "POST", "DELETE") if hasattr(view, method.lower())] or ["GET"]


@pytest.fixture
def callers(agent: Agent, worker: WorkerProfile, as_machine: Caller) -> dict[str, Caller]:
    """One caller for each role; the live ones belong to the same persons as the test ones."""
    live_agent = Agent.objects.create(owner=agent.owner, name="live", mode="live")
    live_worker = keys.issue(user=User.objects.get(pk=worker.pk), agent=None, mode="live", scope="worker", name="x")[1]
    operator = User.objects.create_user("other operator")
    other_machine = keys.issue(user=operator, agent=None, mode="test", scope="lease:vision", name="x", is_trusted=True)[1]
    return {
        "nobody": Caller(),
        "agent": calling_as(agent),
        "other_agent": calling_as(people.open_agent("other")),
        "live_agent": calling_as(live_agent),
        "worker": calling_as(worker),
        "other_worker": calling_as(people.open_worker("bo")),
        "live_worker": Caller(live_worker),
        "machine": as_machine,
        "other_machine": Caller(other_machine),
        "gpu_owner": Caller(research_calls.owner_key(people.open_user("gpu-owner"))[1]),
        "other_gpu_owner": Caller(research_calls.owner_key(people.open_user("gpu-owner"))[1]),
        "revoked": revoked_caller(agent),
        "worker_session": Caller(client=signed_in(User.objects.get(pk=worker.pk))),
        "ended_session": Caller(client=signed_in(User.objects.get(pk=worker.pk), is_ended=True)),
        "operator_session": Caller(client=signed_in(User.objects.create_user("reviewer", is_staff=True, is_superuser=True))),
    }


def revoked_caller(agent: Agent) -> Caller:
    caller = calling_as(agent)
    keys.revoke(key=ApiKey.objects.get(secret_sha256=keys.digest(caller.secret)), now=clock.now())
    return caller


def signed_in(user: User, *, is_ended: bool = False) -> Client:
    client = Client()
    client.force_login(user)
    if is_ended:
        Session.objects.filter(pk=client.session.session_key).update(expire_date=clock.now())
    return client


@pytest.fixture
def paths(agent: Agent, worker: WorkerProfile, callers: dict[str, Caller]) -> dict[str, str]:
    """The address of one object of each kind, all of the same story: a rejected submission with its leased vision run."""
    endpoint = delivery.add_endpoint(agent=agent, url="https://hooks.example.com/in")
    bounty = stories.post_photo_bounty(agent, slots=2)
    submission = stories.submit(stories.claim(bounty, worker), file=evidence.take_in(photographs.jpeg()))
    case = Case.objects.get(submission=submission)
    VisionRun.objects.filter(case=case).delete()
    vision_runs.ask(case=case, files=list(submission.evidence.all()), phrases=["a cup"])
    (item,) = callers["machine"].post("leases", BODIES["leases"]).ok()["items"]
    stories.settle(submission, "REJECTED")
    feed.sequence()
    row = Delivery.objects.filter(endpoint=endpoint).latest("created_at")
    run = item["id"]
    return research_paths(agent, callers["gpu_owner"]) | {
        "bounty": f"bounties/{bounty}",
        "submission": f"submissions/{submission}",
        "task": f"tasks/{bounty.task}",
        "claim": f"claims/{submission.claim}",
        "webhook-endpoint": f"webhook_endpoints/{endpoint}",
        "deliveries": f"webhook_endpoints/{endpoint}/deliveries",
        "delivery-resend": f"webhook_endpoints/{endpoint}/deliveries/{row}/resend",
        "webhook-endpoints": "webhook_endpoints",
        "lease": f"leases/{run}",
        "lease-file": item["inputs"][0]["url"],
        "media": callers["agent"].get(f"submissions/{submission}").ok()["evidence"][0]["url"],
        "nowhere": "nowhere",
    }


def research_paths(agent: Agent, owner: Caller) -> dict[str, str]:
    """The address of one object of each kind about research: an open bounty, its candidate and idea, and an owner's leased training."""
    bounty = research_calls.bounty(agent)
    host = owner.post("hosts", BODIES["hosts"]).ok()["id"]
    (item,) = owner.post("leases", {"kind": "replay", "holder": "box", "host_id": host}).ok()["items"]
    lease = f"leases/{item['id']}"
    return {
        "research-list": "research",
        "research-files": "research/files",
        "research": f"research/{bounty}",
        "research-data": f"research/{bounty}/data/{research_calls.DATA_NAME}",
        "candidate": f"candidates/{scene.submit(bounty, scene.open_maker(), now=clock.now())}",
        "idea": f"ideas/{research_calls.queued_idea(bounty)}",
        "lease-seal": f"{lease}/seal",
        "lease-artefacts": f"{lease}/artefacts?token=1&index=0",
        "lease-finish": f"{lease}/finish",
        "replay": f"replays/{item['id']}",
        "demand": f"demand?class_key={parse.quote(scenes.CLASS)}",
        "stakes-withdraw": "stakes/withdraw",
    }


def path_of(name: str, paths: dict[str, str]) -> str:
    if name in paths:
        return paths[name]
    kind, dash, action = name.partition("-")
    return f"{paths[kind]}/{action}" if dash else name


def call(caller: Caller, method: str, name: str, path: str) -> Answer:
    if method == "GET":
        return caller.get(path)
    if method == "DELETE":
        return caller.delete(path)
    if name == "claim-submissions":
        return caller.send(path, [photographs.jpeg()])
    if name in FILES:
        return caller.post_raw(path, b"bytes", content_type="application/octet-stream")
    return caller.post(path, BODIES.get(name))


def test_lets_pass_who_may(callers: dict[str, Caller], paths: dict[str, str], agent: Agent) -> None:
    """Every role calls every route; what a call did is undone before the next, so all find the same objects."""
    private = {str(agent), *(paths[kind].split("/")[-1] for kind in ("bounty", "submission", "claim", "webhook-endpoint"))}
    seen: dict[tuple[str, str], str] = {}
    for name, method in MATRIX:
        answers = [undone(callers[role], method, name, path_of(name, paths)) for role in ROLES]
        seen[name, method] = " ".join(str(answer.status) if answer.status in (401, 403, 404) else "yes" for answer in answers)
        for role, answer in zip(ROLES, answers, strict=True):
            assert answer.status < 500, (name, role, answer.body)
            if role not in ("agent", "worker", "machine") and answer.status < 400:
                assert not any(word in str(answer.body) for word in private), (name, role)
    assert seen == MATRIX


def undone(caller: Caller, method: str, name: str, path: str) -> Answer:
    with transaction.atomic():
        answer = call(caller, method, name, path)
        transaction.set_rollback(True)
    return answer


# -- The same answers in every state of the object ------------------------------------------------------------------------

# What differs in a state: a receipt is there for those two whom it concerns.
DIFFERENT = {"paid": {("submission-receipt", "GET"): "401 yes 404 404 yes 404 404 403 403 403 403 401 401 401 401"}}


def draft(agent: Agent, worker: WorkerProfile) -> list[object]:
    return [stories.draft_photo_bounty(agent)]


def claimed(agent: Agent, worker: WorkerProfile) -> list[object]:
    return [bounty := stories.post_photo_bounty(agent, slots=2), bounty.task, stories.claim(bounty, worker)]


def in_review(agent: Agent, worker: WorkerProfile) -> list[object]:
    submission = calls.Cast(agent).waiting_for_poster(worker)
    return [submission.task.bounty, submission.task, submission.claim, submission]


def appealed(agent: Agent, worker: WorkerProfile) -> list[object]:
    submission = stories.rejected(stories.post_photo_bounty(agent, slots=2), worker)
    stories.appeal(submission)
    return [submission.task.bounty, submission.task, submission.claim, submission]


def paid(agent: Agent, worker: WorkerProfile) -> list[object]:
    submission = stories.accepted(stories.post_photo_bounty(agent, slots=2), worker).submission
    return [submission.task.bounty, submission.task, submission.claim, submission]


def cancelled(agent: Agent, worker: WorkerProfile) -> list[object]:
    claim = stories.claim(bounty := stories.post_photo_bounty(agent), worker)
    claiming.drop(claim=claim, worker=worker, now=clock.now())
    cancellation.cancel(bounty=bounty, agent=agent, now=clock.now())
    return [bounty, bounty.task, claim]


@pytest.mark.parametrize("tell", [draft, claimed, in_review, appealed, paid, cancelled])
def test_lets_pass_the_same_in_every_state(
    tell: Callable[[Agent, WorkerProfile], list[object]], callers: dict[str, Caller], agent: Agent, worker: WorkerProfile
) -> None:
    kinds = {"bty": "bounties", "tsk": "tasks", "clm": "claims", "sub": "submissions"}
    shown = [str(each) for each in tell(agent, worker)]
    paths = {kinds[name[:3]].removesuffix("s").replace("bountie", "bounty"): f"{kinds[name[:3]]}/{name}" for name in shown}
    wanted = {row: cells for row, cells in MATRIX.items() if row[0].partition("-")[0] in paths and row[0] != "claim-submissions"}
    seen: dict[tuple[str, str], str] = {}
    for name, method in wanted:
        answers = [undone(callers[role], method, name, path_of(name, paths)) for role in ROLES]
        seen[name, method] = " ".join(str(answer.status) if answer.status in (401, 403, 404) else "yes" for answer in answers)
        assert all(answer.status < 500 for answer in answers), name
    assert seen == {**wanted, **DIFFERENT.get(tell.__name__, {})}


def test_shows_live_objects_to_live_keys_only(agent: Agent, callers: dict[str, Caller]) -> None:
    """A test key and a live key of one owner have separate worlds."""
    stories.draft_photo_bounty(agent)
    assert callers["live_agent"].get("bounties").ok()["data"] == []
    assert callers["live_agent"].get("events").ok()["data"] == []
    assert callers["live_agent"].get("balance").ok()["available"] == []
    assert len(callers["agent"].get("bounties").ok()["data"]) == 1
