"""Scenes for races: one small story each, at a time of its own, and all that can be seen of it afterwards."""

import datetime
import itertools
import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from django.db import connection
from django.db.models import Max, Model

from market.accounts.models import Agent, ApiKey, User
from market.bounties.models import Appeal, Bounty, Offer, Settlement, Spend
from market.common import account_paths
from market.escrow.models import Hold
from market.events.models import Event
from market.ledger import balances
from market.ledger.models import Account, Transfer
from market.payments.models import Deposit, Payout, ProviderEvent
from tasks.models import Claim, Slot, Submission, Task, WorkerProfile
from tests import people
from verification.models import Case, Review, Verdict, VisionRun

# Each scene is earlier than all before it, so that a sweep at its time finds nothing due of theirs.
_LAST = datetime.datetime(9000, 1, 1, tzinfo=datetime.UTC)
_APART = datetime.timedelta(days=10)

_times: Iterator[datetime.datetime] = (_LAST - number * _APART for number in itertools.count())

Seen = dict[str, list[str]]

_OF_BOUNTY = "bounty_id = ANY (%(bounties)s)"
_OF_TASK = "task_id = ANY (%(tasks)s)"
_OF_SUBMISSION = "submission_id IN (SELECT id FROM tasks_submission WHERE task_id = ANY (%(tasks)s))"

# What of which rows two ends of the same scene must have in common. A time is told by how long it is after the scene's.
_LOOK_AT: tuple[tuple[type[Model], str, tuple[str, ...]], ...] = (
    (Bounty, "id = ANY (%(bounties)s)", ("status", "closed_because")),
    (Task, "id = ANY (%(tasks)s)", ("status", "closes_at")),
    (Offer, _OF_BOUNTY, ("version", "reward_minor", "deadline")),
    (Spend, _OF_BOUNTY, ("offer_version", "amount_minor")),
    (Hold, _OF_BOUNTY, ("kind", "slot_number", "status", "amount_minor", "captured_minor", "returned_minor")),
    (Settlement, _OF_BOUNTY, ("kind", "worker_minor", "fee_minor", "matured_at")),
    (Event, "id > %(event)s AND data->>'bounty' = ANY (%(names)s)", ("type",)),
    (Slot, _OF_TASK, ("number", "lease_state", "token")),
    (Claim, _OF_TASK, ("worker_id", "status", "is_extended", "is_retake_used", "expires_at", "ended_at")),
    (Submission, _OF_TASK, ("worker_id", "number", "kind", "status", "retake_until", "appeal_until", "final_at")),
    (Verdict, _OF_SUBMISSION, ("round", "outcome", "decided_by", "applied_at")),
    (Case, _OF_SUBMISSION, ("stage", "lease_state", "machine_outcome", "max_false_accept")),
    (Review, _OF_SUBMISSION, ("kind", "decision", "lease_state")),
    (Appeal, _OF_SUBMISSION, ("decided_at",)),
    (VisionRun, _OF_SUBMISSION.replace("submission_id", "case_id"), ("lease_state", "attempts", "model_hash")),
    (WorkerProfile, "user_id = ANY (%(workers)s)", ("user_id", "accepted_count", "rejected_count", "expired_count")),
    (Payout, "worker_id = ANY (%(workers)s)", ("status", "lease_state", "amount_minor", "failure")),
    (Deposit, "id = ANY (%(deposits)s)", ("status", "failure")),
    (ProviderEvent, "id = ANY (%(provider_events)s)", ("processed_at", "error")),
    (Account, "path = ANY (%(paths)s)", ("path", "balance_minor")),
)
_TIMES = frozenset({"closes_at", "deadline", "matured_at", "expires_at", "ended_at", "retake_until", "appeal_until"})
_TIMES |= {"final_at", "applied_at", "decided_at", "processed_at"}
# With the transfers alike, and the rows that the audit holds against them, the books are as right as at the other end.
_TRANSFERS = """
    SELECT 'ledger_transfer', jsonb_build_object('source', s.path, 'destination', d.path, 'minor', t.amount_minor, 'why', t.reason)::text
    FROM ledger_transfer t JOIN ledger_account s ON s.id = t.source_id JOIN ledger_account d ON d.id = t.destination_id
    WHERE t.seq > %(transfer)s
"""
# In one statement, and so at one moment.
_LOOK = " UNION ALL ".join(
    [
        *(
            f"SELECT '{model._meta.db_table}', to_jsonb(t)::text FROM {model._meta.db_table} t WHERE {which}"  # noqa: S608 - our own tables
            for model, which, _ in _LOOK_AT
        ),
        _TRANSFERS,
    ]
)


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
    event_before: int = 0
    transfer_before: int = 0

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
        """Note the agent's money, and the last event and transfer before the race."""
        self.available_before = balances.balance(self._available())
        self.event_before = Event.objects.aggregate(last=Max("id"))["last"] or 0
        self.transfer_before = Transfer.objects.aggregate(last=Max("seq"))["last"] or 0
        return self

    def seen(self) -> Seen:
        """Return everything that two ends of the same scene must have in common: no ids, and times from the scene's own."""
        names = self._names()
        wanted = {model._meta.db_table: columns for model, _, columns in _LOOK_AT}
        wanted["ledger_transfer"] = ("source", "destination", "minor", "why")
        looked: Seen = {table: [] for table in wanted}
        with connection.cursor() as cursor:
            cursor.execute(
                _LOOK,
                {
                    "bounties": [bounty.pk for bounty in self.bounties],
                    "tasks": [bounty.task_id for bounty in self.bounties],
                    "names": [str(bounty) for bounty in self.bounties],
                    "workers": [worker.pk for worker in self.workers.values()],
                    "deposits": self.deposit_ids,
                    "provider_events": self.event_ids,
                    "event": self.event_before,
                    "transfer": self.transfer_before,
                    "paths": [path for path in names if path != self._available()],
                },
            )
            for table, row in cursor.fetchall():
                values = json.loads(row)
                looked[table].append(" ".join(self._word(column, values[column], names) for column in wanted[table]))
        # An account that is not opened yet has nothing.
        accounts = Account._meta.db_table
        looked[accounts] = [line for line in looked[accounts] if not line.endswith(" 0")]
        return {table: sorted(lines) for table, lines in looked.items()}

    def _word(self, column: str, value: object, names: dict[str, str]) -> str:
        if column in _TIMES and value is not None:
            return str(datetime.datetime.fromisoformat(str(value)) - self.now)
        if column == "error":
            # The kind alone: its words have ids in them.
            return str(value).partition(":")[0]
        return names.get(str(value), str(value))

    def _names(self) -> dict[str, str]:
        """Return what its accounts and workers are called here."""
        names = {self._available(): "agent available"}
        for number, bounty in enumerate(self.bounties):
            names[account_paths.bounty_held(mode="test", bounty_id=bounty.pk, currency="USD")] = f"held {number}"
        for name, worker in self.workers.items():
            names[str(worker.pk)] = name
            names[account_paths.worker_earned(mode="test", worker_id=worker.pk, currency="USD")] = f"{name} earned"
            names[account_paths.worker_payable(mode="test", worker_id=worker.pk, currency="USD")] = f"{name} payable"
            names[account_paths.worker_in_transit(mode="test", worker_id=worker.pk, currency="USD")] = f"{name} in transit"
        return names

    def spent(self) -> int:
        """Return what the agent has less than before the race."""
        return self.available_before - balances.balance(self._available())

    def _available(self) -> str:
        return account_paths.agent_available(mode=self.agent.mode, agent_id=self.agent.pk, currency="USD")


def first_difference(one: Seen, others: Iterable[Seen]) -> str:
    """Say what of an end is in no other end, in the order of the story."""
    ends = list(others)
    for name, value in one.items():
        if all(value != other[name] for other in ends):
            return f"{name}: {value} instead of {' or '.join(str(other[name]) for other in ends)}"
    return f"{one}"
