"""Two steps that exclude each other, at the same moment: they ..."""

import datetime
import functools
from collections.abc import Callable

from market.accounts.models import Agent
from market.bounties import cancellation, claiming, disputes, funding, settlement, submitting
from market.bounties.models import Bounty, Settlement, Spend
from market.policy import mandates
from tasks import claims
from tasks.leases import LeaseState
from tasks.models import Claim, Slot, Submission
from tests import people, racing, stories
from tests.market.bounties import ledger
from verification import reviews
from verification.models import Case, Review, Verdict

# In one test, because emptying the database between two takes longer than a round.
ROUNDS = range(6)
TICK = datetime.timedelta(microseconds=1)


def race(*steps: Callable[[], object]) -> list[object]:
    return racing.together(list(steps))


def test_accept_and_cancel_end_in_one_paid_bounty(rich_agent: Agent, now: datetime.datetime) -> None:
    for _ in ROUNDS:
        bounty = stories.post_photo_bounty(rich_agent, slots=2, now=now)
        worker = people.open_worker()
        verdict = stories.decide(stories.submit(stories.claim(bounty, worker, now=now), now=now), now=now)
        race(
            functools.partial(settlement.apply_verdict, verdict_id=verdict.pk, now=now),
            functools.partial(cancellation.cancel, bounty=bounty, agent=rich_agent, now=now),
        )
        bounty.refresh_from_db()
        assert (bounty.status, ledger.earned(worker), ledger.held(bounty)) == (Bounty.Status.CANCELLED, 1000, 0)
    assert ledger.available(rich_agent) == 1_000_000 - 1100 * len(ROUNDS)


def test_accept_and_the_deadline_end_in_one_paid_bounty(rich_agent: Agent, now: datetime.datetime) -> None:
    for _ in ROUNDS:
        bounty = stories.post_photo_bounty(rich_agent, slots=2, now=now)
        worker = people.open_worker()
        verdict = stories.decide(stories.submit(stories.claim(bounty, worker, now=now), now=now), now=now)
        closes_at = bounty.task.closes_at
        race(
            functools.partial(settlement.apply_verdict, verdict_id=verdict.pk, now=closes_at),
            functools.partial(cancellation.close_due, now=closes_at),
            functools.partial(cancellation.close_due, now=closes_at),
        )
        cancellation.close_due(now=closes_at)
        bounty.refresh_from_db()
        assert (bounty.status, ledger.earned(worker), ledger.held(bounty)) == (Bounty.Status.EXPIRED, 1000, 0)


def test_one_verdict_applied_by_many_pays_once(rich_agent: Agent, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(rich_agent, now=now)
    worker = people.open_worker()
    verdict = stories.decide(stories.submit(stories.claim(bounty, worker, now=now), now=now), now=now)
    results = race(*[functools.partial(settlement.apply_verdict, verdict_id=verdict.pk, now=now)] * 8)
    assert {type(result) for result in results} == {Settlement}
    assert (Settlement.objects.count(), ledger.earned(worker), ledger.fees()) == (1, 1000, 100)


def test_many_slots_accepted_at_once_fill_the_bounty(rich_agent: Agent, now: datetime.datetime) -> None:
    bounty = stories.post_photo_bounty(rich_agent, slots=8, now=now)
    workers = [people.open_worker() for _ in range(8)]
    verdicts = [stories.decide(stories.submit(stories.claim(bounty, worker, now=now), now=now), now=now) for worker in workers]
    race(*[functools.partial(settlement.apply_verdict, verdict_id=verdict.pk, now=now) for verdict in verdicts])
    bounty.refresh_from_db()
    assert (bounty.status, [ledger.earned(worker) for worker in workers], ledger.held(bounty)) == (Bounty.Status.SETTLED, [1000] * 8, 0)


def test_claim_and_cancel_leave_no_slot_between(rich_agent: Agent, now: datetime.datetime) -> None:
    for _ in ROUNDS:
        bounty = stories.post_photo_bounty(rich_agent, reward="1.00", slots=3, now=now)
        calls: list[Callable[[], object]] = [
            functools.partial(claiming.claim, task_id=bounty.task_id, worker=people.open_worker(), now=now) for _ in range(5)
        ]
        calls.insert(2, functools.partial(cancellation.cancel, bounty=bounty, agent=rich_agent, now=now))
        results = racing.together(calls)
        won = [result for result in results if isinstance(result, Claim)]
        assert {type(result) for result in results} <= {Claim, Bounty, claims.NotListed, claims.AllTaken}
        assert Slot.objects.filter(task=bounty.task, lease_state=LeaseState.LEASED).count() == len(won)
        assert Slot.objects.filter(task=bounty.task, lease_state=LeaseState.READY).count() == 0
        bounty.refresh_from_db()
        assert bounty.status == (Bounty.Status.OPEN if won else Bounty.Status.CANCELLED)
        assert ledger.held(bounty) == (len(won) * 110 + 50 if won else 0)


def test_submit_and_expire_leave_one_outcome(rich_agent: Agent, now: datetime.datetime) -> None:
    for _ in ROUNDS:
        bounty = stories.post_photo_bounty(rich_agent, now=now)
        claim = stories.claim(bounty, people.open_worker(), now=now)
        in_time = claim.expires_at - datetime.timedelta(microseconds=1)
        submitted, _, _ = race(
            functools.partial(stories.submit, claim, now=in_time),
            functools.partial(claiming.expire_due, now=claim.expires_at),
            functools.partial(claiming.expire_due, now=claim.expires_at),
        )
        state = (Claim.objects.get(pk=claim.pk).status, claim.submissions.count(), Slot.objects.get(pk=claim.slot_id).lease_state)
        if isinstance(submitted, Submission):
            assert state == (Claim.Status.SUBMITTED, 1, LeaseState.LEASED)
        else:
            assert isinstance(submitted, claims.StaleClaim)
            assert state == (Claim.Status.EXPIRED, 0, LeaseState.READY)


def test_the_same_submission_many_times_is_one(rich_agent: Agent, now: datetime.datetime) -> None:
    claim = stories.claim(stories.post_photo_bounty(rich_agent, now=now), people.open_worker(), now=now)
    results = race(*[functools.partial(stories.submit, claim, now=now)] * 8)
    assert {result.pk for result in results if isinstance(result, Submission)} == {Submission.objects.get().pk}
    assert len([result for result in results if isinstance(result, Submission)]) == 8
    assert Case.objects.count() == 1


def test_appeal_retake_and_the_end_of_the_window_leave_one_outcome(rich_agent: Agent, now: datetime.datetime) -> None:
    for _ in ROUNDS:
        bounty = stories.post_photo_bounty(rich_agent, now=now)
        submission = stories.rejected(bounty, people.open_worker(), now=now)
        claim = Claim.objects.select_related("worker").get(pk=submission.claim_id)
        assert submission.appeal_until is not None
        race(
            functools.partial(stories.appeal, submission, now=now),
            functools.partial(submitting.start_retake, claim=claim, worker=claim.worker, now=now),
            functools.partial(disputes.finalise_due, now=submission.appeal_until),
        )
        submission.refresh_from_db()
        claim.refresh_from_db()
        is_final = submission.final_at is not None
        assert [submission.status == Submission.Status.APPEALED, claim.status == Claim.Status.ACTIVE, is_final].count(True) == 1
        assert Settlement.objects.filter(bounty=bounty).count() == int(is_final)
        assert ledger.held(bounty) == (0 if is_final else 1600)


def test_two_fundings_at_once_stay_within_the_keys_day(transactional_db: None, now: datetime.datetime) -> None:
    agent = people.open_agent(limit_per_day_minor=3 * 1600)
    people.top_up(agent)
    drafts = [stories.draft_photo_bounty(agent, now=now) for _ in range(8)]
    results = race(*[functools.partial(funding.fund, bounty=draft, now=now) for draft in drafts])
    assert [type(result) for result in results].count(Bounty) == 3
    assert {type(result) for result in results} == {Bounty, mandates.SpendLimitExceeded}
    assert (Spend.objects.count(), ledger.available(agent)) == (3, 100_000 - 3 * 1600)


def test_one_funding_many_times_holds_once(rich_agent: Agent, now: datetime.datetime) -> None:
    draft = stories.draft_photo_bounty(rich_agent, now=now)
    results = race(*[functools.partial(funding.fund, bounty=draft, now=now)] * 6)
    assert {type(result) for result in results} == {Bounty}
    assert ledger.available(rich_agent) == 1_000_000 - 1600


def test_the_last_money_goes_to_as_many_bounties_as_it_is_enough_for(transactional_db: None, now: datetime.datetime) -> None:
    agent = people.open_agent()
    people.top_up(agent, "40.00")
    drafts = [stories.draft_photo_bounty(agent, now=now) for _ in range(6)]
    results = race(*[functools.partial(funding.fund, bounty=draft, now=now) for draft in drafts])
    assert [type(result) for result in results].count(Bounty) == 2
    assert ledger.available(agent) == 4000 - 3200


def test_clock_and_reviewer_leave_one_decision_of_an_appeal(rich_agent: Agent, now: datetime.datetime) -> None:
    reviewer = people.open_worker().user
    for _ in ROUNDS:
        worker = people.open_worker()
        submission = stories.rejected(stories.post_photo_bounty(rich_agent, now=now), worker, now=now)
        stories.appeal(submission, now=now)
        review = Review.objects.get(submission=submission)
        assert review.due_at is not None
        decided, *_ = race(
            functools.partial(stories.decide_appeal, submission, reviewer, "REJECTED", now=review.due_at - TICK),
            functools.partial(reviews.time_out_due, now=review.due_at),
            functools.partial(reviews.time_out_due, now=review.due_at),
        )
        settlement.apply_due(now=review.due_at)
        verdict = Verdict.objects.get(submission=submission, round=2)
        is_late = isinstance(decided, reviews.AlreadyReviewed)
        assert (verdict.decided_by, ledger.earned(worker)) == (("CLOCK", 1000) if is_late else ("APPEAL", 0))
