"""A busy market whose processes are killed at random moments, one after another, and what is true when it has come to rest."""

import dataclasses
import datetime
import os
import random
import re
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

from django.db.models import F
from django.db.models.functions import Now
from django.test import override_settings

from market.bounties.models import Bounty, Settlement
from market.escrow.models import Hold
from market.events import delivery
from market.events.models import Delivery
from market.ledger.models import Transfer
from market.payments import payouts
from market.payments.models import Payout
from tasks import clock
from tasks.leases import LeaseState
from tasks.models import Submission
from tests import forking, listener, sweepers
from tests.faults import actors, campaign, promises

PEOPLE, JOBS = 4, 2
# A job is killed as often as this many people are not: it takes longer.
_PEOPLE_WEIGHT = 2
# From one kill to the next: so many things are done, and then so many seconds pass at most.
_DEEDS_BETWEEN = (0, 2)
_LONGEST_WAIT_S = 0.01
# One kill in so many ends every lease, those of the living too.
_LEASES_LAPSE_EVERY = 20
# When what is left is swept: now, after the longest claim, appeal window, appeal, and after the appeal of a retake.
_REST_DAYS = (0, 1, 5, 13, 21, 30)
_WEBHOOK_ID = re.compile(rb"^webhook-id: (\S+)\r$", re.MULTILINE | re.IGNORECASE)


@dataclasses.dataclass
class _Stage:
    """The processes of one campaign and who kills them."""

    cast: actors.Cast
    board: actors.Board
    folder: Path
    chance: random.Random
    report: campaign.Report
    pids: dict[int, int] = dataclasses.field(default_factory=dict)

    def seat(self, seat: int) -> None:
        """Start a new actor at a seat."""
        actor, seed = self.actor(seat), self.chance.getrandbits(63)
        self.pids[seat] = forking.fork(lambda: actor.live(random.Random(seed)))

    def actor(self, seat: int) -> actors.Actor:
        """Return who sits there."""
        return actors.Actor(self.cast, self.board, seat, seat >= PEOPLE, self.folder)

    def lines(self, page: str) -> list[str]:
        """Return what all actors have written on a page."""
        path = self.folder / page
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def kill(self, seat: int) -> None:
        """Kill whoever sits there, wherever he is."""
        pid = self.pids.pop(seat)
        os.kill(pid, signal.SIGKILL)
        status = forking.wait(pid)
        if status != -signal.SIGKILL:
            self.report.violations.append(f"After kill {self.board.kills()}: a process ended by itself with status {status}.")
        left = self.board.unfinished(seat)
        self.report.count(f"killed in: {left.name if left else 'between two things'}")
        self.board.count_kill()
        # Its leases end a minute after its death: the database's clock can't be moved, so its rows are.
        Delivery.objects.filter(lease_state=LeaseState.LEASED, lease_holder__endswith=f":{pid}").update(
            lease_until=Now() - datetime.timedelta(seconds=1)
        )


def run(*, seed: int, rounds: int) -> campaign.Report:
    """Kill ``rounds`` processes, let the market come to rest, and return what was done and every promise that is broken."""
    report = campaign.Report()
    for name in ("deeds", "bounties", "slots paid", "slots refunded", "transfers"):
        report.figures[name] = 0
    with (
        tempfile.TemporaryDirectory() as folder,
        listener.listen() as hooks,
        override_settings(EGRESS_TEST_HOSTS=[f"hooks.test:{hooks.port}"]),
    ):
        cast = actors.gather_cast(webhook_url=f"http://hooks.test:{hooks.port}/in", now=clock.now())
        stage = _Stage(cast, actors.Board(PEOPLE + JOBS), Path(folder), random.Random(seed), report)
        before = forking.sessions()
        try:
            _kill_many(stage, rounds)
        finally:
            for seat in list(stage.pids):
                stage.kill(seat)
        forking.wait_for_sessions_to_end(before)
        _come_to_rest(stage)
        heard = [found[1].decode() for found in map(_WEBHOOK_ID.search, hooks.requests) if found]
        report.violations += [f"seed {seed}: {complaint}" for complaint in stage.lines("complaints")]
        asked = Counter(line.partition(" ")[0] for line in set(stage.lines("asked")))
        made_before = {"deposit": len(cast.agents)}
        breaches = promises.broken(asked=asked + Counter(made_before), accepted_before=actors.ACCEPTED_BEFORE, heard=heard)
        report.violations += [f"seed {seed}: {breach}" for breach in breaches]
        _count(report, stage, heard)
    return report


def _kill_many(stage: _Stage, rounds: int) -> None:
    for seat in range(PEOPLE + JOBS):
        stage.seat(seat)
    for number in range(1, rounds + 1):
        _wait_for_deeds(stage.board, stage.chance.randint(*_DEEDS_BETWEEN))
        time.sleep(stage.chance.uniform(0, _LONGEST_WAIT_S))
        [seat] = stage.chance.choices(range(PEOPLE + JOBS), [_PEOPLE_WEIGHT] * PEOPLE + [1] * JOBS)
        stage.kill(seat)
        if number % _LEASES_LAPSE_EVERY == 0:
            sweepers.lapse_leases()
        stage.seat(seat)


def _wait_for_deeds(board: actors.Board, many: int) -> None:
    # By what is done, not by the clock alone: on a busy machine the dead must not outnumber their deeds.
    enough, ends_at = board.done() + many, time.monotonic() + forking.PATIENCE_S
    while board.done() < enough:
        assert time.monotonic() < ends_at, "Nobody does anything any more."
        time.sleep(0.001)


def _come_to_rest(stage: _Stage) -> None:
    """Repeat what was cut off, then let the sweepers finish everything, in a few passes on ever later days."""
    for seat in range(PEOPLE + JOBS):
        left = stage.board.unfinished(seat)
        if left is not None:
            stage.actor(seat).finish(left)
    now = stage.actor(0).now()
    for days in _REST_DAYS:
        later = now + datetime.timedelta(days=days)
        for submission in Submission.objects.filter(status=Submission.Status.CHECKING, verdicts=None).order_by("pk"):
            actors.judge(submission, stage.chance, now=later)
        _take_up_what_was_given_up(stage, later)
        try:
            sweepers.sweep_until_quiet(now=later)
        except Exception as error:  # Reported, so that what it left undone is reported too.
            stage.report.violations.append(f"The sweepers fail {days} days later: {error!r}")


def _take_up_what_was_given_up(stage: _Stage, now: datetime.datetime) -> None:
    for row in Delivery.objects.filter(lease_state=LeaseState.DEAD):
        # Its sender was killed at every attempt.
        delivery.resend(delivery=row)
        stage.report.count("webhooks given up and sent again")
    for payout in payouts.given_up():
        payouts.retry_given_up(payout_id=payout.pk, holder="operator", now=now)
        stage.report.count("payouts given up and taken up again")


def _count(report: campaign.Report, stage: _Stage, heard: list[str]) -> None:
    slots = Hold.objects.filter(kind=Hold.Kind.SLOT)
    report.figures |= {
        "deeds": stage.board.done(),
        "repeated by the next in the seat": stage.board.repeated(),
        "bounties": Bounty.objects.count(),
        "slots paid": slots.filter(status=Hold.Status.CAPTURED).count(),
        "slots refunded": slots.filter(returned_minor=F("amount_minor")).count(),
        "settlements": Settlement.objects.count(),
        "payouts paid": Payout.objects.filter(status=Payout.Status.PAID).count(),
        "payouts failed": Payout.objects.filter(status=Payout.Status.FAILED).count(),
        "transfers": Transfer.objects.count(),
        "webhooks": len(set(heard)),
        "webhooks heard again": len(heard) - len(set(heard)),
    }
