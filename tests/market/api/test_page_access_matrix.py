"""Who may see which page, for every page, health address and address of the admin: one without an entry fails."""

import re
from collections.abc import Iterator

import pytest
from django.contrib import admin
from django.contrib.sessions.models import Session
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from market.accounts.models import User
from market.web import limits
from tasks import clock
from tests import people
from tests.faults import calls, visits

pytestmark = pytest.mark.django_db

ROLES = ["nobody", "worker", "other_worker", "no_worker", "barred", "ended", "operator", "other_operator"]
# Columns as in ROLES; "yes" is any answer but 403, 404 and the way to the sign-in. An operator is no worker, and a barred user nobody.
MATRIX = {
    ("listing", "GET"): "yes yes yes yes yes yes yes yes",
    ("place", "POST"): "yes yes yes yes yes yes yes yes",
    ("task", "GET"): "yes yes yes yes yes yes yes yes",
    # Whoever is nobody gets an account here; a user who is no worker does not get a second one.
    ("claim-task", "POST"): "yes yes yes 403 yes yes 403 403",
    ("claim", "GET"): "403 yes 404 403 403 403 403 403",
    ("send", "POST"): "403 yes 404 403 403 403 403 403",
    ("cannot", "GET"): "403 yes 404 403 403 403 403 403",
    ("cannot", "POST"): "403 yes 404 403 403 403 403 403",
    ("extend", "POST"): "403 yes 404 403 403 403 403 403",
    ("drop", "POST"): "403 yes 404 403 403 403 403 403",
    ("submission", "GET"): "403 yes 404 403 403 403 403 403",
    ("retake", "POST"): "403 yes 404 403 403 403 403 403",
    ("appeal", "POST"): "403 yes 404 403 403 403 403 403",
    ("waive", "POST"): "403 yes 404 403 403 403 403 403",
    ("work", "GET"): "403 yes yes 403 403 403 403 403",
    ("money", "GET"): "403 yes yes 403 403 403 403 403",
    ("money", "POST"): "403 yes yes 403 403 403 403 403",
    ("recover", "GET"): "yes yes yes yes yes yes yes yes",
    ("recover", "POST"): "yes yes yes yes yes yes yes yes",
    ("leave", "POST"): "yes yes yes yes yes yes yes yes",
    # The link was made for the worker alone.
    ("photo", "GET"): "404 yes 404 404 404 404 404 404",
    ("research", "GET"): "yes yes yes yes yes yes yes yes",
    ("research-bounty", "GET"): "yes yes yes yes yes yes yes yes",
    ("frontier-csv", "GET"): "yes yes yes yes yes yes yes yes",
    ("candidate", "GET"): "yes yes yes yes yes yes yes yes",
    ("curves-csv", "GET"): "yes yes yes yes yes yes yes yes",
    ("gains-csv", "GET"): "yes yes yes yes yes yes yes yes",
    ("test-csv", "GET"): "yes yes yes yes yes yes yes yes",
    # Each sees his own runs alone.
    ("earnings", "GET"): "403 yes yes 403 403 403 403 403",
    ("earnings-csv", "GET"): "403 yes yes 403 403 403 403 403",
    ("earning-days-csv", "GET"): "403 yes yes 403 403 403 403 403",
    ("replay", "GET"): "403 yes 404 403 403 403 403 403",
    ("replay-appeal", "POST"): "403 yes 404 403 403 403 403 403",
    ("parting-csv", "GET"): "403 yes 404 403 403 403 403 403",
    ("reviews", "GET"): "login login login login login login yes yes",
    ("review", "GET"): "login login login login login login yes 404",
    # The other is told that it is not his case: 409, and the decision is not taken.
    ("review", "POST"): "login login login login login login yes yes",
}
# Beside pages and API.
ELSEWHERE = {"healthz", "readyz", "admin/", "v1/", ""}


@pytest.fixture
def place() -> visits.Place:
    return visits.prepare(calls.Cast())


@pytest.fixture(autouse=True)
def many_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one network open as many accounts and try as many codes as it likes."""
    for what in limits.PER_HOUR:
        monkeypatch.setitem(limits.PER_HOUR, what, 10**9)


@pytest.fixture
def browsers(place: visits.Place) -> dict[str, Client]:
    """A browser for each role. The other operator is barred from the case because he has judged it before."""
    worker = User.objects.get(pk=place.worker.pk)
    barred = people.open_worker("barred")
    return {
        "nobody": Client(),
        "worker": browser_of(worker),
        "other_worker": browser_of(User.objects.get(pk=people.open_worker("bo").pk)),
        "no_worker": browser_of(people.open_user("owner")),
        "barred": browser_of(User.objects.get(pk=barred.pk), is_barred=True),
        "ended": browser_of(worker, is_ended=True),
        "operator": browser_of(place.operator),
        "other_operator": browser_of(interested_operator(place)),
    }


def browser_of(user: User, *, is_barred: bool = False, is_ended: bool = False) -> Client:
    client = Client()
    client.force_login(user)
    if is_barred:
        User.objects.filter(pk=user.pk).update(is_active=False)
    if is_ended:
        Session.objects.filter(pk=client.session.session_key).update(expire_date=clock.now())
    return client


def interested_operator(place: visits.Place) -> User:
    """Return an operator whose own agent asked for the task: nobody decides about work that he pays for."""
    owner = User.objects.get(pk=place.review.submission.task.owner_id)
    User.objects.filter(pk=owner.pk).update(is_staff=True)
    return User.objects.get(pk=owner.pk)


def test_has_an_entry_for_every_page(place: visits.Place) -> None:
    assert {name for name, _ in MATRIX} == visits.names()
    assert {(visit.name, visit.method) for visit in place.visits()} == set(MATRIX)
    assert {str(route.pattern) for route in get_resolver().url_patterns} == ELSEWHERE


def test_lets_in_who_may(place: visits.Place, browsers: dict[str, Client]) -> None:
    """Every role asks for every page; what it did is undone before the next."""
    seen = {(visit.name, visit.method): " ".join(outcome(browsers[role], visit) for role in ROLES) for visit in place.visits()}
    assert seen == MATRIX


def outcome(client: Client, visit: visits.Visit) -> str:
    cookies = client.cookies.output(header="", sep=";")
    with transaction.atomic():
        answer = client.generic(
            visit.method,
            visit.path,
            calls.form_of(visit.form.items(), None) if visit.method == "POST" else b"",
            f"multipart/form-data; boundary={calls.BOUNDARY}",
        )
        answer.getvalue()
        transaction.set_rollback(True)
    client.cookies.clear()
    client.cookies.load(cookies)
    assert answer.status_code < 500, visit
    if answer.headers.get("Location", "").startswith("/admin/login/"):
        return "login"
    return str(answer.status_code) if answer.status_code in (403, 404) else "yes"


def test_opens_the_admin_to_staff_alone(browsers: dict[str, Client]) -> None:
    """Whoever is no operator is sent to the sign-in from every address of the admin, whether it exists or not."""
    addresses = sorted(set(admin_addresses()))
    assert len(addresses) > 5
    for address in addresses:
        for role, methods in {"nobody": ["get"], "worker": ["get", "post"], "ended": ["post"]}.items():
            for method in methods:
                answer = getattr(browsers[role], method)(f"/admin/{address}")
                is_sent_away = answer.status_code == 302 and answer.headers["Location"].startswith("/admin/login/")
                is_open = answer.status_code == OPEN_ADMIN.get(address)
                assert is_sent_away or is_open, (address, role, method, answer.status_code)


# The sign-in itself, the words of its scripts, and the way out, which leads to the sign-in.
OPEN_ADMIN = {"login/": 200, "jsi18n/": 200, "logout/": 302}


def admin_addresses() -> Iterator[str]:
    """Write an address for each pattern of the admin."""
    for before, pattern in flattened(admin.site.get_urls()):
        text = re.sub(r"<[^>]+>|\(\?P<\w+>[^)]*\)", "1", before + str(pattern.pattern))
        yield text.lstrip("^").rstrip("$").replace("\\Z", "").replace(".*", "nowhere")


def flattened(patterns: list[URLPattern | URLResolver], before: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from flattened(pattern.url_patterns, before + str(pattern.pattern))
        else:
            yield before, pattern
