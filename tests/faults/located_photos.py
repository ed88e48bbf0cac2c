"""Photos that tell where somebody lives, handed in over HTTP, and a search of everything that is answered to anybody."""

import contextlib
import dataclasses
import hashlib
import itertools
import logging
import random
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from tasks import intake
from tests.faults import campaign
from tests.faults.hostile_files import located

if TYPE_CHECKING:
    from django.test import Client

    # What the test client answers with has a name for type checkers only.
    from django.test.client import _MonkeyPatchedWSGIResponse
    from django.urls import URLPattern, URLResolver

    from market.accounts.models import Agent, User
    from market.bounties.models import Bounty
    from market.events.models import WebhookEndpoint
    from tasks.models import Claim, Submission, WorkerProfile
    from tests.market.api.caller import Caller

# In one of so many scenes everybody asks everything.
WIDE_EACH = 20
AT_ONCE = 5  # Photos of one submission: `tasks.submissions.MAX_FILES`.


@dataclasses.dataclass
class Photo:
    """A file and the place that it tells."""

    carrier: str
    home: located.Home
    raw: bytes


@dataclasses.dataclass
class Scene:
    """Somebody who posts, somebody who photographs, and those who have nothing to do with it. Each scene has a network of its own."""

    network: str
    agent: "Agent"
    worker: "WorkerProfile"
    bounty: "Bounty"
    claim: "Claim"
    endpoint: "WebhookEndpoint"
    callers: "dict[str, Caller]"
    sessions: "dict[str, Client]"


def draw_photos(dice: random.Random, carriers: dict[str, located.Maker], count: int) -> Iterator[Photo]:
    """Yield ``count`` photos, each with a place of its own; the carriers take turns."""
    for name in itertools.islice(itertools.cycle(carriers), count):
        home = located.draw(dice)
        yield Photo(name, home, carriers[name](home))


def open_scene(number: int) -> Scene:
    """Post a bounty and claim it; everybody has keys and sessions."""
    from market.accounts import keys
    from market.accounts.models import User
    from market.events import delivery
    from tests import people, stories
    from tests.market.api.caller import Caller

    network = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    agent, worker = people.open_agent(), people.open_worker()
    people.top_up(agent)
    operator = User.objects.create_user(f"operator-{worker.pk}", is_staff=True, is_superuser=True)
    secrets = {"agent": people.secret_of(agent), "worker": people.secret_of(worker), "nobody": ""}
    secrets |= {"other agent": people.secret_of(people.open_agent("other")), "other worker": people.secret_of(people.open_worker("bo"))}
    for role, is_trusted in (("trusted machine", True), ("other machine", False)):
        secrets[role] = keys.issue(user=operator, agent=None, mode="test", scope="lease:vision", name="gpu", is_trusted=is_trusted)[1]
    users = {"poster": agent.owner, "photographer": User.objects.get(pk=worker.pk), "operator": operator, "stranger": people.open_user("s")}
    endpoint = delivery.add_endpoint(agent=agent, url="https://hooks.example.com/in")
    bounty = stories.post_photo_bounty(agent)
    return Scene(
        network=network,
        agent=agent,
        worker=worker,
        bounty=bounty,
        endpoint=endpoint,
        claim=stories.claim(bounty, worker),
        callers={role: Caller(secret, browser(network)) for role, secret in secrets.items()},
        sessions={role: _signed_in(user, network) for role, user in users.items()},
    )


def browser(network: str) -> "Client":
    """Return a client at an address; rates are counted by address, so that one scene does not use up another's."""
    from django.test import Client

    return Client(raise_request_exception=False, SERVER_NAME="127.0.0.1", REMOTE_ADDR=network)


def _signed_in(user: "User", network: str) -> "Client":
    client = browser(network)
    client.force_login(user)
    return client


@dataclasses.dataclass(frozen=True)
class Heard:
    """One answer: its address, who asked, its status and every byte of it, headers included."""

    who: str
    path: str
    status: int
    content_type: str
    body: bytes
    head: bytes


def ask(who: str, client: "Client", path: str, headers: dict[str, str] | None = None) -> Heard:
    """GET an address and read the answer to its end."""
    return _heard(who, path, client.get(path, headers=headers))


def _heard(who: str, path: str, response: "_MonkeyPatchedWSGIResponse") -> Heard:
    body = response.getvalue()
    head = "\n".join(f"{name}: {value}" for name, value in response.headers.items()).encode()
    return Heard(who, path, response.status_code, response.headers.get("Content-Type", ""), body, head)


def hand_in(scene: Scene, photos: list[Photo]) -> Heard:
    """Hand photos in under the names that they had on the phone, through the form that phones send."""
    import uuid

    from django.core.files.uploadedfile import SimpleUploadedFile

    from tests import stories

    caller = scene.callers["worker"]
    files = [SimpleUploadedFile(photo.home.file_name, photo.raw, "image/jpeg") for photo in photos]
    form = {"latitude": stories.PLACE[0], "longitude": stories.PLACE[1], "accuracy_m": 8, "photo": files}
    path = f"/v1/claims/{scene.claim}/submissions"
    headers = {"Authorization": f"Bearer {caller.secret}", "Idempotency-Key": str(uuid.uuid4())}
    return _heard("worker", path, caller.client.post(path, form, headers=headers))


# Which routes are asked: those that tell of the submission, those of its whole story, or every one, and that by everybody.
_SUBMISSION = re.compile(r"^/(v1/)?submissions/[^/]+(/receipt)?$")
_STORY = re.compile(r"^/(v1/)?(submissions|claims|bounties|events|review)(/|$)")
_EVERY = re.compile("")
_NEAR = ("agent", "worker", "photographer", "operator")


def everything(
    scene: Scene, submission: "Submission", paths: list[str], *, which: re.Pattern[str], who: Sequence[str] = _NEAR
) -> Iterator[Heard]:
    """Ask the routes that answer to a GET, and follow every link to a photo that stands in an answer."""
    routes = [path for path in addresses(scene, submission) if which.match(path)] + paths
    for role, client, headers in askers(scene):
        if which is not _EVERY and role not in who:
            continue
        for path in routes:
            if path.startswith("/v1/") == (role in scene.sessions):
                continue  # Keys open no pages, and sessions nothing of the API but media, whose links are followed below.
            answer = ask(role, client, path, headers)
            yield answer
            for link in sorted(set(re.findall(r"/(?:v1/media|photos)/[A-Za-z0-9_:-]+", answer.body.decode(errors="replace")))):
                yield ask(role, client, link, headers)


def askers(scene: Scene) -> "Iterator[tuple[str, Client, dict[str, str]]]":
    """Yield everybody of a scene: who, how he calls, and with which headers."""
    for role, caller in scene.callers.items():
        yield role, caller.client, {"Authorization": f"Bearer {caller.secret}"} if caller.secret else {}
    for role, client in scene.sessions.items():
        yield role, client, {}


class UnknownRoute(AssertionError):
    """A route takes something that the search can't fill in: say below what it is."""


def addresses(scene: Scene, submission: "Submission") -> list[str]:
    """Return the address of every route, filled with the objects of the scene, and the admin's pages.

    Raises:
        UnknownRoute: a route that nobody thought of here.
    """
    from django.contrib import admin
    from django.urls import get_resolver, reverse

    from verification.models import Review

    review = Review.objects.filter(submission=submission).last()
    known = {
        "bounty_id": str(scene.bounty),
        "task_id": str(scene.bounty.task),
        "task": str(scene.bounty.task),
        "claim_id": str(scene.claim),
        "claim": str(scene.claim),
        "submission_id": str(submission),
        "submission": str(submission),
        "endpoint_id": str(scene.endpoint),
        "review": str(review or "rev_0"),
        # Steps of deliveries and runs are no reads; links are followed from where they stand.
        "delivery_id": "dlv_0",
        "run_id": "run_0",
        "token": "x",
        # Research has no photographs and no places.
        "research_id": "rsb_0",
        "bounty": "rsb_0",
        "candidate_id": "cnd_0",
        "candidate": "cnd_0",
        "idea_id": "ide_0",
        "replay_id": "rpl_0",
        "replay": "rpl_0",
        "name": "x",
    }
    found = [_fill(route, known) for route in _routes(get_resolver().url_patterns) if "admin" not in route]
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        found.append(reverse(f"{name}_changelist"))
        newest = model._default_manager.order_by("-pk").first()
        if newest is not None:
            found += [reverse(f"{name}_{page}", args=[newest.pk]) for page in ("change", "history")]
    return found


def _routes(patterns: "list[URLPattern | URLResolver]", start: str = "") -> Iterator[str]:
    for pattern in patterns:
        here = start + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            if "admin" not in here:
                yield from _routes(pattern.url_patterns, here)
        else:
            yield here


def _fill(route: str, known: dict[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in known:
            raise UnknownRoute(f"{route}: what is {match[1]}?")
        return known[match[1]]

    return "/" + re.sub(r"<(?:\w+:)?(\w+)>", value, route.replace("^.*$", "nowhere"))


def leased(scene: Scene, submission: "Submission") -> dict[str, str]:
    """Ask for readings and let the trusted machine lease them; return the addresses of the originals by digest."""
    from verification import vision_runs
    from verification.models import Case, VisionRun

    case = Case.objects.get(submission=submission)
    VisionRun.objects.filter(case=case).delete()
    vision_runs.ask(case=case, files=list(submission.evidence.all()), phrases=["a cup"])
    items = scene.callers["trusted machine"].post("leases", {"kind": "vision", "holder": "gpu", "limit": AT_ONCE}).ok()["items"]
    return {given["sha256"]: "/v1/" + given["url"].partition("/v1/")[2] for item in items for given in item["inputs"]}


def serve(report: campaign.Report, *, seed: int, count: int) -> None:
    """Hand in ``count`` photos that tell a place and every kind of refused file; search all that anybody is answered."""
    dice = random.Random(seed)
    photos = draw_photos(dice, located.CARRIERS, count)
    report.figures |= {"photos that tell a place": 0, "carriers": len(located.CARRIERS), "answers searched": 0, "megabytes searched": 0}
    searched = 0
    with _logged() as lines:
        for number in itertools.count():
            batch = list(itertools.islice(photos, AT_ONCE))
            if not batch:
                break
            searched += _serve_batch(report, open_scene(number), batch, f"seed {seed}, scene {number}", is_wide=number % WIDE_EACH == 0)
            report.count("photos that tell a place", len(batch))
        for number, photo in enumerate(draw_photos(dice, located.REFUSED_CARRIERS, len(located.REFUSED_CARRIERS))):
            _refuse(report, open_scene(1 << 20 | number), photo, f"seed {seed}")
        told = "\n".join(lines).encode()
    report.figures["megabytes searched"] = round(searched / 1e6, 1)
    report.figures.setdefault("places served", 0)
    for photo in draw_photos(random.Random(seed), located.CARRIERS, count):
        if located.found_in(told, photo.home):
            report.violations.append(f"seed {seed}: the log tells the place of {photo.carrier}")


def _serve_batch(report: campaign.Report, scene: Scene, batch: list[Photo], where: str, *, is_wide: bool) -> int:
    """Tell a story of five photos, from the hand-in over a rejection and its appeal to the payment; search what is answered meanwhile."""
    from market.accounts.models import User
    from market.events import feed
    from tasks.models import Submission
    from tests import stories

    answers = [hand_in(scene, batch)]
    if answers[0].status != 201:
        report.violations.append(f"{where}: {[photo.carrier for photo in batch]} were not taken: {answers[0].body[:300]!r}")
        return 0
    submission = Submission.objects.get(claim=scene.claim)
    originals = leased(scene, submission)
    _fetch_originals(report, scene, batch, originals, where)
    answers += everything(scene, submission, [], which=_SUBMISSION, who=("agent", "photographer"))
    stories.settle(submission, "REJECTED")
    stories.appeal(submission)
    feed.sequence()
    # Now an operator sees the photos on his page as well.
    answers += everything(scene, submission, list(originals.values()), which=_EVERY if is_wide else _STORY)
    stories.decide_appeal(submission, User.objects.get(pk=scene.sessions["operator"].session["_auth_user_id"]), "ACCEPTED")
    # Paid: the poster sees the whole copy instead of the preview, and there is a receipt.
    answers += everything(scene, submission, [], which=_SUBMISSION, who=("agent",))
    for answer in answers:
        _search(report, answer, batch, where)
    shown = [answer for answer in answers if answer.content_type == "image/jpeg"]
    if set(_NEAR) - {answer.who for answer in shown}:
        report.violations.append(f"{where}: only {sorted({answer.who for answer in shown})} were shown the photos")
    report.count("photos served", len(shown))
    return sum(len(answer.body) for answer in answers)


def _fetch_originals(report: campaign.Report, scene: Scene, batch: list[Photo], originals: dict[str, str], where: str) -> None:
    caller = scene.callers["trusted machine"]
    for photo in batch:
        path = originals.get(hashlib.sha256(photo.raw).hexdigest(), "/v1/lease_files/missing")
        answer = ask("trusted machine", caller.client, path, {"Authorization": f"Bearer {caller.secret}"})
        if answer.body != photo.raw:
            report.violations.append(f"{where}: the trusted lease's original of {photo.carrier} is not what was handed in: {answer.status}")
        report.count("originals to trusted leases")


def _search(report: campaign.Report, answer: Heard, batch: list[Photo], where: str) -> None:
    report.count("answers searched")
    if answer.who == "trusted machine" and answer.path.startswith("/v1/lease_files/"):
        return
    if answer.status >= 500:
        report.violations.append(f"{where}: {answer.who} {answer.path} answered {answer.status}")
    for photo in batch:
        if photo.raw in answer.body or located.found_in(answer.head + b"\n" + answer.body, photo.home):
            report.count("places served")
            report.violations.append(f"{where}: {answer.who} is told the place of {photo.carrier} by {answer.path}")
    if answer.content_type == "image/jpeg":
        report.violations += [f"{where}: {answer.path} serves {found}" for found in located.metadata_in(answer.body)]


def _refuse(report: campaign.Report, scene: Scene, photo: Photo, where: str) -> None:
    from django.core.files.storage import default_storage

    from tasks import evidence
    from tasks.models import Evidence

    answer, digest = hand_in(scene, [photo]), hashlib.sha256(photo.raw).hexdigest()
    if answer.status != 422 or b'"unreadable_photo"' not in answer.body:
        report.violations.append(f"{where}: {photo.carrier} was answered {answer.status} {answer.body[:200]!r}")
    if Evidence.objects.filter(sha256=digest).exists() or default_storage.exists(evidence.original_name(digest)):
        report.violations.append(f"{where}: something of {photo.carrier} was kept")
    _search(report, answer, [photo], where)
    report.count("refused containers")


@contextlib.contextmanager
def _logged() -> Iterator[list[str]]:
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.msg} {record.args}")

    handler = Keep(level=logging.DEBUG)
    logging.getLogger().addHandler(handler)
    try:
        yield lines
    finally:
        logging.getLogger().removeHandler(handler)


def see_controls(report: campaign.Report, *, seed: int, served: int = len(located.CARRIERS)) -> None:
    """Let intake strip nothing: of each carrier the search must find the place. ``served`` of them go the whole way over HTTP."""
    from tasks import evidence
    from tasks.models import Submission

    program = Path(intake.__file__).read_text(encoding="utf-8")
    stripping = "return header, encode(shown, 88), encode(watermarked(shown), 70)"
    assert stripping in program
    every = list(draw_photos(random.Random(seed), located.CARRIERS, len(located.CARRIERS)))
    blind = [photo.carrier for photo in every if not located.found_in(photo.raw, photo.home)]
    photos = iter(every[:served])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "intake.py")
        path.write_text(program.replace(stripping, "return header, raw, raw"), encoding="utf-8")
        with mock.patch.object(evidence, "_INTAKE", path):
            for number in itertools.count(1 << 21):
                batch = list(itertools.islice(photos, AT_ONCE))
                if not batch:
                    break
                scene = open_scene(number)
                hand_in(scene, batch)
                caller = scene.callers["worker"]
                shown = caller.get(f"submissions/{Submission.objects.get(claim=scene.claim)}").ok()
                bodies = [caller.get(each["url"]).body for each in shown["evidence"]]
                blind += [photo.carrier for photo in batch if not any(located.found_in(body, photo.home) for body in bodies)]
    report.figures["control: carriers found unstripped"] = len(located.CARRIERS) - len(blind)
    report.violations += [f"The control is blind: the search does not find the place in {carrier}" for carrier in blind]
