"""What the state machines share: an example that leaves no trace, a comparison after every step, and a seeded run."""

import collections
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import hypothesis
from django.db import connection, transaction
from hypothesis import stateful
from hypothesis import strategies as st

T = TypeVar("T")

STEPS = 50


class _All:
    """Rules of which none is switched off."""

    def is_enabled(self, name: str) -> bool:
        """Tell whether a rule is on."""
        return True


_ALL: st.SearchStrategy[Any] = st.just(_All())


class Machine(stateful.RuleBasedStateMachine):
    """A machine whose every example is a savepoint that is rolled back, inside the transaction of the run.

    A rule calls the use case through `attempt` with the refusal that the model expects; `compare` holds the model against
    the database, and so shows as well that what was refused has changed nothing.
    """

    # Steps taken, and how often each outcome was met: the name of the refusal, or "done".
    step_count: ClassVar[int]
    outcomes: ClassVar[collections.Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self._leave_rules_on()
        self._example = transaction.atomic()
        self._example.__enter__()

    @classmethod
    def prepare(cls) -> None:
        """Make what all examples begin with."""

    def compare(self) -> None:
        """Hold the whole model against the database; each machine says how."""
        raise AssertionError(f"{type(self).__name__} compares nothing.")

    def attempt(self, call: Callable[[], T], *, refusal: type[Exception] | None = None) -> T | None:
        """Call, and require exactly this refusal, or none; return what came back."""
        self.outcomes[refusal.__name__ if refusal else "done"] += 1
        try:
            result = call()
        except Exception as error:
            if type(error) is not refusal:
                raise
            return None
        assert refusal is None, f"it should have raised {refusal}, and returned {result!r}"
        return result

    @stateful.invariant()
    def database_is_as_the_model_says(self) -> None:
        """Count the step and compare."""
        type(self).step_count += 1
        self.compare()

    def _leave_rules_on(self) -> None:
        """Let every rule be used in three examples of four.

        Hypothesis switches rules off for a whole example, half of them on average: too few are left to come from a claim to
        its appeal. It has no setting for that; should these names change, lives get shorter and nothing breaks.
        """
        rules = self._rules_strategy
        some = rules.enabled_rules_strategy
        is_whole = st.shared(st.sampled_from([True, True, True, False]), key=("whole", self))
        rules.enabled_rules_strategy = is_whole.flatmap(lambda whole: _ALL if whole else some)

    def teardown(self) -> None:
        """Take the example back."""
        transaction.set_rollback(True)
        self._example.__exit__(None, None, None)


def read(tables: Mapping[str, str]) -> dict[str, list[Any]]:
    """Return the rows of several statements, which go to the database together: they are asked after every step."""
    rows: dict[str, list[Any]] = {}
    with connection.cursor() as cursor:
        cursor.execute("; ".join(tables.values()))
        for name in tables:
            rows[name] = cursor.fetchall()
            cursor.nextset()
    return rows


@dataclass(frozen=True, slots=True)
class Run:
    """What a run did; ``violation`` is the story of the shortest example that the model does not agree with, or ""."""

    step_count: int
    seconds: float
    outcomes: collections.Counter[str]
    violation: str

    @property
    def steps_per_s(self) -> int:
        """Steps a second, rounded."""
        return round(self.step_count / self.seconds)


def run(machine: type[Machine], *, seed: int, examples: int, steps: int = STEPS, is_shortened: bool = True) -> Run:
    """Run a machine; the same seed tells the same stories.

    ``is_shortened=False`` leaves the first story that fails as long as it was found.
    """
    phases = [hypothesis.Phase.generate, *([hypothesis.Phase.shrink] if is_shortened else [])]
    settings = hypothesis.settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=phases,
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    machine.step_count, machine.outcomes = 0, collections.Counter()
    violation = ""
    began = time.monotonic()
    with transaction.atomic():
        with connection.cursor() as cursor:
            # No example commits: what a commit would find must be found by the statement.
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        machine.prepare()
        try:
            stateful.run_state_machine_as_test(hypothesis.seed(seed)(machine), settings=settings)
        except Exception as error:
            violation = "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])
        transaction.set_rollback(True)
    return Run(machine.step_count, time.monotonic() - began, machine.outcomes, violation)
