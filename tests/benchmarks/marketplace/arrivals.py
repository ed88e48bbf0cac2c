"""Requests that arrive at a steady rate, whether or not those before were answered: what one waits while the market is busy.

An open loop: each has its moment, and its time counts from there. Clients that wait for their answers would ask less of a
slow market, and so never see how slow it is.
"""

import collections
import contextlib
import http.client
import itertools
import random
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from market.ledger import audit
from tasks.leases import LeaseState
from tasks.models import Claim, Slot
from tests import stories
from tests.benchmarks.marketplace import clients, served
from tests.faults import campaign

# Of ten requests eight read.
MIX = ("list of tasks",) * 3 + ("task",) * 3 + ("balance",) * 2 + ("claim", "drop")
# Connections: so many may be under way at once.
WIDTH = 64


@dataclass
class Answers:
    """What came back, by kind of request: seconds since each one's moment, and what was no answer to it."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    refusals: collections.Counter[str] = field(default_factory=collections.Counter)
    faults: int = 0
    lost: int = 0

    def add(self, other: "Answers") -> None:
        """Take in what another connection has seen."""
        for kind, seconds in other.seconds.items():
            self.seconds.setdefault(kind, []).extend(seconds)
        self.refusals += other.refusals
        self.faults += other.faults
        self.lost += other.lost

    def number_of(self, kind: str) -> int:
        """Return how many of a kind were answered."""
        return len(self.seconds.get(kind, ()))


class Asking:
    """What each kind asks for, in the name of whose turn it is."""

    def __init__(self, scene: served.Scene, generator: random.Random) -> None:
        for secrets in (scene.agents, scene.workers, scene.tasks):
            generator.shuffle(secrets)
        self._scene, self._numbers, self._claims = scene, itertools.count(), itertools.count()
        self._held: collections.deque[tuple[object, str]] = collections.deque()

    def ask(self, client: clients.Client, kind: str) -> str:
        """Send a request of this kind and return the kind it was: with nothing to drop, a claim."""
        number = next(self._numbers)
        worker, task = self._of(self._scene.workers, number), self._of(self._scene.tasks, number)
        latitude, longitude = stories.PLACE
        if kind == "list of tasks":
            client.send(kind, "GET", f"/v1/tasks?near={latitude},{longitude}", secret=worker, status=200)
        elif kind == "task":
            client.send(kind, "GET", f"/v1/tasks/{task}", secret=worker, status=200)
        elif kind == "balance":
            client.send(kind, "GET", "/v1/balance", secret=self._of(self._scene.agents, number), status=200)
        else:
            kind = self._write(client, kind)
        return kind

    def _write(self, client: clients.Client, kind: str) -> str:
        with contextlib.suppress(IndexError):
            if kind == "drop":
                claim, secret = self._held.popleft()
                client.send("drop", "POST", f"/v1/claims/{claim}/drop", {}, secret=secret, status=200)
                return "drop"
        # Every worker with every task before any pair comes again.
        number, many = next(self._claims), len(self._scene.workers)
        secret, task = self._of(self._scene.workers, number), self._of(self._scene.tasks, number + number // many)
        place = {"latitude": stories.PLACE[0], "longitude": stories.PLACE[1]}
        document = client.send("claim", "POST", f"/v1/tasks/{task}/claims", place, secret=secret, status=201)
        self._held.append((document["id"], secret))
        return "claim"

    @staticmethod
    def _of(row: Sequence[str], number: int) -> str:
        return row[number % len(row)]


def run(*, seed: int, rate: float, seconds: float, size: served.Size | None = None) -> campaign.Report:
    """Let ``rate`` requests a second arrive for so long; tell what they waited, and prove that what was answered was done."""
    generator, report = random.Random(f"{seed}/arrivals"), campaign.Report()
    asking = Asking(served.Scene.open(size or served.Size()), generator)
    kinds = [kind for _ in range(max(1, round(rate * seconds / len(MIX)))) for kind in generator.sample(MIX, len(MIX))]
    with served.market() as port:
        answers, took_s = _let_arrive(port, kinds, asking.ask, rate)
    _tell(report, answers, asked=len(kinds), rate=rate, took_s=took_s)
    _prove(report, answers)
    return report


def _let_arrive(port: int, kinds: Sequence[str], ask: Callable[[clients.Client, str], str], rate: float) -> tuple[Answers, float]:
    turns, begin = iter(enumerate(kinds)), threading.Barrier(WIDTH, timeout=clients.PATIENCE_S)
    taking, answers = threading.Lock(), Answers()
    began_s: list[float] = []

    def serve_one_connection(_: int) -> Answers:
        seen = Answers()
        if begin.wait() == 0:
            began_s.append(time.perf_counter())
        begin.wait()
        with contextlib.closing(clients.Client(port)) as client:
            while True:
                with taking:
                    turn = next(turns, None)
                if turn is None:
                    return seen
                moment = began_s[0] + turn[0] / rate
                time.sleep(max(0.0, moment - time.perf_counter()))
                _ask_once(client, turn[1], ask, moment, seen)

    with ThreadPoolExecutor(WIDTH) as pool:
        for seen in pool.map(serve_one_connection, range(WIDTH)):
            answers.add(seen)
    return answers, time.perf_counter() - began_s[0]


def _ask_once(client: clients.Client, kind: str, ask: Callable[[clients.Client, str], str], moment: float, seen: Answers) -> None:
    try:
        kind = ask(client, kind)
    except clients.Refused as refused:
        seen.refusals[f"{kind} {refused.status}"] += 1
        seen.faults += refused.status >= 500
    except (OSError, http.client.HTTPException) as error:
        seen.refusals[f"{kind} {type(error).__name__}"] += 1
        seen.lost += 1
        client.close()  # It opens again with the next request.
    else:
        seen.seconds.setdefault(kind, []).append(time.perf_counter() - moment)


def _tell(report: campaign.Report, answers: Answers, *, asked: int, rate: float, took_s: float) -> None:
    done = sum(map(len, answers.seconds.values()))
    report.figures |= {"arrivals a second, as asked for": rate, "arrivals": asked, "answers a second": round(done / took_s, 1)}
    for kind in dict.fromkeys(MIX):
        seconds = answers.seconds.get(kind, [])
        if len(seconds) >= 2:
            hundredths = statistics.quantiles(seconds, n=100, method="inclusive")
            report.figures[f"{kind}, p50 and p99 ms since its moment (n {len(seconds):,})"] = (
                f"{hundredths[49] * 1e3:.1f} {hundredths[98] * 1e3:.1f}"
            )
    report.figures |= {"answers of 5xx": answers.faults, "refused or lost": answers.refusals.total()}
    report.violations += [f"{number} x {what}" for what, number in sorted(answers.refusals.items())]


def _prove(report: campaign.Report, answers: Answers) -> None:
    """Whatever was answered was done, and nothing else but what got no answer; the books agree."""
    stand = {"claim": Claim.objects.count(), "drop": Claim.objects.filter(status=Claim.Status.DROPPED).count()}
    for kind, number in stand.items():
        if not answers.number_of(kind) <= number <= answers.number_of(kind) + answers.lost:
            report.violations.append(f"answered were {answers.number_of(kind)} x {kind}, and {number} stand in the database")
    taken = Slot.objects.filter(lease_state=LeaseState.LEASED).count()
    if taken != stand["claim"] - stand["drop"]:
        report.violations.append(f"{taken} slots are taken under {stand['claim'] - stand['drop']} claims")
    report.violations += audit.audit().breaches
