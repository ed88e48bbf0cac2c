"""One pass over everything of research bounties' money that waits for a verdict, a judged run or the clock."""

import datetime
from collections.abc import Iterable

from market.bounties.research import appealing, cancelling, challenging, findings, maturing, paying, settlement
from market.bounties.sweeping import Step
from tasks import batches
from verification.research import appeals

# In the order in which money follows facts, so that one pass carries a row as far as it can go. Runs before verdicts: what a
# candidate's reserve is for, it pays.
STEPS: dict[str, Step] = {
    "appeals decided": appeals.conclude_due,
    "stakes put back": appealing.make_good_due,
    "research runs paid": paying.pay_runs_due,
    "calibrations paid": paying.pay_calibrations_due,
    "challenges decided": challenging.decide_due,
    "research findings applied": findings.apply_due,
    "stakes forfeited": paying.forfeit_due,
    "announcements lapsed": settlement.lapse_due,
    "candidates settled": settlement.apply_due,
    "acceptances final": maturing.finalise_due,
    "research bounties closing": cancelling.close_due,
    "research rewards matured": maturing.mature_due,
    "run pay matured": maturing.mature_runs_due,
    "awards matured": maturing.mature_awards_due,
}


def sweep(*, now: datetime.datetime, steps: Iterable[str] = tuple(STEPS)) -> dict[str, int]:
    """Do everything that is due; return how many rows each step touched. Safe to run twice, and twice at once.

    Raises:
        ExceptionGroup: what went wrong with single rows, after all others had their turn.
    """
    return dict(batches.for_each(steps, lambda name: (name, STEPS[name](now=now))))
