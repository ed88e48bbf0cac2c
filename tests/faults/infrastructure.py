"""Kills what a market is made of, under load: PostgreSQL, Valkey, web, Celery's workers and beat, the GPU worker; or takes the broker away.

``python -m tests.faults.infrastructure --rounds 20`` (200 take about 20 minutes) starts a market with a durable PostgreSQL, a
Valkey that keeps nothing, and all real processes. Whatever is killed: every write that was acknowledged is there, once; the
books add up; all that was begun is done within twice the lease after the recovery; and each event has reached its agent's webhook.
"""

import argparse
import functools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults import acknowledged, campaign, customers, servers

# The market's own: `verification.pipeline`, `market.payments.payouts`, `gpu_workers.leasing`.
LEASE_S = 60
CLIENTS = 4
MOST_WRITES = 40
# The vision model is read from disk first.
HELD_ROW_WITHIN_S = 60.0
AWAY_S = 60.0
LOOK_EVERY_S = 0.005
_HELD = {
    "worker": "SELECT count(*) FROM verification_case WHERE lease_state = 'LEASED'",
    "gpu-worker": "SELECT count(*) FROM verification_visionrun WHERE lease_state = 'LEASED'",
}


@dataclass(frozen=True)
class Scene:
    """What a scenario is played with."""

    market: servers.Market
    load: customers.Load
    rounds: int
    chance: random.Random
    report: campaign.Report
    # As many writes, at most, are acknowledged between two kills.
    most_writes: int
    # A kill at a moment when the process holds a row is the worst; where none comes in this time, any moment will do.
    held_row_within_s: float
    away_s: float

    def go_on(self) -> None:
        """Let the clients work until a random moment."""
        self.load.wait_for_more(self.chance.randint(1, self.most_writes))


def kill_server(name: str, scene: Scene) -> None:
    """Kill a server with all that it has started, at once: PostgreSQL, or Valkey, which forgets everything."""
    for _ in range(scene.rounds):
        scene.go_on()
        scene.market.kill(name)
        scene.report.count(f"kills of {name}")
        scene.market.start(name)


def kill_web(scene: Scene) -> None:
    """Kill the web server with all its processes, or one of them alone."""
    for number in range(scene.rounds):
        scene.go_on()
        if number % 2:
            scene.report.count(f"kills of web ({scene.market.kill_a_part('web', chance=scene.chance)})")
            continue
        scene.market.kill("web")
        scene.report.count("kills of web")
        scene.market.start("web")


def kill_processes(scene: Scene) -> None:
    """Kill Celery's worker (all of it, its parent alone, one of its children), beat or the GPU worker."""
    for number in range(scene.rounds):
        scene.go_on()
        name = ("worker", "gpu-worker", "beat", "worker")[number % 4]
        _wait_for_a_held_row(scene, name)
        if name == "worker" and scene.chance.random() < 0.5:
            scene.report.count(f"processes: kills of worker ({scene.market.kill_a_part(name, chance=scene.chance)})")
            continue
        scene.market.kill(name)
        scene.report.count(f"processes: kills of {name}")
        # It stays away for a while: what it would have done piles up.
        scene.go_on()
        scene.market.start(name)


def take_broker_away(scene: Scene) -> None:
    """Have no broker for a while, and all requests answered meanwhile."""
    scene.go_on()
    scene.market.kill("valkey")
    answered_before, end_s = scene.load.memory.count, time.monotonic() + scene.away_s
    while time.monotonic() < end_s:
        scene.load.wait_for_more(1)
    scene.report.figures["broker-away: seconds away"] = scene.away_s
    scene.report.count("broker-away: writes answered meanwhile", scene.load.memory.count - answered_before)
    scene.market.start("valkey")


SCENARIOS: dict[str, Callable[[Scene], None]] = {
    "postgres": functools.partial(kill_server, "postgres"),
    "broker": functools.partial(kill_server, "valkey"),
    "web": kill_web,
    "processes": kill_processes,
    "broker-away": take_broker_away,
}
# Without its database or web server the market may fail a request, if only it keeps what it has answered. Without anything else it may not.
_MAY_FAIL_REQUESTS = ("postgres", "web")


def play(
    name: str,
    *,
    market: servers.Market,
    keys: list[servers.ClientKeys],
    rounds: int,
    seed: int,
    done_within_s: float,
    most_writes: int = MOST_WRITES,
    held_row_within_s: float = HELD_ROW_WITHIN_S,
    away_s: float = AWAY_S,
    report: campaign.Report,
) -> None:
    """Play one scenario under load and note every promise that was broken."""
    chance = random.Random(f"{seed} {name}")
    before, load = acknowledged.written(market), customers.Load(market.url, keys, chance=chance)
    broken: list[str] = []
    load.start()
    try:
        SCENARIOS[name](Scene(market, load, rounds, chance, report, most_writes, held_row_within_s, away_s))
    finally:
        memory = load.finish()
    took_s, left = acknowledged.wait_until_done(market, within_s=done_within_s)
    if left:
        broken.append(f"not done {done_within_s:.0f} s after the recovery: {left}")
    if name not in _MAY_FAIL_REQUESTS:
        broken += [f"not answered: {trouble}" for trouble in memory.troubles]
    broken += acknowledged.differences(market, memory, before=before)
    report.violations += [f"{name}, seed {seed}, {rounds} rounds: {line}" for line in broken]
    _show_figures(report, name, memory, took_s, market)


def _show_figures(report: campaign.Report, name: str, memory: customers.Memory, took_s: float, market: servers.Market) -> None:
    for kind, ids in sorted(memory.acknowledged.items()):
        report.figures[f"{name}: {kind} acknowledged"] = len(ids)
    report.figures[f"{name}: accepted and paid"] = len(memory.accepted)
    report.figures[f"{name}: requests without an answer, repeated"] = len(memory.troubles)
    report.figures[f"{name}: refusals"] = sum(memory.refusals.values())
    report.figures[f"{name}: slowest request, s"] = round(memory.slowest_s, 2)
    report.figures[f"{name}: all done after, s"] = round(took_s, 1)
    report.figures[f"{name}: events told by webhook, in all"] = len(market.webhooks_heard())
    report.figures[f"{name}: processes that ended by themselves"] = len(market.ended_by_themselves)


def _wait_for_a_held_row(scene: Scene, name: str) -> None:
    end_s = time.monotonic() + scene.held_row_within_s
    while name in _HELD and time.monotonic() < end_s:
        if scene.market.query(_HELD[name])[0][0]:
            scene.report.count(f"processes: kills of {name} that held a row")
            return
        time.sleep(LOOK_EVERY_S)


def run(options: argparse.Namespace) -> campaign.Report:
    """Play the chosen scenarios, each on a market of its own: only the one about processes waits for the real vision model."""
    report = campaign.Report()
    chosen = SCENARIOS if options.scenario == "all" else (options.scenario,)
    for name in chosen:
        # A worker holds five claims at most, and those stay open whose photograph the real model leaves to a person.
        wanted = servers.Options(clients=CLIENTS, workers_a_client=4 + options.rounds // 4, has_vision_model=name == "processes")
        with servers.open_market(wanted) as (market, keys):
            play(
                name,
                market=market,
                keys=keys,
                rounds=options.rounds,
                seed=options.seed,
                done_within_s=2 * LEASE_S,
                away_s=options.away_s,
                report=report,
            )
    return report


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scenario", choices=("all", *SCENARIOS), default="all", help="what is killed (default: all, one after the other)")
    parser.add_argument("--away-s", type=float, default=AWAY_S, help="how long the broker is away (default %(default)s)")


if __name__ == "__main__":
    campaign.command(
        "tests.faults.infrastructure",
        description="Kill PostgreSQL, Valkey, web, Celery and GPU workers under load; nothing acknowledged is lost, nothing done twice.",
        rounds=20,
        run=run,
        add_arguments=_add_arguments,
        has_database=False,
    )
