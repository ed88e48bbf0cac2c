"""One simulated market: its parts, its steps, its trace, and how it is left alone at the end."""

import datetime
import hashlib
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from unittest import mock

import celery
from django.conf import settings
from django.core.cache import caches
from django.db import connection
from django.test import override_settings

from market.bounties import rules
from market.config.celery_app import app
from market.payments.providers import base, registry
from tasks import evidence, ids
from tasks.models import Mode
from tests.faults.simulation import album, cast, internet, invariants, machines, moods, network
from tests.faults.simulation.bank import Bank
from tests.faults.simulation.clock import Clock
from verification import fingerprints, pictures, pipeline

BEAT = ("verification.sweep", "bounties.sweep", "payments.sweep", "events.deliver")
RARE_BEAT = ("ledger.mark", "accounts.tidy", "tasks.tidy")
# How far the clock goes between two rounds of sweeping, once nobody acts any more: past the time without readings, retake
# and appeal windows, a person's time, the longest deadline, all of it again, and the slowest maturity.
LEFT_ALONE_FOR = tuple(
    datetime.timedelta(**span)
    for span in ({"minutes": 20}, {"hours": 80}, {"days": 8}, {"days": 61}, {"days": 8}, {"days": 4}, {"days": 8}, {"days": 95})
)
_MOST_SWEEPS = 60
_FULL_LOOK_EVERY = 200


@dataclass
class Run:
    """What came of one seed: violations of the first step that had any, and what was visited."""

    seed: int
    steps: int = 0
    violations: list[str] = field(default_factory=list)
    trace: str = ""
    last_lines: list[str] = field(default_factory=list)
    visited: Counter[str] = field(default_factory=Counter)


class World:
    """Everything that belongs to one seed. The same seed takes the same steps, whatever machine it runs on."""

    def __init__(self, seed: int, mood: moods.Mood = moods.ANY) -> None:
        self.seed, self.mood = seed, mood
        self.chance = self.chance_of("world")
        self.clock = Clock()
        self.queue = network.Queue()
        self.network = network.Network(self.queue, self.chance_of("network"), lambda: self.clock.now)
        self.internet = internet.Internet(seed)
        self.banks = {mode: self._open_bank(name, mode) for mode, name in ((Mode.TEST, "test_money"), (Mode.LIVE, "live_bank"))}
        self.maturity = datetime.timedelta(hours=_told(mood.maturity_hours, self.chance.choice((0, 0, 6, 72))))
        # The usual time between two thoughts of one person.
        self.pace = datetime.timedelta(seconds=self.chance.choice((300, 1200, 4800)))
        self.sweep_share = self.chance.choice((0.5, 1.0))
        self.bell_share = _told(1.0 if mood.is_fair else None, self.chance.choice((0.0, 0.5, 1.0)))
        self.outage_share = _told(mood.outage_share, self.chance.choice((0.0, 0.003, 0.008)))
        if mood.is_fair:
            self.network.heal()
        self.run = Run(seed)
        self.people: list[cast.Person] = []
        self.watch = invariants.Watch(self.banks.values(), self.internet)
        self.is_left_alone = False
        # Whether this step may have changed a row.
        self.is_touched = True
        self._is_in_second_process = False
        self._is_sweep_planned = False
        self._hash = hashlib.sha256()
        app.loader.import_default_modules()

    def chance_of(self, name: str) -> random.Random:
        """Return the dice of one part: what others draw does not change them."""
        return random.Random(f"{self.seed} {name}")

    def live(self, steps: int) -> Run:
        """Take so many steps, then leave the market alone until all that waits has come to its end."""
        with self._taken_over():
            _empty_database()
            self.people = cast.gather(self)
            self.network.saw = self._note_answer
            self.watch.begin()
            for bank in self.banks.values():
                bank.begin(self.mood.trouble_at_banks)
            for person in self.people:
                person.begin()
            self._plan_beat()
            for _ in range(steps):
                if self.run.violations:
                    break
                self._step()
            if not self.run.violations:
                self._look(is_full=True)
            if not self.run.violations:
                self._leave_alone()
            self.run.trace = self._hash.hexdigest()
            if not self.run.violations:
                self.run.visited.update(invariants.census())
        return self.run

    def ring(self, job: str, kwargs: dict[str, str]) -> None:
        """Carry a bell from the market to whoever answers it; it may be lost, late or doubled."""
        if self.is_left_alone or self.chance.random() >= self.bell_share:
            return
        if job in app.tasks:
            self.network.pass_on(f"bell {job}", lambda: self._do_job(job, kwargs))
        elif job == "gpu.work_vision":
            host = self.chance.choice([person for person in self.people if isinstance(person, machines.VisionHost)])
            self.network.pass_on(f"bell {job}", host.take_work)

    def second_process(self) -> None:
        """Let another process of the market sweep payments in the middle of a call of this one."""
        if not self._is_in_second_process:
            self._is_in_second_process = True
            try:
                self._do_job("payments.sweep", {})
            finally:
                self._is_in_second_process = False

    def _step(self) -> None:
        self.run.steps += 1
        if self.chance.random() < self.outage_share:
            # Nobody hears anything for a while; then everything comes at once.
            hours = _told(self.mood.outage_hours, self.chance.choice((0.1, 0.5, 1, 2, 24, 75, 8 * 24)))
            self.clock.move_to(self.clock.now + datetime.timedelta(hours=hours))
            self._write("outage", f"{hours} h")
        self._do_next(self.queue.pop())
        is_full = self.run.steps % _FULL_LOOK_EVERY == 0
        if self.is_touched or is_full:
            self.is_touched = False
            self._look(is_full=is_full)
            self._plan_sweep()

    def _do_next(self, waiting: network.Waiting | None) -> None:
        assert waiting is not None, "Somebody always thinks."
        self.clock.move_to(waiting.at)
        try:
            outcome = waiting.happening()
        except Exception as error:
            outcome = f"raised {type(error).__name__}"
            self.run.violations.append(f"{waiting.label} raised {_words_of(error)}")
        self._write(waiting.label, outcome)

    def _look(self, *, is_full: bool = False) -> None:
        if not self.run.violations:
            self.run.violations += self.watch.look(is_full=is_full)

    def _leave_alone(self) -> None:
        self.is_left_alone = True
        self.network.heal()
        self.internet.heal()
        for bank in self.banks.values():
            bank.heal()
        self.queue.stop_thinking()
        while (waiting := self.queue.pop()) and not self.run.violations:
            self._do_next(waiting)
        for span in (datetime.timedelta(0), *LEFT_ALONE_FOR):
            self.clock.move_to(self.clock.now + span)
            self._sweep_until_quiet()
            self._look()
            if self.run.violations:
                return
        self._look(is_full=True)
        if not self.run.violations:
            self.run.violations += self.watch.look_at_end()

    def _sweep_until_quiet(self) -> None:
        for _ in range(_MOST_SWEEPS):
            before = self.watch.fingerprint()
            for job in BEAT:
                try:
                    self._write(f"beat {job}", self._do_job(job, {}))
                except Exception as error:
                    self.run.violations.append(f"left alone, {job} raised {_words_of(error)}")
                    return
            # What failed or rests comes again after seconds, at most.
            self.clock.move_to(self.clock.now + datetime.timedelta(seconds=5))
            if self.watch.fingerprint() == before:
                return

    def _plan_beat(self) -> None:
        """Ring a sweeper now and then, as beat does every second: here most of its bells would find nothing to do."""
        job = self.chance.choice(RARE_BEAT) if self.chance.random() < 0.05 else self.chance.choice(BEAT)

        def beat() -> str:
            self._plan_beat()
            return self._do_job(job, {})

        self.queue.plan(self.clock.now + self.pace * self.chance.uniform(0.1, 1), f"beat {job}", beat, is_thought=True)

    def _plan_sweep(self) -> None:
        """Let a sweeper come by soon after something has changed, mostly."""
        if not self._is_sweep_planned and self.chance.random() < self.sweep_share:
            self._is_sweep_planned = True
            job = self.chance.choice(BEAT)
            after = datetime.timedelta(seconds=self.chance.choice((1, 10, 60, 240)))
            self.queue.plan(self.clock.now + after, f"sweep {job}", lambda: self._sweep(job), is_thought=True)

    def _sweep(self, job: str) -> str:
        self._is_sweep_planned = False
        return self._do_job(job, {})

    def _do_job(self, job: str, kwargs: dict[str, str]) -> str:
        self.is_touched = True
        self.clock.move_to(self.clock.now)
        app.tasks[job].run(**kwargs)
        self.run.visited[f"job {job}"] += 1
        self.run.violations += self.watch.after(job, self.clock.now)
        return "done"

    def _note_answer(self, request: network.Request, answer: network.Answer) -> None:
        self.is_touched = True
        if not answer.is_replay:
            verb = request.route.rpartition("/")[2]
            self.run.visited[f"{request.method} {verb}: {answer.word if answer.status >= 400 else 'done'}"] += 1
        self.run.violations += self.watch.heard(request, answer)

    def _write(self, label: str, outcome: str) -> None:
        line = f"{self.run.steps} {self.clock.now.isoformat()} {label}: {outcome}"
        self._hash.update(f"{line}\n".encode())
        self.run.last_lines = [*self.run.last_lines[-24:], line]

    def _open_bank(self, name: str, mode: str) -> Bank:
        def wait(span: datetime.timedelta) -> None:
            self.clock.move_to(self.clock.now + span)
            self.second_process()

        return Bank(name, self.chance_of(f"bank of {mode} money"), wait=wait, now=lambda: self.clock.now)

    def _bank_named(self, name: str) -> base.Provider:
        return next(bank for bank in self.banks.values() if bank.name == name)

    @contextmanager
    def _taken_over(self) -> Iterator[None]:
        """Put simulated parts in the place of all that is outside: time, random numbers, broker, banks, internet, cameras."""
        with ExitStack() as stack:
            stack.enter_context(self.clock.running())
            # For ids alone: what else draws from it (names of files, secrets) may draw more often in a process that is young.
            stack.enter_context(mock.patch.object(ids, "os", SimpleNamespace(urandom=self.chance_of("ids").randbytes)))
            stack.enter_context(override_settings(SECRET_KEY=f"simulated {self.seed}", CACHES=_in_memory(settings.CACHES)))
            stack.enter_context(mock.patch.object(celery.Celery, "send_task", self._send_task()))
            stack.enter_context(mock.patch.object(registry, "for_mode", lambda mode: self.banks[Mode(mode)]))
            stack.enter_context(mock.patch.object(registry, "named", self._bank_named))
            stack.enter_context(mock.patch.object(registry, "every", return_value=list(self.banks.values())))
            maturity = {bank.name: self.maturity for bank in self.banks.values()}
            stack.enter_context(mock.patch.object(rules, "DEPOSIT_MATURITY", maturity))
            # Audits are rare; here they are not.
            stack.enter_context(mock.patch.object(pipeline, "AUDITED_SHARE", 0.3))
            stack.enter_context(mock.patch.object(evidence, "_run_child", album.opened))
            stack.enter_context(mock.patch.object(pictures, "measure", album.measured))
            stack.enter_context(_quiet())
            for name in settings.CACHES:
                caches[name].clear()
            self.internet.open(stack)
            # What the process remembers of rows must not outlive them, before and after.
            _forget_pictures()
            stack.callback(_forget_pictures)
            yield

    def _send_task(self) -> Callable[..., None]:
        def send_task(_: celery.Celery, name: str, kwargs: dict[str, str] | None = None, **options: object) -> None:
            self.ring(name, kwargs or {})

        return send_task


def _in_memory(caches: Mapping[str, object]) -> dict[str, object]:
    """Let each cache forget with the process, and so with the seed."""
    return {name: {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": f"simulated {name}"} for name in caches}


def _forget_pictures() -> None:
    for index in (fingerprints._PDQ_INDEX, fingerprints._DESCRIPTOR_INDEX):
        index._known.clear()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the logs of a market in trouble to itself."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _empty_database() -> None:
    ours = {"accounts", "events", "ledger", "escrow", "payments", "bounties", "tasks", "verification"}
    tables = [name for name in connection.introspection.table_names() if name.partition("_")[0] in ours]
    assert connection.settings_dict["NAME"].startswith("test_"), "This empties the database."
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(sorted(tables))} RESTART IDENTITY CASCADE")


def _told(told: float | None, drawn: float) -> float:
    return drawn if told is None else told


def _words_of(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_words_of(each) for each in error.exceptions)
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:300]
