"""The running program: a thin shell that feeds the machine events, writes its runs to the disk, and carries out its intents.

One thread decides; errands, sensors and the trainer's words come back to it as events of one queue, so that a pause never waits for a
network. A run's record is on the disk before anything is done for it.
"""

import contextlib
import datetime
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from pydantic import JsonValue

from agents_sdk import errors, leases
from gpu_workers.owner import children, errands, history, limits, machine, money, reasons, sensors, train_job
from gpu_workers.owner import folder as folders
from gpu_workers.owner.machine import Do, Stage
from gpu_workers.sandbox import levels
from verification.replay import reports
from verification.replay.classes import ClassKey
from verification.replay.spec import Spec

TICK_S = 0.2
SENSE_S = 2.0
FACTS_S = 300.0
# Errands at the same time, beside heartbeats.
MOST_ERRANDS = 4
DATA_KEPT_S = 14 * 86_400.0


@dataclass(frozen=True)
class Facts:
    """What the market says of this machine's class; None where it did not answer."""

    demand: leases.Demand | None


@dataclass(frozen=True)
class _Broke:
    """A thread met a defect of ours."""

    error: BaseException


@dataclass(frozen=True)
class Setup:
    """All that a program works with."""

    folder: folders.Folder
    client: leases.LeaseClient
    host: errands.Host
    limits: limits.Limits
    sensors: sensors.Sensors
    trainer: Sequence[str] = children.TRAINER
    # Lease at most so many runs and leave, or leave when there is no work for one (None: work on).
    runs: int | None = None
    clock: Callable[[], float] = time.time
    note: Callable[[str], None] = lambda _: None


@dataclass
class _Look:
    """What was last seen of the machine and the market."""

    reading: sensors.Reading | None = None
    demand: leases.Demand | None = None
    working_watts: float | None = None
    own: list[money.Experience] = field(default_factory=list)


class Program:
    """One program that holds its folder's lock; `work` returns when it leaves."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._folder = setup.folder
        self._errands = errands.Errands(client=setup.client, folder=setup.folder, host=setup.host, judge=self._judge, clock=setup.clock)
        self._events: queue.SimpleQueue[machine.Event | sensors.Reading | Facts | _Broke] = queue.SimpleQueue()
        self._look = _Look(own=history.experiences(setup.folder))
        self._trainee: children.Trainee | None = None
        self._stops: list[children.Trainee] = []
        self._records: dict[str, folders.JsonObject] = {}
        self._is_leaving = threading.Event()
        self._turns = threading.Semaphore(MOST_ERRANDS)
        self._facts_at = 0.0
        self._wishes_seen: tuple[int, int] | None = None
        self._status: folders.JsonObject = {}
        self._state = machine.State()

    def leave(self) -> None:
        """Have `work` return soon; callable from a signal handler and from other threads. What is under way goes on at the next start."""
        self._is_leaving.set()

    def work(self) -> None:
        """Work until asked to leave, or until everything asked for is done.

        Raises:
            BrokenFolder: a record of the folder can't be read.
        """
        self._load()
        self._start_thread(self._sense, "sensors")
        try:
            while not self._is_leaving.is_set():
                self._hear_wishes()
                self._ask_for_facts()
                self._take(self._next())
        finally:
            self._is_leaving.set()
            for trainee in [*self._stops, *([self._trainee] if self._trainee else [])]:
                trainee.kill()
                trainee.wait()
            (self._folder.path / "status.json").unlink(missing_ok=True)

    # --- events ---

    def _load(self) -> None:
        self._folder.sweep(data_kept_s=DATA_KEPT_S, now=self._setup.clock())
        for run_id in self._folder.run_ids():
            self._records[run_id] = folders.read(self._folder.run_folder(run_id) / "run.json") or {}
        runs = {run_id: errands.run_of(record) for run_id, record in self._records.items()}
        wishes = history.wishes(self._folder)
        self._state = machine.loaded(runs, wishes=wishes, now=self._setup.clock(), runs_left=self._setup.runs)

    def _next(self) -> machine.Event | sensors.Reading | Facts | _Broke:
        try:
            return self._events.get(timeout=TICK_S)
        except queue.Empty:
            return machine.Ticked(self._setup.clock())

    def _take(self, event: machine.Event | sensors.Reading | Facts | _Broke) -> None:
        match event:
            case _Broke(error):
                raise error
            case Facts(demand):
                self._look.demand = demand
            case sensors.Reading():
                self._step(self._sensed(event))
            case _:
                self._step(machine.Ticked(self._setup.clock()))
                self._step(event)

    def _step(self, event: machine.Event) -> None:
        before = self._state
        if isinstance(event, machine.Leased):
            self._note_leased(event)
        self._state, intents = machine.step(before, event)
        self._keep(before.runs, self._state.runs, event)
        self._tell_status()
        for intent in intents:
            self._carry_out(intent)
        if isinstance(event, machine.NothingLeased) and self._setup.runs is not None and not self._state.runs:
            self._setup.note(f"No run was leased: {event.text or event.answer.replace('_', ' ')}")
            # A lost answer may have brought a run: that question is asked again.
            if event.answer != "offline":
                self.leave()

    def _sensed(self, reading: sensors.Reading) -> machine.Sensed:
        self._look.reading = reading
        now = datetime.datetime.fromtimestamp(self._setup.clock()).astimezone()
        held_up_by = {obstacle.code for obstacle in self._state.obstacles or ()}
        card = reading.card(self._setup.limits.gpus)
        is_working = self._trainee is not None
        if is_working and card is not None and card.power_w is not None:
            self._look.working_watts = max(card.power_w, self._look.working_watts or 0.0)
        found = limits.obstacles(self._setup.limits, reading, now, held_up_by=held_up_by, is_working=is_working)
        low = money.too_low(self._setup.limits, self._expected(), self._watts())
        return machine.Sensed((*found, low) if low is not None else found)

    def _hear_wishes(self) -> None:
        """Read the owner's wishes again if their file changed."""
        try:
            found = (self._folder.path / "wishes.json").stat()
            seen = (found.st_ino, found.st_mtime_ns)
        except FileNotFoundError:
            return
        if seen != self._wishes_seen:
            self._wishes_seen = seen
            self._step(machine.Wished(history.wishes(self._folder)))

    # --- the disk ---

    def _note_leased(self, event: machine.Leased) -> None:
        expected = self._expected()
        for run in event.runs:
            record = folders.read(self._folder.run_folder(run.id) / "run.json") or {}
            self._records[run.id] = {**record, "expected_per_hour": str(expected.p50) if expected else None}
            self._setup.note(f"Leased {run.id}, {run.steps} steps.")

    def _keep(self, before: Mapping[str, machine.Run], after: Mapping[str, machine.Run], event: machine.Event) -> None:
        for run in after.values():
            old = before.get(run.id)
            if old is None or _lasting(old) != _lasting(run):
                self._keep_run(run)
        for run in before.values():
            if run.id not in after:
                self._end_run(run, event)

    def _keep_run(self, run: machine.Run) -> None:
        record = {**self._records[run.id], **errands.kept(run)}
        if run.stage is Stage.TRAINED and not record.get("salt"):
            # Before the first seal is sent: after a kill the same report has the same seal.
            record["salt"] = reports.new_salt()
        self._records[run.id] = record
        self._folder.keep_run(run.id, record)

    def _end_run(self, run: machine.Run, event: machine.Event) -> None:
        outcome = "handed_in" if isinstance(event, machine.Done) and event.do is Do.FINISH else "given_back"
        if isinstance(event, machine.Stale) or run.reason == "stale":
            outcome = "stale"
        word = history.last_word(self._folder, {**self._records.pop(run.id), **errands.kept(run)}, outcome=outcome, now=self._state.now)
        self._folder.end_run(run.id, word)
        self._look.own = history.experiences(self._folder)
        self._setup.note(f"{run.id}: {outcome.replace('_', ' ')}{f' ({run.reason})' if run.reason else ''}.")

    # --- intents ---

    def _carry_out(self, intent: machine.Intent) -> None:
        match intent.do:
            case Do.LEAVE:
                self.leave()
            case Do.STOP:
                if self._trainee is not None:
                    self._stops.append(self._trainee)
                    self._trainee.stop()
            case Do.TRAIN:
                self._train(intent)
            case _:
                self._start_thread(lambda: self._run_errand(intent), intent.do.lower())

    def _run_errand(self, intent: machine.Intent) -> None:
        with contextlib.nullcontext() if intent.do is Do.BEAT else self._turns:
            if not self._is_leaving.is_set():
                self._events.put(self._errands.carry_out(intent))

    def _train(self, intent: machine.Intent) -> None:
        run = self._state.runs[intent.run_id]
        finished = children.ended(self._folder, run)
        if isinstance(finished, machine.Done):
            # We were killed after it finished and before we noted so.
            self._events.put(finished)
            return
        card = self._look.reading.card(self._setup.limits.gpus) if self._look.reading else None
        self._write_job(run)
        self._trainee = children.Trainee(
            run,
            folder=self._folder,
            tell=self._events.put,
            command=self._setup.trainer,
            variables=children.environment(threads=self._setup.limits.threads, card=card.index if card else None),
        )
        self._setup.note(f"Training {run.id}.")

    def _write_job(self, run: machine.Run) -> None:
        params = cast("Mapping[str, JsonValue]", self._records[run.id]["params"])
        spec = Spec.from_json(params["spec"])
        job = train_job.Job(
            run_id=run.id,
            spec=spec,
            seed=cast(int, params["seed"]),
            class_key=ClassKey.parse(str(params.get("class_key") or self._setup.host.class_key)),
            data={file.name: errands.data_path(self._folder, file.sha256) for file in (*spec.files("train"), *spec.files("asset"))},
            level=spec.sandbox_level,
            threads=self._setup.limits.threads,
        )
        folders.write(self._folder.run_folder(run.id) / "job.json", job.to_json(), is_lasting=False)

    def _judge(self, item: leases.LeaseItem, spec: Spec) -> str:
        """Say why an item is not wanted here; from an errand's thread."""
        bounty, pay = item.params.get("bounty"), item.params.get("pay")
        if not self._setup.limits.serves(str(bounty)):
            return "not_served"
        if levels.ORDER.index(spec.sandbox_level) > levels.ORDER.index(self._setup.host.sandbox_level):
            return "sandbox_level"
        return "" if isinstance(pay, dict) and isinstance(item.params.get("seed"), int) else "malformed_params"

    # --- money and status ---

    def _watts(self) -> float:
        return self._look.working_watts or self._setup.limits.assumed_watts

    def _expected(self) -> money.Estimate | None:
        return money.estimate(self._look.demand, self._look.own)

    def _ask_for_facts(self) -> None:
        now = self._setup.clock()
        if now < self._facts_at:
            return
        self._facts_at = now + FACTS_S
        self._start_thread(self._fetch_facts, "facts")

    def _fetch_facts(self) -> None:
        with contextlib.suppress(errors.AtomsError):
            self._events.put(Facts(self._setup.client.demand(self._setup.host.class_key)))

    def _tell_status(self) -> None:
        status = self._shown()
        if status != self._status:
            self._status = status
            folders.write(self._folder.path / "status.json", {**status, "at": self._setup.clock(), "pid": os.getpid()}, is_lasting=False)

    def _shown(self) -> folders.JsonObject:
        state, run = self._state, self._state.in_training
        idle = reasons.why_idle(state)
        reading = self._look.reading
        card = reading.card(self._setup.limits.gpus) if reading else None
        return {
            "is_training": run is not None and run.is_training and not run.is_stopping,
            "is_child_alive": any(each.is_training for each in state.runs.values()),
            "run": {"id": run.id, "steps_done": run.steps_done, "steps": run.steps} if run else None,
            "waiting": [
                {"id": each.id, "stage": str(each.stage), "trouble": each.trouble} for each in state.runs.values() if each is not run
            ],
            "idle": {"code": idle.code, "what": idle.what, "change": idle.change, "until": idle.until} if idle else None,
            "wishes": history.wishes_json(state.wishes),
            "host": {"id": self._setup.host.id, "class_key": self._setup.host.class_key, "level": self._setup.host.sandbox_level},
            "open_runs": self._look.demand.open_runs if self._look.demand else None,
            "card": {"index": card.index, "temperature_c": card.temperature_c, "power_w": card.power_w} if card else None,
        }

    # --- threads ---

    def _sense(self) -> None:
        while not self._is_leaving.is_set():
            self._events.put(self._setup.sensors.read())
            self._is_leaving.wait(SENSE_S)

    def _start_thread(self, work: Callable[[], None], name: str) -> None:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:
                self._events.put(_Broke(error))

        # Daemons: at the end nobody waits for a network; whatever it answers, the next start asks again under the same key.
        threading.Thread(target=guarded, name=name, daemon=True).start()


@contextlib.contextmanager
def leaving_on_signals(program: Program) -> Iterator[None]:
    """Have SIGTERM and SIGINT end the program in order while the context is entered; from the main thread."""
    before = {number: signal.signal(number, lambda *_: program.leave()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _lasting(run: machine.Run) -> tuple[object, ...]:
    """Return what of a run must be on the disk; its progress counts in twentieths."""
    twentieth = max(1, run.steps // 20)
    return (run.token, run.stage, run.wanted, run.reason, run.steps_done // twentieth)
