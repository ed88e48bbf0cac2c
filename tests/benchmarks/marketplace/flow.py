"""Bounties through their whole life in one process, and what that does to latency, memory and tables as they grow in number."""

import random
import statistics
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from django.db import connection

from market.accounts.models import Agent, ApiKey
from market.bounties import claiming, funding, posting, settlement, submitting, sweeping
from market.common import account_paths
from market.common.money import Money
from market.events import feed
from market.ledger import audit, balances, marks
from market.payments import payouts
from market.payments import sweeping as payments_sweeping
from market.payments.models import Payout
from tasks import clock, submissions
from tasks.models import WorkerProfile
from tests import people, stories
from tests.faults import campaign

T = TypeVar("T")

AGENTS = 20
WORKERS = 100
REWARD = Money(1_000, "USD")
FEE = Money(100, "USD")
# What beat rings every second or two, after so many bounties; and every minute.
SWEEP_EVERY = 50
MARK_EVERY = 1_000
# Rows that are updated again and again, so that old versions of them must be cleared away.
HOT_TABLES = (
    "ledger_account", "tasks_task", "tasks_slot", "tasks_claim", "tasks_submission", "tasks_workerprofile", "bounties_bounty",
    "bounties_settlement", "escrow_hold", "accounts_apikey", "events_event", "events_feedcounter", "payments_payout",
    "verification_case", "verification_verdict",
)  # fmt: skip


@dataclass
class Tenth:
    """What was seen during one tenth of the bounties."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    rss_bytes: int = 0
    dead_tuples: dict[str, int] = field(default_factory=dict)

    def timed(self, step: str, work: Callable[[], T]) -> T:
        """Do a step of a bounty's life and note how long it took."""
        start = time.perf_counter()
        try:
            return work()
        finally:
            self.seconds.setdefault(step, []).append(time.perf_counter() - start)

    def quantile_ms(self, step: str, hundredths: int) -> float:
        """Return a quantile of a step in milliseconds."""
        return statistics.quantiles(self.seconds[step], n=100)[hundredths - 1] * 1_000


@dataclass
class Scene:
    """Who acts: agents with money enough, and workers who may hold several claims."""

    agents: list[tuple[Agent, ApiKey]]
    workers: list[WorkerProfile]

    @classmethod
    def open(cls, *, count: int) -> "Scene":
        """Make the people; together the agents have the money for so many bounties."""
        agents = [people.open_agent(f"agent {number}") for number in range(AGENTS)]
        for agent in agents:
            people.top_up(agent, f"{10 * (2 + count // AGENTS) * 3}.00")
        return cls([(agent, people.key_of(agent)) for agent in agents], [people.open_worker(accepted_count=100) for _ in range(WORKERS)])


def run(*, seed: int, count: int) -> campaign.Report:
    """Take so many bounties from posting to payout; report the first tenth beside the last."""
    report = campaign.Report()
    generator, scene = random.Random(f"{seed}/flow"), Scene.open(count=count)
    start = time.perf_counter()
    tenths = [_tenth(scene, generator, count=count // 10) for _ in range(10)]
    _pay_out_the_rest(scene, generator)
    done = count // 10 * 10
    report.figures["flow: bounties"] = done
    report.figures["flow: bounties a second"] = round(done / (time.perf_counter() - start), 1)
    _compare(report, tenths)
    _prove(report, scene, done)
    return report


def _tenth(scene: Scene, generator: random.Random, *, count: int) -> Tenth:
    tenth = Tenth()
    for number in range(1, count + 1):
        _one_life(tenth, scene, generator)
        if number % SWEEP_EVERY == 0 or number == count:
            _sweep(tenth)
        if number % MARK_EVERY == 0 or number == count:
            tenth.timed("mark", marks.mark)
            tenth.dead_tuples = {table: max(dead, tenth.dead_tuples.get(table, 0)) for table, dead in _dead_tuples().items()}
    tenth.rss_bytes = _rss_bytes()
    return tenth


def _one_life(tenth: Tenth, scene: Scene, generator: random.Random) -> None:
    """Post, fund, claim, hand in, decide, settle; ask for the payout of what an earlier bounty earned."""
    (agent, key), worker = generator.choice(scene.agents), generator.choice(scene.workers)
    terms = stories.photo_terms(question=f"Is there a cup of coffee on table {generator.randrange(10**9)}? Show the cup.")
    offer = stories.offer(REWARD.decimal_text(), now=clock.now())
    post = tenth.timed("post", lambda: posting.post(agent=agent, key=key, terms_input=terms, offer_input=offer, now=clock.now()))
    bounty = tenth.timed("fund", lambda: funding.fund(bounty=post, now=clock.now()))
    latitude, longitude = stories.PLACE
    claim = tenth.timed(
        "claim",
        lambda: claiming.claim(task_id=bounty.task_id, worker=worker, latitude=latitude, longitude=longitude, now=clock.now()),
    )
    capture = submissions.ReportedCapture(latitude=latitude, longitude=longitude, accuracy_m=8.0)
    files = [stories.kept_file.__wrapped__(f"photo of {claim}")]
    submission = tenth.timed(
        "submit",
        lambda: submitting.submit(claim=claim, worker=worker, files=files, capture=capture, note="", now=clock.now()),
    )
    verdict = tenth.timed("verdict", lambda: stories.decide(submission))
    tenth.timed("settle", lambda: settlement.apply_verdict(verdict_id=verdict.pk, now=clock.now()))
    payable = tenth.timed("balance", lambda: _payable_minor(worker))
    if payable >= REWARD.amount_minor:
        tenth.timed("payout", lambda: _ask_for(payable, worker, generator))


def _payable_minor(worker: WorkerProfile) -> int:
    return balances.balance(account_paths.worker_payable(mode="test", worker_id=worker.pk, currency="USD"))


def _ask_for(minor: int, worker: WorkerProfile, generator: random.Random) -> None:
    asked = uuid.UUID(int=generator.getrandbits(128), version=4)
    payouts.request(worker=worker, mode="test", destination="test_ok", amount=Money(minor, "USD"), request_id=asked, now=clock.now())


def _pay_out_the_rest(scene: Scene, generator: random.Random) -> None:
    _sweep(Tenth())
    for worker in scene.workers:
        if minor := _payable_minor(worker):
            _ask_for(minor, worker, generator)
    under_way = Payout.objects.filter(status__in=(Payout.Status.REQUESTED, Payout.Status.SENT))
    # Sent by one pass, told of by the next; what is left after all these is missed by the proof.
    for _ in range(2 + len(scene.workers)):
        if under_way.exists():
            _sweep(Tenth())


def _sweep(tenth: Tenth) -> None:
    tenth.timed("number events", feed.sequence)
    tenth.timed("sweep bounties", lambda: sweeping.sweep(now=clock.now()))
    # Each payout rings for itself, and a pass sends twenty.
    for _ in range(1 + Payout.objects.filter(status=Payout.Status.REQUESTED).count() // 20):
        tenth.timed("sweep payments", lambda: payments_sweeping.sweep(now=clock.now()))


def _compare(report: campaign.Report, tenths: list[Tenth]) -> None:
    first, last = tenths[0], tenths[-1]
    for step in sorted(last.seconds, key=lambda step: -sum(last.seconds[step])):
        if min(len(first.seconds.get(step, ())), len(last.seconds[step])) >= 2:
            p50s, p99s = ([tenth.quantile_ms(step, hundredths) for tenth in (first, last)] for hundredths in (50, 99))
            report.figures[f"flow: {step}, p50 ms, first and last tenth (n {len(last.seconds[step]):,})"] = _pair(p50s)
            report.figures[f"flow: {step}, p99 ms, first and last tenth"] = _pair(p99s)
    ratio = last.quantile_ms("claim", 99) / first.quantile_ms("claim", 99)
    report.figures["bar: claim p99, last tenth to first, within 1.2"] = round(ratio, 2)
    # The first tenth still loads code and fills caches.
    grown_mb = (last.rss_bytes - tenths[1].rss_bytes) / 1e6
    report.figures["bar: memory grown since the second tenth, MB, flat"] = f"{grown_mb:+.1f} of {last.rss_bytes / 1e6:.0f}"
    for table in sorted(last.dead_tuples, key=lambda table: -last.dead_tuples[table]):
        dead = " ".join(str(tenth.dead_tuples.get(table, 0)) for tenth in tenths)
        report.figures[f"flow: most dead tuples of {table}, tenth by tenth"] = dead


def _pair(values: list[float]) -> str:
    return " ".join(f"{value:.1f}" for value in values)


def _prove(report: campaign.Report, scene: Scene, done: int) -> None:
    """Every bounty was paid and taken its fee of once, and the books agree."""
    start = time.perf_counter()
    proved = audit.audit()
    report.figures[f"flow: audit of {proved.transfer_count:,} transfers with all holds and payouts, seconds"] = round(
        time.perf_counter() - start, 2
    )
    report.violations += proved.breaches
    fees = balances.balance(account_paths.platform_fees(mode="test", currency="USD"))
    clearing = -balances.balance(account_paths.clearing(mode="test", provider="test_money", currency="USD"))
    report.figures["flow: fees taken, minor units"] = fees
    with_agents = sum(balances.guarded_like(":agent:", ":available:").values())
    if fees != done * FEE.amount_minor or clearing != fees + with_agents:
        report.violations.append(f"{clearing} is in the market after {done} bounties: {fees} of it fees, {with_agents} the agents'")


def _dead_tuples() -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, n_dead_tup FROM pg_stat_user_tables WHERE relname = ANY (%s)",
            [list(HOT_TABLES)],
        )
        return dict(cursor.fetchall())


def _rss_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096
