"""Claims: take, extend, drop, expire, hand in, retake and let go, by several workers on several tasks, beside a model without money."""

import collections
import copy
import dataclasses
import datetime
import uuid
from collections.abc import Callable
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from market.accounts.models import User
from market.bounties import cancellation, claiming, disputes, settlement, submitting
from market.bounties import models as rows
from tasks import claims, ids, submissions
from tasks import models as work
from tasks.leases import LeaseState
from tests import people, stories
from tests.faults.stateful import running
from verification import verdicts

BEGIN = datetime.datetime(2026, 3, 2, 12, tzinfo=datetime.UTC)
TICK = datetime.timedelta(microseconds=1)
SECOND = datetime.timedelta(seconds=1)
HOUR = datetime.timedelta(hours=1)
# The rules, once more: a model that read them would agree with any.
RETAKE_OFFER, APPEAL_WINDOW, MAX_TRIES = 2 * HOUR, 72 * HOUR, 3
# Inside the area, some minutes from it, and not said.
POSITIONS = {"there": stories.PLACE, "far": (52.40, 13.06), "nowhere": (None, None)}
_CAPTURE = submissions.ReportedCapture(latitude=stories.PLACE[0], longitude=stories.PLACE[1], accuracy_m=8.0)
# Mostly the one it belongs to.
IS_OWN = st.sampled_from([*[True] * 7, False])
# Mostly at something that the step is legal for.
IS_AIMED = st.sampled_from([True, True, True, False])

Status = work.Claim.Status
Handed = work.Submission.Status
DECIDED = (Handed.ACCEPTED, Handed.REJECTED, Handed.INCONCLUSIVE)

TABLES = {
    "slots": "SELECT slot.task_id, slot.number, slot.lease_state, slot.token FROM tasks_slot slot",
    "claims": "SELECT claim.id, claim.worker_id, slot.task_id, slot.number, claim.slot_token, claim.status, claim.expires_at,"
    " claim.is_extended, claim.is_retake_used, claim.ended_at FROM tasks_claim claim JOIN tasks_slot slot ON slot.id = claim.slot_id",
    "submissions": "SELECT id, claim_id, number, kind, negative_reason, status, decided_at, retake_until, appeal_until, final_at"
    " FROM tasks_submission",
    "files": "SELECT submission_id, array_agg(sha256 ORDER BY sha256) FROM tasks_evidence GROUP BY 1",
    "workers": "SELECT user_id, accepted_count, rejected_count, expired_count FROM tasks_workerprofile",
    "bounties": "SELECT bounty.id, bounty.status, bounty.closed_because, bounty.cancel_requested_at, bounty.closed_at, task.status,"
    " task.closes_at FROM bounties_bounty bounty JOIN tasks_task task ON task.id = bounty.task_id",
    "settlements": "SELECT submission_id, kind FROM bounties_settlement",
    # A settlement is known by its submission: its own id is made inside.
    "events": "SELECT CASE WHEN subject LIKE 'set_%' THEN data->>'submission' ELSE subject END, type, actor FROM events_event ORDER BY id",
}


@dataclasses.dataclass(eq=False)
class Worker:
    """Somebody who may earn, and what keeps him from it."""

    row: work.WorkerProfile
    refusal: type[Exception] | None = None
    accepted_count: int = 0
    rejected_count: int = 0
    expired_count: int = 0

    @property
    def limit(self) -> int:
        """How many claims he may hold at once: one, and one more for every five accepted, five at most."""
        return min(5, 1 + self.accepted_count // 5)


@dataclasses.dataclass
class Slot:
    """One slot; ``token`` counts how often it was handed out."""

    state: str = LeaseState.READY
    token: int = 0


@dataclasses.dataclass(eq=False)
class Bounty:
    """As much of a bounty as a claim meets."""

    pk: uuid.UUID
    task: work.Task
    status: str
    closes_at: datetime.datetime
    slots: dict[int, Slot]
    is_listed: bool
    is_funded: bool
    closed_because: str = ""
    cancel_requested_at: datetime.datetime | None = None
    closed_at: datetime.datetime | None = None

    def __repr__(self) -> str:
        return ids.encode("bty", self.pk)

    @property
    def task_status(self) -> str:
        """The task's status: a draft until it is funded, closed once it is unlisted."""
        return "LISTED" if self.is_listed else "CLOSED" if self.is_funded else "DRAFT"

    def is_open(self, now: datetime.datetime) -> bool:
        """Tell whether it may be claimed at all."""
        return self.is_listed and self.task.opens_at <= now < self.closes_at


@dataclasses.dataclass(eq=False)
class Claim:
    """A claim as it should be."""

    pk: uuid.UUID
    bounty: Bounty
    worker: Worker
    number: int
    token: int
    expires_at: datetime.datetime
    status: str = Status.ACTIVE
    is_extended: bool = False
    is_retake_used: bool = False
    ended_at: datetime.datetime | None = None
    submissions: list["Submission"] = dataclasses.field(default_factory=list)

    def __repr__(self) -> str:
        return ids.encode("clm", self.pk)

    @property
    def slot(self) -> Slot:
        """Its slot."""
        return self.bounty.slots[self.number]

    @property
    def is_holding(self) -> bool:
        """Whether it keeps its slot from others."""
        return self.slot.state == LeaseState.LEASED and self.slot.token == self.token

    @property
    def has_unsettled_work(self) -> bool:
        """Whether something handed in under it is not final."""
        return any(each.final_at is None for each in self.submissions)


@dataclasses.dataclass(eq=False)
class Submission:
    """A submission as it should be."""

    pk: uuid.UUID
    claim: Claim
    number: int
    kind: str
    reason: str
    files: frozenset[str]
    status: str = Handed.CHECKING
    decided_at: datetime.datetime | None = None
    retake_until: datetime.datetime | None = None
    appeal_until: datetime.datetime | None = None
    final_at: datetime.datetime | None = None

    def __repr__(self) -> str:
        return ids.encode("sub", self.pk)

    def offers_retake(self, now: datetime.datetime) -> bool:
        """Tell whether it may be handed in once more; in the task's last second there is no time for it."""
        return (
            self.status == Handed.REJECTED
            and self.final_at is None
            and self.retake_until is not None
            and now < self.retake_until
            and self.claim.bounty.closes_at - now >= SECOND
            and self.claim.status == Status.SUBMITTED
            and not self.claim.is_retake_used
        )


class Model:
    """Slots, claims and submissions, and every event in the order of its subject; money is left to those who build on it."""

    def __init__(self, workers: dict[str, Worker], bounties: list[Bounty]) -> None:
        self.now = BEGIN
        self.workers = {name: dataclasses.replace(worker) for name, worker in workers.items()}
        self.bounties = [dataclasses.replace(each, slots={number: Slot() for number in each.slots}) for each in bounties]
        self.claims: list[Claim] = []
        self.submissions: list[Submission] = []
        self.settlements: dict[uuid.UUID, str] = {}
        self.events: dict[str, list[tuple[str, str]]] = collections.defaultdict(list)

    def tell(self, subject: object, type_: str, actor: str) -> None:
        """Note an event."""
        self.events[repr(subject)].append((type_, actor))

    def boundaries(self) -> list[datetime.datetime]:
        """Return the instants ahead at which something changes by itself, the nearest first."""
        found = [moment for bounty in self.bounties for moment in (bounty.task.opens_at, bounty.closes_at, bounty.closes_at - SECOND)]
        found += [claim.expires_at for claim in self.claims if claim.status == Status.ACTIVE]
        for submission in self.submissions:
            if submission.final_at is None:
                found += [moment for moment in (submission.retake_until, submission.appeal_until) if moment]
        return sorted({moment for moment in found if moment > self.now - TICK})

    def refusal_of_claim(self, bounty: Bounty | None, worker: Worker, lease_s: int) -> type[Exception] | None:
        """Say what a claim would be refused for; the worker's lapsed claims are ended."""
        if bounty is None or not bounty.is_funded:
            return claims.NotListed
        if worker.refusal is claiming.ResidenceNotServed:
            return worker.refusal
        self.expire(worker)
        if worker.refusal:
            return worker.refusal
        own = [claim for claim in self.claims if claim.worker is worker]
        here = [claim for claim in own if claim.bounty is bounty]
        if any(claim.status in (Status.ACTIVE, Status.SUBMITTED) or claim.submissions for claim in here):
            return claims.AlreadyClaimed
        if len(here) >= MAX_TRIES:
            return claims.TriedTooOften
        if sum(claim.is_holding for claim in own) >= worker.limit:
            return claims.TooManyOpenClaims
        if not lease_s or not bounty.is_open(self.now):
            return claims.NotListed
        return None if any(slot.state == LeaseState.READY for slot in bounty.slots.values()) else claims.AllTaken

    def free_pairs(self) -> list[tuple[Bounty, Worker]]:
        """Return who may claim what now."""
        return [
            (bounty, worker)
            for bounty in self.bounties
            if bounty.is_open(self.now) and any(slot.state == LeaseState.READY for slot in bounty.slots.values())
            if bounty.closes_at - self.now >= SECOND
            for worker in self.workers.values()
            if not worker.refusal and self._is_free(worker, bounty)
        ]

    def _is_free(self, worker: Worker, bounty: Bounty) -> bool:
        own = [claim for claim in self.claims if claim.worker is worker]
        return sum(claim.is_holding for claim in own) < worker.limit and not any(claim.bounty is bounty for claim in own)

    def live_claim(self, bounty: Bounty | None, worker: Worker) -> Claim | None:
        """Return the active claim that a second request gets back."""
        if worker.refusal:
            return None
        live = [
            claim
            for claim in self.claims
            if claim.worker is worker and claim.bounty is bounty and claim.status == Status.ACTIVE and claim.expires_at > self.now
        ]
        return live[0] if live else None

    def expire(self, worker: Worker | None = None) -> int:
        """End the lapsed claims of one worker or of all; return how many."""
        lapsed = [claim for claim in self.claims if claim.status == Status.ACTIVE and claim.expires_at <= self.now]
        lapsed = [claim for claim in lapsed if worker is None or claim.worker is worker]
        for claim in sorted(lapsed, key=lambda each: each.expires_at):
            claim.worker.expired_count += 1
            self.end_claim(claim, Status.EXPIRED, "clock")
        return len(lapsed)

    def end_claim(self, claim: Claim, status: str, actor: str) -> None:
        """Drop or expire a claim."""
        claim.status, claim.ended_at = status, self.now
        self.tell(claim, f"claim.{status.lower()}", actor)
        if not claim.has_unsettled_work:
            self.let_slot_go(claim, actor)

    def let_slot_go(self, claim: Claim, actor: str) -> None:
        """Open the slot again, or close it with its bounty."""
        claim.slot.state = LeaseState.READY
        claim.ended_at = claim.ended_at or self.now
        if self.now >= claim.bounty.closes_at:
            self.begin_closing(claim.bounty, "EXPIRED", "clock")
        self.wind_down(claim.bounty, actor)

    def begin_closing(self, bounty: Bounty, because: str, actor: str) -> bool:
        """Stop new claims."""
        if bounty.status != "OPEN" or bounty.closed_because:
            return False
        bounty.closed_because, bounty.is_listed = because, False
        bounty.cancel_requested_at = self.now if because == "CANCELLED" else None
        self.tell(bounty, "bounty.closing", actor)
        return True

    def wind_down(self, bounty: Bounty, actor: str) -> None:
        """Take out the free slots of a closing bounty, and end it when all are done or out."""
        if bounty.status != "OPEN":
            return
        if bounty.closed_because:
            for number, slot in bounty.slots.items():
                if slot.state == LeaseState.READY:
                    slot.state = LeaseState.DEAD
                    self.give_back(bounty, number)
        states = {slot.state for slot in bounty.slots.values()}
        if states & {LeaseState.READY, LeaseState.LEASED}:
            return
        bounty.is_listed = False
        if states == {LeaseState.DONE}:
            bounty.closed_because = "ACCEPTED"
            self.tell(bounty, "bounty.filled", actor)
        final = {"ACCEPTED": "SETTLED", "NOT_POSSIBLE": "SETTLED"}.get(bounty.closed_because, bounty.closed_because)
        self.give_back(bounty, None)
        bounty.status, bounty.closed_at = final, self.now
        self.tell(bounty, f"bounty.{final.lower()}", actor)

    def close_due(self) -> int:
        """Close what is past its deadline; return how many bounties were looked at."""
        due = [bounty for bounty in self.bounties if bounty.closes_at <= self.now and bounty.status == "SCREENED"]
        for bounty in due:
            bounty.status, bounty.closed_because, bounty.closed_at = "EXPIRED", "EXPIRED", self.now
            self.tell(bounty, "bounty.expired", "clock")
        over = [each for each in self.bounties if each.closes_at <= self.now and each.status == "OPEN" and not each.closed_because]
        for bounty in over:
            self.begin_closing(bounty, "EXPIRED", "clock")
            self.wind_down(bounty, "clock")
        return len(due) + len(over)

    def hand_in(self, claim: Claim, pk: uuid.UUID, kind: str, reason: str, files: frozenset[str]) -> None:
        """Write a submission down; a retake takes the place of the rejected one."""
        submission = Submission(pk, claim, len(claim.submissions) + 1, kind, reason, files)
        claim.status = Status.SUBMITTED
        claim.submissions.append(submission)
        self.submissions.append(submission)
        self.tell(submission, "submission.received", "worker")
        self.tell(submission, "submission.checking", "machine")
        if submission.number == 2:
            self.finish_unpaid(claim.submissions[0], "worker")

    def reopen(self, claim: Claim) -> None:
        """Begin the one retake."""
        left_s = int((claim.bounty.closes_at - self.now).total_seconds())
        lease_s = min(claiming.lease_s(task=claim.bounty.task, latitude=None, longitude=None), left_s)
        claim.status, claim.is_retake_used = Status.ACTIVE, True
        claim.expires_at = self.now + datetime.timedelta(seconds=lease_s)
        self.tell(claim, "claim.retaken", "worker")

    def decide(self, submission: Submission, outcome: str, actor: str) -> None:
        """Apply a verdict."""
        was_appealed = submission.status == Handed.APPEALED
        claim = submission.claim
        submission.status, submission.decided_at = outcome, self.now
        if not was_appealed:
            submission.retake_until = None
        if outcome == Handed.REJECTED and not was_appealed:
            if submission.number == 1 and not claim.is_retake_used and self.now < claim.bounty.closes_at:
                submission.retake_until = min(self.now + RETAKE_OFFER, claim.bounty.closes_at)
            submission.appeal_until = (submission.retake_until or self.now) + APPEAL_WINDOW
        elif was_appealed:
            submission.retake_until = None
        self.tell(submission, f"submission.{outcome.lower()}", actor)
        if outcome == Handed.ACCEPTED:
            self.pay(submission, actor)
        elif outcome == Handed.INCONCLUSIVE or was_appealed:
            self.settle_unpaid(submission, actor)

    def pay(self, submission: Submission, actor: str) -> None:
        """Finish an accepted submission."""
        claim, bounty = submission.claim, submission.claim.bounty
        submission.final_at = self.now
        if submission.kind == "NEGATIVE":
            self.settlements[submission.pk] = "NEGATIVE"
            self.pay_negative(submission)
            if self.is_proven_impossible(bounty, submission.reason):
                self.begin_closing(bounty, "NOT_POSSIBLE", actor)
            self.let_slot_go(claim, actor)
        else:
            self.settlements[submission.pk] = "ACCEPTED"
            self.pay_reward(submission)
            claim.slot.state = LeaseState.DONE
            claim.ended_at = claim.ended_at or self.now
        claim.worker.accepted_count += 1
        self.tell(submission, "submission.paid", actor)
        self.wind_down(bounty, actor)

    def is_proven_impossible(self, bounty: Bounty, reason: str) -> bool:
        """Tell whether the paid reports are as many as were reserved for, or two of them agree."""
        paid = [each for each in self.submissions if self.settlements.get(each.pk) == "NEGATIVE" and each.claim.bounty is bounty]
        return len(paid) >= self.max_negative_outcomes(bounty) or sum(each.reason == reason for each in paid) >= 2

    def max_negative_outcomes(self, bounty: Bounty) -> int:
        """Return how many paid reports a bounty has reserved for."""
        return 1

    def settle_unpaid(self, submission: Submission, actor: str) -> bool:
        """Finish a submission that is not paid and let its slot go; False if it was final."""
        if submission.final_at is not None:
            return False
        if submission.status == Handed.REJECTED:
            submission.claim.worker.rejected_count += 1
        self.finish_unpaid(submission, actor)
        if submission.claim.status != Status.ACTIVE and not submission.claim.has_unsettled_work:
            self.let_slot_go(submission.claim, actor)
        return True

    def finish_unpaid(self, submission: Submission, actor: str) -> None:
        """Mark a submission final without pay."""
        submission.final_at = self.now
        self.settlements[submission.pk] = "UNPAID"
        self.tell(submission, "submission.final", actor)

    def finalise_due(self) -> int:
        """End the rejections whose appeal window is over; return how many."""
        due = [
            each
            for each in self.submissions
            if each.status == Handed.REJECTED and each.final_at is None and each.claim.status != Status.ACTIVE
            if each.appeal_until is not None and each.appeal_until <= self.now
        ]
        for submission in sorted(due, key=lambda each: (each.appeal_until, each.number)):
            self.settle_unpaid(submission, "clock")
        return len(due)

    def give_back(self, bounty: Bounty, number: int | None) -> None:
        """Give the money of a slot, or of the reserve, back."""

    def pay_reward(self, submission: Submission) -> None:
        """Pay the worker."""

    def pay_negative(self, submission: Submission) -> None:
        """Pay a truthful report that it can't be done."""

    def tables(self) -> dict[str, object]:
        """Return what should stand in the tables."""
        return {
            "slots": {(each.task.pk, number, slot.state, slot.token) for each in self.bounties for number, slot in each.slots.items()},
            "claims": {
                (
                    each.pk, each.worker.row.pk, each.bounty.task.pk, each.number, each.token, each.status, each.expires_at,
                    each.is_extended, each.is_retake_used, each.ended_at,
                )
                for each in self.claims
            },
            "submissions": {
                (
                    each.pk, each.claim.pk, each.number, each.kind, each.reason, each.status, each.decided_at, each.retake_until,
                    each.appeal_until, each.final_at,
                )
                for each in self.submissions
            },
            "files": {each.pk: sorted(each.files) for each in self.submissions},
            "workers": {
                (each.row.pk, each.accepted_count, each.rejected_count, each.expired_count) for each in self.workers.values()
            },
            "bounties": {
                (
                    each.pk, each.status, each.closed_because, each.cancel_requested_at, each.closed_at, each.task_status, each.closes_at,
                )
                for each in self.bounties
            },
            "settlements": set(self.settlements.items()),
            "events": dict(self.events),
        }  # fmt: skip


def read(tables: dict[str, str]) -> dict[str, object]:
    """Return what stands in the tables, in the shape of `Model.tables`."""
    rows = running.read(tables)
    events: dict[str, list[tuple[str, str]]] = {}
    for subject, type_, actor in rows["events"]:
        events.setdefault(subject, []).append((type_, actor))
    return {
        **{name: set(found) for name, found in rows.items() if name not in ("files", "events")},
        "files": dict(rows["files"]),
        "events": events,
    }


class LifeMachine(running.Machine):
    """What a machine needs that walks through claims: a clock that stops at every edge, and the caller's old objects."""

    tables: ClassVar[dict[str, str]] = TABLES

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        # Rows as they were when they were made: a caller may come with them at any time.
        self.old: dict[uuid.UUID, work.Claim | work.Submission] = {}

    @property
    def now(self) -> datetime.datetime:
        """The present moment."""
        return self.model.now

    @rule(
        minutes=st.sampled_from([None, None, 1, 5, 20]),
        which=st.sampled_from([0, 0, 0, 1, 2]),
        ticks=st.sampled_from([-1, 0, 0, 1]),
        is_swept=st.sampled_from([False, False, True]),
    )
    def wait(self, minutes: int | None, which: int, ticks: int, is_swept: bool) -> None:
        """Wait some minutes; or until one microsecond before a window ends, its end, or one after. Perhaps sweep then."""
        ahead = self.model.boundaries()
        if minutes is None and ahead:
            self.model.now = max(self.now, ahead[min(which, len(ahead) - 1)] + ticks * TICK)
        else:
            self.model.now += datetime.timedelta(minutes=minutes or 1)
        if is_swept:
            self.sweep_all()

    def sweep_all(self) -> None:
        """Do everything that is due."""
        assert claiming.expire_due(now=self.now) == self.model.expire()
        assert disputes.finalise_due(now=self.now) == self.model.finalise_due()
        assert cancellation.close_due(now=self.now) == self.model.close_due()

    def compare(self) -> None:
        """Compare every table."""
        found, expected = read(self.tables), self.model.tables()
        for name in self.tables:
            assert found[name] == expected[name], name

    def teardown(self) -> None:
        """Count what was walked through, and take the example back."""
        self.outcomes.update(type_ for told in self.model.events.values() for type_, _ in told)
        self.outcomes.update(f"settled {kind}" for kind in self.model.settlements.values())
        super().teardown()

    def a_claim(self, which: int, is_fit: Callable[[Claim], bool] | None) -> Claim:
        """Return a claim that fits, or any where none does; the newest first."""
        fitting = [claim for claim in self.model.claims if is_fit and is_fit(claim)] or self.model.claims
        return fitting[-1 - which % len(fitting)]

    def a_submission(self, which: int, is_fit: Callable[[Submission], bool] | None) -> Submission:
        """Return a submission that fits, or any where none does; the newest first."""
        fitting = [each for each in self.model.submissions if is_fit and is_fit(each)] or self.model.submissions
        return fitting[-1 - which % len(fitting)]

    def claim_row(self, claim: Claim, is_stale: bool) -> work.Claim:
        """Return a claim as a caller may hold it: as it was made, or as it is."""
        if is_stale:
            old = copy.copy(self.old[claim.pk])
            assert isinstance(old, work.Claim)
            return old
        return work.Claim.objects.select_related("task").get(pk=claim.pk)

    def submission_row(self, submission: Submission, is_stale: bool) -> work.Submission:
        """Return a submission as a caller may hold it: as it was made, or as it is."""
        if is_stale:
            old = copy.copy(self.old[submission.pk])
            assert isinstance(old, work.Submission)
            return old
        return work.Submission.objects.select_related("claim", "task").get(pk=submission.pk)

    def take(self, bounty: Bounty | None, worker: Worker, position: tuple[float | None, float | None]) -> None:
        """Claim, and hold the outcome against the model."""
        expected = self.model.live_claim(bounty, worker)
        lease_s, refusal = 0, None
        if bounty is not None:
            lease_s = claiming.lease_s(task=bounty.task, latitude=position[0], longitude=position[1])
            lease_s = max(0, min(lease_s, int((bounty.closes_at - self.now).total_seconds())))
        if expected is None:
            refusal = self.model.refusal_of_claim(bounty, worker, lease_s)
        else:
            self.model.expire(worker)
        row = self.attempt(
            lambda: claiming.claim(
                task_id=bounty.task.pk if bounty else uuid.UUID(int=7),
                worker=worker.row,
                latitude=position[0],
                longitude=position[1],
                now=self.now,
            ),
            refusal=refusal,
        )
        if row is None or bounty is None:
            return
        if expected is not None:
            assert row.pk == expected.pk
            return
        number = row.slot.number
        slot = bounty.slots[number]
        assert slot.state == LeaseState.READY
        slot.state, slot.token = LeaseState.LEASED, slot.token + 1
        claim = Claim(row.pk, bounty, worker, number, slot.token, self.now + datetime.timedelta(seconds=lease_s))
        self.model.claims.append(claim)
        self.model.tell(claim, "claim.made", "worker")
        self.old[row.pk] = copy.copy(work.Claim.objects.select_related("task").get(pk=row.pk))

    def send(self, claim: Claim, worker: Worker, names: list[str], reason: str, is_stale: bool) -> None:
        """Hand in, and hold the outcome against the model."""
        files = [stories.kept_file(name) for name in names]
        kind = "NEGATIVE" if reason else "EVIDENCE"
        digests = frozenset(file.sha256 for file in files)
        same = next((each for each in claim.submissions if (each.kind, each.reason, each.files) == (kind, reason, digests)), None)
        last = claim.submissions[-1] if claim.submissions else None
        refusal: type[Exception] | None = None
        is_reopened = False
        if not 1 <= len(files) <= submissions.MAX_FILES or len(digests) < len(files) or reason == "bored":
            refusal = submissions.BadSubmission
        elif worker is not claim.worker:
            refusal = claims.NoClaim
        elif same is None and last is not None and claim.status == Status.SUBMITTED:
            is_reopened = last.offers_retake(self.now)
            refusal = None if is_reopened else claims.StaleClaim
        elif same is None and (claim.status != Status.ACTIVE or claim.expires_at <= self.now):
            refusal = claims.StaleClaim
        row = self.claim_row(claim, is_stale)

        def call() -> work.Submission:
            if reason:
                return submitting.submit_negative(claim=row, worker=worker.row, reason=reason, files=files, capture=_CAPTURE, now=self.now)
            return submitting.submit(claim=row, worker=worker.row, files=files, capture=_CAPTURE, now=self.now)

        handed_in = self.attempt(call, refusal=refusal)
        if handed_in is None:
            return
        if same is not None:
            assert handed_in.pk == same.pk
            return
        if is_reopened:
            self.model.reopen(claim)
        self.model.hand_in(claim, handed_in.pk, kind, reason, digests)
        self.old[handed_in.pk] = copy.copy(work.Submission.objects.select_related("claim", "task").get(pk=handed_in.pk))


class ClaimMachine(LifeMachine):
    """Seven workers, of whom three may work, on two listed tasks, one that opens later and one that is not funded."""

    workers: ClassVar[dict[str, Worker]]
    bounties: ClassVar[list[Bounty]]

    def __init__(self) -> None:
        super().__init__(Model(self.workers, self.bounties))
        for bounty in self.model.bounties:
            self.model.tell(bounty, "bounty.screened", "agent")
            if bounty.is_funded:
                self.model.tell(bounty, "bounty.opened", "agent")

    @classmethod
    def prepare(cls) -> None:
        agent = people.open_agent()
        people.top_up(agent)
        people.top_up(agent, currency="EUR")
        cls.workers = cast_of(agent.owner)
        posted = [
            stories.post_photo_bounty(agent, slots=2, deadline=BEGIN + 5 * HOUR, now=BEGIN),
            stories.post_photo_bounty(agent, slots=1, currency="EUR", deadline=BEGIN + HOUR, now=BEGIN, task_time_s=60),
            stories.post_photo_bounty(agent, slots=1, deadline=BEGIN + 2 * HOUR, now=BEGIN, opens_at=BEGIN + HOUR / 2),
            stories.draft_photo_bounty(agent, deadline=BEGIN + 2 * HOUR, now=BEGIN),
        ]
        cls.bounties = [bounty_of(row) for row in posted]

    @initialize(which=st.sampled_from([0, 0, 1]), worker=st.sampled_from(["ana", "bo"]), is_handed_in=st.booleans())
    def begin(self, which: int, worker: str, is_handed_in: bool) -> None:
        """Claim, and perhaps hand in."""
        self.take(self.model.bounties[which], self.model.workers[worker], stories.PLACE)
        if is_handed_in:
            self.send(self.model.claims[0], self.model.claims[0].worker, ["a"], "", is_stale=False)

    @rule(
        which=st.sampled_from([0, 0, 0, 1, 1, 1, 2, 2, 3, -1]),
        worker=st.sampled_from([*["ana", "bo", "cleo"] * 4, "owner", "live", "suspended", "abroad"]),
        position=st.sampled_from(["there", "there", "far", "nowhere"]),
    )
    def claim(self, which: int, worker: str, position: str) -> None:
        self.take(self.model.bounties[which] if which >= 0 else None, self.model.workers[worker], POSITIONS[position])

    @precondition(lambda self: self.model.free_pairs())
    @rule(which=st.integers(0, 9), position=st.sampled_from(["there", "far", "nowhere"]), is_handed_in=st.booleans())
    def claim_what_is_free(self, which: int, position: str, is_handed_in: bool) -> None:
        """Claim, and perhaps hand in."""
        free = self.model.free_pairs()
        self.take(*free[which % len(free)], POSITIONS[position])
        if is_handed_in:
            self.send(self.model.claims[-1], self.model.claims[-1].worker, ["a"], "", is_stale=False)

    @precondition(lambda self: self.model.claims)
    @rule(
        which=st.integers(0, 9),
        is_aimed=IS_AIMED,
        is_stale=st.booleans(),
        is_own=IS_OWN,
        is_there=st.sampled_from([True, True, True, False]),
    )
    def extend(self, which: int, is_aimed: bool, is_stale: bool, is_own: bool, is_there: bool) -> None:
        claim = self.a_claim(which, (lambda each: each.status == Status.ACTIVE) if is_aimed else None)
        self._extend(claim, is_stale=is_stale, is_own=is_own, is_there=is_there)

    @precondition(lambda self: any(claim.status == Status.ACTIVE for claim in self.model.claims))
    @rule(
        which=st.integers(0, 9),
        ticks=st.sampled_from([-1, 0, 1]),
        what=st.sampled_from(["expire", "extend", "hand in", "claim again"]),
        is_stale=st.booleans(),
    )
    def outlive(self, which: int, ticks: int, what: str, is_stale: bool) -> None:
        """Go to the end of a claim and do what is still possible, or just not any more."""
        claim = self.a_claim(which, lambda each: each.status == Status.ACTIVE)
        self.model.now = max(self.now, claim.expires_at + ticks * TICK)
        if what == "extend":
            self._extend(claim, is_stale=is_stale, is_own=True, is_there=True)
        elif what == "hand in":
            self.send(claim, claim.worker, ["b"], "", is_stale)
        elif what == "claim again":
            self.take(claim.bounty, claim.worker, stories.PLACE)
        assert claiming.expire_due(now=self.now) == self.model.expire()

    @precondition(lambda self: any(self._may_be_retaken(claim) for claim in self.model.claims))
    @rule(which=st.integers(0, 9), ticks=st.sampled_from([-1, 0, 1]), is_handed_in=st.booleans(), is_stale=st.booleans())
    def outlive_retake(self, which: int, ticks: int, is_handed_in: bool, is_stale: bool) -> None:
        """Go to the end of a retake's offer and take it, or just not any more."""
        claim = self.a_claim(which, self._may_be_retaken)
        until = claim.submissions[-1].retake_until
        assert until is not None
        self.model.now = max(self.now, until + ticks * TICK)
        if is_handed_in:
            self.send(claim, claim.worker, ["d"], "", is_stale)
        else:
            self._start_retake(claim, is_stale=is_stale, is_own=True)

    def _may_be_retaken(self, claim: Claim) -> bool:
        return bool(claim.submissions) and claim.submissions[-1].status == Handed.REJECTED and bool(claim.submissions[-1].retake_until)

    def _extend(self, claim: Claim, *, is_stale: bool, is_own: bool, is_there: bool) -> None:
        worker = claim.worker if is_own else self._other_than(claim.worker)
        latitude, longitude = POSITIONS["there" if is_there else "far"]
        assert latitude is not None
        assert longitude is not None
        refusal: type[Exception] | None = None
        if not is_own:
            refusal = claims.NoClaim
        elif not is_there:
            refusal = claims.NotInside
        elif claim.is_extended:
            refusal = claims.AlreadyExtended
        elif claim.status != Status.ACTIVE or claim.expires_at <= self.now:
            refusal = claims.StaleClaim
        row = self.claim_row(claim, is_stale)
        self.attempt(
            lambda: claiming.extend(claim=row, worker=worker.row, latitude=latitude, longitude=longitude, now=self.now), refusal=refusal
        )
        if refusal is None:
            task_time = datetime.timedelta(seconds=claim.bounty.task.task_time_s)
            claim.expires_at, claim.is_extended = min(claim.expires_at + task_time, claim.bounty.closes_at), True
            self.model.tell(claim, "claim.extended", "worker")

    @precondition(lambda self: self.model.claims)
    @rule(which=st.integers(0, 9), is_aimed=st.booleans(), is_stale=st.booleans(), is_own=IS_OWN)
    def drop(self, which: int, is_aimed: bool, is_stale: bool, is_own: bool) -> None:
        claim = self.a_claim(which, (lambda each: each.status == Status.ACTIVE) if is_aimed else None)
        worker = claim.worker if is_own else self._other_than(claim.worker)
        refusal: type[Exception] | None = None
        if not is_own:
            refusal = claims.NoClaim
        elif claim.status != Status.DROPPED and (claim.status != Status.ACTIVE or claim.expires_at <= self.now):
            refusal = claims.StaleClaim
        row = self.claim_row(claim, is_stale)
        self.attempt(lambda: claiming.drop(claim=row, worker=worker.row, now=self.now), refusal=refusal)
        if refusal is None and claim.status == Status.ACTIVE:
            self.model.end_claim(claim, Status.DROPPED, "worker")

    @precondition(lambda self: self.model.claims)
    @rule(
        which=st.integers(0, 9),
        is_aimed=IS_AIMED,
        is_stale=st.booleans(),
        is_own=IS_OWN,
        names=st.sampled_from([*[["a"], ["b"], ["a", "b"], ["c"]] * 3, [], ["a", "a"], list("abcdef")]),
        reason=st.sampled_from([*[""] * 6, "closed", "closed", "unsafe", "bored"]),
    )
    def hand_in(self, which: int, is_aimed: bool, is_stale: bool, is_own: bool, names: list[str], reason: str) -> None:
        claim = self.a_claim(which, self._is_to_hand_in if is_aimed else None)
        self.send(claim, claim.worker if is_own else self._other_than(claim.worker), names, reason, is_stale)

    @precondition(lambda self: any(each.decided_at for each in self.model.submissions))
    @rule(which=st.integers(0, 9), is_aimed=IS_AIMED, is_stale=st.booleans(), is_own=IS_OWN)
    def start_retake(self, which: int, is_aimed: bool, is_stale: bool, is_own: bool) -> None:
        self._start_retake(self.a_claim(which, self._offers_retake if is_aimed else None), is_stale=is_stale, is_own=is_own)

    def _start_retake(self, claim: Claim, *, is_stale: bool, is_own: bool) -> None:
        worker = claim.worker if is_own else self._other_than(claim.worker)
        refusal: type[Exception] | None = None
        is_reopened = False
        if not is_own:
            refusal = claims.NoClaim
        elif claim.status != Status.ACTIVE:
            is_reopened = self._offers_retake(claim)
            refusal = None if is_reopened else submitting.NoRetake
        row = self.claim_row(claim, is_stale)
        self.attempt(lambda: submitting.start_retake(claim=row, worker=worker.row, now=self.now), refusal=refusal)
        if is_reopened:
            self.model.reopen(claim)

    @precondition(lambda self: self.model.submissions)
    @rule(
        which=st.integers(0, 9),
        is_aimed=IS_AIMED,
        is_stale=st.booleans(),
        outcome=st.sampled_from(["REJECTED", "REJECTED", "ACCEPTED", "INCONCLUSIVE"]),
    )
    def decide(self, which: int, is_aimed: bool, is_stale: bool, outcome: str) -> None:
        submission = self.a_submission(which, (lambda each: each.status == Handed.CHECKING) if is_aimed else None)
        refusal = None if submission.status == Handed.CHECKING else verdicts.AlreadyDecided
        row = self.submission_row(submission, is_stale)
        verdict = self.attempt(lambda: stories.decide(row, outcome, now=self.now), refusal=refusal)
        if verdict is None:
            return
        for _ in range(2):  # Again, it changes nothing.
            settlement.apply_verdict(verdict_id=verdict.pk, now=self.now)
        self.model.decide(submission, outcome, "machine")

    @precondition(lambda self: any(each.decided_at for each in self.model.submissions))
    @rule(which=st.integers(0, 9), is_aimed=IS_AIMED, is_stale=st.booleans(), is_own=IS_OWN)
    def give_in(self, which: int, is_aimed: bool, is_stale: bool, is_own: bool) -> None:
        submission = self.a_submission(which, (lambda each: each.status == Handed.REJECTED and each.final_at is None) if is_aimed else None)
        worker = submission.claim.worker if is_own else self._other_than(submission.claim.worker)
        refusal: type[Exception] | None = None
        if not is_own:
            refusal = submissions.NoSubmission
        elif submission.status != Handed.REJECTED or submission.claim.status == Status.ACTIVE:
            refusal = disputes.NotAppealable
        row = self.submission_row(submission, is_stale)
        self.attempt(lambda: disputes.waive(submission=row, worker=worker.row, now=self.now), refusal=refusal)
        if refusal is None:
            self.model.settle_unpaid(submission, "worker")

    @rule(what=st.sampled_from(["all", "expire", "expire own", "finalise", "close"]), worker=st.sampled_from(["ana", "bo", "cleo"]))
    def sweep(self, what: str, worker: str) -> None:
        known = self.model.workers[worker]
        if what == "all":
            self.sweep_all()
        elif what == "expire":
            assert claiming.expire_due(now=self.now) == self.model.expire()
        elif what == "expire own":
            assert claiming.expire_lapsed_of(worker=known.row, now=self.now) == self.model.expire(known)
        elif what == "finalise":
            assert disputes.finalise_due(now=self.now) == self.model.finalise_due()
        else:
            assert cancellation.close_due(now=self.now) == self.model.close_due()

    def _offers_retake(self, claim: Claim) -> bool:
        return bool(claim.submissions) and claim.submissions[-1].offers_retake(self.now)

    def _is_to_hand_in(self, claim: Claim) -> bool:
        return claim.status == Status.ACTIVE or self._offers_retake(claim)

    def _other_than(self, worker: Worker) -> Worker:
        return next(each for each in self.model.workers.values() if each is not worker)


def cast_of(owner: User) -> dict[str, Worker]:
    """Make workers: three who may work, and one for each thing that keeps somebody from it."""
    suspended = people.open_worker("suspended")
    work.WorkerProfile.objects.filter(pk=suspended.pk).update(is_suspended=True)
    abroad = people.open_worker("abroad")
    work.WorkerProfile.objects.filter(pk=abroad.pk).update(country="KP")
    abroad.country = "KP"
    return {
        "ana": Worker(people.open_worker("ana", accepted_count=5), accepted_count=5),
        "bo": Worker(people.open_worker("bo")),
        "cleo": Worker(people.open_worker("cleo", accepted_count=25), accepted_count=25),
        "owner": Worker(people.open_worker("owner", user=owner), claims.OwnTask),
        "live": Worker(people.open_worker("live", mode="live"), claims.NotListed),
        "suspended": Worker(suspended, claims.WorkerSuspended),
        "abroad": Worker(abroad, claiming.ResidenceNotServed),
    }


def bounty_of(row: rows.Bounty) -> Bounty:
    """Return the model of a bounty that has just been posted."""
    is_funded = row.status == "OPEN"
    slots = {number: Slot() for number in range(1, row.slot_count + 1)}
    return Bounty(row.pk, row.task, row.status, row.task.closes_at, slots, is_listed=is_funded, is_funded=is_funded)
