"""A person at the operator pages, by HTTP: signs in, opens the case and decides it."""

import contextlib
import re
from collections.abc import Iterator

import httpx

from tests.journeys.stage import Stage


@contextlib.contextmanager
def sign_in(stage: Stage) -> Iterator[httpx.Client]:
    """Yield a client with an operator's session."""
    with httpx.Client(base_url=stage.url, follow_redirects=True, timeout=30) as client:
        page = client.get("/admin/login/")
        form = {"username": "operator", "password": stage.keys["operator_password"], "next": "/review", "csrfmiddlewaretoken": _token(page)}
        queue = client.post("/admin/login/", data=form, headers={"Referer": f"{stage.url}/admin/login/"})
        assert queue.url.path == "/review", queue.text[:500]
        yield client


def decide(stage: Stage, submission: str, *, accept: bool, reason: str, criterion: str = "") -> None:
    """Decide the waiting case of a submission on its page."""
    with sign_in(stage) as client:
        case = _case_of(client, submission)
        form = {
            "decision": "ACCEPTED" if accept else "REJECTED",
            "criterion": criterion,
            "reason": reason,
            "csrfmiddlewaretoken": _token(case),
        }
        decided = client.post(case.url.path, data=form, headers={"Referer": str(case.url)})
        assert decided.url.path == "/review", decided.text[:2000]


def _case_of(client: httpx.Client, submission: str) -> httpx.Response:
    for path in re.findall(r'href="(/review/rev_[0-9a-f]{32})"', client.get("/review").text):
        case = client.get(path)
        if submission in case.text:
            return case
    raise AssertionError(f"No case of {submission} waits in the queue.")


def _token(page: httpx.Response) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert found, page.text[:500]
    return found[1]
