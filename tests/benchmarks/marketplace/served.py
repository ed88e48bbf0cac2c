"""The market over HTTP beside a bare Django view, both on the production command: rates and latencies for 1, 8 and 32 clients."""

import contextlib
import itertools
import random
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.db import connection

from market.bounties.models import Bounty
from market.ledger import audit
from tasks.leases import LeaseState
from tasks.models import Claim, Slot
from tests import people, stories
from tests.benchmarks.marketplace import clients
from tests.faults import campaign, serving

SLOTS = 100
TABLE = "CREATE TABLE IF NOT EXISTS benchmark_written (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, content text)"
BARE = "tests.benchmarks.marketplace.bare:application"
# A test puts one with a planted fault here.
OURS = serving.APPLICATION


@dataclass(frozen=True)
class Size:
    """How many take part: by default so many that no key comes near its rate limit, nor a worker near how often he may try a task."""

    widths: tuple[int, ...] = (1, 8, 32)
    agents: int = 64
    workers: int = 192
    tasks: int = 40


@dataclass
class Scene:
    """What the clients know: keys, and tasks with free slots."""

    agents: list[str]
    workers: list[str]
    tasks: list[str]

    @classmethod
    def open(cls, size: Size) -> "Scene":
        """Make the people and the tasks."""
        agents = [people.open_agent(f"agent {number}") for number in range(size.agents)]
        for agent in agents:
            people.top_up(agent, "100000.00")
        workers = [people.open_worker(accepted_count=100) for _ in range(size.workers)]
        bounties = [stories.post_photo_bounty(agents[number % len(agents)], slots=SLOTS, reward="1.00") for number in range(size.tasks)]
        return cls(
            [people.secret_of(agent) for agent in agents],
            [people.secret_of(worker) for worker in workers],
            [str(bounty.task) for bounty in bounties],
        )


@dataclass
class Found:
    """Cycles a second in every round, and all that the clients saw."""

    a_second: list[float] = field(default_factory=list)
    seen: clients.Seen = field(default_factory=clients.Seen)


def run(*, seed: int, rounds: int, seconds: float, size: Size | None = None) -> campaign.Report:
    """Measure every way for every number of clients, round after round."""
    size = size or Size()
    report, found = campaign.Report(), dict[tuple[str, int], Found]()
    ways = _ways(Scene.open(size), random.Random(f"{seed}/served"))
    with _servers() as (ours, bare):
        for _, (name, cycle), width in itertools.product(range(rounds), ways.items(), size.widths):
            seen, a_second = clients.run(bare if name.startswith("bare") else ours, [cycle] * width, seconds=seconds)
            known = found.setdefault((name, width), Found())
            known.a_second.append(a_second)
            known.seen.add(seen)
    _tell(report, found)
    _prove(report, found)
    return report


def market() -> contextlib.AbstractContextManager[int]:
    """Start the market's own server; return its port."""
    return serving.server(application=OURS)


@contextlib.contextmanager
def _servers() -> Iterator[tuple[int, int]]:
    with connection.cursor() as cursor:
        cursor.execute(TABLE)
    try:
        with market() as ours, serving.server(application=BARE) as bare:
            yield ours, bare
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE benchmark_written")


def _ways(scene: Scene, generator: random.Random) -> dict[str, clients.Cycle]:
    """Return what a client repeats in each way; all clients take people and tasks from the same row of them."""
    for secrets in (scene.agents, scene.workers, scene.tasks):
        generator.shuffle(secrets)
    return {
        "bare GET": _bare_read,
        "bare POST of a row": _bare_write,
        "claim and drop": _claiming(scene.workers, scene.tasks),
        "hold and release": _holding(scene.agents),
    }


def _bare_read(client: clients.Client) -> None:
    client.send("GET", "GET", "/read", status=200)


def _bare_write(client: clients.Client) -> None:
    client.send("POST", "POST", "/write", {"content": "x" * 500}, status=201)


def _claiming(workers: list[str], tasks: list[str]) -> clients.Cycle:
    numbers = itertools.count()
    place = {"latitude": stories.PLACE[0], "longitude": stories.PLACE[1]}

    def cycle(client: clients.Client) -> None:
        # Every worker with every task before any pair comes again.
        number = next(numbers)
        worker, task = workers[number % len(workers)], tasks[(number + number // len(workers)) % len(tasks)]
        claim = client.send("claim", "POST", f"/v1/tasks/{task}/claims", place, secret=worker, status=201)
        client.send("drop", "POST", f"/v1/claims/{claim['id']}/drop", {}, secret=worker, status=200)

    return cycle


def _holding(agents: list[str]) -> clients.Cycle:
    turns = itertools.cycle(agents)

    def cycle(client: clients.Client) -> None:
        agent = next(turns)
        bounty = client.send("post and fund", "POST", "/v1/bounties", _bounty_body(), secret=agent, status=201)
        client.send("cancel", "POST", f"/v1/bounties/{bounty['id']}/cancel", {}, secret=agent, status=200)

    return cycle


def _bounty_body() -> dict[str, object]:
    latitude, longitude = stories.PLACE
    return {
        "question": stories.QUESTION,
        "place": {"latitude": latitude, "longitude": longitude, "within_m": 50},
        "reward": {"amount": "1.00", "currency": "USD"},
        "deadline_in_s": 3600,
    }


def _tell(report: campaign.Report, found: dict[tuple[str, int], Found]) -> None:
    for (name, width), each in found.items():
        head = f"{name}, {width} at once"
        report.figures[f"{head}: cycles a second (n {each.seen.cycles:,})"] = round(statistics.median(each.a_second), 1)
        for request, seconds in each.seen.seconds.items():
            if len(seconds) >= 2:
                hundredths = statistics.quantiles(seconds, n=100, method="inclusive")
                report.figures[f"{head}: {request}, p50 and p99 ms"] = f"{hundredths[49] * 1e3:.1f} {hundredths[98] * 1e3:.1f}"
        bare = found["bare POST of a row", width]
        if not name.startswith("bare"):
            # Two requests a cycle, each a commit like the bare one's.
            part = 2 * statistics.median(each.a_second) / statistics.median(bare.a_second)
            report.figures[f"{head}: requests a second, as a part of the bare POST's"] = round(part, 3)


def _prove(report: campaign.Report, found: dict[tuple[str, int], Found]) -> None:
    """Whatever was answered was done: every claim ended, every slot and every held cent is free again, and the books agree."""
    refusals = [refusal for each in found.values() for refusal in each.seen.refusals]
    report.figures["refusals"] = len(refusals)
    report.violations += [f"refused: {refusal}" for refusal in refusals[:10]]
    done = {
        name: sum(each.seen.cycles for (way, _), each in found.items() if way == name) for name in ("claim and drop", "hold and release")
    }
    stand = {
        "claim and drop": Claim.objects.filter(status=Claim.Status.DROPPED).count(),
        "hold and release": Bounty.objects.filter(status=Bounty.Status.CANCELLED).count(),
    }
    if done != stand:
        report.violations.append(f"answered were {done}, and {stand} stand in the database")
    if busy := Slot.objects.filter(lease_state=LeaseState.LEASED).count():
        report.violations.append(f"{busy} slots are taken, and nobody has a claim")
    report.violations += audit.audit().breaches
