"""People of the market: reviewers who decide cases, also ones that are not theirs, and the operator."""

import contextlib
from typing import TYPE_CHECKING

from market.accounts.models import Agent, User
from market.payments import payouts
from market.payments.providers import base
from tasks.models import WorkerProfile
from tests.faults.simulation.agents import CRITERIA
from tests.faults.simulation.cast import Person
from verification import reviews
from verification.models import Review

if TYPE_CHECKING:
    from tests.faults.simulation.world import World

REFUSALS = (reviews.NotYourCase, reviews.AlreadyReviewed, reviews.MalformedDecision)


class Reviewer(Person):
    """One who reads cases: some are his own, which must be kept from him."""

    HABITS = {"decide": 6, "decide_any": 1}
    SLOWNESS = 2.0

    def __init__(self, world: "World", name: str, user: User) -> None:
        super().__init__(world, name)
        self.user = user

    def decide(self) -> str:
        """Decide a case from one's own queue."""
        return self._decide(list(reviews.waiting_for(self.user)[:4]))

    def decide_any(self) -> str:
        """Decide any case, also one's own and one that is decided."""
        return self._decide(list(Review.objects.order_by("-pk")[:4]))

    def _decide(self, found: list[Review]) -> str:
        if not found:
            return "nothing waits"
        review = self.chance.choice(found)
        outcome = self.chance.choices(("ACCEPTED", "REJECTED", "INCONCLUSIVE"), (50, 40, 10))[0]
        criterion = self.chance.choice(CRITERIA) if outcome == "REJECTED" else ""
        try:
            reviews.decide(review_id=review.pk, reviewer=self.user, decision=outcome, criterion=criterion, reason="I looked.", now=self.now)
        except REFUSALS as refused:
            return f"{review.kind} {type(refused).__name__}"
        self.world.is_touched = True
        self.world.run.visited[f"review {review.kind} {outcome}"] += 1
        return f"{review.kind} {outcome}"


class Operator(Person):
    """Who suspends, lifts, and takes up payouts that were given up."""

    HABITS = {"suspend": 1, "lift": 3, "retry_payouts": 2, "rest": 6}
    SLOWNESS = 3.0

    def suspend(self) -> str:
        """Suspend a worker or an agent."""
        if self.chance.random() < 0.5:
            chosen = self.chance.choice(list(WorkerProfile.objects.order_by("pk")))
            WorkerProfile.objects.filter(pk=chosen.pk).update(is_suspended=True)
            return "a worker"
        agent = self.chance.choice(list(Agent.objects.order_by("pk")))
        Agent.objects.filter(pk=agent.pk).update(is_suspended=True)
        return "an agent"

    def lift(self) -> str:
        """Lift every suspension."""
        WorkerProfile.objects.update(is_suspended=False)
        Agent.objects.update(is_suspended=False)
        return "all"

    def retry_payouts(self) -> str:
        """Take given-up payouts up again, or fail them where the bank has none."""
        for payout in payouts.given_up():
            self.world.is_touched = True
            with contextlib.suppress(base.OutcomeUnknown, payouts.NotGivenUp):
                payouts.retry_given_up(payout_id=payout.pk, holder=self.name, is_to_fail=self.chance.random() < 0.5, now=self.now)
        return "done"

    def rest(self) -> str:
        """Do nothing."""
        return "rests"
