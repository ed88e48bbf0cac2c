"""One pass over everything in research that waits for the clock or for somebody who is gone: the guarantee behind every nudge."""

import datetime
from typing import Protocol

from tasks import batches
from verification.research import advancing, candidates, ideas, runs, trusted


class Step(Protocol):
    """A step of the sweep: it does what is due and returns how much that was."""

    def __call__(self, *, now: datetime.datetime) -> int: ...


# Runs and jobs first: what comes back or ends is news for a candidate.
STEPS: dict[str, Step] = {
    "announced candidates lapsed": candidates.lapse_due,
    "runs taken back": runs.sweep,
    "trusted jobs taken back": trusted.sweep,
    "candidates advanced": advancing.advance_due,
    "ideas released": ideas.release_due,
}


def sweep(*, now: datetime.datetime) -> dict[str, int]:
    """Do everything that is due; return how many rows each step touched. Safe to run twice, and twice at once.

    Raises:
        ExceptionGroup: what went wrong with single rows, after all others had their turn.
    """
    return dict(batches.for_each(STEPS, lambda name: (name, STEPS[name](now=now))))
