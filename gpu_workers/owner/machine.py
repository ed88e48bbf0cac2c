"""What the owner's program does next: a pure function of state and event. No I/O and no clock; the shell carries out its intents.

Intents follow from the state alone and are repeated until an event answers them, so that a program that was killed goes on by loading
its runs. Rules that always hold, whatever comes in which order:

- nothing is trained while the owner paused it or an obstacle of the limits stands; what runs is stopped by the same event;
- a finished training is kept until the market took it, or said that it went to another;
- after `finish` nothing new is leased;
- one training at a time, one request a run at a time.
"""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from gpu_workers.owner import limits

# The longest that the market grants: a finished training survives an outage of this length with its lease.
LEASE_S = 600
BEAT_S = 120.0
# An interrupted training is held this long, in case it may go on; then it is given back, so that another can do it.
HOLD_S = 300.0
# Finished results that wait for their reveal; each holds its checkpoints on the disk.
MOST_WAITING = 100
FIRST_BACKOFF_S = 2.0
LAST_BACKOFF_S = 60.0
# After we gave an item back unworked: the market may hand us the same one.
UNWANTED_S = 60.0
FOREVER = float("inf")


class Stage(enum.StrEnum):
    """Where a run is, as kept on the disk; each names what is to be done next."""

    LEASED = "LEASED"  # fetch the inputs
    READY = "READY"  # train
    TRAINED = "TRAINED"  # seal the report
    SEALED = "SEALED"  # wait until the report is due
    DUE = "DUE"  # reveal the report
    REVEALED = "REVEALED"  # hand in the checkpoints asked for, then finish
    GIVING_BACK = "GIVING_BACK"  # tell the market how far it went


FINISHED_STAGES = frozenset({Stage.TRAINED, Stage.SEALED, Stage.DUE, Stage.REVEALED})


@dataclass(frozen=True)
class Run:
    """A run in our hands. Times are epoch seconds; what is not kept on the disk is marked."""

    id: str
    token: int
    stage: Stage = Stage.LEASED
    steps: int = 0
    steps_done: int = 0
    # Checkpoints that are still to be handed in.
    wanted: tuple[int, ...] = ()
    # Why it is given back.
    reason: str = ""
    # Not before this is anything tried for it, after so many failures in a row. (memory)
    retry_at: float = 0.0
    failures: int = 0
    trouble: str = ""
    # A request or a step is under way. (memory)
    is_busy: bool = False
    # The child process trains it; it is being stopped. (memory)
    is_training: bool = False
    is_stopping: bool = False
    # Since when it could train but may not. (memory)
    held_since: float | None = None
    beat_at: float = 0.0
    is_beating: bool = False


@dataclass(frozen=True)
class Wishes:
    """What the owner asked for: no work until a time (epoch seconds; `FOREVER`: until resume), or no new work."""

    paused_until: float = 0.0
    is_finishing: bool = False


@dataclass(frozen=True)
class State:
    """All that decides what happens next."""

    now: float = 0.0
    wishes: Wishes = field(default_factory=Wishes)
    # Until the sensors were read once, nothing may start.
    obstacles: tuple[limits.Obstacle, ...] | None = None
    runs: Mapping[str, Run] = field(default_factory=dict)
    is_asking: bool = False
    ask_at: float = 0.0
    ask_failures: int = 0
    # What the last question for work was answered: "", "no_demand", "offline", "refused".
    answer: str = ""
    answer_text: str = ""
    # Lease at most so many more runs (None: no limit).
    runs_left: int | None = None

    @property
    def is_paused(self) -> bool:
        """Whether the owner's pause holds now."""
        return self.now < self.wishes.paused_until

    @property
    def may_work(self) -> bool:
        """Whether a training may run now."""
        return not self.is_paused and self.obstacles is not None and not any(obstacle.ends_work for obstacle in self.obstacles)

    @property
    def in_training(self) -> Run | None:
        """The run that is, or waits to be, trained."""
        return next((run for run in self.runs.values() if run.stage in (Stage.LEASED, Stage.READY)), None)

    @property
    def may_ask(self) -> bool:
        """Whether a new run may be leased, apart from when the market said to ask again."""
        is_full = len(self.runs) >= MOST_WAITING
        may_begin = not self.is_paused and self.obstacles == () and not self.wishes.is_finishing and self.runs_left != 0
        # A run that went to another may still have its child for a second, and the market may hand us that very run again.
        is_child_alive = any(run.is_training for run in self.runs.values())
        return may_begin and self.in_training is None and not is_child_alive and not is_full

    @property
    def is_over(self) -> bool:
        """Whether everything that was asked for is done, and nothing is owed to the market."""
        return (self.wishes.is_finishing or self.runs_left == 0) and not self.runs and not self.is_asking


class Do(enum.StrEnum):
    """What the shell can do."""

    ASK = "ASK"
    FETCH = "FETCH"
    TRAIN = "TRAIN"
    STOP = "STOP"
    BEAT = "BEAT"
    SEAL = "SEAL"
    LOOK = "LOOK"  # is the report due?
    REVEAL = "REVEAL"
    UPLOAD = "UPLOAD"
    FINISH = "FINISH"
    GIVE_BACK = "GIVE_BACK"
    LEAVE = "LEAVE"


@dataclass(frozen=True)
class Intent:
    """One thing to do, for a run under this token; `index` is the checkpoint of an upload."""

    do: Do
    run_id: str = ""
    token: int = 0
    index: int = 0


# --- events ---


@dataclass(frozen=True)
class Ticked:
    """Time went on."""

    now: float


@dataclass(frozen=True)
class Wished:
    """The owner said something."""

    wishes: Wishes


@dataclass(frozen=True)
class Sensed:
    """The sensors were read against the limits."""

    obstacles: tuple[limits.Obstacle, ...]


@dataclass(frozen=True)
class Leased:
    """The market handed out runs; they are on the disk."""

    runs: tuple[Run, ...]


@dataclass(frozen=True)
class NothingLeased:
    """The market handed out nothing. `answer` is why: no_demand, offline, refused."""

    answer: str
    text: str = ""
    retry_after_s: float = 0.0


@dataclass(frozen=True)
class Progressed:
    """The child has trained so many steps."""

    run_id: str
    token: int
    steps_done: int


@dataclass(frozen=True)
class Stopped:
    """The child ended because it was stopped, or broke down without a word (`reason` empty: it may be tried again)."""

    run_id: str
    token: int
    reason: str = ""


@dataclass(frozen=True)
class Done:
    """An intent was carried out. What came of it: `stage` to go to, checkpoints `wanted`, when to look again."""

    run_id: str
    token: int
    do: Do
    stage: Stage | None = None
    wanted: tuple[int, ...] = ()
    uploaded: int | None = None
    retry_after_s: float = 0.0


@dataclass(frozen=True)
class Failed:
    """An intent was not carried out, and may be tried again."""

    run_id: str
    token: int
    do: Do
    trouble: str = ""
    retry_after_s: float = 0.0


@dataclass(frozen=True)
class Unwanted:
    """This run is not for us: the inputs are broken, the owner does not serve its cause, or it can't be trained here."""

    run_id: str
    token: int
    reason: str


@dataclass(frozen=True)
class Stale:
    """The market says that the run is not ours any more."""

    run_id: str
    token: int


Event = Ticked | Wished | Sensed | Leased | NothingLeased | Progressed | Stopped | Done | Failed | Unwanted | Stale


def step(state: State, event: Event) -> tuple[State, tuple[Intent, ...]]:
    """Take an event; return the new state and what is to be done for it."""
    return _intend(_taken(state, event))


def loaded(runs: Mapping[str, Run], *, wishes: Wishes, now: float, runs_left: int | None = None) -> State:
    """Return the state of a program that starts with these runs on its disk."""
    kept = {
        run.id: Run(run.id, run.token, run.stage, steps=run.steps, steps_done=run.steps_done, wanted=run.wanted, reason=run.reason)
        for run in runs.values()
    }
    return State(now=now, wishes=wishes, runs=kept, runs_left=runs_left)


def backoff_s(failures: int) -> float:
    """Return how long to wait after so many failures in a row: 2, 4, 8 ... 60 seconds."""
    return min(LAST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 20))


def _taken(state: State, event: Event) -> State:
    match event:
        case Ticked(now):
            return replace(state, now=max(now, state.now))
        case Wished(wishes):
            return replace(state, wishes=wishes)
        case Sensed(found):
            return replace(state, obstacles=found)
        case Leased(runs):
            left = None if state.runs_left is None else max(0, state.runs_left - len(runs))
            known = {run.id: again(state.runs.get(run.id), run) for run in runs}
            return replace(state, runs={**state.runs, **known}, runs_left=left, is_asking=False, answer="", answer_text="", ask_failures=0)
        case NothingLeased(answer, text, retry_after_s):
            return _unanswered(state, answer, text, retry_after_s)
        case _:
            run = state.runs.get(event.run_id)
            # An answer about a run that is gone, or to a question under an older token, says nothing any more.
            return state if run is None or run.token != event.token else _of_run(state, run, event)


def again(held: Run | None, leased: Run) -> Run:
    """Take a run that was leased; where its result is here already, under a token that ended, it is handed in under the new one."""
    if held is None or held.stage not in FINISHED_STAGES:
        return leased
    return replace(leased, stage=Stage.TRAINED, steps_done=held.steps_done)


def _unanswered(state: State, answer: str, text: str, retry_after_s: float) -> State:
    failures = 0 if answer == "no_demand" else state.ask_failures + 1
    wait_s = max(retry_after_s, backoff_s(failures) if failures else 1.0)
    return replace(state, is_asking=False, answer=answer, answer_text=text, ask_failures=failures, ask_at=state.now + wait_s)


def _of_run(state: State, run: Run, event: Progressed | Stopped | Done | Failed | Unwanted | Stale) -> State:
    match event:
        case Progressed(_, _, steps_done):
            return _with(state, replace(run, steps_done=max(run.steps_done, steps_done)))
        case Stopped(_, _, reason):
            return _stopped(state, run, reason)
        case Done():
            return _done(state, run, event)
        case Failed(_, _, do, trouble, retry_after_s):
            return _failed(state, run, do, trouble, retry_after_s)
        case Unwanted(_, _, reason):
            return replace(_with(state, _given_back(replace(run, is_busy=False), reason)), ask_at=state.now + UNWANTED_S)
        case Stale():
            # A child that still trains it is stopped first; then the run is forgotten.
            if run.is_training:
                return _with(state, replace(run, stage=Stage.GIVING_BACK, reason="stale", is_beating=False))
            return _without(state, run)


def _stopped(state: State, run: Run, reason: str) -> State:
    ended = replace(run, is_training=False, is_stopping=False, is_busy=False)
    if run.stage is Stage.GIVING_BACK:
        return _without(state, run) if run.reason == "stale" else _with(state, ended)
    if reason:
        return _with(state, _given_back(ended, reason))
    if run.is_stopping or run.stage is not Stage.READY:
        return _with(state, ended)
    # It ended by itself and said nothing: out of memory, killed by another.
    return _with(state, _again_later(state, ended, "The training process ended without a word."))


def _done(state: State, run: Run, event: Done) -> State:
    if event.do is Do.BEAT:
        return _with(state, replace(run, is_beating=False, beat_at=state.now + BEAT_S))
    if event.do in (Do.FINISH, Do.GIVE_BACK):
        return _without(state, run)
    rested = replace(run, is_busy=False, is_training=False, is_stopping=False, failures=0, trouble="", retry_at=0.0)
    if run.stage is Stage.GIVING_BACK and event.stage is not Stage.TRAINED:
        # It was given up while an earlier step was under way.
        return _with(state, rested)
    if run.reason == "stale":
        return _without(state, run)
    wanted = event.wanted or tuple(index for index in run.wanted if index != event.uploaded)
    moved = replace(rested, stage=event.stage or run.stage, wanted=wanted, retry_at=state.now + event.retry_after_s)
    if event.stage is Stage.TRAINED:
        # It was finished before a stop or a giving up took hold: the work is done, and it counts.
        moved = replace(moved, reason="", steps_done=run.steps or run.steps_done)
    return _with(state, moved)


def _failed(state: State, run: Run, do: Do, trouble: str, retry_after_s: float) -> State:
    if do is Do.BEAT:
        return _with(state, replace(run, is_beating=False, beat_at=state.now + min(BEAT_S, backoff_s(run.failures + 1))))
    return _with(state, _again_later(state, replace(run, is_busy=False), trouble, retry_after_s))


def _again_later(state: State, run: Run, trouble: str, retry_after_s: float = 0.0) -> Run:
    failures = run.failures + 1
    return replace(run, failures=failures, trouble=trouble, retry_at=state.now + max(retry_after_s, backoff_s(failures)))


def _given_back(run: Run, reason: str) -> Run:
    return replace(run, stage=Stage.GIVING_BACK, reason=reason, retry_at=0.0, failures=0, trouble="")


def _with(state: State, run: Run) -> State:
    return replace(state, runs={**state.runs, run.id: run})


def _without(state: State, run: Run) -> State:
    return replace(state, runs={name: kept for name, kept in state.runs.items() if name != run.id})


# --- what follows from a state ---


def _intend(state: State) -> tuple[State, tuple[Intent, ...]]:
    intents: list[Intent] = []
    for run in tuple(state.runs.values()):
        changed, todo = _intend_for(state, run)
        state = _with(state, changed)
        intents += todo
    if state.may_ask and not state.is_asking and state.ask_at <= state.now:
        state = replace(state, is_asking=True)
        intents.append(Intent(Do.ASK))
    if state.is_over:
        intents.append(Intent(Do.LEAVE))
    return state, tuple(intents)


def _intend_for(state: State, run: Run) -> tuple[Run, list[Intent]]:
    run, todo = _holding(state, run)
    if run.is_training:
        return _intend_in_training(state, run, todo)
    if run.is_busy or run.retry_at > state.now:
        return run, todo
    do = _NEXT[run.stage](run)
    if do in (Do.FETCH, Do.TRAIN) and not state.may_work:
        return run, todo
    index = run.wanted[0] if do is Do.UPLOAD else 0
    return replace(run, is_busy=True, is_training=do is Do.TRAIN), [*todo, Intent(do, run.id, run.token, index)]


def _intend_in_training(state: State, run: Run, todo: list[Intent]) -> tuple[Run, list[Intent]]:
    must_stop = not state.may_work or run.stage is Stage.GIVING_BACK
    if not must_stop or run.is_stopping:
        return run, todo
    return replace(run, is_stopping=True), [*todo, Intent(Do.STOP, run.id, run.token)]


def _holding(state: State, run: Run) -> tuple[Run, list[Intent]]:
    """Keep the lease of what is not finished alive; give it up when it is held up for too long."""
    if run.stage is Stage.TRAINED:
        return _beating(state, run)
    if run.stage not in (Stage.LEASED, Stage.READY):
        return run, []
    if state.may_work or state.obstacles is None:
        run = replace(run, held_since=None)
    elif run.held_since is None:
        run = replace(run, held_since=state.now)
    if run.held_since is not None and _ends_at(state) > run.held_since + HOLD_S:
        return _given_back(run, why_not(state)), []
    return _beating(state, run)


def _beating(state: State, run: Run) -> tuple[Run, list[Intent]]:
    if run.is_beating or run.beat_at > state.now:
        return run, []
    return replace(run, is_beating=True), [Intent(Do.BEAT, run.id, run.token)]


def _ends_at(state: State) -> float:
    """Return when what holds work up ends, at the earliest."""
    ends = [obstacle.until or state.now for obstacle in state.obstacles or () if obstacle.ends_work]
    return max([state.now, *ends, *([state.wishes.paused_until] if state.is_paused else [])])


def why_not(state: State) -> str:
    """Return the code of what holds work up; empty if nothing does."""
    if state.is_paused:
        return "paused"
    return next((obstacle.code for obstacle in state.obstacles or () if obstacle.ends_work), "")


_NEXT: dict[Stage, Callable[[Run], Do]] = {
    Stage.LEASED: lambda _: Do.FETCH,
    Stage.READY: lambda _: Do.TRAIN,
    Stage.TRAINED: lambda _: Do.SEAL,
    Stage.SEALED: lambda _: Do.LOOK,
    Stage.DUE: lambda _: Do.REVEAL,
    Stage.REVEALED: lambda run: Do.UPLOAD if run.wanted else Do.FINISH,
    Stage.GIVING_BACK: lambda _: Do.GIVE_BACK,
}
