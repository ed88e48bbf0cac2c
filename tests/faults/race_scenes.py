"""Scenes for races: one small story each, at a time of its own, and all that can be seen of it afterwards."""

import datetime
import itertools
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from django.db.models import Model, QuerySet

from market.accounts.models import Agent, ApiKey, User
from market.bounties.models import Appeal, Bounty, Offer, Settlement, Spend
from market.common import account_paths
from market.escrow.models import Hold
from market.events.models import Event
from market.ledger import balances
from market.payments.models import Deposit, Payout, ProviderEvent
from tasks.models import Claim, Slot, Submission, WorkerProfile
from tests import people
from verification.models import Case, Review, Verdict, VisionRun

# Each scene is earlier than all before it, so that a sweep at its time finds nothing due of theirs.
_LAST = datetime.datetime(9000, 1, 1, tzinfo=datetime.UTC)
_APART = datetime.timedelta(days=10)

_times: Iterator[datetime.datetime] = (_LAST - number * _APART for number in itertools.count())

Seen = dict[str, object]


@dataclass
class Scene:
    """Who and what takes part. Ids only, where a step must read the row as a request does."""

    agent: Agent
    key: ApiKey
    now: datetime.datetime = field(default_factory=lambda: next(_times))
    workers: dict[str, WorkerProfile] = field(default_factory=dict)
    bounties: list[Bounty] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    submissions: list[Submission] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    reviewers: list[User] = field(default_factory=list)
    request_id: uuid.UUID = field(default_factory=uuid.uuid4)
    deposit_ids: list[uuid.UUID] = field(default_factory=list)
    payout_ids: list[uuid.UUID] = field(default_factory=list)
    event_ids: list[int] = field(default_factory=list)
    runs: list[VisionRun] = field(default_factory=list)
    available_before: int = 0

    def worker(self, name: str = "ana") -> WorkerProfile:
        """Return one of its workers, made when he is first spoken of."""
        if name not in self.workers:
            self.workers[name] = people.open_worker(name, accepted_count=5)
        return self.workers[name]

    @property
    def bounty(self) -> Bounty:
        """The bounty it is about, as it is now."""
        return Bounty.objects.select_related("task", "agent").get(pk=self.bounties[0].pk)

    def claim(self, number: int = 0) -> Claim:
        """Read a claim as a request does."""
        return Claim.objects.select_related("task", "worker").get(pk=self.claims[number].pk)

    def submission(self, number: int = 0) -> Submission:
        """Read a submission as a request does."""
        return Submission.objects.select_related("claim", "task__bounty", "worker").get(pk=self.submissions[number].pk)

    def begin(self) -> "Scene":
        """Note the agent's money before the race."""
        self.available_before = balances.balance(self._available())
        return self

    def _available(self) -> str:
        return account_paths.agent_available(mode=self.agent.mode, agent_id=self.agent.pk, currency="USD")

    def seen(self) -> Seen:
        """Return everything that two ends of the same scene must have in common: no ids, and times from the scene's own."""
        tasks = [bounty.task_id for bounty in self.bounties]
        handed_in = Submission.objects.filter(task__in=tasks)
        names = {worker.pk: name for name, worker in self.workers.items()}
        return {
            **self._bounties_seen(tasks),
            "slots": _rows(Slot.objects.filter(task__in=tasks), "number", "lease_state", "token"),
            "claims": sorted(
                (names[claim.worker_id], claim.slot.number, claim.status, claim.is_extended, claim.is_retake_used, *self._ends(claim))
                for claim in Claim.objects.filter(task__in=tasks).select_related("slot")
            ),
            "submissions": sorted((names[one.worker_id], one.number, one.kind, one.status, *self._windows(one)) for one in handed_in),
            "verdicts": sorted(
                (names[one.submission.worker_id], one.round, one.outcome, one.decided_by, one.applied_at is not None)
                for one in Verdict.objects.filter(submission__in=handed_in).select_related("submission")
            ),
            "cases": _rows(Case.objects.filter(submission__in=handed_in), "stage", "lease_state", "machine_outcome", "max_false_accept"),
            "reviews": _rows(Review.objects.filter(submission__in=handed_in), "kind", "decision", "lease_state"),
            "runs": _rows(VisionRun.objects.filter(case__in=[one.pk for one in handed_in]), "lease_state", "attempts", "model_hash"),
            "appeals": sorted(self._after(one.decided_at) for one in Appeal.objects.filter(submission__in=handed_in)),
            "workers": {
                name: (row.accepted_count, row.rejected_count, row.expired_count)
                for name, row in ((name, WorkerProfile.objects.get(pk=worker.pk)) for name, worker in self.workers.items())
            },
            "money": self._money(),
            **self._payments_seen(),
        }

    def _bounties_seen(self, tasks: list[uuid.UUID]) -> Seen:
        ids = [bounty.pk for bounty in self.bounties]
        found = Bounty.objects.filter(pk__in=ids).select_related("task")
        events = Event.objects.filter(agent=self.agent, data__bounty__in=[str(bounty) for bounty in self.bounties])
        return {
            "bounties": sorted((one.status, one.closed_because, one.task.status, self._after(one.task.closes_at)) for one in found),
            "offers": _rows(Offer.objects.filter(bounty__in=ids), "version", "reward_minor"),
            "spends": _rows(Spend.objects.filter(bounty__in=ids), "offer_version", "amount_minor"),
            "holds": _rows(
                Hold.objects.filter(bounty_id__in=ids),
                *("kind", "slot_number", "status", "amount_minor", "captured_minor", "returned_minor"),
            ),
            "settlements": sorted(
                (one.kind, one.worker_minor, one.fee_minor, one.matured_at is not None) for one in Settlement.objects.filter(bounty__in=ids)
            ),
            "events": sorted(events.values_list("type", flat=True)),
        }

    def _payments_seen(self) -> Seen:
        payouts = Payout.objects.filter(worker__in=[worker.pk for worker in self.workers.values()])
        return {
            "payouts": _rows(payouts, "status", "lease_state", "amount_minor", "failure"),
            "deposits": _rows(Deposit.objects.filter(pk__in=self.deposit_ids), "status", "failure"),
            "provider events": sorted(
                (one.processed_at is not None, one.error.partition(":")[0]) for one in ProviderEvent.objects.filter(pk__in=self.event_ids)
            ),
        }

    def _money(self) -> dict[str, int]:
        paths = {"available": self._available()}
        for bounty in self.bounties:
            paths[f"held {self.bounties.index(bounty)}"] = account_paths.bounty_held(mode="test", bounty_id=bounty.pk, currency="USD")
        for name, worker in self.workers.items():
            paths[f"{name} earned"] = account_paths.worker_earned(mode="test", worker_id=worker.pk, currency="USD")
            paths[f"{name} payable"] = account_paths.worker_payable(mode="test", worker_id=worker.pk, currency="USD")
            paths[f"{name} in transit"] = account_paths.worker_in_transit(mode="test", worker_id=worker.pk, currency="USD")
        found = balances.balances(paths.values())
        return {name: found[path] - (self.available_before if name == "available" else 0) for name, path in paths.items()}

    def _ends(self, claim: Claim) -> tuple[str, str]:
        return self._after(claim.expires_at), self._after(claim.ended_at)

    def _windows(self, one: Submission) -> tuple[str, str, str]:
        return self._after(one.retake_until), self._after(one.appeal_until), self._after(one.final_at)

    def _after(self, moment: datetime.datetime | None) -> str:
        return "" if moment is None else str(moment - self.now)


def _rows(found: QuerySet[Model], *names: str) -> list[tuple[object, ...]]:
    return sorted(found.values_list(*names), key=repr)


def first_difference(one: Seen, others: Iterable[Seen]) -> str:
    """Say what of an end is in no other end, in the order of the story."""
    ends = list(others)
    for name, value in one.items():
        if all(value != other[name] for other in ends):
            return f"{name}: {value} instead of {' or '.join(str(other[name]) for other in ends)}"
    return f"{one}"
