"""Floods a real web server with ten times what the limits allow, then lets slow clients hold its threads, while money is moved.

Money routes are called at the pace of ordinary work, each with an object of its own and once: what fails is not tried again. They must
succeed; everything else may be told to come again, with Retry-After, and nothing may fail in any other way.
"""

import contextlib
import json
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from http.client import HTTPException

from market.config import rates
from market.ledger import audit
from tests.faults import calls, campaign, serving

TIMES_THE_LIMIT = 10
SUCCEED_AT_LEAST = 0.999
# Money requests a second.
PACE = 20
MONEY = ["bounty-fund", "bounty-cancel", "submission-review", "payouts", "lease-complete"]
CONNECTIONS = 16
# Enough to take every thread of the server, were they all to be had.
SLOW_CONNECTIONS = 96
# So many pages refused one after another: each process has had its turn.
_BUSY_IN_TURN = 8


def overload(
    *,
    seed: int,
    rounds: int,
    times_the_limit: int = TIMES_THE_LIMIT,
    patience_s: float = serving.PATIENCE_S,
    application: str = serving.APPLICATION,
) -> campaign.Report:
    """Move money ``rounds`` times: one half under floods, the other while slow clients hold all the threads that they get.

    ``times_the_limit=0`` leaves the floods out.
    """
    report = campaign.Report({"money requests": rounds, "money succeeded": 0})
    random_ = random.Random(seed)
    cast = calls.Cast()
    wanted = [cast.call(route, "POST") for number in range(rounds) for route in [MONEY[number % len(MONEY)]]]
    random_.shuffle(wanted)
    mover = _Mover(report, patience_s)
    with serving.server(application=application) as port, _clients(port) as tell:
        if times_the_limit:
            began_s = time.time()
            tell(json.dumps({"floods": _floods(cast, random_, times_the_limit)}), is_answered=False)
            mover.move(port, wanted[: rounds // 2])
            seen = json.loads(tell("enough"))
            _judge(report, seen, windows=int(time.time() // rates.WINDOW_S) - int(began_s // rates.WINDOW_S) + 1)
        # As a stranger who fills in a form, and as an agent who moves money.
        for path, secret in (("/recover", ""), ("/v1/deposits", cast.agent_key())):
            held = {"address": _address(random_), "path": path, "connections": SLOW_CONNECTIONS, "secret": secret}
            assert tell(json.dumps({"hold": held})) == "holding"
        _wait_until_busy(port)
        mover.move(port, wanted[rounds // 2 if times_the_limit else 0 :])
    mover.sum_up()
    report.violations += [f"the books: {breach}" for breach in audit.audit().breaches]
    report.violations = [f"seed {seed}: {violation}" for violation in report.violations]
    return report


def _wait_until_busy(port: int) -> None:
    """Wait until none of the server's processes has a thread for a page: what is sent may not have arrived yet."""
    ends_at, in_turn = time.monotonic() + serving.PATIENCE_S, 0
    while in_turn < _BUSY_IN_TURN:
        assert time.monotonic() < ends_at, "The server still has threads for pages."
        try:
            is_busy = serving.send(port, "GET", "/recover", headers={}, patience_s=1).status == 503
        except (OSError, HTTPException):
            is_busy = True
        in_turn = in_turn + 1 if is_busy else 0


class _Mover:
    """Sends money requests at their pace and remembers how long each took."""

    def __init__(self, report: campaign.Report, patience_s: float) -> None:
        self._report, self._patience_s = report, patience_s
        self._took_s: list[float] = []
        self._failed: Counter[str] = Counter()

    def move(self, port: int, wanted: Sequence[calls.Call]) -> None:
        """Send each of the calls once."""
        began_s = time.monotonic()
        for number, call in enumerate(wanted):
            time.sleep(max(0.0, began_s + number / PACE - time.monotonic()))
            sent_s = time.monotonic()
            outcome = self._send(port, call)
            self._took_s.append(time.monotonic() - sent_s)
            if outcome == "succeeded":
                self._report.count("money succeeded")
            else:
                self._failed[f"{call.route} {outcome}"] += 1

    def sum_up(self) -> None:
        """Say how many failed, and the times."""
        failed = sum(self._failed.values())
        if failed > len(self._took_s) * (1 - SUCCEED_AT_LEAST):
            self._report.violations.append(f"{failed} of {len(self._took_s)} money requests failed: {dict(self._failed)}")
        cuts = statistics.quantiles(self._took_s, n=100, method="inclusive")
        self._report.figures |= {"money p50, ms": round(1000 * cuts[49]), "money p99, ms": round(1000 * cuts[98])}

    def _send(self, port: int, call: calls.Call) -> str:
        headers = {"Authorization": f"Bearer {call.secret}", "Idempotency-Key": call.key, "Content-Type": call.content_type}
        try:
            reply = serving.send(port, "POST", call.path, call.content(), headers=headers, patience_s=self._patience_s)
        except (OSError, HTTPException) as error:
            return type(error).__name__
        return "succeeded" if 200 <= reply.status < 300 else str(reply.status)


# By the flood's name: what may be answered within the limit, and the limit a window.
_ALLOWED = {
    "reader": ("200", rates.READS),
    "nobody": ("200", rates.WITHOUT_KEY),
    # Those that are under way together are all looked up.
    "guesser": ("401", rates.REFUSED_KEYS + CONNECTIONS),
    "visitor": ("200", rates.PAGES),
}


def _floods(cast: calls.Cast, random_: random.Random, times_the_limit: int) -> list[dict[str, object]]:
    shared = {"method": "GET", "connections": CONNECTIONS}
    known, guessed = f"Bearer {cast.agent_key()}", f"Bearer {calls.unknown_key()}"
    return [
        {"name": name, "address": _address(random_), "authorization": authorization, "path": path, "requests": requests, **shared}
        for name, authorization, path, requests in (
            ("reader", known, "/v1/balance", times_the_limit * rates.READS),
            ("nobody", "", "/v1/errors", times_the_limit * rates.WITHOUT_KEY),
            ("guesser", guessed, "/v1/bounties", times_the_limit * rates.REFUSED_KEYS),
            # Many phones share a network, so its limit is far; it sends what it can.
            ("visitor", "", "/recover", 0),
        )
    ]


def _address(random_: random.Random) -> str:
    """Choose one of this machine's many addresses, so that each client is a network of its own."""
    return f"127.{random_.randint(1, 254)}.{random_.randint(0, 254)}.{random_.randint(1, 254)}"


def _judge(report: campaign.Report, seen: dict[str, dict[str, int]], *, windows: int) -> None:
    for name, answers in seen.items():
        allowed, most = _ALLOWED[name]
        report.figures |= {f"{name} {outcome}": number for outcome, number in sorted(answers.items())}
        others = {outcome: number for outcome, number in answers.items() if outcome not in (allowed, "429", "503")}
        if others:
            report.violations.append(f"{name} was answered in other ways: {others}")
        if answers.get(allowed, 0) > most * windows:
            report.violations.append(f"{name} got {answers[allowed]} answers in {windows} windows of {most}")


class _Tell:
    """Orders for the clients' process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, order: str, *, is_answered: bool = True) -> str:
        """Give an order and return the line that says it is done."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip() if is_answered else ""


@contextlib.contextmanager
def _clients(port: int) -> Iterator[_Tell]:
    command = [sys.executable, "-m", "tests.faults.flooding", str(port)]
    with subprocess.Popen(command, cwd=campaign.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield _Tell(process)
        finally:
            process.kill()
