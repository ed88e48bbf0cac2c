"""Reads that only the pages need: what a worker has under way, an agent's record, a verdict in words. Changes nothing."""

import dataclasses
import datetime
import uuid
from collections.abc import Iterable

from django.db.models import Count, Q

from market.accounts.models import Agent
from market.bounties.models import Offer, Settlement
from market.common.money import Money
from market.payments import queries as payment_queries
from market.web import positions, reasons
from tasks import geo
from tasks import queries as task_queries
from tasks.kinds import photo
from tasks.leases import LeaseState
from tasks.models import Claim, Submission, Task, WorkerProfile
from verification.models import CheckRun, Review, Verdict


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """How an agent has treated workers so far."""

    accepted: int
    rejected: int


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """One criterion as its worker reads it: PASS, FAIL, OPEN (not sure) or "" (nothing said yet)."""

    code: str
    text: str
    mark: str
    why: str


@dataclasses.dataclass(frozen=True, slots=True)
class Purse:
    """A worker's money in one currency, by where it is."""

    earned: Money
    payable: Money
    in_transit: Money
    paid_out: Money


def ongoing(worker: WorkerProfile, *, now: datetime.datetime) -> list[Claim]:
    """Return the claims whose worker still has something to do."""
    return list(task_queries.claims_of(worker).filter(status=Claim.Status.ACTIVE, expires_at__gt=now)[:5])


def open_claim_on(worker: WorkerProfile, task: Task) -> Claim | None:
    """Return the worker's claim on a task that he holds or has handed in for."""
    return task_queries.claims_of(worker).filter(task=task, status__in=(Claim.Status.ACTIVE, Claim.Status.SUBMITTED)).first()


def is_open(task: Task, *, now: datetime.datetime) -> bool:
    """Tell whether somebody could claim the task now."""
    return task_queries.open_tasks(mode=task.mode, now=now).filter(pk=task.pk).exists()


def distance_to(task: Task, position: positions.Position | None) -> float | None:
    """Return the metres from a visitor's place to a task."""
    if position is None:
        return None
    return geo.haversine_m(position.latitude, position.longitude, task.latitude, task.longitude)


def record_of(agent: Agent) -> Record:
    """Return how many submissions to an agent's bounties were paid and how many were not."""
    counted = Settlement.objects.filter(bounty__agent=agent).aggregate(
        paid=Count("pk", filter=~Q(kind=Settlement.Kind.UNPAID)), unpaid=Count("pk", filter=Q(kind=Settlement.Kind.UNPAID))
    )
    return Record(accepted=counted["paid"], rejected=counted["unpaid"])


def shows_first(criteria: Iterable[photo.Criterion]) -> list[photo.Criterion]:
    """Return the criteria with what must be seen before how it must be taken."""
    return sorted(criteria, key=lambda criterion: not criterion.code.startswith("shows:"))


def verdict_of(submission: Submission) -> Verdict | None:
    """Return the newest verdict."""
    return submission.verdicts.order_by("-round").first()


def lines_of(submission: Submission, verdict: Verdict | None) -> list[Line]:
    """Return every published criterion with what the verdict says of it."""
    said = {line["criterion"]: line for line in verdict.criteria} if verdict else {}
    facts = {run.criterion: run.facts for run in submission.check_runs.filter(outcome=CheckRun.Outcome.FAIL)}
    lines = []
    for criterion in shows_first(photo.criteria(photo.PhotoTerms.model_validate(submission.task.terms))):
        line = said.get(criterion.code)
        mark = _mark(line["outcome"]) if line else ""
        why = reasons.words_for(line["reason_code"], facts.get(criterion.code)) if line and mark != "PASS" else ""
        lines.append(Line(criterion.code, criterion.text, mark, why))
    return lines


def faults_of(submission: Submission) -> list[Line]:
    """Return the criteria that the newest verdict says it fails: what the retake must do better."""
    return [line for line in lines_of(submission, verdict_of(submission)) if line.mark == "FAIL"]


def machine_lines_of(submission: Submission) -> list[Line]:
    """Return every published criterion with what the checks found, for a reviewer."""
    found: dict[str, list[CheckRun]] = {}
    for run in submission.check_runs.order_by("created_at", "pk"):
        found.setdefault(run.criterion, []).append(run)
    lines = []
    for criterion in shows_first(photo.criteria(photo.PhotoTerms.model_validate(submission.task.terms))):
        runs = found.get(criterion.code, [])
        marks = {_mark(run.outcome) for run in runs}
        mark = next((each for each in ("FAIL", "OPEN", "PASS") if each in marks), "")
        why = "; ".join(_finding(run) for run in runs if run.reason_code)
        lines.append(Line(criterion.code, criterion.text, mark, why))
    return lines


def words_of_reviewer(submission: Submission) -> str:
    """Return the reason that the last person who decided about it gave."""
    decided = submission.reviews.exclude(decision="").exclude(kind=Review.Kind.AUDIT).order_by("-decided_at").first()
    return decided.reason if decided else ""


def review_due_at(submission: Submission, *, now: datetime.datetime) -> datetime.datetime | None:
    """Return when the clock decides what a person has not; None where nobody is asked, or the clock is about to."""
    waiting = submission.reviews.filter(decision="", lease_state__in=(LeaseState.READY, LeaseState.LEASED), due_at__gt=now)
    return waiting.order_by("due_at").values_list("due_at", flat=True).first()


def last_submission_of(claim: Claim) -> Submission | None:
    """Return the newest submission under a claim."""
    return claim.submissions.order_by("-number").first()


def history_of(worker: WorkerProfile) -> list[tuple[Claim, Submission | None, Money]]:
    """Return a worker's newest claims with their last submission and what the task pays."""
    claims = list(task_queries.claims_of(worker)[:30])
    pay: dict[uuid.UUID, Money] = {}
    for offer in Offer.objects.filter(bounty__task__in=[claim.task_id for claim in claims]).select_related("bounty").order_by("version"):
        pay[offer.bounty.task_id] = Money(offer.reward_minor, offer.currency)
    return [(claim, max(claim.submissions.all(), key=lambda each: each.number, default=None), pay[claim.task_id]) for claim in claims]


def purses_of(worker: WorkerProfile) -> list[Purse]:
    """Return a worker's money, one purse a currency."""
    return [
        Purse(
            earned=Money(balance.earned_minor, currency),
            payable=Money(balance.payable_minor, currency),
            in_transit=Money(balance.in_transit_minor, currency),
            paid_out=Money(balance.paid_out_minor, currency),
        )
        for currency, balance in payment_queries.worker_balance(worker, worker.mode).items()
    ]


def _mark(outcome: str) -> str:
    if outcome in (CheckRun.Outcome.INCONCLUSIVE, CheckRun.Outcome.ERROR):
        return "OPEN"
    return outcome if outcome in (CheckRun.Outcome.PASS, CheckRun.Outcome.FAIL) else ""


def _finding(run: CheckRun) -> str:
    numbers = ", ".join(f"{name} {value}" for name, value in run.facts.items())
    score = f" (score {run.score:.3g})" if run.score is not None else ""
    return f"{run.check_name}: {run.reason_code.replace('_', ' ')}{score}{' — ' + numbers if numbers else ''}"
