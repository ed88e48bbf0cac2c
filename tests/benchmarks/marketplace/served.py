"""The market over HTTP beside a bare Django view, both on the production command: rates and latencies for 1, 8 and 32 clients."""

import contextlib
import itertools
import random
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from django.core.management import call_command
from django.db import connection

from market.ledger import audit
from tasks.models import Claim, Slot
from tests import people, stories
from tests.benchmarks.marketplace import clients
from tests.faults import campaign, serving

WIDTHS = (1, 8, 32)
# Enough that nobody comes near what one key may ask for, nor a worker near how often he may try one task.
AGENTS = 64
WORKERS = 192
TASKS = 40
SLOTS = 100
TABLE = "CREATE TABLE IF NOT EXISTS benchmark_written (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, content text)"
BARE = "tests.benchmarks.marketplace.bare:application"


@dataclass
class Scene:
    """What the clients know: keys, and tasks with free slots."""

    agents: list[str]
    workers: list[str]
    tasks: list[str]

    @classmethod
    def open(cls) -> "Scene":
        """Make the people and the tasks."""
        agents = [people.open_agent(f"agent {number}") for number in range(AGENTS)]
        for agent in agents:
            people.top_up(agent, "100000.00")
        tasks = [
            stories.post_photo_bounty(agent, slots=SLOTS, reward="1.00").task for agent in itertools.islice(itertools.cycle(agents), TASKS)
        ]
        workers = [people.open_worker(accepted_count=100) for _ in range(WORKERS)]
        return cls(
            [people.secret_of(agent) for agent in agents], [people.secret_of(worker) for worker in workers], [str(task) for task in tasks]
        )


@dataclass
class Found:
    """Cycles a second in every round, and all that the clients saw."""

    a_second: list[float] = field(default_factory=list)
    seen: clients.Seen = field(default_factory=clients.Seen)


def run(*, seed: int, rounds: int, seconds: float) -> campaign.Report:
    """Measure every way for every number of clients, round after round."""
    report, generator = campaign.Report(), random.Random(f"{seed}/served")
    scene = Scene.open()
    with _servers() as (ours, bare):
        ways = _ways(scene, generator)
        found: dict[tuple[str, int], Found] = {}
        for _, (name, make), width in itertools.product(range(rounds), ways.items(), WIDTHS):
            port = bare if name.startswith("bare") else ours
            seen, a_second = clients.run(port, make(width), seconds=seconds)
            known = found.setdefault((name, width), Found())
            known.a_second.append(a_second)
            known.seen.add(seen)
    _tell(report, found)
    _prove(report, found)
    return report


@contextlib.contextmanager
def _servers() -> Iterator[tuple[int, int]]:
    call_command("collectstatic", interactive=False, verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute(TABLE)
    with serving.server() as ours, serving.server(application=BARE) as bare:
        yield ours, bare


def _ways(scene: Scene, generator: random.Random) -> dict[str, Callable[[int], list[clients.Cycle]]]:
    """Return for each way what makes the cycles of so many clients; each client has people of its own."""
    workers = _shares(scene.workers)
    agents = _shares(scene.agents)

    def claims(width: int) -> list[clients.Cycle]:
        return [_claiming(workers[number], scene.tasks, generator) for number in range(width)]

    def holds(width: int) -> list[clients.Cycle]:
        return [_holding(agents[number]) for number in range(width)]

    return {
        "bare GET": lambda width: [_bare_read] * width,
        "bare POST of a row": lambda width: [_bare_write] * width,
        "claim and drop": claims,
        "hold and release": holds,
    }


def _shares(secrets: list[str]) -> list[Iterator[str]]:
    most = max(WIDTHS)
    return [clients.in_turn(secrets[number::most]) for number in range(most)]


def _bare_read(client: clients.Client) -> None:
    client.send("GET", "GET", "/read", status=200)


def _bare_write(client: clients.Client) -> None:
    client.send("POST", "POST", "/write", {"content": "x" * 500}, status=201)


def _claiming(workers: Iterator[str], tasks: list[str], generator: random.Random) -> clients.Cycle:
    def cycle(client: clients.Client) -> None:
        worker, task = next(workers), generator.choice(tasks)
        place = {"latitude": stories.PLACE[0], "longitude": stories.PLACE[1]}
        claim = client.send("claim", "POST", f"/v1/tasks/{task}/claims", place, secret=worker, status=201)
        client.send("drop", "POST", f"/v1/claims/{claim['id']}/drop", {}, secret=worker, status=200)

    return cycle


def _holding(agents: Iterator[str]) -> clients.Cycle:
    def cycle(client: clients.Client) -> None:
        agent = next(agents)
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
        report.figures[f"{name}, {width} clients: cycles a second (n {each.seen.cycles:,})"] = round(statistics.median(each.a_second), 1)
        for request, seconds in each.seen.seconds.items():
            if len(seconds) >= 2:
                hundredths = statistics.quantiles(seconds, n=100, method="inclusive")
                report.figures[f"{name}, {width} clients: {request}, p50 and p99 ms"] = (
                    f"{hundredths[49] * 1e3:.1f} {hundredths[98] * 1e3:.1f}"
                )
    for name, peer in (("claim and drop", "bare POST of a row"), ("hold and release", "bare POST of a row")):
        for width in WIDTHS:
            # Two requests a cycle, each of them one commit.
            part = 2 * statistics.median(found[name, width].a_second) / statistics.median(found[peer, width].a_second)
            report.figures[f"{name}, {width} clients: requests a second as a part of the bare POST's"] = round(part, 3)


def _prove(report: campaign.Report, found: dict[tuple[str, int], Found]) -> None:
    """Whatever was answered was done: every claim ended, every slot is free again, and the books agree."""
    refusals = [refusal for each in found.values() for refusal in each.seen.refusals]
    report.figures["refusals"] = len(refusals)
    report.violations += [f"refused: {refusal}" for refusal in refusals[:10]]
    cycles = sum(found["claim and drop", width].seen.cycles for width in WIDTHS)
    dropped = Claim.objects.filter(status=Claim.Status.DROPPED).count()
    if dropped != cycles:
        report.violations.append(f"{cycles} claims were made and dropped, {dropped} stand as dropped")
    busy = Slot.objects.filter(lease_state="LEASED").count()
    if busy:
        report.violations.append(f"{busy} slots are taken and nobody has a claim")
    report.violations += audit.audit().breaches
