"""Bodies no route would take are refused unread, and a busy process keeps threads for money."""

import itertools
import threading

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import URLPattern

from market.api import parsing, urls
from market.config import bounds

# Every POST of the API: does it have threads of its own under overload?
VITAL = {
    "bounties": True,
    "bounty-fund": True,
    "bounty-cancel": True,
    "bounty-improve": True,
    "submission-review": True,
    "submission-appeal": True,
    "submission-waive": True,
    "task-claims": True,
    "claim-extend": True,
    "claim-drop": True,
    # Photos take seconds, and the intake has a limit of its own.
    "claim-submissions": False,
    "deposits": True,
    "payouts": True,
    "webhook-endpoints": False,
    "delivery-resend": False,
    # Asking for work is what machines do all the time; handing it in is what money waits for.
    "leases": False,
    "lease-heartbeat": True,
    "lease-complete": True,
    "lease-fail": True,
    "lease-seal": True,
    "lease-finish": True,
    # Files take as long as their sender's line does.
    "lease-artefacts": False,
    "research-files": False,
    "research-list": True,
    "research-fund": True,
    "research-improve": True,
    "research-cancel": True,
    "research-candidates": True,
    "research-precommits": True,
    "candidate-challenge": True,
    "research-ideas": False,
    "idea-hold": False,
    "idea-release": False,
    "idea-finish": False,
    "hosts": False,
    "replay-appeal": True,
    "stakes-withdraw": True,
}
make = RequestFactory()


def test_says_of_every_post_whether_it_is_vital() -> None:
    found = {route.name: route.callback.view_class.is_vital for route in urls.urlpatterns if has_post(route)}  # type: ignore[attr-defined]
    assert found == VITAL


def has_post(route: URLPattern) -> bool:
    return hasattr(route.callback.view_class, "post")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (make.post("/v1/payouts"), True),
        (make.get("/v1/payouts"), False),
        (make.post("/v1/bounties/bty_x/fund"), True),
        (make.post("/v1/bounties/bty_x/fund/"), False),
        (make.post("/v1/nowhere"), False),
        (make.post("/money"), False),
    ],
)
def test_knows_what_is_vital(request_: HttpRequest, expected: bool) -> None:
    assert bounds.is_vital(request_) is expected


class Busy:
    """A process of four threads: each request it works on stays until it may end."""

    def __init__(self) -> None:
        self.may_end, self.is_inside = threading.Event(), threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        self.answer = bounds.threads_for_money(self._work)

    def occupy(self, path: str, *, key: str = "") -> None:
        """Send a request that stays; with a key it is one that moves money."""
        request = make.post(path, headers={"Prefer": "wait", "Authorization": key}) if key else make.get(path, headers={"Prefer": "wait"})
        thread = threading.Thread(target=self.answer, args=[request])
        thread.start()
        self._threads.append(thread)
        assert self.is_inside.acquire(timeout=60)

    def empty(self) -> None:
        """Let all end."""
        self.may_end.set()
        for thread in self._threads:
            thread.join(60)

    def _work(self, request: HttpRequest) -> HttpResponse:
        if "Prefer" in request.headers:
            self.is_inside.release()
            assert self.may_end.wait(60)
        return HttpResponse("done")


@pytest.fixture
def busy(settings: object) -> Busy:
    settings.WEB_THREADS = 4  # type: ignore[attr-defined]
    return Busy()


def test_keeps_a_quarter_of_the_threads_for_money(busy: Busy) -> None:
    for path in ("/v1/bounties", "/v1/tasks", "/work"):
        busy.occupy(path)
    shed = busy.answer(make.get("/v1/balance"))
    page = busy.answer(make.get("/"))
    assert (shed.status_code, shed.headers["Retry-After"], shed.headers["Content-Type"]) == (503, "1", "application/problem+json")
    assert (page.status_code, page.headers["Retry-After"], page.headers["Content-Type"]) == (503, "1", "text/plain")
    for path in ("/v1/payouts", "/v1/bounties/bty_x/cancel", "/v1/leases/run_x/complete"):
        assert busy.answer(make.post(path)).status_code == 200
    assert busy.answer(make.get("/healthz")).status_code == 200
    busy.empty()
    assert busy.answer(make.get("/v1/balance")).status_code == 200


def test_one_key_does_not_hold_all_that_is_kept_for_money(settings: object) -> None:
    """Sixteen threads, four of them kept: two for one key at most, and twelve of everybody's."""
    settings.WEB_THREADS = 16  # type: ignore[attr-defined]
    busy = Busy()
    slow, other = (f"test_worker_{letter * 43}" for letter in "so")
    spellings = itertools.cycle([f"Bearer {slow}", f"bearer {slow}", f"BEARER  {slow} "])
    for _ in range(2 + 12):
        busy.occupy("/v1/payouts", key=next(spellings))
    for spelling in itertools.islice(spellings, 3):
        assert busy.answer(make.post("/v1/payouts", headers={"Authorization": spelling})).status_code == 503
    assert busy.answer(make.post("/v1/payouts", headers={"Authorization": f"Bearer {other}"})).status_code == 200
    busy.empty()
    assert busy.answer(make.post("/v1/payouts", headers={"Authorization": next(spellings)})).status_code == 200


def test_gives_a_thread_back_when_a_view_fails(settings: object) -> None:
    settings.WEB_THREADS = 1  # type: ignore[attr-defined]
    outcomes = iter([RuntimeError("bug"), None])

    def work(request: HttpRequest) -> HttpResponse:
        error = next(outcomes)
        if error:
            raise error
        return HttpResponse("done")

    answer = bounds.threads_for_money(work)
    with pytest.raises(RuntimeError):
        answer(make.get("/"))
    assert answer(make.get("/")).status_code == 200


@pytest.mark.parametrize("length", [str(parsing.MAX_FORM_BYTES + 1), "9" * 5000, "-1", "1e9", "\u0665"])
@pytest.mark.parametrize("path", ["/recover", "/v1/payouts", "/admin/login/"])
@pytest.mark.django_db
def test_refuses_large_bodies_unread(client: Client, path: str, length: str) -> None:
    answer = client.post(path, b"x", content_type="multipart/form-data; boundary=x", CONTENT_LENGTH=length)
    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == ("application/problem+json" if path.startswith("/v1") else "text/plain")
