"""One pass over every bounty, claim and submission that waits for the clock or for a verdict: the guarantee behind every nudge."""

import datetime
from collections.abc import Iterable
from typing import Protocol

from market.bounties import cancellation, claiming, disputes, judging, maturing, reviewing, settlement
from tasks import batches
from verification import reviews


class Step(Protocol):
    """A step of the sweep: it does what is due and returns how much that was."""

    def __call__(self, *, now: datetime.datetime) -> int: ...


# In the order of a bounty's life, so that one pass carries a row as far as it can go.
STEPS: dict[str, Step] = {
    "claims expired": claiming.expire_due,
    "submissions in review": judging.show_in_review,
    "silences accepted": reviewing.accept_silence,
    "reviews timed out": reviews.time_out_due,
    "verdicts applied": settlement.apply_due,
    "rejections final": disputes.finalise_due,
    "bounties closing": cancellation.close_due,
    "settlements matured": maturing.mature_due,
}


# What a new verdict, or a new case for a person, asks for.
AFTER_JUDGING = ("submissions in review", "verdicts applied", "settlements matured")


def sweep(*, now: datetime.datetime, steps: Iterable[str] = tuple(STEPS)) -> dict[str, int]:
    """Do everything that is due; return how many rows each step touched. Safe to run twice, and twice at once.

    Raises:
        ExceptionGroup: what went wrong with single rows, after all others had their turn.
    """
    return dict(batches.for_each(steps, lambda name: (name, STEPS[name](now=now))))
