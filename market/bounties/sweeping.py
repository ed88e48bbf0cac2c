"""One pass over every bounty, claim and submission that waits for the clock or for a verdict: the guarantee behind every nudge."""

import datetime
from typing import Protocol

from market.bounties import batches, cancellation, claiming, disputes, judging, maturing, reviewing, settlement


class Step(Protocol):
    """A step of the sweep: it does what is due and returns how much that was."""

    def __call__(self, *, now: datetime.datetime) -> int: ...


# In the order of a bounty's life, so that one pass carries a row as far as it can go.
STEPS: dict[str, Step] = {
    "claims expired": claiming.expire_due,
    "submissions in review": judging.show_in_review,
    "silences accepted": reviewing.accept_silence,
    "verdicts applied": settlement.apply_due,
    "rejections final": disputes.finalise_due,
    "bounties closing": cancellation.close_due,
    "settlements matured": maturing.mature_due,
}


def sweep(*, now: datetime.datetime) -> dict[str, int]:
    """Do everything that is due; return how many rows each step touched. Safe to run twice, and twice at once.

    Raises:
        ExceptionGroup: what went wrong with single rows, after all others had their turn.
    """
    return dict(batches.for_each(STEPS.items(), lambda step: _run(step, now)))


def _run(step: tuple[str, Step], now: datetime.datetime) -> tuple[str, int]:
    name, work = step
    return name, work(now=now)
