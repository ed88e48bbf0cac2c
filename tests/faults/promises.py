"""What must be true of a market in which nothing waits any more: everything has had its effect, once. Each breach is one line."""

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from market.bounties.models import Appeal, Bounty, Offer, Settlement
from market.escrow.models import Hold
from market.events.models import Delivery, Event, WebhookEndpoint
from market.ledger import audit, transfers
from market.ledger.models import Transfer
from market.payments import notices
from market.payments.models import Deposit, Payout, ProviderEvent, TestBankEntry
from tasks.leases import LeaseState
from tasks.models import Claim, Slot, Submission, WorkerProfile
from verification.models import Verdict

Amounts = dict[uuid.UUID, int]

_ENDED = {Bounty.Status.SETTLED, Bounty.Status.CANCELLED, Bounty.Status.EXPIRED, Bounty.Status.BLOCKED}
# What the bank's book says when a row of ours has ended so; None where the bank refused and wrote nothing.
_BANK_SAYS: dict[str, set[str | None]] = {
    "CONFIRMED": {TestBankEntry.Outcome.PAID},
    "PAID": {TestBankEntry.Outcome.PAID},
    "FAILED": {None, TestBankEntry.Outcome.FAILED, TestBankEntry.Outcome.RETURNED},
}


def broken(*, asked: Mapping[str, int], accepted_before: int, heard: Iterable[str]) -> list[str]:
    """Return every breach in a market at rest.

    ``asked`` has the number of different requests that posted a bounty or made a deposit (repeats are not different),
    ``accepted_before`` is the record with which each worker began, ``heard`` the ids of all webhooks that arrived.
    """
    amounts: Amounts = dict(Transfer.objects.values_list("pk", "amount_minor"))
    return [
        *books(),
        *requests(asked),
        *slots(amounts),
        *settlements(amounts),
        *workers(accepted_before),
        *events(),
        *webhooks(set(heard)),
        *provider(amounts),
    ]


def books() -> Iterator[str]:
    """The ledger adds up, and every app's rows agree with it."""
    yield from audit.audit().breaches
    yield from (f"trial balance of {currency} is {minor}" for currency, minor in audit.trial_balance().items() if minor)


def requests(asked: Mapping[str, int]) -> Iterator[str]:
    """Every request has made what it asked for, once, however often it was repeated."""
    for name, made in (("bounties", Bounty.objects.count()), ("deposit", Deposit.objects.count())):
        if made != asked[name]:
            yield f"{asked[name]} requests for {name} made {made}"


def slots(amounts: Amounts) -> Iterator[str]:
    """Every bounty has ended; each slot of a funded one was paid once or refunded once, and all that was held is gone."""
    explained: set[uuid.UUID] = set()
    for bounty in Bounty.objects.all():
        if bounty.status not in _ENDED:
            yield f"{bounty} waits for ever: {bounty.status} {bounty.closed_because}"
        for hold in Hold.objects.filter(bounty_id=bounty.pk):
            yield from _hold(bounty, hold, amounts, explained)
        accepted = bounty.settlements.filter(kind=Settlement.Kind.ACCEPTED)
        paid_slots = Counter(accepted.values_list("submission__claim__slot_id", flat=True))
        done = set(Slot.objects.filter(task_id=bounty.task_id, lease_state=LeaseState.DONE).values_list("pk", flat=True))
        if paid_slots != Counter(done):
            yield f"{bounty}: slots {sorted(done)} are done, slots {sorted(paid_slots.elements())} were paid"
    held = Transfer.objects.filter(source__path__contains=":held:") | Transfer.objects.filter(destination__path__contains=":held:")
    yield from (f"transfer {pk} of held funds belongs to nothing" for pk in held.values_list("pk", flat=True) if pk not in explained)


def _hold(bounty: Bounty, hold: Hold, amounts: Amounts, explained: set[uuid.UUID]) -> Iterator[str]:
    def leg(*effect: str) -> int | None:
        pk = transfers.effect_id("hold", bounty.pk.hex, hold.kind, str(hold.slot_number), *effect)
        explained.add(pk)
        return amounts.get(pk)

    raises = {offer.reward_minor + offer.fee_minor for offer in Offer.objects.filter(bounty=bounty, version__gt=1)}
    funded = (leg("place") or 0) + sum(leg(f"raise {minor}") or 0 for minor in sorted(raises))
    captured, times_paid = 0, 0
    for settlement in bounty.settlements.all():
        to_worker, fee = leg("capture", str(settlement), "0"), leg("capture", str(settlement), "1")
        captured += (to_worker or 0) + (fee or 0)
        times_paid += to_worker is not None
        if to_worker is not None and (to_worker, fee or 0) != (settlement.worker_minor, settlement.fee_minor):
            yield f"{settlement} says {settlement.worker_minor} and {settlement.fee_minor}, {to_worker} and {fee} moved"
    returned = leg("return") or 0
    if funded != captured + returned:
        yield f"{hold}: {funded} funded, {captured} captured, {returned} returned"
    if hold.kind == Hold.Kind.SLOT and (times_paid, returned == funded) not in {(1, False), (0, True)}:
        yield f"{hold}: paid {times_paid} times, {returned} of {funded} refunded"


def settlements(amounts: Amounts) -> Iterator[str]:
    """Every verdict is applied, every submission is final with one settlement, and what was paid has become payable."""
    yield from (f"{verdict} was never applied" for verdict in Verdict.objects.filter(applied_at=None))
    yield from (f"{each} never became final: {each.status}" for each in Submission.objects.filter(final_at=None))
    yield from (f"{submission} has no settlement" for submission in Submission.objects.filter(settlement=None))
    times = Counter(Settlement.objects.values_list("submission_id", flat=True))
    yield from (f"submission {submission} is settled {many} times" for submission, many in times.items() if many > 1)
    for settlement in Settlement.objects.exclude(kind=Settlement.Kind.UNPAID):
        matured = amounts.get(transfers.effect_id("mature", str(settlement)))
        if settlement.matured_at is None or matured != settlement.worker_minor:
            yield f"{settlement} paid {settlement.worker_minor}; matured at {settlement.matured_at}: {matured}"


def workers(accepted_before: int) -> Iterator[str]:
    """Every worker's record counts each settlement and each expired claim once."""
    paid = Counter(Settlement.objects.exclude(kind=Settlement.Kind.UNPAID).values_list("submission__worker_id", flat=True))
    unpaid = Settlement.objects.filter(kind=Settlement.Kind.UNPAID, submission__status=Submission.Status.REJECTED)
    superseded = Submission.objects.filter(number=2).values("claim_id")
    rejected = Counter(
        unpaid.exclude(submission__number=1, submission__claim_id__in=superseded).values_list("submission__worker_id", flat=True)
    )
    expired = Counter(Claim.objects.filter(status=Claim.Status.EXPIRED).values_list("worker_id", flat=True))
    for worker in WorkerProfile.objects.all():
        found = (worker.accepted_count - accepted_before, worker.rejected_count, worker.expired_count)
        expected = (paid[worker.pk], rejected[worker.pk], expired[worker.pk])
        if found != expected:
            yield f"{worker}: accepted, rejected, expired are counted {found}, were {expected}"


def events() -> Iterator[str]:
    """Every change of state has its event, once, and every feed is numbered without a gap."""
    expected: Counter[tuple[str, str]] = Counter(_expected_events())
    found = Counter(Event.objects.values_list("subject", "type"))
    yield from (f"event {name} of {subject} is lost" for subject, name in (expected - found).elements())
    yield from (f"event {name} of {subject} is one too many" for subject, name in (found - expected).elements())
    numbers: dict[uuid.UUID, list[int | None]] = {}
    for agent_id, seq in Event.objects.order_by("seq").values_list("agent_id", "seq"):
        numbers.setdefault(agent_id, []).append(seq)
    yield from (f"feed of {agent} has a gap" for agent, seqs in numbers.items() if seqs != list(range(1, len(seqs) + 1)))


def _expected_events() -> Iterator[tuple[str, str]]:
    for bounty in Bounty.objects.all():
        yield str(bounty), "bounty.screened"
        yield str(bounty), f"bounty.{bounty.status.lower()}"
        if bounty.funded_at is not None:
            yield str(bounty), "bounty.opened"
            yield from [(str(bounty), "bounty.improved")] * (bounty.offers.count() - 1)
            is_filled = bounty.closed_because == Bounty.ClosedBecause.ACCEPTED
            # Begun to close for another reason before every slot was accepted: both were told.
            if not is_filled or Event.objects.filter(subject=str(bounty), type="bounty.closing").exists():
                yield str(bounty), "bounty.closing"
            if is_filled:
                yield str(bounty), "bounty.filled"
    for claim in Claim.objects.all():
        yield str(claim), "claim.made"
        if claim.is_retake_used:
            yield str(claim), "claim.retaken"
        if claim.status in (Claim.Status.DROPPED, Claim.Status.EXPIRED):
            yield str(claim), f"claim.{claim.status.lower()}"
    for submission in Submission.objects.all():
        yield from ((str(submission), f"submission.{word}") for word in ("received", "checking"))
    for verdict in Verdict.objects.select_related("submission"):
        yield str(verdict.submission), f"submission.{verdict.outcome.lower()}"
    for appeal in Appeal.objects.select_related("submission"):
        yield str(appeal.submission), "submission.appealed"
    for settlement in Settlement.objects.all():
        is_paid = settlement.kind != Settlement.Kind.UNPAID
        yield from ((str(settlement), word) for word in (["submission.paid", "settlement.matured"] if is_paid else ["submission.final"]))


def webhooks(heard: set[str]) -> Iterator[str]:
    """Every event of an agent with an endpoint has one delivery there, which is done, and the receiver has it."""
    for endpoint in WebhookEndpoint.objects.all():
        of_agent = {event.pk: str(event) for event in Event.objects.filter(agent_id=endpoint.agent_id)}
        sent = Counter(Delivery.objects.filter(endpoint=endpoint, lease_state=LeaseState.DONE).values_list("event_id", flat=True))
        yield from (f"event {name} was delivered {sent[pk]} times" for pk, name in of_agent.items() if sent[pk] != 1)
        yield from (f"event {name} never arrived" for name in of_agent.values() if name not in heard)
        yield from (f"webhook {name} is no event" for name in heard - set(of_agent.values()))


def provider(amounts: Amounts) -> Iterator[str]:
    """What was asked of the provider came to one effect, in his book and in ours."""
    book = dict(TestBankEntry.objects.values_list("idempotency_key", "outcome"))
    yield from (f"{event} was never processed" for event in ProviderEvent.objects.filter(processed_at=None))
    rows: list[Deposit | Payout] = [*Deposit.objects.all(), *Payout.objects.all()]
    for row in rows:
        said = book.pop(notices.key_of(row), None)
        if said not in _BANK_SAYS.get(row.status, set()):
            yield f"{row} is {row.status}, the bank says {said}"
        kind = "deposit" if isinstance(row, Deposit) else "payout"
        steps = ("confirmed", "requested", "paid", "failed", "returned")
        moved = {step: amounts[pk] for step in steps if (pk := transfers.effect_id(kind, row.pk.hex, step)) in amounts}
        if tuple(moved) not in _steps_of(row, said) or set(moved.values()) - {row.amount_minor}:
            yield f"{row} of {row.amount_minor} is {row.status}, its transfers are {moved}"
    yield from (f"the bank was asked for {key}, of which we know nothing" for key in book)


def _steps_of(row: Deposit | Payout, said: str | None) -> set[tuple[str, ...]]:
    if isinstance(row, Deposit):
        return {("confirmed",)} if row.status == Deposit.Status.CONFIRMED else {()}
    if row.status == Payout.Status.PAID:
        return {("requested", "paid")}
    return {("requested", "paid", "returned") if said == TestBankEntry.Outcome.RETURNED else ("requested", "failed")}
