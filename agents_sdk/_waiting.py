"""When a wait is over, how long until the next look, and what an answer consists of. No I/O, no clock of its own."""

import abc
import random
from collections.abc import Callable, Sequence
from typing import Literal

from agents_sdk import errors, models, research_models

Until = Literal["judged", "answered", "settled"]
CandidateUntil = Literal["decided", "final"]

FIRST_LOOK_S = 0.5
SLOWEST_LOOK_S = 5.0
_SLOWING = 1.4
# An outage shorter than this does not end a wait; each call in it has its own retries besides.
LONGEST_OUTAGE_S = 300.0


class Looks(abc.ABC):
    """One wait: says when to look again, how long an outage is sat out, and when time is up."""

    def __init__(
        self, name: str, *, wanted: str, timeout_s: float | None, started: float, uniform: Callable[[float, float], float]
    ) -> None:
        self._name = name
        self._wanted = wanted
        self._ends_at = None if timeout_s is None else started + timeout_s
        self._uniform = uniform
        self._delay_s = FIRST_LOOK_S
        self._seen: models.Bounty | research_models.ResearchCase | None = None
        self._failing_since: float | None = None

    def looked(self, seen: models.Bounty | research_models.ResearchCase) -> None:
        """Take a look: something new is looked at again soon."""
        self._failing_since = None
        if seen != self._seen:
            self._delay_s = FIRST_LOOK_S
            self._seen = seen

    def failed(self, error: errors.AtomsError, *, now: float) -> None:
        """Take a failed look: an outage is waited out for some minutes.

        Raises:
            AtomsError: ``error``, if waiting does not help or helped too long.
        """
        is_outage = isinstance(error, errors.APIConnectionError | errors.ServerError | errors.RateLimited)
        if self._failing_since is None:
            self._failing_since = now
        if not is_outage or now - self._failing_since > LONGEST_OUTAGE_S:
            raise error

    def delay_s(self, *, now: float) -> float:
        """Return the seconds until the next look.

        Raises:
            WaitTimeout: there is no time left for one.
        """
        delay_s = self._delay_s * self._uniform(0.75, 1.0)
        self._delay_s = min(SLOWEST_LOOK_S, self._delay_s * _SLOWING)
        if self._ends_at is None:
            return delay_s
        if now >= self._ends_at:
            status = self._seen.status if self._seen else "unknown"
            raise errors.WaitTimeout(
                f"The {self._name} is not {self._wanted} yet; its status is {status}.",
                next_step=f"It goes on: call {self.again()} again.",
            )
        return min(delay_s, self._ends_at - now)

    @abc.abstractmethod
    def again(self) -> str:
        """Return the call that goes on waiting."""


class Waiting(Looks):
    """One wait for a bounty: told of each look at it, says whether it is over."""

    def __init__(
        self,
        bounty_id: str,
        *,
        until: Until,
        timeout_s: float | None,
        started: float,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        if until not in ("judged", "answered", "settled"):
            raise errors.ConfigurationError(f"until={until!r} is unknown.", next_step='Use "judged", "answered" or "settled".')
        super().__init__(f"bounty {bounty_id}", wanted=until, timeout_s=timeout_s, started=started, uniform=uniform)
        self._bounty_id = bounty_id
        self._until = until

    def may_be_over(self, bounty: models.Bounty) -> bool:
        """Take a look; return whether the submissions must be read to know."""
        self.looked(bounty)
        if bounty.is_finished or self._until == "settled":
            return bounty.is_finished
        wanted = models.JUDGED if self._until == "judged" else {"ACCEPTED"}
        return any(submission.status in wanted for submission in bounty.submissions)

    def is_over(self, bounty: models.Bounty, submissions: Sequence[models.Submission]) -> bool:
        """Return whether these submissions are what is waited for."""
        if bounty.is_finished:
            # The last receipt is signed a moment after the bounty is settled.
            return all(s.receipt is not None for s in submissions if is_answer(s))
        if self._until == "judged":
            return any(submission.is_judged for submission in submissions)
        return any(is_answer(submission) and submission.receipt is not None for submission in submissions)

    def again(self) -> str:
        """Return the call that goes on waiting."""
        return f"market.bounty({self._bounty_id!r}).wait()"


class CandidateWaiting(Looks):
    """One wait for a candidate's verdict."""

    def __init__(
        self,
        candidate_id: str,
        *,
        until: CandidateUntil,
        timeout_s: float | None,
        started: float,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        if until not in ("decided", "final"):
            raise errors.ConfigurationError(f"until={until!r} is unknown.", next_step='Use "decided" or "final".')
        super().__init__(f"candidate {candidate_id}", wanted=until, timeout_s=timeout_s, started=started, uniform=uniform)
        self._candidate_id = candidate_id
        self._until = until

    def is_over(self, case: research_models.ResearchCase) -> bool:
        """Take a look; return whether it is what is waited for."""
        self.looked(case)
        # One that was never sent has no verdict that could become final.
        return case.is_final or case.status == "LAPSED" if self._until == "final" else case.is_settled

    def again(self) -> str:
        """Return the call that goes on waiting."""
        return f"market.research.candidate({self._candidate_id!r}).wait()"


class FeedPosition:
    """Where a reader of the events feed stands."""

    def __init__(self, after: int) -> None:
        self.seq = after
        self._idle = 0

    def advance(self, seq: int | None) -> None:
        """Step to the next event.

        Raises:
            MalformedResponse: it is not the next one.
        """
        if seq != self.seq + 1:
            raise errors.MalformedResponse(f"The feed has a gap after event {self.seq}.", next_step="Read it again from there.")
        self.seq = seq
        self._idle = 0

    def idle_delay_s(self) -> float:
        """Return the seconds to wait after an empty page."""
        self._idle += 1
        return min(SLOWEST_LOOK_S, FIRST_LOOK_S * _SLOWING ** min(self._idle, 20))


class Cursors:
    """Walks the pages of a list; a market that hands out the same cursor twice is not followed in circles."""

    def __init__(self) -> None:
        self.cursor = ""
        self.has_more = True
        self._seen: set[str] = set()

    def advance(self, next_cursor: str) -> None:
        """Go to the next page, if there is one.

        Raises:
            MalformedResponse: a page that was read already.
        """
        if next_cursor in self._seen:
            raise errors.MalformedResponse("The list goes in circles.")
        self._seen.add(next_cursor)
        self.cursor = next_cursor
        self.has_more = next_cursor != ""


def is_answer(submission: models.Submission) -> bool:
    """Return whether this submission is accepted evidence."""
    return submission.status == "ACCEPTED" and submission.kind == "EVIDENCE"


def chosen(submissions: Sequence[models.Submission]) -> models.Submission | None:
    """Return the submission that answers best: the first accepted evidence, else an accepted "can't be done", else the last judged."""
    in_order = sorted(submissions, key=lambda submission: submission.id)
    for submission in in_order:
        if is_answer(submission):
            return submission
    for submission in in_order:
        if submission.status == "ACCEPTED":
            return submission
    judged = [submission for submission in in_order if submission.is_judged]
    return judged[-1] if judged else None
