"""Reads for the API and the pages: open bounties near a place, a bounty's story, an agent's view. Nothing here changes a row."""

import datetime
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import QuerySet

from market.accounts.models import Agent
from market.bounties import locks, reviewing
from market.bounties.models import Appeal, Bounty, Offer, Settlement
from market.common.money import Money
from market.escrow import queries as escrow_queries
from market.events.models import Event
from tasks import queries as task_queries
from tasks import submissions
from tasks.kinds import photo
from tasks.models import Submission, Task, WorkerProfile


@dataclass(frozen=True, slots=True)
class Listing:
    """An open task as a worker sees it before the claim: what is asked, how far, and what it pays him."""

    task: Task
    bounty: Bounty
    terms: photo.PhotoTerms
    criteria: list[photo.Criterion]
    reward: Money
    negative_fee: Money
    # None where no place to measure from was given.
    distance_m: float | None

    @property
    def reward_per_hour(self) -> Money:
        """The reward for an hour at the task's own time, without the way."""
        return Money(self.reward.amount_minor * 3600 // self.task.task_time_s, self.reward.currency)


@dataclass(frozen=True, slots=True)
class SubmissionStory:
    """A submission with all that was decided about it."""

    submission: Submission
    settlement: Settlement | None
    appeal: Appeal | None
    is_retake_offered: bool
    # Until when the poster may speak; his silence accepts then. None where it does not wait for him.
    poster_review_until: datetime.datetime | None


@dataclass(frozen=True, slots=True)
class BountyStory:
    """A bounty with its offer, money and submissions."""

    bounty: Bounty
    offer: Offer
    terms: photo.PhotoTerms
    criteria: list[photo.Criterion]
    totals: escrow_queries.Totals
    submissions: list[SubmissionStory]


def open_near(
    *,
    worker: WorkerProfile,
    latitude: float,
    longitude: float,
    radius_m: float = 25_000,
    limit: int = 50,
    after: Task | None = None,
    now: datetime.datetime,
) -> list[Listing]:
    """Return open tasks this worker may claim within ``radius_m`` (25 km at most) of a place, nearest first.

    ``after`` is the last task of the page before, open still or not.
    """
    mine = task_queries.open_tasks_for(worker, now=now)
    return _listings(task_queries.near(mine, latitude=latitude, longitude=longitude, radius_m=radius_m, limit=limit, after=after))


def open_for(*, worker: WorkerProfile, limit: int = 50, after: Task | None = None, now: datetime.datetime) -> list[Listing]:
    """Return open tasks this worker may claim, wherever they are, those that close first first; ``after`` as in `open_near`."""
    mine = task_queries.open_tasks_for(worker, now=now)
    return _listings((task, None) for task in task_queries.first_to_close(mine, limit=limit, after=after))


def open_near_for_anyone(
    *, mode: str, latitude: float, longitude: float, radius_m: float = 25_000, limit: int = 50, now: datetime.datetime
) -> list[Listing]:
    """Return open tasks within ``radius_m`` of a place, nearest first, for somebody without an account."""
    found = task_queries.near(
        task_queries.open_tasks(mode=mode, now=now), latitude=latitude, longitude=longitude, radius_m=radius_m, limit=limit
    )
    return _listings(found)


def open_anywhere(*, mode: str, limit: int = 50, now: datetime.datetime) -> list[Listing]:
    """Return open tasks wherever they are, those that close first first."""
    return _listings((task, None) for task in task_queries.first_to_close(task_queries.open_tasks(mode=mode, now=now), limit=limit))


def listing_of(*, task_id: uuid.UUID, mode: str) -> Listing:
    """Return a task that was listed once, open or not.

    Raises:
        market.bounties.locks.NoBounty: no funded bounty of that mode has this task.
    """
    task = Task.objects.filter(pk=task_id, mode=mode).exclude(status=Task.Status.DRAFT).first()
    if task is None:
        raise locks.NoBounty("No open task has this id.")
    return _listings([(task, None)])[0]


def bounties_of(agent: Agent) -> QuerySet[Bounty]:
    """Return an agent's bounties, newest first."""
    return Bounty.objects.filter(agent=agent).select_related("task", "agent").order_by("-id")


def bounty_of(agent: Agent, bounty_id: uuid.UUID) -> Bounty:
    """Return one of an agent's bounties.

    Raises:
        market.bounties.locks.NoBounty: it has none with that id.
    """
    bounty = bounties_of(agent).filter(pk=bounty_id).first()
    if bounty is None:
        raise locks.NoBounty("You have no bounty with this id.")
    return bounty


def submission_for(agent: Agent, submission_id: uuid.UUID) -> Submission:
    """Return a submission to one of an agent's bounties.

    Raises:
        tasks.submissions.NoSubmission: there is none with that id.
    """
    submission = Submission.objects.filter(task__bounty__agent=agent, pk=submission_id).select_related("claim", "task__bounty").first()
    if submission is None:
        raise submissions.NoSubmission("You have no submission with this id.")
    return submission


def story_of_bounty(bounty: Bounty, *, now: datetime.datetime) -> BountyStory:
    """Return a bounty's story as its agent sees it."""
    return stories_of_bounties([bounty], now=now)[0]


def story_of_new_bounty(bounty: Bounty) -> BountyStory:
    """Return the story of a bounty that the same transaction has posted: nobody else has seen it, so nothing was handed in."""
    [offer] = _offers_of([bounty]).values()
    return _story(bounty, offer, escrow_queries.totals(bounty.pk), [])


def stories_of_bounties(bounties: Sequence[Bounty], *, now: datetime.datetime) -> list[BountyStory]:
    """Return the stories of bounties read with their tasks, in the same order; as many queries for a page as for one."""
    offers = _offers_of(bounties)
    totals = escrow_queries.totals_of([bounty.pk for bounty in bounties])
    handed_in: dict[uuid.UUID, list[Submission]] = {}
    for submission in _with_story(Submission.objects.filter(task__in=[bounty.task_id for bounty in bounties]).order_by("id")):
        handed_in.setdefault(submission.task_id, []).append(submission)
    return [
        _story(
            bounty,
            offers[bounty.pk],
            totals[bounty.pk],
            [story_of_submission(submission, now=now) for submission in handed_in.get(bounty.task_id, [])],
        )
        for bounty in bounties
    ]


def story_of_submission(submission: Submission, *, now: datetime.datetime) -> SubmissionStory:
    """Return what was decided about a submission and what is still open to its worker."""
    case = getattr(submission, "case", None)
    return SubmissionStory(
        submission=submission,
        settlement=getattr(submission, "settlement", None),
        appeal=getattr(submission, "appeal", None),
        is_retake_offered=submissions.offers_retake(submission, now=now),
        poster_review_until=reviewing.review_until(case) if case else None,
    )


def is_original_open_to_poster(submission: Submission) -> bool:
    """Tell whether the poster may see the full display copy: only once it is paid; before there is the preview."""
    return submission.status == Submission.Status.ACCEPTED and Settlement.objects.filter(submission=submission).exists()


def events_of(bounty: Bounty) -> QuerySet[Event]:
    """Return what happened to a bounty, its claims and submissions, in the order it was written."""
    return Event.objects.filter(agent_id=bounty.agent_id, data__bounty=str(bounty)).order_by("id")


def reward_of(task_id: uuid.UUID) -> Money:
    """Return what the task pays its worker now."""
    offer = Offer.objects.filter(bounty__task_id=task_id).latest("version")
    return Money(offer.reward_minor, offer.currency)


def _story(bounty: Bounty, offer: Offer, totals: escrow_queries.Totals, handed_in: list[SubmissionStory]) -> BountyStory:
    terms = photo.PhotoTerms.model_validate(bounty.task.terms)
    return BountyStory(bounty=bounty, offer=offer, terms=terms, criteria=photo.criteria(terms), totals=totals, submissions=handed_in)


def _with_story(handed_in: QuerySet[Submission]) -> QuerySet[Submission]:
    return handed_in.select_related("claim", "case", "settlement", "appeal").prefetch_related("verdicts", "evidence", "check_runs")


def _listings(found: Iterable[tuple[Task, float | None]]) -> list[Listing]:
    pairs = list(found)
    bounties = {bounty.task_id: bounty for bounty in Bounty.objects.filter(task__in=[task for task, _ in pairs]).select_related("agent")}
    offers = _offers_of(bounties.values())
    return [_listing(task, bounties[task.pk], offers[bounties[task.pk].pk], distance_m) for task, distance_m in pairs]


def _offers_of(bounties: Iterable[Bounty]) -> dict[uuid.UUID, Offer]:
    """Return the newest offer of each bounty."""
    # In order of version: the newest of a bounty is the last one kept.
    return {offer.bounty_id: offer for offer in Offer.objects.filter(bounty__in=list(bounties)).order_by("version")}


def _listing(task: Task, bounty: Bounty, offer: Offer, distance_m: float | None) -> Listing:
    terms = photo.PhotoTerms.model_validate(task.terms)
    return Listing(
        task=task,
        bounty=bounty,
        terms=terms,
        criteria=photo.criteria(terms),
        reward=Money(offer.reward_minor, offer.currency),
        negative_fee=Money(offer.negative_fee_minor, offer.currency),
        distance_m=distance_m,
    )
