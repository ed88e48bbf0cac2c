"""The rounds of the comparison, and what they say: medians, how many times the peers, balances and the audit at two sizes."""

import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from market.ledger import audit, balances, marks
from market.ledger.models import Transfer
from tests.benchmarks import durable
from tests.benchmarks.ledgers import ours, sides
from tests.faults import campaign

BATCHED = "ours, batches of 1,000"
HOT = "ours, batches of 1,000 into one account"
# Printed beside what was found and never asserted: a rate tells as much of the machine as of the ledger.
MIN_A_SECOND = 20_000
MIN_HOT_A_SECOND = 40_000
MIN_TIMES = {"pgledger": 8, "django-hordak": 30}
MAX_AUDIT_S = 5.0
READS = 200


@dataclass
class Rates:
    """What was found of one way on so many connections: transfers in all, and a second in every round."""

    count: int = 0
    a_second: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median round."""
        return statistics.median(self.a_second)


Found = dict[tuple[str, int], Rates]


def compare(*, seed: int, rounds: int, seconds: float, total: int, pgledger: str) -> campaign.Report:
    """Let all ledgers move in turn; then bring ours to ``total`` transfers and audit them."""
    report = campaign.Report(durable.facts())
    with sides.started(seed=seed, pgledger=pgledger) as ledgers:
        _time_balances(report)
        found = _rounds(ledgers, rounds=rounds, seconds=seconds)
        if "django-hordak" in ledgers:
            reads, a_second = ledgers["django-hordak"].measure("balance", width=1, seconds=seconds)
            report.figures[f"django-hordak: balance of its fullest account, microseconds (n {reads})"] = round(1e6 / a_second)
    for (way, width), rates in found.items():
        report.figures[f"{way}, {width} at once: a second (n {rates.count:,})"] = round(rates.median)
    _judge(report, found)
    _fill(total, generator=random.Random(f"{seed}/fill"))
    _time_balances(report)
    prove(report)
    return report


def _rounds(ledgers: dict[str, sides.Side], *, rounds: int, seconds: float) -> Found:
    found: Found = {}
    for _ in range(rounds):
        for name, side in ledgers.items():
            for way in sides.WAYS[name]:
                for width in range(1, sides.MOST_PROCESSES + 1):
                    count, a_second = side.measure(way, width=width, seconds=seconds)
                    rates = found.setdefault((f"{name}, {way}", width), Rates())
                    rates.count += count
                    rates.a_second.append(a_second)
    return found


def _judge(report: campaign.Report, found: Found) -> None:
    """Put the figures that count beside their bars: the best of ours in any way against a peer's, and one process of ours as well."""
    batched, hot = found[BATCHED, 1].median, found[HOT, 1].median
    report.figures[f"bar: batched a second, at least {MIN_A_SECOND:,}"] = round(batched)
    report.figures[f"bar: hot account a second, at least {MIN_HOT_A_SECOND:,} or 1.0 x spread"] = f"{hot:,.0f} = {hot / batched:.2f} x"
    alone = found["ours, one at a time", 1].median
    best = max(_of("ours", found).values())
    for peer in ("plain ORM", *MIN_TIMES):
        of_peer = _of(peer, found)
        if of_peer:
            bar = f", at least {MIN_TIMES[peer]}" if peer in MIN_TIMES else ""
            report.figures[f"bar: best way, times the best of {peer}{bar}"] = round(best / max(of_peer.values()), 1)
            report.figures[f"batched by one process, times the best of {peer}"] = round(batched / max(of_peer.values()), 1)
            report.figures[f"one at a time, times {peer} one at a time"] = round(alone / of_peer[f"{peer}, one at a time", 1], 1)


def _of(name: str, found: Found) -> dict[tuple[str, int], float]:
    return {key: rates.median for key, rates in found.items() if key[0].startswith(f"{name}, ")}


def _fill(total: int, *, generator: random.Random) -> None:
    while (missing := total - Transfer.objects.count()) > 0:
        ours.move(generator, batch=min(missing, 5_000))


def _time_balances(report: campaign.Report) -> None:
    """Read the hottest guarded account, and a shared one right after its mark, at the number of transfers there is."""
    count = Transfer.objects.count()
    marks.mark()
    for words, path in (("guarded", ours.HOT), ("shared", ours.OUTSIDE)):
        report.figures[f"{words} balance at {count:,} transfers, microseconds (n {READS})"] = round(_median_s(path) * 1e6)


def _median_s(path: str) -> float:
    return statistics.median(_timed(lambda: balances.balance(path)) for _ in range(READS))


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def prove(report: campaign.Report) -> None:
    """Audit what was posted; any difference is a broken promise."""
    start = time.perf_counter()
    proved = audit.audit()
    report.figures[f"bar: audit of {proved.transfer_count:,} transfers, seconds, below {MAX_AUDIT_S:g} for a million"] = round(
        time.perf_counter() - start, 2
    )
    report.violations += proved.breaches
