"""Agents, workers, people, machines and jobs of a busy market, as one process that does one small thing after another.

What it is about to do stands in shared memory first, so that who takes its seat after its death asks for the same again.
"""

import contextlib
import dataclasses
import datetime
import hashlib
import json
import mmap
import random
import struct
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.db import OperationalError, transaction
from django.db.models import Model, QuerySet

from market.accounts import idempotency
from market.accounts.models import Agent, User
from market.bounties import cancellation, claiming, disputes, funding, improving, posting, settlement, submitting
from market.bounties import sweeping as bounties
from market.bounties.models import Bounty
from market.common.money import Money
from market.escrow import holds
from market.events import delivery
from market.ledger import marks
from market.payments import deposits, earnings, payouts
from market.payments import sweeping as payments
from tasks import claims
from tasks.leases import LeaseState
from tasks.models import Claim, Slot, Submission, Task, WorkerProfile
from tests import people, stories, sweepers
from tests.market.payments import purses
from verification import dispatch, reviews, verdicts
from verification.models import Review, Verdict

# More than this many open bounties are not posted, so that what is left at the end stays small.
MOST_OPEN = 40
# A kill lets so much of the market's time pass.
TIME_A_KILL = datetime.timedelta(minutes=3)
# Workers begin with this record, so that they may hold five claims at once.
ACCEPTED_BEFORE = 50
# And with this to be paid out, so that payouts need not wait for the first settlements.
PAYABLE_BEFORE_MINOR = 5_000

# What a request may hear when the world has moved on, or when it was done before: nothing moved.
REFUSALS = (
    cancellation.NotCancellable,
    claims.NotClaimable,
    claims.StaleClaim,
    disputes.NotAppealable,
    funding.NotFundable,
    holds.InsufficientFunds,
    improving.NotImprovable,
    payouts.NothingPayable,
    reviews.AlreadyReviewed,
    reviews.NotYourCase,
    settlement.VerdictOutOfTurn,
    submitting.NoRetake,
    verdicts.AlreadyDecided,
    verdicts.NotAppealed,
)

_SEAT = struct.Struct("<qqqH")  # kills so far, things done, things repeated, length of what is being done
_SEAT_BYTES = 512
_DESTINATIONS = ("test_ok", "test_ok", "test_slow", "test_refused", "test_failed", "test_returned", "test_twice", "test_lost_answer")
_SOURCES = ("test_ok", "test_ok", "test_slow", "test_refused", "test_failed", "test_twice", "test_lost_answer")


@dataclasses.dataclass(frozen=True)
class Cast:
    """Who takes part."""

    agents: list[Agent]
    workers: list[WorkerProfile]
    verifiers: list[User]
    began_at: datetime.datetime


@dataclasses.dataclass(frozen=True)
class Intent:
    """One thing to do: its name, the row it is about ("" for none), and what all else about it is drawn from."""

    name: str
    row: str
    seed: int


class Board:
    """Memory shared by the killer and the actors, which a killed process leaves as it was: a line a seat, and the clock."""

    def __init__(self, seats: int) -> None:
        self._memory = mmap.mmap(-1, _SEAT_BYTES * (seats + 1))
        self.seats = seats

    def begin(self, seat: int, intent: Intent) -> None:
        """Write down what is done from now on."""
        words = json.dumps([intent.name, intent.row, intent.seed]).encode()
        start = seat * _SEAT_BYTES
        self._memory[start + _SEAT.size : start + _SEAT.size + len(words)] = words
        self._set(seat, length=len(words))

    def end(self, seat: int, *, was_repeat: bool) -> None:
        """Note that it is done."""
        _, done, repeated, _ = self._line(seat)
        self._set(seat, done=done + 1, repeated=repeated + was_repeat, length=0)

    def unfinished(self, seat: int) -> Intent | None:
        """Return what the seat's holder was doing when it was killed."""
        length = self._line(seat)[3]
        start = seat * _SEAT_BYTES + _SEAT.size
        return Intent(*json.loads(self._memory[start : start + length])) if length else None

    def done(self) -> int:
        """Return how much was done in all seats."""
        return sum(self._line(seat)[1] for seat in range(self.seats))

    def repeated(self) -> int:
        """Return how much of it was done by the next in the seat."""
        return sum(self._line(seat)[2] for seat in range(self.seats))

    def count_kill(self) -> None:
        """Let the clock of the market go on."""
        self._set(self.seats, kills=self._line(self.seats)[0] + 1)

    def kills(self) -> int:
        """Return how many were killed."""
        return int(self._line(self.seats)[0])

    def _line(self, seat: int) -> tuple[int, int, int, int]:
        kills, done, repeated, length = _SEAT.unpack_from(self._memory, seat * _SEAT_BYTES)
        return kills, done, repeated, length

    def _set(self, seat: int, **fields: int) -> None:
        line = dict(zip(("kills", "done", "repeated", "length"), self._line(seat), strict=True)) | fields
        _SEAT.pack_into(self._memory, seat * _SEAT_BYTES, *line.values())


@dataclasses.dataclass(frozen=True)
class Actor:
    """A process at one seat. In ``folder`` it writes down what it was asked for, and what should not have been raised.

    Jobs sit apart from people, as in the market itself: what takes long must not keep the rest from being killed often.
    """

    cast: Cast
    board: Board
    seat: int
    is_job: bool
    folder: Path

    def live(self, chance: random.Random) -> None:
        """Finish what the one before began, then do one thing after another, for ever."""
        left = self.board.unfinished(self.seat)
        if left is not None:
            self.finish(left)
        while True:
            intent = self._choose(chance)
            self.board.begin(self.seat, intent)
            self._do(intent)
            self.board.end(self.seat, was_repeat=False)

    def finish(self, left: Intent) -> None:
        """Do once more what somebody else was killed over."""
        self._do(left)
        self.board.end(self.seat, was_repeat=True)

    def now(self) -> datetime.datetime:
        """Return the market's time."""
        return self.cast.began_at + self.board.kills() * TIME_A_KILL

    def _choose(self, chance: random.Random) -> Intent:
        deeds = {name: deed.weight for name, deed in _DEEDS.items() if deed.is_job == self.is_job}
        while True:
            [name] = chance.choices(list(deeds), list(deeds.values()))
            row = _DEEDS[name].pick(chance)
            if row is not None:
                return Intent(name, row, chance.getrandbits(63))

    def _do(self, intent: Intent) -> None:
        self._write("asked", f"{intent.name} {intent.seed}")
        while True:
            try:
                _DEEDS[intent.name].do(self.cast, intent, random.Random(intent.seed), self.now())
            except idempotency.StillRunning:
                # The server has not noticed yet that the one before is dead: asked to come back, we do.
                time.sleep(0.002)
                continue
            except REFUSALS:
                pass
            except Exception as error:
                if _has_waited_in_vain(error):
                    continue
                self._complain(intent, error)
            return

    def _complain(self, intent: Intent, error: BaseException) -> None:
        errors = list(error.exceptions) if isinstance(error, BaseExceptionGroup) else [error]
        unknown = [each for each in errors if not isinstance(each, REFUSALS) and not _has_waited_in_vain(each)]
        words = "; ".join(f"{type(each).__name__}: {each}" for each in unknown).replace("\n", " ")
        if unknown:
            self._write("complaints", f"{intent.name} of {intent.row}: {words}")

    def _write(self, page: str, line: str) -> None:
        with (self.folder / page).open("a", encoding="utf-8") as lines:
            lines.write(f"{line}\n")


def _has_waited_in_vain(error: BaseException) -> bool:
    """Tell whether PostgreSQL gave a statement up because it waited too long: on a busy machine that is no defect."""
    # lock_not_available and query_canceled.
    return isinstance(error, OperationalError) and getattr(error.__cause__, "sqlstate", None) in {"55P03", "57014"}


Do = Callable[[Cast, Intent, random.Random, datetime.datetime], object]
Pick = Callable[[random.Random], str | None]


@dataclasses.dataclass(frozen=True)
class _Deed:
    weight: int
    pick: Pick
    do: Do
    is_job: bool


_DEEDS: dict[str, _Deed] = {}


def _deed(name: str, *, weight: int, pick: Pick = lambda chance: "", is_job: bool = False) -> Callable[[Do], Do]:
    def keep(do: Do) -> Do:
        _DEEDS[name] = _Deed(weight, pick, do, is_job)
        return do

    return keep


def _any(rows: Callable[[], QuerySet[Any, Any]]) -> Pick:
    """Return a choice of one of the oldest rows: many want the same one."""

    def pick(chance: random.Random) -> str | None:
        found = list(rows().order_by("pk").values_list("pk", flat=True)[:12])
        return str(chance.choice(found)) if found else None

    return pick


def _once(cast: Cast, intent: Intent, effect: Callable[[], object]) -> str:
    """Ask under an Idempotency-Key, as `market.api.once` does."""
    digest = hashlib.sha256(repr(intent).encode()).hexdigest()
    asked = idempotency.Asked(f"key:{cast.agents[0].pk}", str(intent.seed), f"POST /{intent.name}", digest)

    def answer() -> idempotency.Answer:
        with transaction.atomic():
            return idempotency.Answer(200, str(effect()))

    return idempotency.once(asked, answer).body


def _bounties(**matching: object) -> Callable[[], QuerySet[Bounty]]:
    return lambda: Bounty.objects.filter(**matching)


def _claims(**matching: object) -> Callable[[], QuerySet[Claim]]:
    return lambda: Claim.objects.filter(**matching)


def _submissions(**matching: object) -> Callable[[], QuerySet[Submission]]:
    return lambda: Submission.objects.filter(**matching)


def _get(model: type[Model], intent: Intent) -> Any:
    return model._default_manager.get(pk=uuid.UUID(intent.row))


def _room_for_more(chance: random.Random) -> str | None:
    return "" if Bounty.objects.filter(status=Bounty.Status.OPEN).count() < MOST_OPEN else None


# -- Agents -----------------------------------------------------------------------------------------------------------


@_deed("bounties", weight=12, pick=_room_for_more)
def _post(cast: Cast, intent: Intent, chance: random.Random, now: datetime.datetime) -> object:
    [agent], slots = chance.choices(cast.agents, [1, 5, 5, 5]), chance.randint(1, 3)
    reward, deadline = f"{chance.randint(2, 9)}.00", now + datetime.timedelta(hours=chance.uniform(1, 12))
    is_funded = chance.random() < 0.8

    def effect() -> Bounty:
        bounty = stories.draft_photo_bounty(agent, reward=reward, deadline=deadline, now=now, offer_more={"slots": slots})
        return funding.fund(bounty=bounty, now=now) if is_funded else bounty

    return _once(cast, intent, effect)


@_deed("fund", weight=3, pick=_any(_bounties(status=Bounty.Status.SCREENED)))
def _fund(cast: Cast, intent: Intent, chance: random.Random, now: datetime.datetime) -> object:
    return _once(cast, intent, lambda: funding.fund(bounty=_get(Bounty, intent), now=now))


@_deed("improve", weight=2, pick=_any(_bounties(status=Bounty.Status.OPEN, closed_because="")))
def _improve(cast: Cast, intent: Intent, chance: random.Random, now: datetime.datetime) -> object:
    bounty, reward = _get(Bounty, intent), Money.parse(f"{chance.randint(8, 12)}.00", "USD")
    return _once(cast, intent, lambda: improving.improve(bounty=bounty, agent=bounty.agent, reward=reward, now=now))


@_deed("cancel", weight=3, pick=_any(_bounties(status__in=(Bounty.Status.SCREENED, Bounty.Status.OPEN), closed_because="")))
def _cancel(cast: Cast, intent: Intent, chance: random.Random, now: datetime.datetime) -> object:
    bounty = _get(Bounty, intent)
    return _once(cast, intent, lambda: cancellation.cancel(bounty=bounty, agent=bounty.agent, now=now))


@_deed("deposit", weight=2)
def _deposit(cast: Cast, intent: Intent, chance: random.Random, now: datetime.datetime) -> object:
    agent, amount = chance.choice(cast.agents), Money.parse(f"{chance.randint(5, 90)}.00", "USD")
    return deposits.request(agent=agent, amount=amount, source=chance.choice(_SOURCES), request_id=uuid.UUID(int=intent.seed), now=now)


# -- Workers ----------------------------------------------------------------------------------------------------------


@_deed(
    "claim",
    weight=16,
    pick=_any(
        lambda: Task.objects.filter(status=Task.Status.LISTED, pk__in=Slot.objects.filter(lease_state=LeaseState.READY).values("task"))
    ),
)
def _claim(cast: Cast, intent: Intent, chance: random.Random, now: datetime.datetime) -> object:
    task, worker = _get(Task, intent), chance.choice(cast.workers)
    return _once(cast, intent, lambda: claiming.claim(task_id=task.pk, worker=worker, now=now))


@_deed("drop", weight=1, pick=_any(_claims(status=Claim.Status.ACTIVE)))
def _drop(cast: Cast, intent: Intent, chance: random.Random, now: datetime.datetime) -> object:
    held = _get(Claim, intent)
    return _once(cast, intent, lambda: claiming.drop(claim=held, worker=held.worker, now=now))


@_deed("submit", weight=14, pick=_any(_claims(status=Claim.Status.ACTIVE)))
def _submit(cast: Cast, intent: Intent, chance: random.Random, now: datetime.datetime) -> object:
    held = _get(Claim, intent)
    file = stories.kept_file(f"{intent.row} {intent.seed}")
    if chance.random() < 0.2:
        reason = chance.choice(("closed", "unsafe"))
        return _once(cast, intent, lambda: stories.submit_negative(held, reason=reason, file=file, now=now))
    return _once(cast, intent, lambda: stories.submit(held, file=file, now=now))


@_deed("retake", weight=4, pick=_any(_submissions(status=Submission.Status.REJECTED, number=1, final_at=None)))
def _retake(cast: Cast, intent: Intent, chance: random.Random, now: datetime.datetime) -> object:
    held = _get(Submission, intent).claim
    if chance.random() < 0.5:
        return submitting.start_retake(claim=held, worker=held.worker, now=now)
    file = stories.kept_file(f"{intent.row} {intent.seed}")
    return _once(cast, intent, lambda: stories.submit(held, file=file, now=now))


@_deed("appeal", weight=4, pick=_any(_submissions(status=Submission.Status.REJECTED, final_at=None)))
def _appeal(cast: Cast, intent: Intent, chance: random.Random, now: datetime.datetime) -> object:
    return _once(cast, intent, lambda: stories.appeal(_get(Submission, intent), now=now))


@_deed("waive", weight=1, pick=_any(_submissions(status=Submission.Status.REJECTED, final_at=None)))
def _waive(cast: Cast, intent: Intent, chance: random.Random, now: datetime.datetime) -> object:
    refused = _get(Submission, intent)
    return _once(cast, intent, lambda: disputes.waive(submission=refused, worker=refused.worker, now=now))


@_deed("payout", weight=4)
def _payout(cast: Cast, intent: Intent, chance: random.Random, now: datetime.datetime) -> object:
    worker, amount = chance.choice(cast.workers), Money.parse(f"{chance.randint(1, 6)}.00", "USD")
    destination, request_id = chance.choice(_DESTINATIONS), uuid.UUID(int=intent.seed)

    def ask() -> object:
        return payouts.request(worker=worker, mode="test", destination=destination, amount=amount, request_id=request_id, now=now)

    return _once(cast, intent, ask)


# -- Machine, people and jobs -----------------------------------------------------------------------------------------


@_deed("settle", weight=14, pick=_any(_submissions(status=Submission.Status.CHECKING, verdicts=None)))
def _judge(cast: Cast, intent: Intent, chance: random.Random, now: datetime.datetime) -> object:
    return judge(_get(Submission, intent), chance, now=now)


def judge(submission: Submission, chance: random.Random, *, now: datetime.datetime) -> object:
    """Give a submission its verdict, in the machine's place, and apply it at once or leave that to the sweeper."""
    [outcome] = chance.choices(list(Verdict.Outcome.values), [6, 5, 1])
    verdict = stories.decide(submission, outcome, now=now)
    return settlement.apply_verdict(verdict_id=verdict.pk, now=now) if chance.random() < 0.7 else verdict


@_deed(
    "decide an appeal",
    weight=4,
    pick=_any(lambda: Review.objects.filter(kind=Review.Kind.APPEAL, decision="", lease_state=LeaseState.READY)),
)
def _decide_appeal(cast: Cast, intent: Intent, chance: random.Random, now: datetime.datetime) -> object:
    outcome = chance.choice(("ACCEPTED", "REJECTED"))
    review = _get(Review, intent)
    return stories.decide_appeal(review.submission, chance.choice(cast.verifiers), outcome, now=now)


@_deed("sweep bounties", weight=3, is_job=True)
def _sweep_bounties(cast: Cast, intent: Intent, chance: random.Random, now: datetime.datetime) -> object:
    return bounties.sweep(now=now)


@_deed("sweep payments", weight=2, is_job=True)
def _sweep_payments(cast: Cast, intent: Intent, chance: random.Random, now: datetime.datetime) -> object:
    return payments.sweep(now=now)


@_deed("send payouts", weight=2, is_job=True)
def _send_payouts(cast: Cast, intent: Intent, chance: random.Random, now: datetime.datetime) -> object:
    return payouts.send_due(holder="sender", now=now)


@_deed("deliver events", weight=3, is_job=True)
def _deliver(cast: Cast, intent: Intent, chance: random.Random, now: datetime.datetime) -> object:
    return delivery.deliver_due(now=now, resolve=sweepers.loopback)


@_deed("mark balances", weight=1, is_job=True)
def _mark(cast: Cast, intent: Intent, chance: random.Random, now: datetime.datetime) -> None:
    # It gives up where somebody has been posting for a second, and says so: a mark can be taken later.
    with contextlib.suppress(OperationalError):
        marks.mark()


def gather_cast(*, webhook_url: str, now: datetime.datetime) -> Cast:
    """Make the people; the first agent, who posts less than the others, hears of everything by webhook."""
    agents = [people.open_agent(f"agent-{number}") for number in range(4)]
    for agent in agents:
        people.top_up(agent, "1000000.00")
    delivery.add_endpoint(agent=agents[0], url=webhook_url)
    _warm_up(agents[0], now)
    workers = [people.open_worker(f"worker-{number}", accepted_count=ACCEPTED_BEFORE) for number in range(24)]
    for worker in workers:
        purses.earn(worker, PAYABLE_BEFORE_MINOR)
        earnings.mature(
            worker_id=worker.pk, mode="test", currency="USD", amount_minor=PAYABLE_BEFORE_MINOR, effect=f"before {worker.pk.hex}"
        )
    verifiers = [User.objects.create_user(username=f"verifier-{number}", is_staff=True) for number in range(2)]
    return Cast(agents, workers, verifiers, now)


def _warm_up(agent: Agent, now: datetime.datetime) -> None:
    """Read the rules of words and places, and what it takes to ring a bell, once for all who are forked from here."""
    posting.quote(agent=agent, key=people.key_of(agent), terms_input=stories.photo_terms(), offer_input=stories.offer(now=now), now=now)
    dispatch.nudge_verdicts()
