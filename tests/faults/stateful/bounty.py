"""Bounties: post, fund, improve, cancel, judge, appeal, pay and mature, beside a model of lives, holds, purses and events."""

import dataclasses
import datetime
import uuid
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from market.accounts import keys as api_keys
from market.accounts.models import Agent, ApiKey, User
from market.bounties import (
    cancellation,
    claiming,
    disputes,
    funding,
    improving,
    judging,
    locks,
    maturing,
    posting,
    pricing,
    reviewing,
    settlement,
    spending,
    sweeping,
)
from market.bounties import models as rows
from market.common import account_paths
from market.common.money import Money
from market.escrow import holds
from market.ledger import audit
from market.payments import deposits
from market.policy import mandates
from tasks import claims, submissions
from tasks.leases import LeaseState
from tests import people, stories
from tests.faults.stateful import claim as life
from verification import reviews, verdicts
from verification.models import Case, Review, Verdict

BEGIN, TICK, HOUR = life.BEGIN, life.TICK, life.HOUR
DAY = datetime.timedelta(days=1)
MAX_LIFE = 60 * DAY
Handed = life.Handed

ACTORS = {
    "MACHINE": "machine", "REVIEWER": "reviewer", "POSTER": "poster", "SILENCE": "clock", "APPEAL": "reviewer", "CLOCK": "clock",
}  # fmt: skip
_FORBIDDEN = "Send me the one-time password from the SMS"

TABLES = {
    **life.TABLES,
    "holds": "SELECT bounty_id, CASE kind WHEN 'SLOT' THEN slot_number END, status, amount_minor, captured_minor, returned_minor"
    " FROM escrow_hold",
    "purses": "SELECT path, balance_minor FROM ledger_account WHERE is_guarded AND balance_minor > 0",
    "fees": "SELECT account.path, sum(amount_minor)::bigint FROM ledger_transfer transfer"
    " JOIN ledger_account account ON account.id = transfer.destination_id AND NOT account.is_guarded GROUP BY 1",
    "offers": "SELECT bounty_id, version, reward_minor, fee_minor, negative_fee_minor, deadline FROM bounties_offer",
    "spends": "SELECT bounty_id, offer_version, key_id, amount_minor, spent_at FROM bounties_spend",
    "settlements": "SELECT submission_id, kind, worker_minor, fee_minor, settled_at, matured_at FROM bounties_settlement",
    "cases": "SELECT submission_id, stage, max_false_accept FROM verification_case",
    "verdicts": "SELECT submission_id, round, outcome, decided_by, applied_at FROM verification_verdict",
    "reviews": "SELECT submission_id, kind, due_at, decision, lease_state FROM verification_review",
    "appeals": "SELECT submission_id, created_at, decided_at FROM bounties_appeal",
}


@dataclasses.dataclass(frozen=True)
class Offer:
    """One version of an offer."""

    reward_minor: int
    negative_fee_minor: int
    deadline: datetime.datetime

    @property
    def fee_minor(self) -> int:
        """A tenth of the reward, rounded up."""
        return -(-self.reward_minor // 10)

    @property
    def slot_minor(self) -> int:
        """What is held for a slot."""
        return self.reward_minor + self.fee_minor


@dataclasses.dataclass
class Hold:
    """One hold: of a slot, or of the reserve."""

    amount_minor: int
    captured_minor: int = 0
    returned_minor: int = 0
    status: str = "HELD"

    @property
    def left_minor(self) -> int:
        """What is still held."""
        return self.amount_minor - self.captured_minor - self.returned_minor


@dataclasses.dataclass(eq=False)
class Terms:
    """The money side of one bounty."""

    currency: str
    key: str
    offers: list[Offer]
    max_negative_outcomes: int
    review_window: datetime.timedelta
    holds: dict[int | None, Hold] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Judged:
    """What is known of a submission's case."""

    bound: float
    stage: str = "CHECKS"
    # Since when the poster may speak.
    for_poster_since: datetime.datetime | None = None
    # Outcome, decider, when, and when applied; in rounds.
    verdicts: list[tuple[str, str, datetime.datetime, datetime.datetime | None]] = dataclasses.field(default_factory=list)
    # By kind: due, decision, state, who decided.
    reviews: dict[str, tuple[datetime.datetime, str, str, str]] = dataclasses.field(default_factory=dict)
    appealed_at: datetime.datetime | None = None
    appeal_decided_at: datetime.datetime | None = None


@dataclasses.dataclass
class Settled:
    """A settlement's money."""

    worker_minor: int
    fee_minor: int
    settled_at: datetime.datetime
    matured_at: datetime.datetime | None = None


class Model(life.Model):
    """The life of claims with its money: purses add up, and a hold is paid once."""

    def __init__(self, cast: "Cast") -> None:
        super().__init__(cast.workers, [])
        self.purses = dict(cast.purses)
        self.fees: dict[str, int] = {}
        self.terms: dict[uuid.UUID, Terms] = {}
        self.judged: dict[uuid.UUID, Judged] = {}
        self.settled: dict[uuid.UUID, Settled] = {}
        self.spends: list[tuple[uuid.UUID, int, str, int, datetime.datetime]] = []
        self.is_suspended = False
        self.agent_id = cast.agent.pk
        self.keys = cast.keys

    def post(self, row: rows.Bounty, key: str, *, most_negative: int = 1, window_s: int = 0, status: str) -> None:
        """Write a bounty down."""
        bounty = life.bounty_of(row)
        bounty.status = status
        self.bounties.append(bounty)
        offer = row.offers.get()
        first = Offer(offer.reward_minor, -(-offer.reward_minor // 2), bounty.closes_at)
        self.terms[bounty.pk] = Terms(offer.currency, key, [first], most_negative, datetime.timedelta(seconds=window_s))
        self.tell(bounty, f"bounty.{status.lower()}", "agent")

    def boundaries(self) -> list[datetime.datetime]:
        found = super().boundaries()
        for submission in self.submissions:
            judged = self.judged[submission.pk]
            found += [due for due, decision, state, _ in judged.reviews.values() if not decision and state == "READY"]
            if judged.for_poster_since and not judged.verdicts:
                found.append(self.poster_until(submission))
        found += [at + DAY for _, _, key, _, at in self.spends if key == "limited"]
        return sorted({moment for moment in found if moment > self.now - TICK})

    def poster_until(self, submission: life.Submission) -> datetime.datetime:
        """Return when the poster's silence accepts."""
        since = self.judged[submission.pk].for_poster_since
        assert since is not None
        return since + self.terms[submission.claim.bounty.pk].review_window

    def available(self, currency: str) -> str:
        """Name what the agent may spend."""
        return account_paths.agent_available(mode="test", agent_id=self.agent_id, currency=currency)

    def held(self, bounty: life.Bounty) -> str:
        """Name a bounty's held money."""
        return account_paths.bounty_held(mode="test", bounty_id=bounty.pk, currency=self.terms[bounty.pk].currency)

    def earned(self, submission: life.Submission, purse: str = "earned") -> str:
        """Name what the worker has earned, or may have paid out."""
        name = account_paths.worker_earned if purse == "earned" else account_paths.worker_payable
        return name(mode="test", worker_id=submission.claim.worker.row.pk, currency=self.terms[submission.claim.bounty.pk].currency)

    def move(self, source: str, destination: str, minor: int) -> None:
        """Move money from purse to purse."""
        self.purses[source] -= minor
        self.purses[destination] = self.purses.get(destination, 0) + minor

    def refusal_of_spend(self, bounty: life.Bounty | None, key: str, amount_minor: int, currency: str) -> type[Exception] | None:
        """Say whether a key may commit an amount."""
        if key == "revoked" and bounty is not None:
            return spending.KeyRevoked
        if key != "limited":
            return None
        on_this = sum(minor for pk, _, _, minor, _ in self.spends if bounty is not None and pk == bounty.pk)
        today = sum(minor for _, _, by, minor, at in self.spends if by == key and at + DAY > self.now)
        is_over = on_this + amount_minor > LIMIT_PER_BOUNTY or today + amount_minor > LIMIT_PER_DAY
        return mandates.SpendLimitExceeded if currency != "USD" or is_over else None

    def total_minor(self, bounty: life.Bounty) -> int:
        """Return what funding holds."""
        terms = self.terms[bounty.pk]
        return terms.offers[0].slot_minor * len(bounty.slots) + terms.offers[0].negative_fee_minor * terms.max_negative_outcomes

    def fund(self, bounty: life.Bounty, key: str) -> None:
        """Hold the money and list the task."""
        terms = self.terms[bounty.pk]
        amounts: dict[int | None, int] = dict.fromkeys(bounty.slots, terms.offers[0].slot_minor)
        amounts[None] = terms.offers[0].negative_fee_minor * terms.max_negative_outcomes
        terms.holds = {number: Hold(minor) for number, minor in amounts.items()}
        self.spends.append((bounty.pk, 1, key, self.total_minor(bounty), self.now))
        self.move(self.available(terms.currency), self.held(bounty), self.total_minor(bounty))
        bounty.status, bounty.is_listed, bounty.is_funded = "OPEN", True, True
        self.tell(bounty, "bounty.opened", "agent")

    def improve(self, bounty: life.Bounty, key: str, offer: Offer) -> None:
        """Write a better offer and hold what it costs more."""
        terms = self.terms[bounty.pk]
        by_minor = offer.slot_minor - terms.offers[-1].slot_minor
        terms.offers.append(offer)
        waiting = self.waiting(bounty)
        if by_minor:
            self.spends.append((bounty.pk, len(terms.offers), key, by_minor * len(waiting), self.now))
            for number in waiting:
                terms.holds[number].amount_minor += by_minor
            self.move(self.available(terms.currency), self.held(bounty), by_minor * len(waiting))
        bounty.closes_at = offer.deadline
        for submission in self.submissions:
            judged = self.judged[submission.pk]
            if submission.claim.bounty is bounty and judged.stage == "CHECKS":
                judged.bound = min(judged.bound, bound_of(offer, terms.currency))
        self.tell(bounty, "bounty.improved", "agent")

    def waiting(self, bounty: life.Bounty) -> list[int]:
        """Return the slots whose money may still be paid."""
        return [number for number, slot in bounty.slots.items() if slot.state in (LeaseState.READY, LeaseState.LEASED)]

    def hand_in(self, claim: life.Claim, pk: uuid.UUID, kind: str, reason: str, files: frozenset[str]) -> None:
        terms = self.terms[claim.bounty.pk]
        self.judged[pk] = Judged(bound_of(terms.offers[-1], terms.currency))
        super().hand_in(claim, pk, kind, reason, files)

    def record(self, submission: life.Submission, outcome: str, decided_by: str) -> None:
        """Note a verdict, without applying it."""
        judged = self.judged[submission.pk]
        judged.verdicts.append((outcome, decided_by, self.now, None))
        judged.stage = "DECIDED"
        if "FIRST" in judged.reviews and not judged.reviews["FIRST"][1]:
            due, decision, _, who = judged.reviews["FIRST"]
            judged.reviews["FIRST"] = (due, decision, "DEAD", who)

    def apply(self, submission: life.Submission) -> None:
        """Apply the submission's verdicts that were not."""
        judged = self.judged[submission.pk]
        for round_, (outcome, decided_by, at, applied_at) in enumerate(judged.verdicts):
            if applied_at is None:
                judged.verdicts[round_] = (outcome, decided_by, at, self.now)
                if judged.appealed_at is not None:
                    judged.appeal_decided_at = self.now
                self.decide(submission, outcome, ACTORS[decided_by])

    def apply_due(self) -> int:
        """Apply every verdict that was not, the oldest first; return how many."""
        due = [each for each in self.submissions if any(applied is None for _, _, _, applied in self.judged[each.pk].verdicts)]
        for submission in sorted(due, key=lambda each: (self.judged[each.pk].verdicts[-1][2], each.pk)):
            self.apply(submission)
        return len(due)

    def offer_earned(self, submission: life.Submission) -> Offer:
        """Return the newest offer; where no person decided, the newest that the machine was sure enough for."""
        terms, judged = self.terms[submission.claim.bounty.pk], self.judged[submission.pk]
        if judged.verdicts[-1][1] not in ("MACHINE", "SILENCE"):
            return terms.offers[-1]
        return next(offer for offer in reversed(terms.offers) if judged.bound <= bound_of(offer, terms.currency))

    def pay_reward(self, submission: life.Submission) -> None:
        bounty, offer = submission.claim.bounty, self.offer_earned(submission)
        hold = self.terms[bounty.pk].holds[submission.claim.number]
        self._capture(submission, hold, offer.reward_minor, offer.fee_minor)
        self._return(bounty, hold, "CAPTURED")
        self.settled[submission.pk] = Settled(offer.reward_minor, offer.fee_minor, self.now)

    def pay_negative(self, submission: life.Submission) -> None:
        bounty, offer = submission.claim.bounty, self.offer_earned(submission)
        reserve = self.terms[bounty.pk].holds[None]
        if reserve.status == "HELD":
            self._capture(submission, reserve, offer.negative_fee_minor, 0)
            reserve.status = "HELD" if reserve.left_minor else "CAPTURED"
        else:
            hold = self.terms[bounty.pk].holds[submission.claim.number]
            self._capture(submission, hold, offer.negative_fee_minor, 0)
            self._return(bounty, hold, "CAPTURED")
        self.settled[submission.pk] = Settled(offer.negative_fee_minor, 0, self.now)

    def max_negative_outcomes(self, bounty: life.Bounty) -> int:
        return self.terms[bounty.pk].max_negative_outcomes

    def give_back(self, bounty: life.Bounty, number: int | None) -> None:
        hold = self.terms[bounty.pk].holds[number]
        if hold.status == "HELD":
            self._return(bounty, hold, "EXPIRED" if bounty.closed_because == "EXPIRED" else "VOIDED")

    def finish_unpaid(self, submission: life.Submission, actor: str) -> None:
        self.settled[submission.pk] = Settled(0, 0, self.now)
        super().finish_unpaid(submission, actor)

    def show_in_review(self) -> int:
        """Show what waits for a person; return how many."""
        shown = [each for each in self.submissions if each.status == Handed.CHECKING and self.judged[each.pk].stage == "REVIEW"]
        for submission in shown:
            submission.status = Handed.IN_REVIEW
            self.tell(submission, "submission.in_review", "machine")
        return len(shown)

    def accept_silence(self) -> int:
        """Accept what its poster said nothing about; return how many."""
        silent = [each for each in self.submissions if self.is_for_poster(each) and self.poster_until(each) <= self.now]
        for submission in sorted(silent, key=self.poster_until):
            self.record(submission, "ACCEPTED", "SILENCE")
            self.apply(submission)
        return len(silent)

    def is_for_poster(self, submission: life.Submission) -> bool:
        """Tell whether a submission waits for its poster, in time or not."""
        judged = self.judged[submission.pk]
        window = self.terms[submission.claim.bounty.pk].review_window
        return judged.stage == "REVIEW" and judged.for_poster_since is not None and bool(window) and not judged.verdicts

    def time_out_due(self) -> int:
        """Let the clock decide the reviews whose time is over; return how many."""
        due = [
            (each, kind)
            for each in self.submissions
            for kind, (until, decision, state, _) in self.judged[each.pk].reviews.items()
            if not decision and state == "READY" and until <= self.now
        ]
        for submission, kind in due:
            found = self.judged[submission.pk].reviews
            found[kind] = (found[kind][0], "", "DEAD", "")
            self.record(submission, "INCONCLUSIVE" if kind == "FIRST" else "ACCEPTED", "CLOCK")
        return len(due)

    def mature_due(self) -> int:
        """Make earned money payable; return how many settlements."""
        due = [each for each in self.submissions if each.pk in self.settled]
        due = [each for each in due if self.settled[each.pk].worker_minor and self.settled[each.pk].matured_at is None]
        for submission in due:
            settled = self.settled[submission.pk]
            settled.matured_at = self.now
            self.move(self.earned(submission), self.earned(submission, "payable"), settled.worker_minor)
            self.tell(submission, "settlement.matured", "clock")
        return len(due)

    def sweep(self) -> dict[str, int]:
        """Do all that is due, in the order of a bounty's life."""
        return {
            "claims expired": self.expire(),
            "submissions in review": self.show_in_review(),
            "silences accepted": self.accept_silence(),
            "reviews timed out": self.time_out_due(),
            "verdicts applied": self.apply_due(),
            "rejections final": self.finalise_due(),
            "bounties closing": self.close_due(),
            "settlements matured": self.mature_due(),
        }

    def tables(self) -> dict[str, object]:
        judged, terms = self.judged.items(), self.terms.items()
        return {
            **super().tables(),
            "holds": {
                (pk, number, hold.status, hold.amount_minor, hold.captured_minor, hold.returned_minor)
                for pk, each in terms
                for number, hold in each.holds.items()
            },
            "purses": {(path, minor) for path, minor in self.purses.items() if minor},
            "fees": set(self.fees.items()),
            "offers": {
                (pk, version, offer.reward_minor, offer.fee_minor, offer.negative_fee_minor, offer.deadline)
                for pk, each in terms
                for version, offer in enumerate(each.offers, 1)
            },
            "spends": {(pk, version, self.keys[key].pk, minor, at) for pk, version, key, minor, at in self.spends},
            "settlements": {
                (pk, kind, each.worker_minor, each.fee_minor, each.settled_at, each.matured_at)
                for pk, kind in self.settlements.items()
                for each in [self.settled[pk]]
            },
            "cases": {(pk, each.stage, each.bound) for pk, each in judged},
            "verdicts": {
                (pk, round_, outcome, decided_by, applied_at)
                for pk, each in judged
                for round_, (outcome, decided_by, _, applied_at) in enumerate(each.verdicts, 1)
            },
            "reviews": {
                (pk, kind, due, decision, state) for pk, each in judged for kind, (due, decision, state, _) in each.reviews.items()
            },
            "appeals": {(pk, each.appealed_at, each.appeal_decided_at) for pk, each in judged if each.appealed_at},
        }  # fmt: skip

    def _capture(self, submission: life.Submission, hold: Hold, worker_minor: int, fee_minor: int) -> None:
        bounty = submission.claim.bounty
        hold.captured_minor += worker_minor + fee_minor
        self.move(self.held(bounty), self.earned(submission), worker_minor)
        if fee_minor:
            path = account_paths.platform_fees(mode="test", currency=self.terms[bounty.pk].currency)
            self.purses[self.held(bounty)] -= fee_minor
            self.fees[path] = self.fees.get(path, 0) + fee_minor

    def _return(self, bounty: life.Bounty, hold: Hold, status: str) -> None:
        self.move(self.held(bounty), self.available(self.terms[bounty.pk].currency), hold.left_minor)
        hold.returned_minor, hold.status = hold.amount_minor - hold.captured_minor, status


LIMIT_PER_BOUNTY, LIMIT_PER_DAY = 2_000, 3_000


def bound_of(offer: Offer, currency: str) -> float:
    """Return how sure a machine must be for an offer."""
    return pricing.max_false_accept(Money(offer.reward_minor, currency))


@dataclasses.dataclass
class Cast:
    """Who and what every example begins with; the bounties are posted, and not funded."""

    agent: Agent
    rival: Agent
    keys: dict[str, ApiKey]
    workers: dict[str, life.Worker]
    reviewers: dict[str, User]
    posted: list[tuple[rows.Bounty, str, int, int]]
    purses: dict[str, int]


class BountyMachine(life.LifeMachine):
    """Four bounties of one agent in two currencies, three keys, three workers, two reviewers, and strangers to each."""

    tables = TABLES
    cast: ClassVar[Cast]
    model: Model

    def __init__(self) -> None:
        super().__init__(Model(self.cast))
        for row, key, most_negative, window_s in self.cast.posted:
            self.model.post(row, key, most_negative=most_negative, window_s=window_s, status="SCREENED")
        self.old_bounties = {row.pk: row for row, *_ in self.cast.posted}

    @classmethod
    def prepare(cls) -> None:
        agent, rival = people.open_agent(), people.open_agent("rival")
        deposits.request(agent=agent, amount=Money(6_000, "USD"), now=BEGIN)
        deposits.request(agent=agent, amount=Money(3_000, "EUR"), now=BEGIN)
        keys = {"free": people.key_of(agent), "rival": people.key_of(rival)}
        for name in ("limited", "revoked"):
            keys[name], _ = api_keys.issue(
                user=agent.owner,
                agent=agent,
                mode="test",
                scope=ApiKey.Scope.AGENT,
                name=name,
                limit_per_bounty_minor=LIMIT_PER_BOUNTY if name == "limited" else None,
                limit_per_day_minor=LIMIT_PER_DAY if name == "limited" else None,
            )
        ApiKey.objects.filter(pk=keys["revoked"].pk).update(revoked_at=BEGIN)
        workers = life.cast_of(agent.owner)
        reviewers = {
            "vera": people.open_user("vera"),
            "otto": people.open_user("otto"),
            "owner": agent.owner,
            "ana": User.objects.get(pk=workers["ana"].row.pk),
        }
        cls.cast = Cast(agent, rival, keys, workers, reviewers, [], {})
        post = cls._post_one
        cls.cast.posted = [
            post("free", "10.00", BEGIN + 3 * HOUR, slots=2),
            post("free", "5.00", BEGIN + 20 * DAY, currency="EUR", window_s=3600, most_negative=2),
            post("limited", "8.00", BEGIN + 20 * DAY),
            post("free", "30.00", BEGIN + HOUR),
        ]
        for currency, minor in (("USD", 6_000), ("EUR", 3_000)):
            cls.cast.purses[account_paths.agent_available(mode="test", agent_id=agent.pk, currency=currency)] = minor

    @classmethod
    def _post_one(
        cls,
        key: str,
        reward: str,
        deadline: datetime.datetime,
        *,
        slots: int = 1,
        currency: str = "USD",
        window_s: int = 0,
        most_negative: int = 1,
        now: datetime.datetime = BEGIN,
    ) -> tuple[rows.Bounty, str, int, int]:
        row = stories.draft_photo_bounty(
            cls.cast.agent,
            key=cls.cast.keys[key],
            reward=reward,
            currency=currency,
            deadline=deadline,
            now=now,
            offer_more={"slots": slots, "max_negative_outcomes": most_negative},
            poster_review_window_s=window_s,
        )
        return row, key, most_negative, window_s

    # What examples begin with.

    @initialize(
        which=st.sampled_from([0, 1, 1, 2]),
        worker=st.sampled_from(["ana", "bo"]),
        far=st.sampled_from(["funded", "handed in", "sent to a person"]),
    )
    def begin(self, which: int, worker: str, far: str) -> None:
        """Fund a bounty, and perhaps claim it, hand in, and let the machine send it to a person."""
        self._fund(self.model.bounties[which], None)
        if far != "funded":
            self.take(self.model.bounties[which], self.model.workers[worker], stories.PLACE)
            self.send(self.model.claims[0], self.model.claims[0].worker, ["a"], "", is_stale=False)
        if far == "sent to a person":
            self._send_to_person(self.model.submissions[0], is_certain=True)

    # The agent.

    @precondition(lambda self: len(self.model.bounties) < 6)
    @rule(
        kind=st.sampled_from(["fine", "fine", "fine", "blocked", "terms", "reward", "deadline", "foreign key"]),
        reward=st.sampled_from(["2.00", "15.00"]),
        is_quoted=st.booleans(),
    )
    def post(self, kind: str, reward: str, is_quoted: bool) -> None:
        key = "rival" if kind == "foreign key" else "limited" if reward == "15.00" else "free"
        terms = stories.photo_terms(question=_FORBIDDEN) if kind == "blocked" else stories.photo_terms()
        offer = stories.offer("0.09" if kind == "reward" else reward, deadline=self.now + DAY, now=self.now)
        if kind == "deadline":
            offer = stories.offer(reward, deadline=self.now + MAX_LIFE + TICK, now=self.now)
        if kind == "terms":
            terms["within_m"] = 9
        price_minor = {"2.00": 220 + 100, "15.00": 1650 + 750}[reward]
        refusal: type[Exception] | None = None
        if self.model.is_suspended:
            refusal = posting.AgentSuspended
        elif kind == "foreign key":
            refusal = posting.ForeignKeyUsed
        elif kind in ("terms", "reward", "deadline"):
            refusal = posting.BadTerms
        agent = Agent.objects.get(pk=self.cast.agent.pk)
        if is_quoted:
            refusal = refusal or self.model.refusal_of_spend(None, key, price_minor, "USD")
            found = self.attempt(
                lambda: posting.quote(agent=agent, key=self.cast.keys[key], terms_input=terms, offer_input=offer, now=self.now),
                refusal=refusal,
            )
            assert found is None or (found.price.total_minor, found.policy.is_allowed) == (price_minor, kind != "blocked")
            return
        row = self.attempt(
            lambda: posting.post(agent=agent, key=self.cast.keys[key], terms_input=terms, offer_input=offer, now=self.now),
            refusal=refusal,
        )
        if row is not None:
            status = "BLOCKED" if kind == "blocked" else "SCREENED"
            self.model.post(row, key, status=status)
            self.old_bounties[row.pk] = row

    @rule(which=st.integers(0, 5), is_aimed=life.IS_AIMED, key=st.sampled_from([None, None, None, "free", "limited", "revoked"]))
    def fund(self, which: int, is_aimed: bool, key: str | None) -> None:
        self._fund(self._bounty(which, "SCREENED" if is_aimed else None), key)

    @precondition(lambda self: any(bounty.is_listed for bounty in self.model.bounties))
    @rule(
        which=st.integers(0, 5),
        by_minor=st.sampled_from([None, 0, -1, 1, 100, 500, 500, 500, 4_000, 100_000]),
        later=st.sampled_from([None, None, None, None, 0, 1, 24, -1, 24 * 60]),
        currency=st.sampled_from([*["own"] * 7, "GBP"]),
        key=st.sampled_from([None, None, None, "free", "limited", "revoked"]),
        is_own=life.IS_OWN,
        is_aimed=life.IS_AIMED,
    )
    def improve(
        self, which: int, is_aimed: bool, by_minor: int | None, later: int | None, currency: str, key: str | None, is_own: bool
    ) -> None:
        listed = [each for each in self.model.bounties if each.is_listed]
        bounty = listed[which % len(listed)] if is_aimed else self._bounty(which)
        self._improve(bounty, by_minor, later, currency=currency, key=key, is_own=is_own)

    @precondition(lambda self: self._to_raise())
    @rule(which=st.integers(0, 5), is_judged_first=st.booleans())
    def raise_under_judgement(self, which: int, is_judged_first: bool) -> None:
        """Raise the reward before, or after, the machine accepts a submission, and before that is applied."""
        submission = self._to_raise()[which % len(self._to_raise())]
        if not is_judged_first:
            self._improve(submission.claim.bounty, 500, None)
        self._decide(submission, "ACCEPTED")
        if is_judged_first:
            self._improve(submission.claim.bounty, 500, None)
        assert settlement.apply_due(now=self.now) == self.model.apply_due()

    def _to_raise(self) -> list[life.Submission]:
        return [each for each in self.model.submissions if self._is_unjudged(each) and each.claim.bounty.is_open(self.now)]

    def _improve(
        self,
        bounty: life.Bounty,
        by_minor: int | None,
        later: int | None,
        *,
        currency: str = "own",
        key: str | None = None,
        is_own: bool = True,
    ) -> None:
        terms = self.model.terms[bounty.pk]
        last = terms.offers[-1]
        reward = None if by_minor is None else Money(last.reward_minor + by_minor, terms.currency if currency == "own" else currency)
        deadline = None if later is None else last.deadline + later * HOUR
        acting = key or terms.key
        offer = Offer(reward.amount_minor if reward else last.reward_minor, last.negative_fee_minor, deadline or last.deadline)
        extra = (offer.slot_minor - last.slot_minor) * len(self.model.waiting(bounty))
        refusal: type[Exception] | None = None
        is_open = bounty.status == "OPEN" and not bounty.closed_because and self.now < bounty.closes_at
        if not is_own:
            refusal = locks.NoBounty
        elif not is_open or (reward and reward.currency != terms.currency):
            refusal = improving.NotImprovable
        elif offer.reward_minor > 100_000:
            refusal = pricing.BadOffer
        elif offer == last:
            pass
        elif offer.reward_minor < last.reward_minor or offer.deadline < last.deadline:
            refusal = improving.NotImprovable
        elif offer.deadline > self.old_bounties[bounty.pk].created_at + MAX_LIFE:
            refusal = pricing.BadOffer
        elif self.model.is_suspended:
            refusal = posting.AgentSuspended
        elif acting == "revoked":
            refusal = spending.KeyRevoked
        elif extra:
            refusal = self.model.refusal_of_spend(bounty, acting, extra, terms.currency)
            if refusal is None and extra > self.model.purses[self.model.available(terms.currency)]:
                refusal = holds.InsufficientFunds
        written = self.attempt(
            lambda: improving.improve(
                bounty=self.old_bounties[bounty.pk],
                agent=self.cast.agent if is_own else self.cast.rival,
                key=self.cast.keys[key] if key else None,
                reward=reward,
                deadline=deadline,
                now=self.now,
            ),
            refusal=refusal,
        )
        if written is not None and offer != last:
            self.model.improve(bounty, acting, offer)

    @rule(what=st.sampled_from(["suspend", "lift", "lift", "lift", "cancel", "cancel", "cancel another's"]), which=st.integers(0, 5))
    def interfere(self, what: str, which: int) -> None:
        """Suspend the agent or lift it, or cancel a bounty: one rule, because few bounties survive the second."""
        if what.startswith("cancel"):
            self._cancel(self._bounty(which), is_own=what == "cancel")
            return
        self.model.is_suspended = what == "suspend"
        Agent.objects.filter(pk=self.cast.agent.pk).update(is_suspended=self.model.is_suspended)

    # The worker.

    @rule(which=st.integers(0, 9), is_aimed=life.IS_AIMED, worker=st.sampled_from(["ana", "bo", "cleo"]))
    def claim(self, which: int, is_aimed: bool, worker: str) -> None:
        free = self.model.free_pairs() if is_aimed else []
        bounty, somebody = free[which % len(free)] if free else (self._bounty(which), self.model.workers[worker])
        self.take(bounty, somebody, stories.PLACE)

    @precondition(lambda self: self.model.free_pairs())
    @rule(which=st.integers(0, 9), reason=st.sampled_from(["", "", "closed", "unsafe"]))
    def claim_and_hand_in(self, which: int, reason: str) -> None:
        """Go as far as a claim goes."""
        free = self.model.free_pairs()
        self.take(*free[which % len(free)], stories.PLACE)
        self.send(self.model.claims[-1], self.model.claims[-1].worker, ["a"], reason, is_stale=False)

    @precondition(lambda self: any(claim.status == life.Status.ACTIVE or claim.submissions for claim in self.model.claims))
    @rule(which=st.integers(0, 5), is_aimed=life.IS_AIMED, name=st.sampled_from("ab"), reason=st.sampled_from(["", "", "closed", "unsafe"]))
    def hand_in(self, which: int, is_aimed: bool, name: str, reason: str) -> None:
        claim = self.a_claim(which, (lambda each: each.status == life.Status.ACTIVE) if is_aimed else None)
        self.send(claim, claim.worker, [name], reason, is_stale=True)

    @precondition(lambda self: any(claim.status == life.Status.ACTIVE for claim in self.model.claims))
    @rule(which=st.integers(0, 5))
    def drop(self, which: int) -> None:
        active = [claim for claim in self.model.claims if claim.status == life.Status.ACTIVE]
        claim = active[which % len(active)]
        refusal = claims.StaleClaim if claim.expires_at <= self.now else None
        row = self.claim_row(claim, True)
        self.attempt(lambda: claiming.drop(claim=row, worker=claim.worker.row, now=self.now), refusal=refusal)
        if refusal is None:
            self.model.end_claim(claim, life.Status.DROPPED, "worker")

    @precondition(lambda self: any(each.status in (Handed.REJECTED, Handed.APPEALED) for each in self.model.submissions))
    @rule(which=st.integers(0, 5), is_aimed=life.IS_AIMED, is_stale=st.booleans(), is_own=life.IS_OWN)
    def appeal(self, which: int, is_aimed: bool, is_stale: bool, is_own: bool) -> None:
        submission = self.a_submission(which, (lambda each: each.status == Handed.REJECTED and each.final_at is None) if is_aimed else None)
        judged = self.model.judged[submission.pk]
        refusal: type[Exception] | None = None
        is_open = submission.status == Handed.REJECTED and submission.final_at is None and submission.claim.status != life.Status.ACTIVE
        if not is_own:
            refusal = submissions.NoSubmission
        elif judged.appealed_at is None and not (is_open and submission.appeal_until is not None and self.now < submission.appeal_until):
            refusal = disputes.NotAppealable
        worker = submission.claim.worker if is_own else self.model.workers["live"]
        row = self.submission_row(submission, is_stale)
        self.attempt(lambda: disputes.appeal(submission=row, worker=worker.row, statement="Look again.", now=self.now), refusal=refusal)
        if refusal is None and judged.appealed_at is None:
            judged.appealed_at = self.now
            judged.reviews["APPEAL"] = (self.now + 7 * DAY, "", "READY", "")
            submission.status = Handed.APPEALED
            self.model.tell(submission, "submission.appealed", "worker")

    @precondition(lambda self: any(each.status in (Handed.REJECTED, Handed.APPEALED) for each in self.model.submissions))
    @rule(which=st.integers(0, 5), is_aimed=life.IS_AIMED)
    def give_in(self, which: int, is_aimed: bool) -> None:
        submission = self.a_submission(which, (lambda each: each.status == Handed.REJECTED and each.final_at is None) if is_aimed else None)
        is_rejected = submission.status == Handed.REJECTED and submission.claim.status != life.Status.ACTIVE
        row = self.submission_row(submission, True)
        self.attempt(
            lambda: disputes.waive(submission=row, worker=submission.claim.worker.row, now=self.now),
            refusal=None if is_rejected else disputes.NotAppealable,
        )
        if is_rejected:
            self.model.settle_unpaid(submission, "worker")

    # The machine, the poster, the reviewers.

    @precondition(lambda self: self.model.submissions)
    @rule(
        which=st.integers(0, 5),
        is_aimed=life.IS_AIMED,
        outcome=st.sampled_from([*["ACCEPTED", "REJECTED"] * 2, "INCONCLUSIVE"]),
        is_applied=st.booleans(),
    )
    def decide_by_machine(self, which: int, is_aimed: bool, outcome: str, is_applied: bool) -> None:
        submission = self.a_submission(which, self._is_unjudged if is_aimed else None)
        judged = self.model.judged[submission.pk]
        if judged.stage == "REVIEW":
            return  # The machine has had its turn.
        verdict = self._decide(submission, outcome)
        if verdict is None or not is_applied:
            return
        for _ in range(2):  # Again, it changes nothing.
            settlement.apply_verdict(verdict_id=verdict.pk, now=self.now)
        self.model.apply(submission)

    def _decide(self, submission: life.Submission, outcome: str) -> Verdict | None:
        row = self.submission_row(submission, False)
        refusal = verdicts.AlreadyDecided if self.model.judged[submission.pk].verdicts else None
        verdict = self.attempt(lambda: stories.decide(row, outcome, now=self.now), refusal=refusal)
        if verdict is not None:
            self.model.record(submission, outcome, "MACHINE")
        return verdict

    @precondition(lambda self: any(judged.stage == "CHECKS" for judged in self.model.judged.values()))
    @rule(which=st.integers(0, 5), is_certain=st.sampled_from([True, True, False]))
    def send_to_person(self, which: int, is_certain: bool) -> None:
        """Leave a case as the pipeline does: to its poster where the checks passed and the terms ask for him, else to a reviewer."""
        waiting = [each for each in self.model.submissions if self._is_unjudged(each)]
        self._send_to_person(waiting[which % len(waiting)], is_certain=is_certain)

    def _send_to_person(self, submission: life.Submission, *, is_certain: bool) -> None:
        judged = self.model.judged[submission.pk]
        judged.stage = "REVIEW"
        case = Case.objects.filter(pk=submission.pk)
        if is_certain and self.model.terms[submission.claim.bounty.pk].review_window:
            case.update(stage="REVIEW", lease_state="DONE", machine_outcome="ACCEPTED", machine_decided_at=self.now)
            judged.for_poster_since = self.now
        else:
            case.update(stage="REVIEW", lease_state="DONE", machine_decided_at=self.now)
            reviews.open_review(submission=self.submission_row(submission, False), kind=Review.Kind.FIRST, now=self.now)
            judged.reviews["FIRST"] = (self.now + 7 * DAY, "", "READY", "")

    @precondition(lambda self: any(judged.for_poster_since for judged in self.model.judged.values()))
    @rule(
        which=st.integers(0, 5),
        is_accepted=st.booleans(),
        criterion=st.sampled_from(["sharp", "sharp", "ugly"]),
        is_own=life.IS_OWN,
    )
    def decide_as_poster(self, which: int, is_accepted: bool, criterion: str, is_own: bool) -> None:
        waiting = [each for each in self.model.submissions if self.model.is_for_poster(each)] or self.model.submissions
        self._decide_as_poster(waiting[which % len(waiting)], is_accepted, criterion, is_own=is_own)

    @precondition(lambda self: any(self.model.is_for_poster(each) for each in self.model.submissions))
    @rule(which=st.integers(0, 5), ticks=st.sampled_from([-1, 0, 1]), is_spoken=st.booleans())
    def wait_for_the_poster(self, which: int, ticks: int, is_spoken: bool) -> None:
        """Go to the end of the poster's window; then he speaks, or the clock does."""
        waiting = [each for each in self.model.submissions if self.model.is_for_poster(each)]
        submission = waiting[which % len(waiting)]
        self.model.now = max(self.now, self.model.poster_until(submission) + ticks * TICK)
        if is_spoken:
            self._decide_as_poster(submission, False, "sharp", is_own=True)
        assert reviewing.accept_silence(now=self.now) == self.model.accept_silence()

    def _decide_as_poster(self, submission: life.Submission, is_accepted: bool, criterion: str, *, is_own: bool) -> None:
        judged = self.model.judged[submission.pk]
        outcome = "ACCEPTED" if is_accepted else "REJECTED"
        is_again = any(each[:2] == (outcome, "POSTER") for each in judged.verdicts)
        refusal: type[Exception] | None = None
        if not is_own:
            refusal = submissions.NoSubmission
        elif not is_accepted and criterion == "ugly":
            refusal = reviewing.UnknownCriterion
        elif not is_again and not (self.model.is_for_poster(submission) and self.now < self.model.poster_until(submission)):
            refusal = reviewing.NotForPoster
        row = self.submission_row(submission, False)
        self.attempt(
            lambda: reviewing.decide_as_poster(
                submission=row,
                agent=self.cast.agent if is_own else self.cast.rival,
                is_accepted=is_accepted,
                criterion="" if is_accepted else criterion,
                now=self.now,
            ),
            refusal=refusal,
        )
        if refusal is None and not is_again:
            self.model.record(submission, outcome, "POSTER")
            self.model.apply(submission)

    @precondition(lambda self: any(judged.reviews for judged in self.model.judged.values()))
    @rule(
        which=st.integers(0, 5),
        reviewer=st.sampled_from(["vera", "vera", "otto", "otto", "owner", "ana"]),
        decision=st.sampled_from(["ACCEPTED", "REJECTED", "REJECTED", "INCONCLUSIVE"]),
        fault=st.sampled_from([*[""] * 6, "no reason", "other criterion"]),
    )
    def decide_by_reviewer(self, which: int, reviewer: str, decision: str, fault: str) -> None:
        known = [(each, kind) for each in self.model.submissions for kind in self.model.judged[each.pk].reviews]
        submission, kind = known[-1 - which % len(known)]
        judged = self.model.judged[submission.pk]
        due, decided, state, who = judged.reviews[kind]
        others = [
            found[3]
            for each in submission.claim.submissions
            for other, found in self.model.judged[each.pk].reviews.items()
            if (each, other) != (submission, kind)
        ]
        is_again = bool(decided) and (decided, who) == (decision, reviewer)
        is_party = reviewer == "owner" or self.cast.reviewers[reviewer].pk == submission.claim.worker.row.pk
        criterion = "sharp" if decision == "REJECTED" else ""
        if fault == "other criterion":
            criterion = "sharp" if decision != "REJECTED" else "ugly"
        refusal: type[Exception] | None = None
        if is_again:
            pass
        elif decided or state != "READY" or self.now >= due:
            refusal = reviews.AlreadyReviewed
        elif is_party or reviewer in others:
            refusal = reviews.NotYourCase
        elif fault or (kind == "APPEAL" and decision == "INCONCLUSIVE"):
            refusal = reviews.MalformedDecision
        review_id = Review.objects.values_list("pk", flat=True).get(submission=submission.pk, kind=kind)
        self.attempt(
            lambda: reviews.decide(
                review_id=review_id,
                reviewer=self.cast.reviewers[reviewer],
                decision=decision,
                criterion=criterion,
                reason="" if fault == "no reason" else "I looked at it.",
                now=self.now,
            ),
            refusal=refusal,
        )
        if refusal is None and not is_again:
            judged.reviews[kind] = (due, decision, "DONE", reviewer)
            self.model.record(submission, decision, "REVIEWER" if kind == "FIRST" else "APPEAL")

    # The clock.

    @rule(what=st.sampled_from([*["all", "apply"] * 3, "show", "silence", "time out", "finalise", "close", "mature", "audit"]))
    def sweep(self, what: str) -> None:
        if what == "all":
            self.sweep_all()
        elif what == "audit":
            assert audit.audit().breaches == ()
        else:
            done, expected_count = {
                "apply": (settlement.apply_due, self.model.apply_due),
                "show": (judging.show_in_review, self.model.show_in_review),
                "silence": (reviewing.accept_silence, self.model.accept_silence),
                "time out": (reviews.time_out_due, self.model.time_out_due),
                "finalise": (disputes.finalise_due, self.model.finalise_due),
                "close": (cancellation.close_due, self.model.close_due),
                "mature": (maturing.mature_due, self.model.mature_due),
            }[what]
            assert done(now=self.now) == expected_count()

    def sweep_all(self) -> None:
        expected = self.model.sweep()
        assert sweeping.sweep(now=self.now) == expected

    def _fund(self, bounty: life.Bounty, key: str | None) -> None:
        acting = key or self.model.terms[bounty.pk].key
        currency = self.model.terms[bounty.pk].currency
        total_minor = self.model.total_minor(bounty)
        refusal: type[Exception] | None = None
        if bounty.status == "OPEN":
            pass
        elif bounty.status != "SCREENED" or self.model.is_suspended or self.now >= bounty.closes_at:
            refusal = funding.NotFundable
        else:
            refusal = self.model.refusal_of_spend(bounty, acting, total_minor, currency)
            if refusal is None and total_minor > self.model.purses[self.model.available(currency)]:
                refusal = holds.InsufficientFunds
        acts = self.cast.keys[key] if key else None
        self.attempt(lambda: funding.fund(bounty=self.old_bounties[bounty.pk], key=acts, now=self.now), refusal=refusal)
        if refusal is None and bounty.status == "SCREENED":
            self.model.fund(bounty, acting)

    def _cancel(self, bounty: life.Bounty, *, is_own: bool) -> None:
        refusal: type[Exception] | None = None
        if not is_own:
            refusal = locks.NoBounty
        elif bounty.closed_because != "CANCELLED" and (bounty.status not in ("OPEN", "SCREENED") or bounty.closed_because):
            refusal = cancellation.NotCancellable
        agent = self.cast.agent if is_own else self.cast.rival
        self.attempt(lambda: cancellation.cancel(bounty=self.old_bounties[bounty.pk], agent=agent, now=self.now), refusal=refusal)
        if refusal is not None or bounty.closed_because == "CANCELLED":
            return
        if bounty.status == "SCREENED":
            bounty.status, bounty.closed_because, bounty.closed_at = "CANCELLED", "CANCELLED", self.now
            self.model.tell(bounty, "bounty.cancelled", "agent")
        else:
            self.model.begin_closing(bounty, "CANCELLED", "agent")
            self.model.wind_down(bounty, "agent")

    def _bounty(self, which: int, status: str | None = None) -> life.Bounty:
        fitting = [each for each in self.model.bounties if each.status == status] or self.model.bounties
        return fitting[which % len(fitting)]

    def _is_unjudged(self, submission: life.Submission) -> bool:
        return self.model.judged[submission.pk].stage == "CHECKS"
