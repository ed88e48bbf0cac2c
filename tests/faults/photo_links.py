"""Links to photos, tried by everybody they are not for, after their time, after their viewer's right, and with every byte turned."""

import contextlib
import datetime
import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import time_machine

from tests.faults import campaign, located_photos
from tests.faults.hostile_files import located
from tests.faults.hostile_files.containers import picture

if TYPE_CHECKING:
    from tasks.models import Submission
    from verification.models import VisionRun

# Statuses of a refusal: no key, not yours or not any more, no such thing.
_REFUSED = (401, 403, 404)
_HEADERS = {
    "Cache-Control": "no-store, private",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
# Everything before a byte of a link that is not part of its token.
_DOORS = ("/v1/media/", "/photos/", "/v1/lease_files/")


class Tries:
    """A scene with one photo, and a count of the links that were tried."""

    def __init__(self, report: campaign.Report, number: int) -> None:
        from tasks.models import Submission as Kept

        self.report = report
        self.scene = located_photos.open_scene(number)
        home = located.draw(random.Random(number))
        answer = located_photos.hand_in(self.scene, [located_photos.Photo("plain", home, picture("JPEG", 160 + number % 100, 120))])
        assert answer.status == 201, answer.body
        self.submission: Submission = Kept.objects.get(claim=self.scene.claim)

    def ask(self, role: str, path: str) -> located_photos.Heard:
        """Ask for a path as somebody."""
        for name, client, headers in located_photos.askers(self.scene):
            if name == role:
                return located_photos.ask(role, client, path, headers)
        raise AssertionError(role)

    def api_link(self, role: str) -> str:
        """Return the link that the API gives to a key."""
        shown = self.scene.callers[role].get(f"submissions/{self.submission}").ok()
        return str(urlsplit(shown["evidence"][0]["url"]).path)

    def page_link(self, role: str, variant: str = "display") -> str:
        """Return the link that a page gives to somebody who is signed in."""
        import uuid

        from market.web import photo_paths

        viewer = uuid.UUID(self.scene.sessions[role].session["_auth_user_id"])
        return photo_paths.path_for(viewer, self.submission.evidence.get(), variant)  # type: ignore[arg-type]

    def opens(self, role: str, path: str, why: str) -> located_photos.Heard:
        """Expect the photo."""
        answer = self.ask(role, path)
        self.report.count("links that must open")
        if answer.status != 200:
            self.report.violations.append(f"{why}: {role} is refused {path}: {answer.status}")
        return answer

    def refuses(self, role: str, path: str, why: str) -> None:
        """Expect a refusal without a byte of a photo."""
        answer = self.ask(role, path)
        self.report.count("links that must not open")
        if answer.status not in _REFUSED or b"\xff\xd8\xff" in answer.body:
            self.report.violations.append(f"{why}: {role} is answered {answer.status} to {path}")


def try_all(report: campaign.Report, *, seed: int, turned: int = 10**6) -> None:
    """Try each way in which a link could be good for too many, for too long, or for something else.

    Every byte of a link is turned, or ``turned`` of them.
    """
    numbers = iter(range(1 << 22, 1 << 23))
    _other_viewers(Tries(report, next(numbers)))
    _after_its_time(Tries(report, next(numbers)))
    for end in RIGHTS:
        _after_the_right(Tries(report, next(numbers)), end, RIGHTS[end])
    _other_purposes(Tries(report, next(numbers)))
    _turned_bytes(Tries(report, next(numbers)), random.Random(seed), turned)
    _headers(Tries(report, next(numbers)))


def _links(tries: Tries) -> dict[str, str]:
    """Return a good link of each viewer."""
    roles = {role: tries.api_link(role) for role in ("agent", "worker")}
    roles |= {role: tries.page_link(role) for role in ("photographer", "operator")}
    return roles | {"poster": tries.page_link("poster", "preview")}


def _everybody(tries: Tries) -> list[str]:
    return [role for role, _, _ in located_photos.askers(tries.scene)]


def _other_viewers(tries: Tries) -> None:
    for viewer, link in _links(tries).items():
        tries.opens(viewer, link, "its own viewer")
        for other in _everybody(tries):
            for door in ("/v1/media/", "/photos/"):
                path = door + link.rpartition("/")[2]
                # A key's link opens for the key, and a session's for the session, whichever of the two doors it is.
                if other == viewer and (door == "/v1/media/" or link.startswith("/photos/")):
                    tries.opens(other, path, "the other door")
                else:
                    tries.refuses(other, path, f"a link of {viewer}")
    (original,) = located_photos.leased(tries.scene, tries.submission).values()
    tries.opens("trusted machine", original, "the trusted lease")
    for other in _everybody(tries):
        if other != "trusted machine":
            tries.refuses(other, original, "an original's link")


def _after_its_time(tries: Tries) -> None:
    from market.accounts import media_links
    from tasks import clock

    start = clock.now().replace(microsecond=0)
    with time_machine.travel(start, tick=False):
        links = _links(tries)
    for after_s, is_open in ((0.0, True), (media_links.MAX_AGE_S, True), (media_links.MAX_AGE_S + 0.001, False), (3600.0, False)):
        with time_machine.travel(start + datetime.timedelta(seconds=after_s), tick=False):
            for viewer, link in links.items():
                expect: Callable[[str, str, str], object] = tries.opens if is_open else tries.refuses
                expect(viewer, link, f"after {after_s} s")
    # A clock that was put back must not give a link a second life beyond its minute.
    with time_machine.travel(start - datetime.timedelta(seconds=1), tick=False):
        tries.opens("worker", links["worker"], "a second before it was made")


def _revoke(tries: Tries, role: str) -> None:
    from market.accounts import keys
    from market.accounts.models import ApiKey
    from tasks import clock

    keys.revoke(key=ApiKey.objects.get(secret_sha256=keys.digest(tries.scene.callers[role].secret)), now=clock.now())


def _bar(tries: Tries, role: str) -> None:
    from market.accounts.models import User

    user = tries.scene.agent.owner_id if role in ("agent", "poster") else tries.scene.worker.pk
    User.objects.filter(pk=user).update(is_active=False)


def _suspend(tries: Tries) -> None:
    from market.accounts.models import Agent

    Agent.objects.filter(pk=tries.scene.agent.pk).update(is_suspended=True)


def _dismiss(tries: Tries) -> None:
    from market.accounts.models import User

    User.objects.filter(pk=tries.scene.sessions["operator"].session["_auth_user_id"]).update(is_staff=False)


def _withdraw(tries: Tries) -> None:
    tries.submission.evidence.all().delete()


def _erase(tries: Tries) -> None:
    from django.core.files.storage import default_storage

    from tasks import evidence

    file = tries.submission.evidence.get()
    for name in (evidence.display_name(file.display_sha256), evidence.preview_name(file.display_sha256)):
        default_storage.delete(name)


def _give_away(tries: Tries) -> None:
    from tasks.models import Submission
    from tests import people

    Submission.objects.filter(pk=tries.submission.pk).update(worker=people.open_worker("heir"))


# How a right to see a photo ends, and whose links end with it.
RIGHTS: dict[str, tuple[Callable[[Tries], None], tuple[str, ...]]] = {
    "the worker's key was revoked": (lambda tries: _revoke(tries, "worker"), ("worker",)),
    "the agent's key was revoked": (lambda tries: _revoke(tries, "agent"), ("agent",)),
    "the worker was barred": (lambda tries: _bar(tries, "worker"), ("worker", "photographer")),
    "the poster was barred": (lambda tries: _bar(tries, "agent"), ("agent", "poster")),
    "the agent was suspended": (_suspend, ("agent",)),
    "the operator was dismissed": (_dismiss, ("operator",)),
    "the photographer signed out": (lambda tries: tries.scene.sessions["photographer"].logout(), ("photographer",)),
    "the submission is another's": (_give_away, ("worker", "photographer")),
    "the evidence was withdrawn": (_withdraw, ("agent", "worker", "photographer", "operator", "poster")),
    "the files were erased": (_erase, ("agent", "worker", "photographer", "operator", "poster")),
}


def _after_the_right(tries: Tries, why: str, how: tuple[Callable[[Tries], None], tuple[str, ...]]) -> None:
    end, ended = how
    links = _links(tries)
    for viewer, link in links.items():
        tries.opens(viewer, link, f"before {why}")
    end(tries)
    for viewer, link in links.items():
        if viewer in ended:
            tries.refuses(viewer, link, why)
        else:
            tries.opens(viewer, link, f"though {why}")


def _other_purposes(tries: Tries) -> None:
    """A preview is no way to the whole copy, a copy no way to the original, and no signature is good for another end."""
    from django.core import signing
    from django.core.files.storage import default_storage

    from market.accounts import keys, media_links
    from market.accounts.models import ApiKey
    from tasks import evidence
    from tests import stories
    from verification.models import VisionRun

    (original,) = located_photos.leased(tries.scene, tries.submission).values()
    links = _links(tries)
    for link in links.values():
        tries.refuses("trusted machine", "/v1/lease_files/" + link.rpartition("/")[2], "a copy's link at the originals' door")
    for role in ("trusted machine", "operator", "worker"):
        for door in ("/v1/media/", "/photos/"):
            tries.refuses(role, door + original.rpartition("/")[2], "an original's link at the copies' door")
    key = ApiKey.objects.get(secret_sha256=keys.digest(tries.scene.callers["agent"].secret))
    file = tries.submission.evidence.get()
    parts = [file.pk.hex, "display", media_links.viewer_with_key(key.pk)]
    for salt in ("", "django.core.signing", "market.api.leases.input", "market.api.paging", "sessions"):
        tries.refuses("agent", "/v1/media/" + signing.dumps(parts, salt=salt or "x"), f"signed for {salt!r}")
    # Rightly signed, and too early: the whole copy is the poster's once it is paid.
    early = urlsplit(media_links.url(evidence_id=file.pk, variant="display", viewer=media_links.viewer_with_key(key.pk))).path
    tries.refuses("agent", early, "not paid yet")
    tries.refuses("poster", tries.page_link("poster"), "not paid yet")
    tries.opens("trusted machine", original, "its lease lasts")
    keys_of_machine = ApiKey.objects.filter(secret_sha256=keys.digest(tries.scene.callers["trusted machine"].secret))
    keys_of_machine.update(is_trusted=False)
    tries.refuses("trusted machine", original, "the machine is not trusted any more")
    keys_of_machine.update(is_trusted=True)
    endings: tuple[dict[str, object], ...] = (
        {"lease_until": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)},
        {"token": 10**6},
        {"lease_state": "DEAD", "lease_until": None},
    )
    for ended in endings:
        with _changed(VisionRun, tries, ended):
            tries.refuses("trusted machine", original, f"the lease has ended: {ended}")
    stories.settle(tries.submission)
    tries.opens("agent", early, "paid now")
    default_storage.delete(evidence.original_name(file.sha256))
    tries.refuses("trusted machine", original, "the original was erased")


@contextlib.contextmanager
def _changed(model: "type[VisionRun]", tries: Tries, change: dict[str, object]) -> Iterator[None]:
    rows = model.objects.filter(case__submission=tries.submission)
    before = rows.values(*change).get()
    rows.update(**change)
    yield
    rows.update(**before)


def _turned_bytes(tries: Tries, dice: random.Random, most: int) -> None:
    (original,) = located_photos.leased(tries.scene, tries.submission).values()
    for role, link in {**_links(tries), "trusted machine": original}.items():
        door = next(each for each in _DOORS if link.startswith(each))
        token = link.removeprefix(door).encode()
        for place in sorted(dice.sample(range(len(token)), min(most, len(token)))):
            turned = bytearray(token)
            turned[place] ^= 1 << dice.randrange(7)
            # Percent signs carry any byte past the client; the server sees it as it is.
            tries.refuses(role, door + "".join(f"%{byte:02X}" for byte in turned), f"byte {place} turned")
        for shorter in (token[:-1], token[1:], token + b"A", token + b"=", token.swapcase(), b"", b":", token.replace(b":", b"::")):
            tries.refuses(role, door + shorter.decode(), "another length")


def _headers(tries: Tries) -> None:
    (original,) = located_photos.leased(tries.scene, tries.submission).values()
    file = str(tries.submission.evidence.get())
    for role, link in {**_links(tries), "trusted machine": original}.items():
        answer = tries.opens(role, link, "headers")
        told = dict(line.split(": ", 1) for line in answer.head.decode().split("\n"))
        wanted = dict(_HEADERS)
        if role == "trusted machine":
            wanted |= {"Content-Type": "application/octet-stream", "Content-Disposition": f'attachment; filename="{file}.bin"'}
        else:
            name = f"{file}-preview.jpg" if role == "agent" or (role == "poster" and link.startswith("/v1/")) else f"{file}.jpg"
            wanted |= {"Content-Type": "image/jpeg", "Content-Disposition": f'inline; filename="{name}"'}
        missing = {name: told.get(name, "") for name, value in wanted.items() if told.get(name) != value}
        tries.report.count("answers with headers checked")
        tries.report.violations += [f"{role}: {name} is {value!r} instead of {wanted[name]!r}" for name, value in missing.items()]
