"""Sends almost valid requests of every route and page to the market in this process, and judges every answer.

Each request finds the same objects: what it did is rolled back. Whatever was sent, the answer is no fault of ours, says nothing of our
insides, is what the description of the API says, and a refusal has changed nothing.
"""

import contextlib
import json
import logging
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from http.cookies import SimpleCookie
from typing import Any
from unittest import mock

import jsonschema  # type: ignore[import-untyped]
from django.db import transaction
from django.http import HttpResponseBase
from django.test import Client
from django.urls import Resolver404, resolve
from drf_spectacular.generators import SchemaGenerator

from market.accounts import media_links
from market.accounts.models import ApiKey
from market.api import problems
from market.config import rates
from market.ledger import audit
from market.web import limits
from tasks import clock
from tests.faults import calls, campaign, effects, mutations, visits

# One request in so many is left as it is: it must succeed.
VALID = 25
# A real photograph is decoded in a process of its own, which takes as long as a hundred other requests.
PHOTOS = 100
# Claims and leases expire, so after so many requests all objects are made anew.
OBJECTS_LAST = 2_000
# What no body may hold: words of our own stack, and where it lies.
_WORDS = ["Traceback (most", 'File "/', "site-packages", "psycopg", "rest_framework", "django.", "duplicate key", str(campaign.ROOT)]
INSIDES = re.compile("|".join(map(re.escape, _WORDS)))
# Said of a state that will pass, or of a part that is not built.
_NO_FAULTS = {(501, "live_money_unavailable"), (503, "intake_busy")}
_LIMITS = ("READS", "WRITES", "LEASE_CALLS", "WITHOUT_KEY", "REFUSED_KEYS", "PAGES", "HEALTH_CALLS", "SIGN_INS")


def send_mutated(*, seed: int, rounds: int, routes: Sequence[tuple[str, str]] | None = None) -> campaign.Report:
    """Send ``rounds`` requests: of every route and page, or of ``routes`` alone."""
    report = campaign.Report({"routes and pages": 0, "requests": 0})
    random_ = random.Random(seed)
    with quiet_and_unlimited():
        for first in range(0, rounds, OBJECTS_LAST):
            with transaction.atomic():
                _send_some(report, random_, range(first, min(first + OBJECTS_LAST, rounds)), seed, routes)
                transaction.set_rollback(True)
    return report


def _send_some(
    report: campaign.Report, random_: random.Random, numbers: range, seed: int, routes: Sequence[tuple[str, str]] | None
) -> None:
    stage = _Stage(report, routes)
    report.figures["routes and pages"] = len(stage.scripts)
    for script in stage.scripts:
        stage.send(script.request.written(), script, f"seed {seed}: {script.name} as it is")
    for number in numbers:
        script = random_.choice(stage.scripts)
        request = _next(script, random_)
        stage.send(request, script, f"seed {seed} round {number}: {script.name} after {', '.join(request.changes) or 'nothing'}")
    report.violations += [f"seed {seed}: the books: {breach}" for breach in audit.audit().breaches]


class _Script:
    """A valid request, and who sends it. Requests of pages carry a session instead of a key."""

    def __init__(self, name: str, request: mutations.Request, cookies: "SimpleCookie | None" = None) -> None:
        self.name, self.request, self.cookies = name, request, cookies


def _next(script: _Script, random_: random.Random) -> mutations.Request:
    if random_.randrange(VALID) == 0 and not script.request.photo:
        return script.request.written()
    request = script.request
    if request.photo and random_.randrange(PHOTOS):
        request = mutations.without_photo(request, random_)
    return mutations.mutate(request, random_)


class _Stage:
    """The objects all requests are about, and what they look like before each."""

    def __init__(self, report: campaign.Report, routes: Sequence[tuple[str, str]] | None) -> None:
        self._report = report
        cast = calls.Cast()
        self.scripts = [_of_call(cast.call(route, method)) for route, method in routes or sorted(calls.MAKERS)]
        if routes is None:
            place = visits.prepare(cast)
            self.scripts += [_of_visit(visit, place) for visit in place.visits()]
        # A network of its own: what is counted by network there is nobody else's.
        self._client = Client(raise_request_exception=False, REMOTE_ADDR="198.51.100.7")
        self._described = _Described()
        # Or the first use of each key would be noted in its row.
        ApiKey.objects.update(last_used_at=clock.now())
        self._before = effects.digest()

    def send(self, request: mutations.Request, script: _Script, where: str) -> None:
        """Send one request, judge its answer, and undo it."""
        self._report.count("requests")
        with contextlib.suppress(_Undone), transaction.atomic():
            response, content = self._answer(request, script)
            self._report.count(f"answered {response.status_code // 100}xx")
            faults = list(self._faults(request, response, content))
            if not request.changes and response.status_code >= 400 and script.name != "page recover POST":
                faults.append(f"a valid request was refused with {response.status_code}: {content[:300]!r}")
            self._report.violations += [f"{where}: {request.method} {request.path[:80]}?{request.query[:80]}: {fault}" for fault in faults]
            raise _Undone

    def _answer(self, request: mutations.Request, script: _Script) -> tuple[HttpResponseBase, bytes]:
        self._client.cookies = SimpleCookie(script.cookies.output(header="", sep=";") if script.cookies else "")
        headers = {"Host": "127.0.0.1", **request.headers}
        response: Any = self._client.generic(
            request.method, f"{request.path}?{request.query}", request.raw or b"", request.content_type, headers=headers
        )
        return response, response.getvalue()

    def _faults(self, request: mutations.Request, response: HttpResponseBase, content: bytes) -> Iterator[str]:
        status = response.status_code
        is_api = request.path.startswith(problems.PREFIX)
        problem = _problem_of(response, content) if is_api and status >= 400 and content else {}
        if status >= 500 and (status, problem.get("code")) not in _NO_FAULTS:
            yield f"answered {status}: {content[:300]!r}"
        if status >= 400 and (found := INSIDES.search(content.decode("utf-8", "replace"))):
            yield f"tells of our insides: {found[0]!r}"
        if is_api:
            yield from self._described.faults(request, response, content, problem)
        if 400 <= status < 500:
            changed = effects.changed(self._before)
            # A bounty that the rules forbid stays on record as blocked; it moves no money.
            allowed = effects.BLOCKED_BOUNTY if problem.get("code") == "blocked_by_policy" else frozenset()
            if changed - allowed:
                yield f"a refusal with {status} changed {sorted(changed - allowed)}"


class _Undone(Exception):
    """Rolls a request back."""


class _Described:
    """The description of the API, as a judge of answers."""

    def __init__(self) -> None:
        self._description: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
        self._validators: dict[str, jsonschema.Draft202012Validator] = {}
        self._codes = {refusal.code: refusal.status for refusal in problems.every_refusal()}

    def faults(
        self, request: mutations.Request, response: HttpResponseBase, content: bytes, problem: Mapping[str, object]
    ) -> Iterator[str]:
        """Yield what is wrong with an answer of the API."""
        status = response.status_code
        if status >= 400:
            if content:
                yield from self._problem_faults(response, problem)
            return
        try:
            match = resolve(request.path)
        except Resolver404:
            yield f"an address that leads nowhere was answered {status}"
            return
        operation = (
            self._description["paths"].get(f"/{match.route.replace('<str:', '{').replace('>', '}')}", {}).get(request.method.lower())
        )
        if operation is None:
            return
        described = operation["responses"].get(str(status))
        if described is None:
            yield f"{status} is not described"
            return
        kind = response.headers.get("Content-Type", "").partition(";")[0]
        media = described.get("content", {})
        if content and kind not in media:
            yield f"{kind} is not described"
        elif kind == "application/json":
            yield from self._shape_faults(media[kind]["schema"], json.loads(content))

    def _problem_faults(self, response: HttpResponseBase, problem: Mapping[str, object]) -> Iterator[str]:
        if not problem:
            yield f"{response.status_code} came without a problem document"
            return
        yield from self._shape_faults({"$ref": "#/components/schemas/Problem"}, problem)
        if problem["status"] != response.status_code or self._codes.get(str(problem["code"])) != response.status_code:
            yield f"{response.status_code} says {problem['status']} {problem['code']}"
        if problem["request_id"] != response.headers["X-Request-Id"]:
            yield "the problem names another request"
        if response.status_code in (429, 503) and "Retry-After" not in response.headers:
            yield "nobody said when to come again"

    def _shape_faults(self, schema: Mapping[str, object], value: object) -> Iterator[str]:
        name = json.dumps(schema, sort_keys=True)
        if name not in self._validators:
            self._validators[name] = jsonschema.Draft202012Validator({**schema, "components": self._description["components"]})
        for error in self._validators[name].iter_errors(value):
            yield f"{error.json_path} is not as described: {error.message[:200]}"


def _problem_of(response: HttpResponseBase, content: bytes) -> Mapping[str, object]:
    if response.headers.get("Content-Type") != problems.CONTENT_TYPE:
        return {}
    read = json.loads(content)
    return read if isinstance(read, dict) else {}


def _of_call(call: calls.Call) -> _Script:
    headers = {"Authorization": f"Bearer {call.secret}", "Idempotency-Key": call.key}
    is_form = bool(call.photo)
    request = mutations.Request(
        method=call.method,
        path=call.path.partition("?")[0],
        query=call.path.partition("?")[2],
        headers=headers if call.method == "POST" else {"Authorization": headers["Authorization"]},
        content_type=call.content_type,
        body=dict(call.body) if call.method == "POST" and not is_form and not call.file else None,
        raw=call.file or None,
        texts=tuple((name, str(value)) for name, value in call.body.items()) if is_form else (),
        photo=call.photo if is_form else None,
    )
    return _Script(f"{call.route} {call.method}", request)


def _of_visit(visit: visits.Visit, place: visits.Place) -> _Script:
    kind = f"multipart/form-data; boundary={calls.BOUNDARY}" if visit.has_photo else "application/x-www-form-urlencoded"
    request = mutations.Request(
        method=visit.method,
        path=visit.path,
        headers={},
        content_type=kind,
        texts=tuple(visit.form.items()),
        photo=calls.small_photo() if visit.has_photo else None,
    )
    return _Script(f"page {visit.name} {visit.method}", request, place.client(visit.who).cookies)


@contextlib.contextmanager
def quiet_and_unlimited() -> Iterator[None]:
    """Let all come from one network as fast as they can, and write no line for each refusal."""
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.ExitStack() as lifted:
            for name in _LIMITS:
                lifted.enter_context(mock.patch.object(rates, name, 10**9))
            lifted.enter_context(mock.patch.dict(limits.PER_HOUR, dict.fromkeys(limits.PER_HOUR, 10**9)))
            # A link to a photograph ends after a minute; the campaign takes longer.
            lifted.enter_context(mock.patch.object(media_links, "MAX_AGE_S", 86_400))
            yield
    finally:
        logging.disable(logging.NOTSET)
