"""Whatever happens in whichever order, the owner's machine ..."""

from dataclasses import replace

import hypothesis
from hypothesis import stateful
from hypothesis import strategies as st

from gpu_workers.owner import limits, machine

OBSTACLES = (
    limits.Obstacle("too_hot", "Card 0 has 90 °C.", "Wait."),
    limits.Obstacle("schedule_closed", "The schedule is closed.", "Wait.", until=40_000.0),
    limits.Obstacle("app_running", "steam is running.", "Close it."),
    limits.Obstacle("price_too_low", "An hour pays too little.", "Wait.", ends_work=False),
)
FINISHED = machine.FINISHED_STAGES


class Life(stateful.RuleBasedStateMachine):
    """A world that answers each intent in any way, at any time, or never."""

    def __init__(self) -> None:
        super().__init__()
        self.state = machine.loaded({}, wishes=machine.Wishes(), now=0.0)
        self.open: list[machine.Intent] = []
        self.leased = 0
        self.children: set[str] = set()
        self.stopped: set[str] = set()
        self.finished: set[tuple[str, int]] = set()
        self.taken_or_stale: set[str] = set()

    @stateful.initialize(is_tried=st.booleans())
    def begins(self, is_tried: bool) -> None:
        """Half of all lives begin with a run in hand, so that the late steps are reached often."""
        self.take(machine.Sensed(()))
        if is_tried:
            self.open.clear()
            self.take(machine.Leased((machine.Run(f"rpl_{0:032x}", 1, steps=100),)))

    def take(self, event: machine.Event) -> None:
        before = self.state
        self.state, intents = machine.step(before, event)
        for intent in intents:
            self._check(intent)
            if intent.do is machine.Do.TRAIN:
                self.children.add(intent.run_id)
                self.stopped.discard(intent.run_id)
            if intent.do is machine.Do.STOP:
                assert intent.run_id in self.children - self.stopped, "a child was stopped twice"
                self.stopped.add(intent.run_id)
            if intent.do not in (machine.Do.STOP, machine.Do.LEAVE):
                self.open.append(intent)
        self._check_always(intents)

    def _check(self, intent: machine.Intent) -> None:
        state = self.state
        if intent.do in (machine.Do.TRAIN, machine.Do.FETCH, machine.Do.ASK):
            assert self._is_allowed(), "work began though the owner does not want it"
        if intent.do is machine.Do.ASK:
            assert not state.wishes.is_finishing
            assert state.obstacles == ()
            assert not any(other.do is machine.Do.ASK for other in self.open)
        if intent.do is machine.Do.TRAIN:
            assert not self.children, "two trainings at a time"
        if intent.do is machine.Do.LEAVE:
            assert not state.runs
        if intent.run_id and intent.do not in (machine.Do.BEAT, machine.Do.STOP):
            others = [other for other in self.open if other.run_id == intent.run_id and other.do is not machine.Do.BEAT]
            assert [other for other in others if other.token == intent.token] == [], "two requests for one run"

    def _is_allowed(self) -> bool:
        is_paused = self.state.now < self.state.wishes.paused_until
        return not is_paused and all(not obstacle.ends_work for obstacle in self.state.obstacles or ())

    def _check_always(self, intents: tuple[machine.Intent, ...]) -> None:
        for run_id in self.children:
            run = self.state.runs.get(run_id)
            assert run is not None, "a run was forgotten while its child still trains it"
            if not self._is_allowed():
                assert run.is_stopping, "a pause or an obstacle did not stop the training at once"
        for run_id, _ in self.finished:
            assert run_id in self.taken_or_stale or self.state.runs[run_id].stage in FINISHED, "a finished result was forgotten"

    @stateful.rule(seconds=st.sampled_from([0.1, 1.0, 30.0, 400.0, 5_000.0]))
    def time_goes_on(self, seconds: float) -> None:
        self.take(machine.Ticked(self.state.now + seconds))

    @stateful.rule(
        pause_s=st.sampled_from([0.0, 0.0, 0.0, 10.0, 7_200.0, machine.FOREVER]), is_finishing=st.sampled_from([False, False, True])
    )
    def the_owner_says_something(self, pause_s: float, is_finishing: bool) -> None:
        until = self.state.now + pause_s if pause_s else 0.0
        self.take(machine.Wished(machine.Wishes(until, is_finishing)))

    @stateful.rule(found=st.one_of(st.just([]), st.just([]), st.lists(st.sampled_from(OBSTACLES), max_size=2, unique=True)))
    def the_sensors_are_read(self, found: list[limits.Obstacle]) -> None:
        self.take(machine.Sensed(tuple(found)))

    def _answered(self, data: st.DataObject, *doing: machine.Do) -> machine.Intent | None:
        found = [intent for intent in self.open if intent.do in doing]
        if not found:
            return None
        intent = data.draw(st.sampled_from(found))
        self.open.remove(intent)
        return intent

    @stateful.rule(data=st.data(), again=st.booleans())
    def the_market_hands_out(self, data: st.DataObject, again: bool) -> None:
        if self._answered(data, machine.Do.ASK) is None:
            return
        held = sorted(self.state.runs)
        if again and held:
            # The lease of a run that is here ended, and it came to us once more.
            run = self.state.runs[data.draw(st.sampled_from(held))]
            self.take(machine.Leased((machine.Run(run.id, run.token + 1, steps=run.steps),)))
        else:
            self._lease_new()

    def _lease_new(self) -> None:
        self.leased += 1
        self.take(machine.Leased((machine.Run(f"rpl_{self.leased:032x}", 1, steps=100),)))

    @stateful.rule(data=st.data(), answer=st.sampled_from(["no_demand", "offline", "refused"]))
    def the_market_hands_out_nothing(self, data: st.DataObject, answer: str) -> None:
        if self._answered(data, machine.Do.ASK) is not None:
            self.take(machine.NothingLeased(answer, retry_after_s=1.0))

    @stateful.rule(data=st.data(), steps=st.integers(0, 100))
    def the_child_says_how_far_it_is(self, data: st.DataObject, steps: int) -> None:
        if self.children:
            run = self.state.runs[data.draw(st.sampled_from(sorted(self.children)))]
            self.take(machine.Progressed(run.id, run.token, steps))

    @stateful.rule(data=st.data(), how=st.sampled_from(["done", "stopped", "broken"]))
    def the_child_ends(self, data: st.DataObject, how: str) -> None:
        intent = self._answered(data, machine.Do.TRAIN)
        if intent is None:
            return
        if how == "done":
            self._finish_training(intent)
            return
        self.children.discard(intent.run_id)
        self.take(machine.Stopped(intent.run_id, intent.token, "out_of_memory" if how == "broken" else ""))

    def _finish_training(self, intent: machine.Intent) -> None:
        self.children.discard(intent.run_id)
        run = self.state.runs[intent.run_id]
        if run.reason != "stale":
            self.finished.add((run.id, run.token))
        self.take(machine.Done(run.id, intent.token, machine.Do.TRAIN, stage=machine.Stage.TRAINED))

    @stateful.rule(count=st.integers(1, 12), is_due=st.booleans())
    def all_goes_well_for_a_while(self, count: int, is_due: bool) -> None:
        """Answer what is open, the oldest first, as on a good day: so that lives get old."""
        for _ in range(min(count, len(self.open))):
            intent = self.open.pop(0)
            if intent.do is machine.Do.ASK:
                self._lease_new()
            elif intent.do is machine.Do.TRAIN:
                self._finish_training(intent)
            else:
                self._succeed(intent, is_due)

    @stateful.rule(data=st.data(), how=st.sampled_from(["done", "done", "failed", "stale", "unwanted"]), is_due=st.booleans())
    def a_request_is_answered(self, data: st.DataObject, how: str, is_due: bool) -> None:
        do = machine.Do
        intent = self._answered(data, do.FETCH, do.BEAT, do.SEAL, do.LOOK, do.REVEAL, do.UPLOAD, do.FINISH, do.GIVE_BACK)
        if intent is None:
            return
        run = self.state.runs.get(intent.run_id)
        is_current = run is not None and run.token == intent.token
        if how == "stale":
            if is_current:
                self.taken_or_stale.add(intent.run_id)
            self.take(machine.Stale(intent.run_id, intent.token))
        elif how == "unwanted" and intent.do is do.FETCH:
            self.take(machine.Unwanted(intent.run_id, intent.token, "broken_inputs"))
        elif how == "failed":
            self.take(machine.Failed(intent.run_id, intent.token, intent.do, "offline", retry_after_s=1.0))
        else:
            self._succeed(intent, is_due)

    def _succeed(self, intent: machine.Intent, is_due: bool) -> None:
        run = self.state.runs.get(intent.run_id)
        if intent.do is machine.Do.FINISH and run is not None and run.token == intent.token:
            self.taken_or_stale.add(intent.run_id)
        self.take(_success(intent, is_due))

    @stateful.rule()
    def the_program_is_killed_and_started_again(self) -> None:
        kept = self.state.runs
        self.open.clear()
        self.children.clear()
        wishes, now = self.state.wishes, self.state.now
        self.state = machine.loaded(kept, wishes=wishes, now=now)
        assert {run.id: (run.stage, run.token, run.wanted) for run in self.state.runs.values()} == {
            run.id: (run.stage, run.token, run.wanted) for run in kept.values()
        }

    @stateful.invariant()
    def waits_for_nothing_that_nobody_does(self) -> None:
        asked = {(intent.run_id, intent.token) for intent in self.open if intent.do is not machine.Do.BEAT}
        for run in self.state.runs.values():
            assert not run.is_busy or (run.id, run.token) in asked


def _success(intent: machine.Intent, is_due: bool) -> machine.Done:
    do, stage = machine.Do, machine.Stage
    done = machine.Done(intent.run_id, intent.token, intent.do)
    match intent.do:
        case do.FETCH:
            return replace(done, stage=stage.READY)
        case do.SEAL | do.LOOK:
            return replace(done, stage=stage.DUE if is_due else stage.SEALED, retry_after_s=0.0 if is_due else 60.0)
        case do.REVEAL:
            return replace(done, stage=stage.REVEALED, wanted=(0, 3, 10))
        case do.UPLOAD:
            return replace(done, uploaded=intent.index)
        case _:
            return done


LifeTest = Life.TestCase
LifeTest.settings = hypothesis.settings(max_examples=200, stateful_step_count=50, deadline=None)
