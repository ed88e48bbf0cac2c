"""Races of two steps on two real connections, judged by what the same two come to one after the other, in either order."""

import contextlib
import dataclasses
import functools
import inspect
import itertools
import random
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import DatabaseError, connection
from django.db.models import Model

from market.accounts.models import Agent
from market.bounties.models import Bounty
from market.escrow.models import Hold
from market.ledger import audit
from market.payments.models import Deposit, Payout
from tasks.leases import LeaseState
from tasks.models import Claim, Slot, Submission
from tests import people
from tests.faults import campaign, dividing, restaged
from tests.faults.race_scenes import Scene, Seen, first_difference
from tests.faults.transitions import STATES, State, Step

# So long, and before so late a statement, is one of the two held up, so that they meet in every way; often it is not at all.
_MOST_PAUSE_S, _LAST_STATEMENT = 0.006, 24
_TIMEOUT_S = 60
# The books are audited at each serial end, which has all that an audit looks at; besides, after so many races once.
_AUDITED_EVERY = 20
# So many pairs of a state are one share of the work.
_MOST_PAIRS = 16

# Claims pass over rows that a rival's open transaction holds, so a slot that is being withdrawn counts as taken.
_SAME = {"AllTaken": "no free slot", "NotListed": "no free slot"}

# A deadlock, a serialization failure or a broken constraint, which no caller may ever be told, whatever the order.
_NEVER = "the database's own"

# A slot's lease is a claim: it is taken, let go and done, and taken out when its bounty closes.
_SLOT_EDGES = {
    (LeaseState.READY, LeaseState.LEASED),
    (LeaseState.LEASED, LeaseState.READY),
    (LeaseState.LEASED, LeaseState.DONE),
    (LeaseState.READY, LeaseState.DEAD),
}


@dataclasses.dataclass(frozen=True)
class End:
    """What two steps came to: what each caller was told, and what can be seen afterwards."""

    told: tuple[str, str]
    spent_minor: int
    seen: Seen


def every_edge() -> set[str]:
    """Return the legal edges of all that is raced, as `watched` notes them."""
    edges = {f"{Slot._meta.db_table} {old.value}>{new.value}" for old, new in _SLOT_EDGES}
    for model in (Bounty, Claim, Submission, Hold, Payout, Deposit):
        edges |= {f"{model._meta.db_table} {old.value}>{new.value}" for old, targets in model.EDGES.items() for new in targets}
    return edges


def untaken(edges: set[str]) -> list[str]:
    """Say which legal edges are not among those that were taken."""
    return [f"no raced transition takes {edge}" for edge in sorted(every_edge() - edges)]


class Racers:
    """Two threads with a connection each, which begin at the same moment."""

    def __init__(self) -> None:
        self._lanes = [ThreadPoolExecutor(1), ThreadPoolExecutor(1)]
        self._start = threading.Barrier(2, timeout=_TIMEOUT_S)
        self._pauses: dict[int, tuple[int, float]] = {}

    def __enter__(self) -> "Racers":
        for lane in self._lanes:
            lane.submit(self._open).result(_TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        for lane in self._lanes:
            # Not ``connection.close``: that would be this thread's.
            lane.submit(lambda: connection.close()).result(_TIMEOUT_S)
            lane.shutdown()

    def race(self, scene: Scene, steps: tuple[Step, Step], chance: random.Random) -> tuple[str, str]:
        """Run both at once; return what each caller is told."""
        lanes = chance.sample(self._lanes, 2)
        runs = [lane.submit(self._run, step, scene, _pause(chance)) for lane, step in zip(lanes, steps, strict=True)]
        first, second = (run.result(_TIMEOUT_S) for run in runs)
        return first, second

    def _open(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET races.is_watched = 'on'")
        # For as long as the connection lives.
        connection.execute_wrappers.append(self._hold_up)

    def _run(self, step: Step, scene: Scene, pause: tuple[int, float]) -> str:
        self._pauses[threading.get_ident()] = pause
        self._start.wait()
        return Running(step, scene).finish()

    def _hold_up(self, execute: Callable[..., Any], sql: str, params: object, many: bool, context: dict[str, Any]) -> Any:
        left, pause_s = self._pauses.get(threading.get_ident(), (-1, 0.0))
        self._pauses[threading.get_ident()] = (left - 1, pause_s)
        if left == 0:
            time.sleep(pause_s)
        return execute(sql, params, many, context)


def _pause(chance: random.Random) -> tuple[int, float]:
    if chance.random() < 0.4:
        return -1, 0.0
    return chance.randrange(_LAST_STATEMENT), chance.uniform(0.0005, _MOST_PAUSE_S)


class Running:
    """A step on its way through its transactions."""

    def __init__(self, step: Step, scene: Scene) -> None:
        self._step, self._scene = step, scene
        self._parts: Generator[None, None, object] | None = None
        # What its caller learns; empty as long as it runs.
        self.told = ""

    def go_on(self) -> None:
        """Do the next transaction."""
        try:
            if self._parts is None:
                result = self._step(self._scene)
                if not isinstance(result, Generator):
                    self.told = _words(result)
                    return
                self._parts = result
            next(self._parts)
        except StopIteration as end:
            self.told = _words(end.value)
        except ExceptionGroup as errors:
            self.told = repr(errors)
        except DatabaseError as error:
            self.told = f"{_NEVER} {error!r}"
        except Exception as error:  # What was raised is an outcome here.
            name = type(error).__name__
            self.told = _SAME.get(name, name)

    def finish(self) -> str:
        """Do all that is left, and return what the caller learns."""
        while not self.told:
            self.go_on()
        return self.told


def _words(result: object) -> str:
    if isinstance(result, Model):
        words = [getattr(result, name, "") for name in ("status", "kind", "outcome", "version", "number")]
        return " ".join([type(result).__name__, *(str(word) for word in words if word)])
    return str(result)


class SerialEnds:
    """The ends of two steps one after the other, in every order of their transactions, each found out when it is asked for."""

    def __init__(self, state: State, stage: restaged.Stage, steps: tuple[Step, Step]) -> None:
        self._state, self._stage, self._steps = state, stage, steps
        parts = [place for place, step in enumerate(steps) for _ in range(2 if inspect.isgeneratorfunction(step) else 1)]
        orders = sorted(set(itertools.permutations(parts)), key=lambda order: sum(one != other for one, other in itertools.pairwise(order)))
        # Of two that are the same nobody can tell which was first.
        self._orders = iter([order for order in orders if steps[0] is not steps[1] or order[0] == 0])
        self.known: list[End] = []
        # What an audit said of the books at these ends. Whoever comes to one of them has the same rows and transfers.
        self.breaches: list[str] = []

    def __contains__(self, end: End) -> bool:
        while end not in self.known:
            order = next(self._orders, None)
            if order is None:
                return False
            self.known += self._ends_of(order)
        return True

    def _ends_of(self, order: Sequence[int]) -> list[End]:
        scene = self._stage.scene()
        running = [Running(step, scene) for step in self._steps]
        for place in order:
            if not running[place].told:
                running[place].go_on()
        end = look(self._state, scene, (running[0].finish(), running[1].finish()))
        self.breaches += audit.audit().breaches
        return [end, dataclasses.replace(end, told=(end.told[1], end.told[0]))] if self._steps[0] is self._steps[1] else [end]


def look(state: State, scene: Scene, told: tuple[str, str]) -> End:
    """Let the sweeper end what was left to him, and return what there is to see."""
    if state.after is not None:
        Running(state.after, scene).finish()
    return End(told, scene.spent(), scene.seen())


def stage_of(name: str, agent: Agent) -> restaged.Stage:
    """Return the stage for scenes in a state."""
    return restaged.Stage(functools.partial(STATES[name].make, agent))


def run_pair(
    name: str, steps: tuple[Step, Step], *, stage: restaged.Stage, racers: Racers, chance: random.Random, rounds: int
) -> list[str]:
    """Race two steps ``rounds`` times; return in words every end that no serial order has, and every fault of the books."""
    state = STATES[name]
    title = f"{name}: {steps[0].__name__} x {steps[1].__name__}"
    serial = SerialEnds(state, stage, steps)
    found = []
    for number in range(rounds):
        scene = stage.scene()
        end = look(state, scene, racers.race(scene, steps, chance))
        if number % _AUDITED_EVERY == 0:
            found += [f"{title}, round {number}: {breach}" for breach in audit.audit().breaches]
        if end not in serial or any(_NEVER in words for words in end.told):
            found.append(f"{title}, round {number}: {_difference(end, serial.known)}")
    return found + [f"{title}: {breach}" for breach in serial.breaches]


def _difference(end: End, serial: Sequence[End]) -> str:
    alike = [one.seen for one in serial if one.told == end.told]
    if alike:
        return f"told {end.told}, {first_difference(end.seen, alike)}"
    return f"told {end.told}, one after the other {' or '.join(sorted({str(one.told) for one in serial}))}"


@dataclasses.dataclass(frozen=True)
class Share:
    """Some pairs of one state: what one process does at a time."""

    name: str
    numbers: tuple[int, ...]

    def pairs(self) -> list[tuple[Step, Step]]:
        """Return the pairs themselves: steps are functions, which other processes know by their place."""
        every = STATES[self.name].pairs()
        return [every[number] for number in self.numbers]


def race_all(*, seed: int, rounds: int, names: Sequence[str] = tuple(STATES), share: float = 1.0, processes: int = 1) -> campaign.Report:
    """Race the pairs of the states that are named: every step with itself, the first two of a state, of the others a share.

    Where all states are named, an edge of a status that no race took is a violation as well.
    """
    report = campaign.Report({"pairs": 0, "races": 0})
    edges: set[str] = set()
    shares = [one for name in names for one in _shares_of(name, seed=seed, share=share)]
    # The longest first, so that they end together.
    shares.sort(key=lambda one: -len(one.numbers))
    with watched():
        for one, raced in dividing.each(shares, functools.partial(_race, seed, rounds), processes=processes):
            if isinstance(raced, dividing.Lost):
                report.violations.append(f"{one.name}: {raced.why} | again: {_again(seed, rounds, one.name)}")
                continue
            report.violations += [f"{violation} | again: {_again(seed, rounds, one.name)}" for violation in raced.violations]
            report.count("pairs", len(one.numbers))
            report.count("races", rounds * len(one.numbers))
            edges |= raced.edges
    report.figures["states"] = len(names)
    report.figures["edges of a status taken in a race"] = len(edges)
    if set(names) == set(STATES):
        report.violations += untaken(edges)
    report.violations = [f"seed {seed}, {violation}" for violation in report.violations]
    return report


@dataclasses.dataclass(frozen=True)
class _Raced:
    violations: list[str]
    edges: set[str]


def _shares_of(name: str, *, seed: int, share: float) -> list[Share]:
    """Divide what is to be raced from a state."""
    state = STATES[name]
    chosen = [
        number
        for number, steps in enumerate(state.pairs())
        if steps[0] is steps[1] or steps == state.steps[:2] or _chance_of(seed, name, steps).random() < share
    ]
    return [Share(name, tuple(chosen[start : start + _MOST_PAIRS])) for start in range(0, len(chosen), _MOST_PAIRS)]


def _race(seed: int, rounds: int, share: Share) -> _Raced:
    violations: list[str] = []
    agent = people.open_agent()
    people.top_up(agent, "1000000.00")
    with Racers() as racers, stage_of(share.name, agent) as stage:
        for steps in share.pairs():
            chance = _chance_of(seed, share.name, steps)
            violations += run_pair(share.name, steps, stage=stage, racers=racers, chance=chance, rounds=rounds)
    return _Raced(violations, taken_edges())


def _chance_of(seed: int, name: str, steps: tuple[Step, Step]) -> random.Random:
    """Return the dice of a pair, its own, so that it goes the same whatever is raced besides."""
    return random.Random(f"{seed} {name} {steps[0].__name__} {steps[1].__name__}")


def _again(seed: int, rounds: int, name: str) -> str:
    return f"python -m tests.faults.races --seed {seed} --rounds {rounds} --state '{name}'"


_NOTE_EDGE = """
CREATE OR REPLACE FUNCTION note_raced_edge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('races.is_watched', true) = 'on' THEN
        INSERT INTO raced_edge
        SELECT TG_TABLE_NAME || ' ' || (to_jsonb(OLD) ->> TG_ARGV[0]) || '>' || (to_jsonb(NEW) ->> TG_ARGV[0]);
    END IF;
    RETURN NULL;
END $$
"""


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Note every change of a status that racers commit, as long as this lasts."""
    columns = dict.fromkeys((Bounty, Claim, Submission, Hold, Payout, Deposit), "status") | {Slot: "lease_state"}
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE raced_edge (edge text NOT NULL)")
        cursor.execute(_NOTE_EDGE)
        for model, column in columns.items():
            cursor.execute(
                f"CREATE TRIGGER raced_edge_is_noted AFTER UPDATE ON {model._meta.db_table} FOR EACH ROW"
                f" WHEN (OLD.{column} IS DISTINCT FROM NEW.{column}) EXECUTE FUNCTION note_raced_edge('{column}')"
            )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION note_raced_edge CASCADE")
            cursor.execute("DROP TABLE raced_edge")


def taken_edges() -> set[str]:
    """Return the edges that were noted so far, each once."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT edge FROM raced_edge")
        return {edge for (edge,) in cursor.fetchall()}
