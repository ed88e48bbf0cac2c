"""First chapters of the stories that tests tell: a posted bounty, a claim, a submission, a verdict."""

import datetime
import functools
import hashlib

from market.accounts.models import Agent, ApiKey, User
from market.bounties import claiming, disputes, funding, posting, settlement, submitting
from market.bounties.models import Appeal, Bounty, Settlement
from tasks import clock, evidence, submissions
from tasks.models import Claim, Submission, WorkerProfile
from tests import people, photographs
from verification import reviews, verdicts
from verification.models import Review, Verdict

# Alexanderplatz, Berlin.
PLACE = (52.5219, 13.4132)
QUESTION = "Is there a cup of coffee on the table? Show the cup."

_THERE = submissions.ReportedCapture(latitude=PLACE[0], longitude=PLACE[1], accuracy_m=8.0)


def photo_terms(**changes: object) -> dict[str, object]:
    """Return terms as an agent sends them; ``None`` leaves a field out."""
    terms: dict[str, object] = {"kind": "photo", "question": QUESTION, "latitude": PLACE[0], "longitude": PLACE[1], "within_m": 50}
    return {name: value for name, value in {**terms, **changes}.items() if value is not None}


def offer(
    reward: str = "10.00", *, currency: str = "USD", deadline: datetime.datetime | None = None, now: datetime.datetime
) -> dict[str, object]:
    """Return an offer as an agent sends it, for two hours."""
    return {"reward": {"amount": reward, "currency": currency}, "deadline": deadline or now + datetime.timedelta(hours=2)}


def draft_photo_bounty(
    agent: Agent,
    *,
    key: ApiKey | None = None,
    reward: str = "10.00",
    currency: str = "USD",
    deadline: datetime.datetime | None = None,
    now: datetime.datetime | None = None,
    offer_more: dict[str, object] | None = None,
    **terms: object,
) -> Bounty:
    """Post a bounty that is not funded yet."""
    now = now or clock.now()
    return posting.post(
        agent=agent,
        key=key or people.key_of(agent),
        terms_input=photo_terms(**terms),
        offer_input={**offer(reward, currency=currency, deadline=deadline, now=now), **(offer_more or {})},
        now=now,
    )


def post_photo_bounty(
    agent: Agent,
    *,
    reward: str = "10.00",
    slots: int = 1,
    currency: str = "USD",
    deadline: datetime.datetime | None = None,
    now: datetime.datetime | None = None,
    offer_more: dict[str, object] | None = None,
    **terms: object,
) -> Bounty:
    """Post and fund a bounty: it is open when this returns. Other keywords are terms."""
    now = now or clock.now()
    bounty = draft_photo_bounty(
        agent,
        key=people.key_of(agent),
        reward=reward,
        currency=currency,
        deadline=deadline,
        now=now,
        offer_more={"slots": slots, **(offer_more or {})},
        **terms,
    )
    assert bounty.status == Bounty.Status.SCREENED, bounty.policy_codes
    return funding.fund(bounty=bounty, now=now)


def claim(bounty: Bounty, worker: WorkerProfile, *, now: datetime.datetime | None = None) -> Claim:
    """Claim a slot from where the task is."""
    return claiming.claim(task_id=bounty.task_id, worker=worker, latitude=PLACE[0], longitude=PLACE[1], now=now or clock.now())


@functools.cache
def kept_file(name: str) -> evidence.TakenIn:
    """Return a file as intake would, without its bytes: for stories that nobody looks at the picture of."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return evidence.TakenIn(digest, 100_000, "image/jpeg", 1200, 900, hashlib.sha256(digest.encode()).hexdigest(), {})


def take_in(name: str = "coffee.png", *, quality: int = 90) -> evidence.TakenIn:
    """Take a real photograph in, through the real intake."""
    return evidence.take_in(photographs.jpeg(name, quality=quality))


def submit(claim: Claim, *, file: evidence.TakenIn | None = None, note: str = "", now: datetime.datetime | None = None) -> Submission:
    """Hand in one photo under a claim, taken at the place."""
    return submitting.submit(
        claim=claim, worker=claim.worker, files=[file or kept_file(f"photo of {claim}")], capture=_THERE, note=note, now=now or clock.now()
    )


def submit_negative(
    claim: Claim, *, reason: str = "closed", file: evidence.TakenIn | None = None, now: datetime.datetime | None = None
) -> Submission:
    """Hand in that it can't be done."""
    return submitting.submit_negative(
        claim=claim,
        worker=claim.worker,
        reason=reason,
        files=[file or kept_file(f"photo of {claim}")],
        capture=_THERE,
        now=now or clock.now(),
    )


def decide(
    submission: Submission,
    outcome: str = "ACCEPTED",
    *,
    criterion: str = "sharp",
    decided_by: Verdict.Decider = Verdict.Decider.MACHINE,
    now: datetime.datetime | None = None,
) -> Verdict:
    """Record a verdict, without applying it."""
    decided = {criterion: Verdict.Outcome.REJECTED} if outcome == "REJECTED" else {}
    return verdicts.record(
        submission=submission,
        outcome=outcome,
        decided_by=decided_by,
        criteria=verdicts.criteria_of(submission, decided=decided),
        terms_hash=submission.claim.terms_hash,
        now=now or clock.now(),
    )


def settle(submission: Submission, outcome: str = "ACCEPTED", *, now: datetime.datetime | None = None) -> Settlement | None:
    """Record a verdict and apply it."""
    now = now or clock.now()
    applied = settlement.apply_verdict(verdict_id=decide(submission, outcome, now=now).pk, now=now)
    submission.refresh_from_db()
    return applied


def accepted(bounty: Bounty, worker: WorkerProfile, *, now: datetime.datetime | None = None) -> Settlement:
    """Claim, submit and accept."""
    applied = settle(submit(claim(bounty, worker, now=now), now=now), now=now)
    assert applied is not None
    return applied


def rejected(bounty: Bounty, worker: WorkerProfile, *, now: datetime.datetime | None = None) -> Submission:
    """Claim, submit and reject."""
    submission = submit(claim(bounty, worker, now=now), now=now)
    settle(submission, "REJECTED", now=now)
    return submission


def appeal(submission: Submission, *, now: datetime.datetime | None = None) -> Appeal:
    """Appeal a rejection as its worker."""
    return disputes.appeal(submission=submission, worker=submission.worker, statement="Look again.", now=now or clock.now())


def decide_appeal(
    submission: Submission, reviewer: User, outcome: str, *, criterion: str = "sharp", now: datetime.datetime | None = None
) -> Settlement | None:
    """Let a person decide an appeal, and apply his verdict."""
    now = now or clock.now()
    verdict = reviews.decide(
        review_id=Review.objects.get(submission=submission, kind=Review.Kind.APPEAL).pk,
        reviewer=reviewer,
        decision=outcome,
        criterion=criterion if outcome == "REJECTED" else "",
        reason="I looked at the photo again.",
        now=now,
    )
    applied = settlement.apply_verdict(verdict_id=verdict.pk, now=now)
    submission.refresh_from_db()
    return applied
