"""Bugs to plant: each takes one guard or one effect away from the market, and the simulation must find it."""

import dataclasses
import datetime
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from market.accounts import idempotency
from market.bounties import closing, improving, maturing, news, rules, settlement, spending, sweeping
from market.bounties.models import Bounty
from market.common import retrying
from market.common.money import Money
from market.escrow import holds
from market.escrow.models import Hold
from market.events import delivery, feed
from market.ledger import transfers
from market.payments import notices, payouts
from market.payments.models import Deposit, Payout
from market.payments.providers import base, registry
from tasks import claims, leases, submissions
from tasks.models import Claim, Slot, Submission, Task, WorkerProfile
from tests.faults.simulation import moods
from verification import policy, reviews, verdicts
from verification.models import Review, Verdict, VisionRun

Plant = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Bug:
    """One planted bug: what it does to the market, in words, and how."""

    words: str
    plant: Plant
    # Parts of what the simulation may say of it: a violation without any of them is another bug.
    shown_by: tuple[str, ...]
    # What makes its occasions common.
    mood: moods.Mood


BUGS: dict[str, Bug] = {}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Have a bug in the market for a while; none under the name ""."""
    if not name:
        yield
        return
    with BUGS[name].plant():
        yield


def mood_of(name: str, *, is_hurried: bool) -> moods.Mood:
    """Return the mood in which a bug is looked for."""
    return BUGS[name].mood if name and is_hurried else moods.ANY


def is_shown(name: str, violation: str) -> bool:
    """Tell whether a violation is what a bug shows itself by."""
    return any(part in violation for part in BUGS[name].shown_by)


def bug(words: str, *shown_by: str, mood: moods.Mood = moods.FAIR) -> Callable[[Plant], Plant]:
    """Add a bug under the name of its function, with parts of the violations that it may show itself by."""

    def add(plant: Plant) -> Plant:
        BUGS[plant.__name__] = Bug(words, plant, shown_by, mood)
        return plant

    return add


@bug("a capture pays every payee once more, out of what the other slots hold", "Overdrawn", "each slot is paid once", "funded is")
def capture_twice() -> AbstractContextManager[Any]:
    """Post the parts of a capture a second time."""
    real = holds.capture

    def twice(*, hold: Hold, parts: Sequence[holds.Part], effect: str, now: datetime.datetime) -> Hold:
        with transaction.atomic():
            ended = real(hold=hold, parts=parts, effect=effect, now=now)
            transfers.post_all(holds._to_payees(hold, parts, f"{effect} again"))
        return ended

    return mock.patch.object(holds, "capture", twice)


@bug("what an ended hold gives back is given back twice", "Overdrawn", "funded is")
def refund_twice() -> AbstractContextManager[Any]:
    """Return money without asking whether it was returned."""
    real = closing._give_back

    def twice(bounty: Bounty, unused: list[Hold], now: datetime.datetime) -> None:
        real(bounty, unused, now)
        transfers.post_all([dataclasses.replace(entry, id=uuid.uuid4()) for hold in unused for entry in holds._to_agent(hold)])

    return mock.patch.object(closing, "_give_back", twice)


@bug("the platform takes its fee twice, the second time from the worker", "each slot is paid once")
def fee_twice() -> AbstractContextManager[Any]:
    """Move one fee from the worker's part to the platform's."""
    real = holds.capture

    def dear(*, hold: Hold, parts: Sequence[holds.Part], effect: str, now: datetime.datetime) -> Hold:
        fee = sum(part.amount_minor for part in parts if part.reason == "platform_fee")
        changed = [
            dataclasses.replace(part, amount_minor=part.amount_minor + (fee if part.reason == "platform_fee" else -fee)) for part in parts
        ]
        return real(hold=hold, parts=changed, effect=effect, now=now)

    return mock.patch.object(holds, "capture", dear)


@bug("a claim does not ask whether its slot is taken", "slot_has_one_active_claim", "a slot has one claim", "StaleLease")
def taken_slot_claimed() -> AbstractContextManager[Any]:
    """Hand out a slot under another claim."""
    real = claims._take_slot

    def take(task: Task, worker: WorkerProfile, *, lease_s: int, now: datetime.datetime) -> Slot:
        slot = Slot.objects.filter(task=task, task__status=Task.Status.LISTED, lease_state=leases.LeaseState.LEASED).first()
        if slot is None:
            return real(task, worker, lease_s=lease_s, now=now)
        until = Now() + datetime.timedelta(seconds=lease_s)
        Slot.objects.filter(pk=slot.pk).update(lease_holder=f"worker:{worker.pk}", lease_until=until, token=F("token") + 1)
        slot.refresh_from_db()
        return slot

    return mock.patch.object(claims, "_take_slot", take)


@bug(
    "an expired claim is not told to the feed",
    "the feed tells every change",
    mood=moods.Mood(is_fair=True, outage_share=0.02, outage_hours=2),
)
def event_lost() -> AbstractContextManager[Any]:
    """Leave one event out."""
    real = news.tell_of_claim

    def tell(bounty: Bounty, claim: Claim, *, type: str, actor: news.Actor) -> None:  # noqa: A002
        if type != "claim.expired":
            real(bounty, claim, type=type, actor=actor)

    return mock.patch.object(news, "tell_of_claim", tell)


@bug(
    "a poster's silence is never taken for consent",
    "silence to accept",
    "nothing is stuck",
    mood=moods.Mood(is_fair=True, outage_share=0.0, habits={"review": 0}, poster_window_s=600),
)
def silence_unpaid() -> AbstractContextManager[Any]:
    """Leave a step of the sweep out."""
    return mock.patch.dict(sweeping.STEPS, {"silences accepted": _nothing_due})


@bug(
    "a retake leaves the rejected first submission open to be paid too",
    "a retake ends the first",
    mood=moods.Mood(is_fair=True, outage_share=0.0, habits={"check_phone": 3}, work={"blurred": 8}),
)
def retake_paid_twice() -> AbstractContextManager[Any]:
    """Don't end the first submission."""
    return mock.patch.object(settlement, "settle_superseded", _nothing)


@bug(
    "a rejection can be appealed after its window",
    "appealed after the window",
    mood=moods.Mood(is_fair=True, outage_share=0.02, outage_hours=80, habits={"try_late": 6}, work={"blurred": 8}),
)
def appeal_after_window() -> AbstractContextManager[Any]:
    """Leave the window out of the condition."""

    def appeal(*, submission: Submission, now: datetime.datetime) -> None:
        rejected = Submission.objects.filter(pk=submission.pk, status=Submission.Status.REJECTED, final_at=None)
        if not rejected.update(status=Submission.Status.APPEALED):
            raise submissions.StaleSubmission("Not rejected.")
        submission.status = Submission.Status.APPEALED

    return mock.patch.object(submissions, "appeal", appeal)


@bug("work is taken under a claim that has expired", "handed in after the claim", mood=moods.Mood(habits={"try_late": 3}))
def expired_claim_submits() -> AbstractContextManager[Any]:
    """Leave the time out of the condition."""
    real = claims.hand_in

    def hand_in(*, claim: Claim, is_retake: bool, now: datetime.datetime) -> None:
        real(claim=claim, is_retake=is_retake, now=claim.expires_at - datetime.timedelta(seconds=1))

    return mock.patch.object(claims, "hand_in", hand_in)


@bug("an idempotency key is ignored", "each request has its effect once", "a key belongs to one request", mood=moods.ANY)
def key_ignored() -> AbstractContextManager[Any]:
    """Do each request as often as it comes."""

    def often(asked: idempotency.Asked, effect: Callable[[], idempotency.Answer]) -> idempotency.Answer:
        return retrying.in_transaction(effect)

    return mock.patch.object(idempotency, "once", often)


@bug(
    "a payout whose answer was lost is sent again under a new key",
    "the bank does nothing twice",
    mood=moods.Mood(is_fair=True, outage_share=0.0, habits={"take_money": 8}, trouble_at_banks=0.5, maturity_hours=0, poster_window_s=0),
)
def payout_sent_again() -> AbstractContextManager[Any]:
    """Ask for the same effect under another name at each try."""

    def send(payout: Payout, now: datetime.datetime) -> None:
        key = f"{notices.key_of(payout)}{'' if payout.attempts < 2 else payout.attempts}"
        money = Money(payout.amount_minor, payout.currency)
        try:
            reference = registry.named(payout.provider).pay(key=key, money=money, destination=payout.destination, now=now)
        except base.OutcomeUnknown:
            payouts._give_back(payout)
        except base.Refused as refused:
            payouts._finish(payout, provider_ref="", failure=refused.reason, now=now)
        else:
            payouts._finish(payout, provider_ref=reference, failure="", now=now)

    return mock.patch.object(payouts, "_send", send)


@bug(
    "a failed payout is not given back to its worker",
    "in transit is",
    mood=moods.Mood(is_fair=True, outage_share=0.0, habits={"take_money": 8}, trouble_at_banks=0.5, maturity_hours=0, poster_window_s=0),
)
def failed_payout_kept() -> AbstractContextManager[Any]:
    """Change the status and move no money."""

    def fail(*, payout: Payout, reason: str, now: datetime.datetime) -> None:
        open_ones = (Payout.Status.REQUESTED, Payout.Status.SENT)
        Payout.objects.filter(pk=payout.pk, status__in=open_ones).update(status=Payout.Status.FAILED, failure=reason, ended_at=now)

    return mock.patch.object(notices, "fail_payout", fail)


@bug("the reserve for negative outcomes is never given back", "keeps nothing", "is still held")
def reserve_kept() -> AbstractContextManager[Any]:
    """Give slots back alone."""
    real = closing._give_back

    def give_back(bounty: Bounty, unused: list[Hold], now: datetime.datetime) -> None:
        real(bounty, [hold for hold in unused if hold.kind != Hold.Kind.RESERVE], now)

    return mock.patch.object(closing, "_give_back", give_back)


@bug(
    "a raised reward is promised and not held", "holds follow slots", mood=moods.Mood(is_fair=True, outage_share=0.0, habits={"improve": 8})
)
def raise_not_held() -> AbstractContextManager[Any]:
    """Write the offer alone."""
    return mock.patch.object(improving, "_hold_more", _nothing)


@bug("a key's spend limits are not asked", "a key keeps its limits", mood=moods.Mood(is_fair=True, outage_share=0.0, habits={"improve": 4}))
def limits_ignored() -> AbstractContextManager[Any]:
    """Let every amount pass."""
    return mock.patch.object(spending, "check", _nothing)


@bug(
    "readings are taken under a token that is not the newest",
    "only the newest token counts",
    mood=moods.Mood(is_fair=True, outage_share=0.0, habits={"work_on_old": 40}),
)
def old_token_counts() -> AbstractContextManager[Any]:
    """Change vision runs whoever holds them."""
    real = leases.LeasedQuerySet._change

    def change(rows: Any, pk: Any, token: int, **fields: Any) -> None:
        newest = VisionRun.objects.filter(pk=pk).values_list("token", flat=True).first() if rows.model is VisionRun else None
        real(rows, pk, token if newest is None else newest, **fields)

    return mock.patch.object(leases.LeasedQuerySet, "_change", change)


@bug(
    "news of a deposit that comes twice is booked twice",
    "clearing is what was paid",
    mood=moods.Mood(habits={"deposit": 15}, trouble_at_banks=0.5),
)
def news_booked_twice() -> AbstractContextManager[Any]:
    """Post without asking whether the status moved, under a new id."""
    real = notices._confirm

    def confirm(deposit: Deposit, provider_ref: str, now: datetime.datetime) -> None:
        is_again = deposit.status == Deposit.Status.CONFIRMED
        real(deposit, provider_ref, now)
        if is_again:
            transfers.post_all([dataclasses.replace(notices._deposit_leg(deposit), id=uuid.uuid4())])

    return mock.patch.object(notices, "_confirm", confirm)


@bug(
    "an audit's rejection is written down as a verdict",
    "verdicts come in turn",
    mood=moods.Mood(is_fair=True, outage_share=0.0, haste={"Reviewer": 10}, work={"good": 4}, poster_window_s=0),
)
def audit_decides() -> AbstractContextManager[Any]:
    """Record what an audit found as the next round."""
    real = reviews.decide

    def decide(*, review_id: uuid.UUID, now: datetime.datetime, **more: Any) -> Verdict:
        last = real(review_id=review_id, now=now, **more)
        review = Review.objects.get(pk=review_id)
        if review.kind == Review.Kind.AUDIT and review.decision == Verdict.Outcome.REJECTED:
            return Verdict.objects.create(
                submission_id=last.submission_id,
                round=last.round + 1,
                outcome=review.decision,
                decided_by=Verdict.Decider.REVIEWER,
                criteria=last.criteria,
                terms_hash=last.terms_hash,
                created_at=now,
            )
        return last

    return mock.patch.object(reviews, "decide", decide)


@bug(
    "a rejection need not name a published criterion",
    "every rejection names",
    "rejecting_review_names_a_criterion",
    mood=moods.Mood(is_fair=True, outage_share=0.0, haste={"Reviewer": 10}, work={"negative": 8}),
)
def rejection_unnamed() -> AbstractContextManager[Any]:
    """Ask neither the reviewer nor the verdict for it."""
    real = reviews._require_complete

    def require(review: Review, submission: Submission, decision: Verdict.Outcome, criterion: str, words: str) -> None:
        if decision != Verdict.Outcome.REJECTED:
            real(review, submission, decision, criterion, words)

    @contextmanager
    def both() -> Iterator[None]:
        with mock.patch.object(reviews, "_require_complete", require), mock.patch.object(verdicts, "_require_published", _nothing):
            yield

    return both()


@bug(
    "a reviewer may decide his own case",
    "people decide for strangers",
    mood=moods.Mood(is_fair=True, outage_share=0.0, haste={"Reviewer": 10}, habits={"decide_any": 20}, work={"negative": 8}),
)
def own_case_reviewed() -> AbstractContextManager[Any]:
    """Don't ask who he is."""
    return mock.patch.object(reviews, "_require_stranger", _nothing)


@bug("a worker may claim what his own agent posted", "its owner claimed it")
def own_task_claimed() -> AbstractContextManager[Any]:
    """Ask for the mode alone."""

    def require(task: Task, worker: WorkerProfile) -> None:
        if worker.mode != task.mode:
            raise claims.NotListed("Of another mode.")

    return mock.patch.object(claims, "_require_right_to_claim", require)


@bug("a live worker may claim a test task, and the other way round", "worker claimed a")
def modes_mixed() -> AbstractContextManager[Any]:
    """Ask for the owner alone."""

    def require(task: Task, worker: WorkerProfile) -> None:
        if task.owner_id == worker.user_id:
            raise claims.OwnTask("His own.")

    return mock.patch.object(claims, "_require_right_to_claim", require)


@bug("the appeal window is an hour", "shorter than 72 hours", mood=moods.Mood(is_fair=True, outage_share=0.0, work={"blurred": 8}))
def window_cut_short() -> AbstractContextManager[Any]:
    """Publish less time than was promised."""
    return mock.patch.object(rules, "APPEAL_WINDOW", datetime.timedelta(hours=1))


@bug(
    "a cancelled bounty takes the slots of live claims back",
    "a slot has one claim",
    "keeps nothing",
    "holds follow slots",
    "StaleLease",
    mood=moods.Mood(is_fair=True, outage_share=0.0, habits={"cancel": 8}),
)
def cancel_forfeits_work() -> AbstractContextManager[Any]:
    """Withdraw every slot, free or not."""

    def withdraw(task_id: uuid.UUID) -> list[int]:
        open_ones = Slot.objects.filter(task_id=task_id, lease_state__in=(leases.LeaseState.READY, leases.LeaseState.LEASED))
        numbers = sorted(open_ones.values_list("number", flat=True))
        open_ones.update(lease_state=leases.LeaseState.DEAD)
        return numbers

    return mock.patch.object(claims, "withdraw_free_slots", withdraw)


@bug(
    "a payout takes one minor unit out of the payable balance, whatever is asked for",
    "in transit is",
    "Overdrawn",
    mood=moods.Mood(is_fair=True, outage_share=0.0, habits={"take_money": 8}, maturity_hours=0, poster_window_s=0),
)
def payout_not_taken() -> AbstractContextManager[Any]:
    """Post too small a transfer."""
    real = notices.request_leg
    return mock.patch.object(notices, "request_leg", lambda payout: dataclasses.replace(real(payout), amount_minor=1))


@bug(
    "a delivery that was answered with an error is noted as made",
    "the outbox has its effects",
    mood=moods.Mood(is_fair=True, outage_share=0.0, habits={"open_webhook": 6}),
)
def failed_delivery_done() -> AbstractContextManager[Any]:
    """Take every answer for a good one."""
    return mock.patch.object(delivery, "_failure_of", return_value="")


@bug("numbers are left out of the feed", "the feed has no gaps", "event_seq_is_unique")
def feed_gap() -> AbstractContextManager[Any]:
    """Count by twos."""
    return mock.patch.object(
        feed,
        "_NUMBER",
        feed._NUMBER.replace("SET seq = counted", "SET seq = 2 * (counted").replace("pending.place\n    FROM", "pending.place)\n    FROM"),
    )


@bug(
    "earned money is payable before the deposits behind it have matured",
    "matured before",
    mood=moods.Mood(is_fair=True, outage_share=0.0, maturity_hours=72, habits={"deposit": 4}, poster_window_s=0),
)
def matured_early() -> AbstractContextManager[Any]:
    """Wait for nothing."""
    return mock.patch.object(maturing, "matures_at", lambda *, bounty, settled_at: settled_at)


@bug(
    "the clock decides an appeal that nobody heard against the worker",
    "the clock decided",
    "MalformedVerdict",
    mood=moods.Mood(
        is_fair=True, outage_share=0.01, outage_hours=170, habits={"decide": 0, "decide_any": 0.1, "check_phone": 4}, work={"blurred": 8}
    ),
)
def unheard_appeal_rejected() -> AbstractContextManager[Any]:
    """Turn the published outcome round; its criteria fail, or the verdict could not be written."""
    return mock.patch.dict(reviews._UNDECIDED, {Review.Kind.APPEAL: Verdict.Outcome.REJECTED})


@bug("a bounty that is over keeps its listing and its money", "a bounty to close", "a closing bounty to end", "never ended")
def deadline_ignored() -> AbstractContextManager[Any]:
    """Leave a step of the sweep out."""
    return mock.patch.dict(sweeping.STEPS, {"bounties closing": _nothing_due})


@bug("a worker may keep as many slots from others as he likes", "open claims are limited")
def claim_limit_ignored() -> AbstractContextManager[Any]:
    """Allow a hundred open claims."""
    return mock.patch.object(claims, "limit_of", return_value=100)


@bug("what the machine leaves open is accepted", "a machine accepted over")
def doubt_accepted() -> AbstractContextManager[Any]:
    """Take no failure for a pass."""
    real = policy.conclude

    def conclude(ran: Sequence[policy.Ran], *, is_retake: bool, is_negative: bool) -> policy.Conclusion:
        found = real(ran, is_retake=is_retake, is_negative=is_negative)
        return policy.Conclusion.ACCEPT if found is policy.Conclusion.PERSON and not is_negative else found

    return mock.patch.object(policy, "conclude", conclude)


@bug("a worker's words go out with the event of his work", "workers' words stay apart")
def words_told() -> AbstractContextManager[Any]:
    """Add the note to the event's data."""
    real = news.tell_of_submission

    def tell(bounty: Bounty, submission: Submission, *, type: str, actor: news.Actor, **more: object) -> None:  # noqa: A002
        real(bounty, submission, type=type, actor=actor, note=submission.untrusted_note, **more)

    return mock.patch.object(news, "tell_of_submission", tell)


def _nothing(*_: object, **__: object) -> None:
    """Do nothing."""


def _nothing_due(*, now: datetime.datetime) -> int:
    return 0
