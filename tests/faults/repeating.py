"""Repeats every POST of the API on real connections, and compares what that did with what one does.

A round takes every POST of the URL configuration three times, each time with objects of its own: once as it should be, to see what one
effect is; ten times at once; and once without waiting for the answer. What the last two did must be what the first did, to the row and the
minor unit, and every answer but "come again" must be the first answer.
"""

import contextlib
import random
import socket
from collections.abc import Mapping
from http.client import HTTPResponse

from market.accounts.models import IdempotentRequest
from market.ledger import audit
from tests.faults import calls, campaign, effects, serving

AT_ONCE = 10
# What a double may be told while the first is being worked on; photos while the intake is busy, and all but money in a crowd.
LATER = {(409, "idempotency_key_in_use"), (503, "intake_busy"), (503, "overloaded")}


def repeat(*, seed: int, rounds: int, application: str = serving.APPLICATION, routes: list[str] | None = None) -> campaign.Report:
    """Repeat the POSTs of ``routes`` (all, if none are named) before a web server of their own."""
    report = campaign.Report({"routes": 0, "requests": 0, "replays": 0, "told to come again": 0})
    # Connections of the web server alone shall stand between two counts of rows.
    with serving.server(application=application) as port:
        random_ = random.Random(seed)
        wanted = sorted(routes or [route for route, method in calls.routes() if method == "POST"])
        report.figures["routes"] = len(wanted)
        for number in range(rounds):
            cast = calls.Cast()
            for route in random_.sample(wanted, len(wanted)):
                _Repetition(report, cast, port, f"seed {seed} round {number}: {route}").go(route)
        report.violations += [f"seed {seed}: the books: {breach}" for breach in audit.audit().breaches]
    return report


class _Repetition:
    """One route in one round."""

    def __init__(self, report: campaign.Report, cast: calls.Cast, port: int, where: str) -> None:
        self._report, self._cast, self._port, self._where = report, cast, port, where

    def go(self, route: str) -> None:
        """Find out what one effect is, then look for a second one."""
        call, before = self._fresh(route)
        self._require(200 <= self._send(call).status < 300, "a valid request was refused")
        one_effect = effects.since(before)
        call, before = self._fresh(route)
        self._require_first_answer(call, self._at_once(call))
        self._require(effects.since(before) == one_effect, f"ten at once did {effects.since(before)}, one does {one_effect}")
        call, before = self._fresh(route)
        self._lose_the_answer(call)
        self._require_first_answer(call, [])
        self._require(effects.since(before) == one_effect, f"a repeat did {effects.since(before)}, one does {one_effect}")

    def _fresh(self, route: str) -> tuple[calls.Call, effects.Facts]:
        call = self._cast.call(route, "POST")
        return call, effects.facts()

    def _require_first_answer(self, call: calls.Call, seen: list[serving.Reply]) -> None:
        """Send the request again, and another one under its key; compare with what was answered at first."""
        again = self._send(call)
        self._require(again.headers.get("idempotent-replayed") == "true", f"a repeat was not answered from memory: {again.status}")
        self._require(200 <= again.status < 300, f"a repeat was answered {again.status}")
        for reply in seen:
            if (reply.status, _code_of(reply)) in LATER:
                self._report.count("told to come again")
                self._require("retry-after" in reply.headers, "nobody said when to come again")
            else:
                self._report.count("replays", reply.headers.get("idempotent-replayed") == "true")
                self._require((reply.status, reply.body) == (again.status, again.body), f"two answers: {reply.status} {reply.body[:200]!r}")
        self._require(not seen or any(200 <= reply.status < 300 for reply in seen), "none of ten was answered")
        other = self._send(call, is_other=True)
        self._require(
            (other.status, _code_of(other)) == (409, "idempotency_key_reused"),
            f"another body under the same key was answered {other.status}",
        )

    def _at_once(self, call: calls.Call) -> list[serving.Reply]:
        """Open ten connections, write to all, then read from all."""
        self._report.count("requests", AT_ONCE)
        request = _raw(call)
        with contextlib.ExitStack() as opened:
            lines = [opened.enter_context(self._open()) for _ in range(AT_ONCE)]
            for line in lines:
                line.sendall(request)
            return [_read(line) for line in lines]

    def _lose_the_answer(self, call: calls.Call) -> None:
        """Hang up without reading, as soon as the effect is committed."""
        self._report.count("requests")
        with self._open() as line:
            line.sendall(_raw(call))
            while not IdempotentRequest.objects.filter(key=call.key).exists():
                line.settimeout(0.005)
                with contextlib.suppress(TimeoutError):
                    # An answer without a kept effect is one of refusal.
                    if line.recv(1, socket.MSG_PEEK) and not IdempotentRequest.objects.filter(key=call.key).exists():
                        self._require(False, "a valid request was refused")
                        return

    def _open(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=serving.PATIENCE_S)

    def _send(self, call: calls.Call, *, is_other: bool = False) -> serving.Reply:
        self._report.count("requests")
        return serving.send(self._port, "POST", call.path, call.content(is_other=is_other), headers=_headers(call))

    def _require(self, is_kept: bool, broken: str) -> None:
        if not is_kept:
            self._report.violations.append(f"{self._where}: {broken}")


def _headers(call: calls.Call) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {call.secret}", "Idempotency-Key": call.key, "Content-Type": call.content_type}


def _raw(call: calls.Call) -> bytes:
    content = call.content()
    lines = [f"POST {call.path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(content)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in _headers(call).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def _read(line: socket.socket) -> serving.Reply:
    answer = HTTPResponse(line)
    with contextlib.closing(answer):
        answer.begin()
        return serving.Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


def _code_of(reply: serving.Reply) -> str:
    return str(reply.problem.get("code", "")) if reply.status >= 400 else ""
