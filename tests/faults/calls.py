"""One valid call of every route of the API, each with objects of its own that make it succeed: what campaigns repeat and mutate."""

import base64
import functools
import io
import json
import secrets
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from django.urls import URLPattern
from PIL import Image

from market.accounts import keys, media_links
from market.accounts.models import Agent, ApiKey, User
from market.api import leases, urls
from market.bounties import judging, maturing
from market.bounties.models import Bounty
from market.events import delivery, feed
from market.events.models import Delivery, WebhookEndpoint
from tasks import clock, evidence
from tasks.leases import LeaseState
from tasks.models import Claim, Submission, WorkerProfile
from tests import people, photographs, stories
from tests.faults import research_calls
from tests.faults.made import Made
from tests.market.api import bodies
from verification import vision_runs
from verification.models import Case, VisionRun

BOUNDARY = "a-boundary-that-no-photo-holds"
HOOK = "https://hooks.example.com/in"


@dataclass(frozen=True)
class Call:
    """A request that succeeds, once. ``other_body`` is another request that its Idempotency-Key must not serve."""

    route: str
    method: str
    path: str
    secret: str = field(repr=False)
    body: Mapping[str, object] = field(default_factory=dict)
    other_body: Mapping[str, object] = field(default_factory=lambda: {"other": 1})
    # A photo makes it a form.
    photo: bytes = b""
    # A body that is one file.
    file: bytes = b""
    key: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def content_type(self) -> str:
        """How the body is written."""
        if self.file:
            return "application/octet-stream"
        return f"multipart/form-data; boundary={BOUNDARY}" if self.photo else "application/json"

    def content(self, *, is_other: bool = False) -> bytes:
        """Write the body; reading calls have none."""
        if self.method != "POST":
            return b""
        if self.file:
            return self.file + b"!" if is_other else self.file
        body = self.other_body if is_other else self.body
        return form_of(body.items(), self.photo) if self.photo else json.dumps(body).encode()


def form_of(texts: Iterable[tuple[str, object]], photo: bytes | None) -> bytes:
    """Write a form, with a photo or without."""
    parts = [f'name="{name}"\r\n\r\n{text}'.encode("utf-8", "surrogatepass") for name, text in texts]
    if photo is not None:
        parts.append(b'name="photo"; filename="photo.jpg"\r\nContent-Type: image/jpeg\r\n\r\n' + photo)
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; ".encode()
    return b"".join(head + part + b"\r\n" for part in parts) + f"--{BOUNDARY}--\r\n".encode()


class Cast:
    """Who calls, and makers of what they call about. An agent with much money, a machine that is trusted, new workers."""

    def __init__(self, agent: Agent | None = None) -> None:
        self.agent = agent or people.open_agent("caller")
        if agent is None:
            people.top_up(self.agent, "90000.00")
        self.operator = people.open_user("operator")

    def call(self, route: str, method: str) -> Call:
        """Make a fresh call of a route, and whatever it needs."""
        made = MAKERS[route, method](self)
        photo = small_photo() if route == "claim-submissions" else b""
        path = f"/v1/{made.path}"
        return Call(
            route=route,
            method=method,
            path=path,
            secret=made.secret,
            body=made.body,
            other_body=made.other_body,
            photo=photo,
            file=made.file,
        )

    def agent_key(self) -> str:
        """Issue a key to the agent."""
        return people.secret_of(self.agent)

    def machine_key(self) -> tuple[ApiKey, str]:
        """Issue a key to a machine that may see photos."""
        return keys.issue(user=self.operator, agent=None, mode="test", scope="lease:vision", name="gpu", is_trusted=True)

    def draft(self) -> Bounty:
        """Post a bounty that is to be funded."""
        return stories.draft_photo_bounty(self.agent)

    def bounty(self, **terms: object) -> Bounty:
        """Open a bounty."""
        return stories.post_photo_bounty(self.agent, **terms)  # type: ignore[arg-type]

    def claim(self, worker: WorkerProfile | None = None, **terms: object) -> Claim:
        """Let a worker, or a new one, claim a new bounty."""
        return stories.claim(self.bounty(**terms), worker or people.open_worker())

    def waiting_for_poster(self, worker: WorkerProfile | None = None) -> Submission:
        """Leave a submission to its poster's decision."""
        submission = stories.submit(self.claim(worker, poster_review_window_s=3600))
        Case.objects.filter(pk=submission.pk).update(
            stage=Case.Stage.REVIEW, lease_state="DONE", machine_outcome="ACCEPTED", machine_decided_at=clock.now()
        )
        judging.show_in_review(now=clock.now())
        return submission

    def rejected(self) -> Submission:
        """Reject a submission."""
        return stories.rejected(self.bounty(), people.open_worker())

    def paid(self) -> Submission:
        """Accept a submission; its worker's money may be paid out."""
        submission = stories.accepted(self.bounty(), people.open_worker()).submission
        maturing.mature_due(now=clock.now())
        return submission

    def endpoint(self) -> WebhookEndpoint:
        """Let a new agent of the owner register an address: an agent may have a few only."""
        agent = people.open_agent("listener", user=User.objects.get(pk=self.agent.owner_id))
        return delivery.add_endpoint(agent=agent, url=HOOK)

    def delivered(self) -> Delivery:
        """Bring an event to a new endpoint."""
        endpoint = self.endpoint()
        stories.draft_photo_bounty(endpoint.agent)
        feed.sequence()
        Delivery.objects.filter(endpoint=endpoint).update(lease_state=LeaseState.DONE)
        return Delivery.objects.filter(endpoint=endpoint).latest("created_at")

    def run(self, *, file: evidence.TakenIn | None = None) -> VisionRun:
        """Ask for a reading."""
        submission = stories.submit(self.claim(), file=file)
        case = Case.objects.get(submission=submission)
        VisionRun.objects.filter(case=case).delete()
        Case.objects.filter(pk=case.pk).update(stage=Case.Stage.VISION)
        vision_runs.ask(case=case, files=list(submission.evidence.all()), phrases=["a cup"])
        return VisionRun.objects.get(case=case)

    def leased(self) -> tuple[VisionRun, str]:
        """Ask for a reading and lease it to a new key of the machine."""
        key, secret = self.machine_key()
        wanted = self.run()
        VisionRun.objects.exclude(pk=wanted.pk).filter(lease_state=LeaseState.READY).update(lease_state=LeaseState.DEAD)
        (run,) = vision_runs.hand_out(key_id=key.pk, holder="gpu", limit=1, lease_s=600)
        assert run.pk == wanted.pk
        return run, secret


@functools.cache
def small_photo() -> bytes:
    """Return a photograph as small as the intake takes it."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(photographs.jpeg())) as photo:
        photo.resize((640, 480)).save(buffer, "JPEG", quality=60)
    return buffer.getvalue()


def readings() -> dict[str, object]:
    """Return readings of one phrase."""
    vector = np.zeros(16, dtype="<f2")
    vector[0] = 1
    return {"labels": [{"index": 5, "probability": 0.9}], "phrase_scores": [0.5], "descriptor": base64.b64encode(vector.tobytes()).decode()}


def routes() -> set[tuple[str, str]]:
    """Return every route of the API with each of its methods, as the URL configuration has them."""
    return {(str(route.name), method) for route in urls.urlpatterns for method in methods_of(route)}


def methods_of(route: URLPattern) -> list[str]:
    """Return what a route answers to."""
    view = route.callback.view_class  # type: ignore[attr-defined]
    return [method for method in ("GET", "POST", "DELETE") if hasattr(view, method.lower())]


# -- How each is made: path, secret, body, and another body --------------------------------------------------------------


def _of_research(make: Callable[[Agent], Made]) -> Callable[["Cast"], Made]:
    return lambda cast: make(cast.agent)


def _usd(amount: str) -> dict[str, object]:
    return {"amount": {"amount": amount, "currency": "USD"}}


def _of_worker(
    path: str, worker: WorkerProfile, body: Mapping[str, object] | None = None, other_body: Mapping[str, object] | None = None
) -> Made:
    return Made(path, people.secret_of(worker), body or {}, other_body or Made._field_defaults["other_body"])


def _extend(cast: Cast) -> Made:
    claim = cast.claim()
    body = {"latitude": stories.PLACE[0], "longitude": stories.PLACE[1]}
    return _of_worker(f"claims/{claim}/extend", claim.worker, body, {**body, "latitude": 0})


def _claim_call(cast: Cast) -> Made:
    body = {"latitude": stories.PLACE[0], "longitude": stories.PLACE[1]}
    return _of_worker(f"tasks/{cast.bounty().task}/claims", people.open_worker(), body)


def _drop(cast: Cast) -> Made:
    claim = cast.claim()
    return _of_worker(f"claims/{claim}/drop", claim.worker)


def _hand_in(cast: Cast) -> Made:
    claim = cast.claim()
    return _of_worker(f"claims/{claim}/submissions", claim.worker, {"note": "Here."}, {"note": "There."})


def _on_submission(action: str, body: Mapping[str, object]) -> Callable[[Cast], Made]:
    def make(cast: Cast) -> Made:
        submission = cast.rejected()
        return _of_worker(f"submissions/{submission}/{action}", submission.worker, body)

    return make


def _pay_out(cast: Cast) -> Made:
    body = {**_usd("10.00"), "destination": "test_ok"}
    return _of_worker("payouts", cast.paid().worker, body, {**body, **_usd("9.00")})


def _on_run(action: str, **more: object) -> Callable[[Cast], Made]:
    def make(cast: Cast) -> Made:
        run, secret = cast.leased()
        return Made(f"leases/{run}/{action}", secret, {"token": run.token, **more}, {"token": run.token + 1, **more})

    return make


def _take(cast: Cast) -> Made:
    for _ in range(3):  # So that a second hand-out would find something.
        cast.run()
    body = {"kind": "vision", "holder": "gpu"}
    return Made("leases", cast.machine_key()[1], body, {**body, "limit": 2})


def _lease_file(cast: Cast) -> Made:
    key, secret = cast.machine_key()
    cast.run(file=evidence.take_in(small_photo()))
    (run,) = vision_runs.hand_out(key_id=key.pk, holder="gpu", limit=1, lease_s=600)
    return Made(leases._file_url(run, key).partition("/v1/")[2], secret)


def _media(cast: Cast) -> Made:
    claim = cast.claim()
    submission = stories.submit(claim, file=evidence.take_in(small_photo()))
    secret = people.secret_of(claim.worker)
    key = ApiKey.objects.get(secret_sha256=keys.digest(secret))
    file = submission.evidence.get()
    link = media_links.url(evidence_id=file.pk, variant="display", viewer=media_links.viewer_with_key(key.pk))
    return Made(link.partition("/v1/")[2], secret)


def _resend(cast: Cast) -> Made:
    row = cast.delivered()
    return Made(f"webhook_endpoints/{row.endpoint}/deliveries/{row}/resend", people.secret_of(row.endpoint.agent))


def _of_endpoint(end: str = "") -> Callable[[Cast], Made]:
    def make(cast: Cast) -> Made:
        endpoint = cast.endpoint()
        return Made(f"webhook_endpoints/{endpoint}{end}", people.secret_of(endpoint.agent))

    return make


def _new_agent_key(cast: Cast) -> str:
    agent: Agent = people.open_agent("newcomer", user=User.objects.get(pk=cast.agent.owner_id))
    return people.secret_of(agent)


def _own(path: Callable[[Submission], str]) -> Callable[[Cast], Made]:
    def make(cast: Cast) -> Made:
        submission = cast.paid()
        return _of_worker(path(submission), submission.worker)

    return make


def _open(path: str) -> Callable[[Cast], Made]:
    return lambda cast: Made(path, cast.agent_key())


MAKERS: dict[tuple[str, str], Callable[[Cast], Made]] = {
    ("bounties", "GET"): _open("bounties"),
    ("bounties", "POST"): lambda cast: Made("bounties", cast.agent_key(), bodies.bounty(), bodies.bounty(slots=2)),
    ("bounty", "GET"): lambda cast: Made(f"bounties/{cast.bounty()}", cast.agent_key()),
    ("bounty-fund", "POST"): lambda cast: Made(f"bounties/{cast.draft()}/fund", cast.agent_key()),
    ("bounty-cancel", "POST"): lambda cast: Made(f"bounties/{cast.bounty()}/cancel", cast.agent_key()),
    ("bounty-improve", "POST"): lambda cast: Made(
        f"bounties/{cast.bounty()}/improve",
        cast.agent_key(),
        {"reward": {"amount": "11.00", "currency": "USD"}},
        {"reward": {"amount": "12.00", "currency": "USD"}},
    ),
    ("bounty-submissions", "GET"): lambda cast: Made(f"bounties/{cast.rejected().task.bounty}/submissions", cast.agent_key()),
    ("submission", "GET"): _own(lambda submission: f"submissions/{submission}"),
    ("submission-review", "POST"): lambda cast: Made(
        f"submissions/{cast.waiting_for_poster()}/review",
        cast.agent_key(),
        {"decision": "ACCEPTED"},
        {"decision": "REJECTED", "criterion": "sharp"},
    ),
    ("submission-appeal", "POST"): _on_submission("appeal", {"statement": "Look again."}),
    ("submission-waive", "POST"): _on_submission("waive", {}),
    ("submission-receipt", "GET"): _own(lambda submission: f"submissions/{submission}/receipt"),
    ("tasks", "GET"): lambda cast: _of_worker("tasks", people.open_worker()),
    ("task", "GET"): lambda cast: _of_worker(f"tasks/{cast.bounty().task}", people.open_worker()),
    ("task-claims", "POST"): _claim_call,
    ("claims", "GET"): _own(lambda submission: "claims"),
    ("claim", "GET"): _own(lambda submission: f"claims/{submission.claim}"),
    ("claim-extend", "POST"): _extend,
    ("claim-drop", "POST"): _drop,
    ("claim-submissions", "POST"): _hand_in,
    ("balance", "GET"): _own(lambda submission: "balance"),
    ("deposits", "GET"): _open("deposits"),
    ("deposits", "POST"): lambda cast: Made("deposits", cast.agent_key(), _usd("25.00"), _usd("26.00")),
    ("payouts", "GET"): _own(lambda submission: "payouts"),
    ("payouts", "POST"): _pay_out,
    ("events", "GET"): _open("events"),
    ("webhook-endpoints", "GET"): _open("webhook_endpoints"),
    ("webhook-endpoints", "POST"): lambda cast: Made("webhook_endpoints", _new_agent_key(cast), {"url": HOOK}, {"url": f"{HOOK}/2"}),
    ("webhook-endpoint", "GET"): _of_endpoint(),
    ("webhook-endpoint", "DELETE"): _of_endpoint(),
    ("deliveries", "GET"): _of_endpoint("/deliveries"),
    ("delivery-resend", "POST"): _resend,
    ("leases", "POST"): _take,
    ("lease-heartbeat", "POST"): _on_run("heartbeat"),
    ("lease-complete", "POST"): _on_run("complete", readings=readings(), model_hash="0" * 64, preprocessing="v1"),
    ("lease-fail", "POST"): _on_run("fail", reason="no room"),
    ("lease-file", "GET"): _lease_file,
    ("media", "GET"): _media,
    ("keys", "GET"): _open("keys"),
    ("calibration", "GET"): _open("calibration"),
    ("errors", "GET"): _open("errors"),
    ("schema", "GET"): _open("schema"),
    **{route: _of_research(make) for route, make in research_calls.MAKERS.items()},
}


def unknown_key() -> str:
    """Return a key of the right form that nobody issued."""
    return f"test_agent_{secrets.token_urlsafe(32)}"
