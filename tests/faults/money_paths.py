"""Every way in which money moves, or comes to be owed: where it starts from, and the one request or job that is cut off."""

import dataclasses
import datetime
import hashlib
import json
import uuid
from collections.abc import Callable

from market.accounts import idempotency
from market.accounts.models import Agent, User
from market.bounties import cancellation, claiming, disputes, funding, improving, maturing, reviewing, settlement, submitting
from market.bounties.models import Bounty
from market.common.money import Money
from market.events import delivery
from market.ledger import marks
from market.payments import deposits, inbox, payouts
from market.payments import sweeping as payments
from market.payments.models import Payout
from market.payments.providers import registry
from tasks import evidence
from tasks.leases import LeaseState
from tasks.models import Claim, Submission, WorkerProfile
from tests import people, photographs, stories, sweepers
from tests.market.payments import purses
from verification import reviews, verdicts
from verification.models import Case, Verdict

# Far from the database's own clock, so that what that wrote is known from what was passed in.
NOW = datetime.datetime(2041, 5, 1, 12, tzinfo=datetime.UTC)
_MINUTE = datetime.timedelta(minutes=1)
_HOUR = 60 * _MINUTE

# Does it, or does it again, and returns what the asker is told ("" for a job).
Request = Callable[[], str]


@dataclasses.dataclass(frozen=True)
class Cast:
    """Who takes part in every path."""

    agent: Agent
    worker: WorkerProfile
    helper: WorkerProfile
    verifier: User
    # Of a server that answers every webhook.
    webhook_url: str


Begin = Callable[[Cast], Request]


@dataclasses.dataclass(frozen=True)
class Path:
    """One path: ``begin`` makes its starting state and returns the request; what follows is swept from ``at`` on."""

    name: str
    begin: Begin
    at: datetime.datetime = NOW
    # True where a person asks, and asks once more when what a crash left behind has come to rest.
    is_asked_later: bool = False
    # Does all that waits for a sweeper at a moment, and names what must be true afterwards, beside the books, and is not.
    rest: Callable[..., None] = sweepers.sweep_until_quiet
    broken: Callable[[], list[str]] = list


PATHS: dict[str, Path] = {}


def _path(name: str, *, at: datetime.datetime = NOW, is_asked_later: bool = False) -> Callable[[Begin], Begin]:
    def keep(begin: Begin) -> Begin:
        PATHS[name] = Path(name, begin, at, is_asked_later)
        return begin

    return keep


def gather_cast(*, webhook_url: str) -> Cast:
    """Make the people of every path."""
    agent = people.open_agent()
    people.top_up(agent)
    verifier = User.objects.create_user(username="verifier", is_staff=True)
    return Cast(agent, people.open_worker(accepted_count=50), people.open_worker("ben", accepted_count=50), verifier, webhook_url)


def _once(cast: Cast, name: str, effect: Callable[[], object]) -> Request:
    """Return a request under an Idempotency-Key, as `market.api.once` makes it of a POST."""
    asked = idempotency.Asked(f"key:{people.key_of(cast.agent).pk}", name, f"POST /{name}", hashlib.sha256(name.encode()).hexdigest())

    def answer() -> idempotency.Answer:
        return idempotency.Answer(200, json.dumps(str(effect())))

    return lambda: idempotency.once(asked, answer).body


def _job(work: Callable[[], object]) -> Request:
    def run() -> str:
        work()
        return ""

    return run


def _again(bounty: Bounty) -> Bounty:
    """Read a bounty as a request does."""
    return Bounty.objects.get(pk=bounty.pk)


def _waiting_verdict(submission: Submission, outcome: str) -> Verdict:
    return stories.decide(submission, outcome, now=NOW)


def _handed_in(cast: Cast, *, slots: int = 1) -> Submission:
    return stories.submit(stories.claim(stories.post_photo_bounty(cast.agent, slots=slots, now=NOW), cast.worker, now=NOW), now=NOW)


# -- What the agent asks for ------------------------------------------------------------------------------------------


@_path("post and fund")
def _post_and_fund(cast: Cast) -> Request:
    return _once(cast, "bounties", lambda: stories.post_photo_bounty(cast.agent, slots=2, now=NOW))


@_path("fund")
def _fund(cast: Cast) -> Request:
    drafted = stories.draft_photo_bounty(cast.agent, offer_more={"slots": 2}, now=NOW)
    return _once(cast, "fund", lambda: funding.fund(bounty=_again(drafted), now=NOW))


@_path("raise the offer")
def _raise(cast: Cast) -> Request:
    bounty = stories.post_photo_bounty(cast.agent, slots=2, now=NOW)
    stories.claim(bounty, cast.worker, now=NOW)
    reward, deadline = Money.parse("12.00", "USD"), NOW + 3 * _HOUR
    return _once(
        cast, "raise", lambda: improving.improve(bounty=_again(bounty), agent=cast.agent, reward=reward, deadline=deadline, now=NOW)
    )


def _cancel(cast: Cast, bounty: Bounty) -> Request:
    return _once(cast, "cancel", lambda: cancellation.cancel(bounty=_again(bounty), agent=cast.agent, now=NOW).status)


@_path("cancel before funding")
def _cancel_unfunded(cast: Cast) -> Request:
    return _cancel(cast, stories.draft_photo_bounty(cast.agent, now=NOW))


@_path("cancel with free slots")
def _cancel_free(cast: Cast) -> Request:
    return _cancel(cast, stories.post_photo_bounty(cast.agent, slots=2, now=NOW))


@_path("cancel under a claim")
def _cancel_claimed(cast: Cast) -> Request:
    bounty = stories.post_photo_bounty(cast.agent, slots=2, now=NOW)
    stories.claim(bounty, cast.worker, now=NOW)
    return _cancel(cast, bounty)


@_path("cancel over received work")
def _cancel_received(cast: Cast) -> Request:
    return _cancel(cast, _handed_in(cast, slots=2).task.bounty)


def _deposit_from(source: str) -> Begin:
    amount, request_id = Money.parse("25.00", "USD"), uuid.UUID(int=7)
    return lambda cast: lambda: str(deposits.request(agent=cast.agent, amount=amount, source=source, request_id=request_id, now=NOW))


_path("deposit")(_deposit_from("test_ok"))
_path("deposit whose answer is lost")(_deposit_from("test_lost_answer"))
_path("deposit that is refused")(_deposit_from("test_refused"))


# -- What the worker asks for -----------------------------------------------------------------------------------------


@_path("claim")
def _claim(cast: Cast) -> Request:
    bounty = stories.post_photo_bounty(cast.agent, slots=2, now=NOW)
    return _once(cast, "claim", lambda: stories.claim(bounty, cast.worker, now=NOW))


@_path("drop a claim")
def _drop(cast: Cast) -> Request:
    held = stories.claim(stories.post_photo_bounty(cast.agent, now=NOW), cast.worker, now=NOW)
    return _once(cast, "drop", lambda: claiming.drop(claim=Claim.objects.get(pk=held.pk), worker=cast.worker, now=NOW).status)


@_path("submit")
def _submit(cast: Cast) -> Request:
    held = stories.claim(stories.post_photo_bounty(cast.agent, now=NOW), cast.worker, now=NOW)
    return _once(cast, "submit", lambda: stories.submit(Claim.objects.get(pk=held.pk), now=NOW))


@_path("take a photo in and submit")
def _take_in_and_submit(cast: Cast) -> Request:
    held = stories.claim(stories.post_photo_bounty(cast.agent, now=NOW), cast.worker, now=NOW)
    raw = photographs.jpeg("coffee.png", quality=40)

    def request() -> str:
        file = evidence.take_in(raw)
        return _once(cast, "submit", lambda: stories.submit(Claim.objects.get(pk=held.pk), file=file, now=NOW))()

    return request


@_path("submit that it can't be done")
def _submit_negative(cast: Cast) -> Request:
    held = stories.claim(stories.post_photo_bounty(cast.agent, now=NOW), cast.worker, now=NOW)
    return _once(cast, "submit", lambda: stories.submit_negative(Claim.objects.get(pk=held.pk), now=NOW))


@_path("begin a retake")
def _begin_retake(cast: Cast) -> Request:
    refused = stories.rejected(stories.post_photo_bounty(cast.agent, now=NOW), cast.worker, now=NOW)

    def request() -> str:
        claim = Claim.objects.select_related("task").get(pk=refused.claim_id)
        return submitting.start_retake(claim=claim, worker=cast.worker, now=NOW).status

    return request


@_path("submit a retake")
def _retake(cast: Cast) -> Request:
    refused = stories.rejected(stories.post_photo_bounty(cast.agent, now=NOW), cast.worker, now=NOW)
    file = stories.kept_file("second photo")
    return _once(cast, "submit", lambda: stories.submit(Claim.objects.get(pk=refused.claim_id), file=file, now=NOW))


@_path("appeal")
def _appeal(cast: Cast) -> Request:
    refused = stories.rejected(stories.post_photo_bounty(cast.agent, now=NOW), cast.worker, now=NOW)
    return _once(cast, "appeal", lambda: stories.appeal(Submission.objects.get(pk=refused.pk), now=NOW))


@_path("give in to a rejection")
def _waive(cast: Cast) -> Request:
    refused = stories.rejected(stories.post_photo_bounty(cast.agent, now=NOW), cast.worker, now=NOW)
    own = Submission.objects.filter(pk=refused.pk)
    return _once(cast, "waive", lambda: disputes.waive(submission=own.get(), worker=cast.worker, now=NOW) and "final")


@_path("request a payout")
def _request_payout(cast: Cast) -> Request:
    _earn(cast)
    return _once(cast, "payouts", lambda: _ask(cast, "test_ok"))


def _earn(cast: Cast) -> None:
    stories.accepted(stories.post_photo_bounty(cast.agent, now=NOW), cast.worker, now=NOW)
    maturing.mature_due(now=NOW)


def _ask(cast: Cast, destination: str) -> Payout:
    return payouts.request(
        worker=cast.worker,
        mode="test",
        destination=destination,
        amount=purses.TEN,
        request_id=uuid.UUID(int=8),
        now=NOW,
    )


# -- What is decided --------------------------------------------------------------------------------------------------


@_path("accept the only slot")
def _accept_only(cast: Cast) -> Request:
    return _apply(_waiting_verdict(_handed_in(cast), "ACCEPTED"))


@_path("accept one of two slots")
def _accept_one(cast: Cast) -> Request:
    return _apply(_waiting_verdict(_handed_in(cast, slots=2), "ACCEPTED"))


@_path("accept under a cancelled bounty")
def _accept_cancelled(cast: Cast) -> Request:
    submission = _handed_in(cast, slots=2)
    cancellation.cancel(bounty=submission.task.bounty, agent=cast.agent, now=NOW)
    return _apply(_waiting_verdict(submission, "ACCEPTED"))


@_path("accept that it can't be done")
def _accept_negative(cast: Cast) -> Request:
    bounty = stories.post_photo_bounty(cast.agent, slots=2, now=NOW)
    return _apply(_waiting_verdict(stories.submit_negative(stories.claim(bounty, cast.worker, now=NOW), now=NOW), "ACCEPTED"))


@_path("accept a report that the reserve can't pay")
def _accept_unreserved(cast: Cast) -> Request:
    bounty = stories.post_photo_bounty(cast.agent, slots=2, now=NOW)
    first, second = (
        stories.submit_negative(stories.claim(bounty, worker, now=NOW), now=NOW, reason=reason)
        for worker, reason in ((cast.worker, "closed"), (cast.helper, "unsafe"))
    )
    stories.settle(first, now=NOW)
    return _apply(_waiting_verdict(second, "ACCEPTED"))


@_path("reject with a retake to come")
def _reject(cast: Cast) -> Request:
    return _apply(_waiting_verdict(_handed_in(cast), "REJECTED"))


@_path("find it inconclusive")
def _leave_open(cast: Cast) -> Request:
    return _apply(_waiting_verdict(_handed_in(cast), "INCONCLUSIVE"))


@_path("record a verdict and apply it")
def _record(cast: Cast) -> Request:
    submission = _handed_in(cast)

    def judge_and_settle() -> None:
        stories.decide(submission, "ACCEPTED", now=NOW)
        settlement.apply_due(now=NOW)

    return _job(_unless(judge_and_settle, verdicts.AlreadyDecided))


@_path("accept by the poster's silence", at=NOW + 2 * _HOUR)
def _silence(cast: Cast) -> Request:
    submission = _handed_in(cast)
    Case.objects.filter(pk=submission.pk).update(
        stage=Case.Stage.REVIEW,
        lease_state=LeaseState.DONE,
        machine_outcome=Verdict.Outcome.ACCEPTED,
        machine_decided_at=NOW,
        poster_review_window_s=600,
    )
    return _job(lambda: reviewing.accept_silence(now=NOW + 2 * _HOUR))


def _decide_appeal(outcome: str) -> Begin:
    def begin(cast: Cast) -> Request:
        refused = stories.rejected(stories.post_photo_bounty(cast.agent, now=NOW), cast.worker, now=NOW)
        stories.appeal(refused, now=NOW)
        return _job(lambda: stories.decide_appeal(Submission.objects.get(pk=refused.pk), cast.verifier, outcome, now=NOW))

    return begin


_path("accept on appeal")(_decide_appeal("ACCEPTED"))
_path("reject on appeal")(_decide_appeal("REJECTED"))


def _apply(verdict: Verdict) -> Request:
    def request() -> str:
        applied = settlement.apply_verdict(verdict_id=verdict.pk, now=NOW)
        return "" if applied is None else f"{applied.kind} {applied.worker_minor}"

    return request


def _unless(work: Callable[[], object], *done_before: type[Exception]) -> Callable[[], None]:
    def do() -> None:
        try:
            work()
        except done_before:
            return

    return do


# -- What the clock brings --------------------------------------------------------------------------------------------


@_path("a claim runs out", at=NOW + 1.5 * _HOUR)
def _claim_expires(cast: Cast) -> Request:
    stories.claim(stories.post_photo_bounty(cast.agent, now=NOW), cast.worker, now=NOW)
    return _job(lambda: claiming.expire_due(now=NOW + 1.5 * _HOUR))


@_path("a bounty runs out", at=NOW + 3 * _HOUR)
def _bounty_expires(cast: Cast) -> Request:
    stories.post_photo_bounty(cast.agent, slots=2, now=NOW)
    return _job(lambda: cancellation.close_due(now=NOW + 3 * _HOUR))


@_path("a bounty runs out over received work", at=NOW + 3 * _HOUR)
def _bounty_expires_over_work(cast: Cast) -> Request:
    _handed_in(cast, slots=2)
    return _job(lambda: cancellation.close_due(now=NOW + 3 * _HOUR))


@_path("a draft runs out", at=NOW + 3 * _HOUR)
def _draft_expires(cast: Cast) -> Request:
    stories.draft_photo_bounty(cast.agent, now=NOW)
    return _job(lambda: cancellation.close_due(now=NOW + 3 * _HOUR))


@_path("a rejection becomes final", at=NOW + 80 * _HOUR)
def _rejection_final(cast: Cast) -> Request:
    stories.rejected(stories.post_photo_bounty(cast.agent, now=NOW), cast.worker, now=NOW)
    return _job(lambda: disputes.finalise_due(now=NOW + 80 * _HOUR))


@_path("an appeal runs out", at=NOW + 200 * _HOUR)
def _appeal_times_out(cast: Cast) -> Request:
    stories.appeal(stories.rejected(stories.post_photo_bounty(cast.agent, now=NOW), cast.worker, now=NOW), now=NOW)

    def time_out() -> None:
        reviews.time_out_due(now=NOW + 200 * _HOUR)
        settlement.apply_due(now=NOW + 200 * _HOUR)

    return _job(time_out)


@_path("earned money matures")
def _mature(cast: Cast) -> Request:
    stories.accepted(stories.post_photo_bounty(cast.agent, now=NOW), cast.worker, now=NOW)
    return _job(lambda: maturing.mature_due(now=NOW))


@_path("balances are marked")
def _mark(cast: Cast) -> Request:
    _earn(cast)
    return _job(marks.mark)


# -- What goes out and comes back -------------------------------------------------------------------------------------


def _send(destination: str) -> Begin:
    def begin(cast: Cast) -> Request:
        _earn(cast)
        _ask(cast, destination)
        return _job(lambda: payouts.send_due(holder="sender", now=NOW))

    return begin


_path("send a payout")(_send("test_ok"))
_path("send a payout that is refused")(_send("test_refused"))
_path("send a payout and lose its answer")(_send("test_lost_answer"))


def _news(destination: str) -> Begin:
    def begin(cast: Cast) -> Request:
        _earn(cast)
        _ask(cast, destination)
        payouts.send_due(holder="sender", now=NOW)
        return _job(lambda: payments.sweep(now=NOW + _MINUTE))

    return begin


_path("news that a payout is paid", at=NOW + _MINUTE)(_news("test_ok"))
_path("news that a payout failed", at=NOW + _MINUTE)(_news("test_failed"))
_path("news that a payout was returned", at=NOW + _MINUTE)(_news("test_returned"))
_path("news that a payout is paid, three times", at=NOW + _MINUTE)(_news("test_twice"))


@_path("news of a slow deposit", at=NOW + _MINUTE)
def _deposit_news(cast: Cast) -> Request:
    deposits.request(agent=cast.agent, amount=Money.parse("25.00", "USD"), source="test_slow", request_id=uuid.UUID(int=7), now=NOW)

    def hear() -> None:
        inbox.fetch(provider=registry.for_mode("test"), now=NOW + _MINUTE)
        inbox.process_due(now=NOW + _MINUTE)

    return _job(hear)


def _given_up(*, is_to_fail: bool) -> Begin:
    def begin(cast: Cast) -> Request:
        _earn(cast)
        asked = _ask(cast, "test_ok")
        Payout.objects.filter(pk=asked.pk).update(lease_state=LeaseState.DEAD, attempts=payouts.MAX_ATTEMPTS)
        retry = _unless(
            lambda: payouts.retry_given_up(payout_id=asked.pk, holder="operator", is_to_fail=is_to_fail, now=NOW), payouts.NotGivenUp
        )
        return _job(retry)

    return begin


_path("take a payout up again")(_given_up(is_to_fail=False))
# Cut off after it was taken up, it is under way as long as its lease lasts, and is then given up again.
_path("fail a payout that was given up", is_asked_later=True)(_given_up(is_to_fail=True))


@_path("tell a webhook")
def _tell(cast: Cast) -> Request:
    delivery.add_endpoint(agent=cast.agent, url=cast.webhook_url)
    stories.post_photo_bounty(cast.agent, now=NOW)
    return _job(lambda: delivery.deliver_due(now=NOW, resolve=sweepers.loopback))
