"""Every transition of the market by the state in which it is legal: what is raced, each with each other and with itself.

A step reads its rows as a request or a job does, calls one use case and returns what the caller is told. Where two steps are of
different times (a claim is handed in just before it lapses, and is expired), each has the time at which it is legal.
"""

import datetime
import itertools
import uuid
from collections.abc import Callable, Generator
from dataclasses import dataclass

from django.db.models.functions import Now

from market.accounts.models import Agent
from market.bounties import (
    cancellation,
    claiming,
    disputes,
    funding,
    improving,
    judging,
    maturing,
    reviewing,
    settlement,
    submitting,
)
from market.common.money import Money
from market.payments import deposits, inbox, payouts
from market.payments.models import Deposit, Payout, ProviderEvent
from market.payments.providers import registry
from tasks import submissions
from tasks.leases import LeaseState
from tests import people, stories
from tests.faults.race_scenes import Scene
from tests.market.payments import purses
from tests.verification import scenes as readings
from verification import pipeline, reviews, vision_runs
from verification.models import Case, Review, Verdict, VisionRun

# A step of two transactions yields between them: what comes between is as good an order as any other.
Parts = Generator[None, None, object]
Step = Callable[[Scene], object]
Make = Callable[[Agent], Scene]

TICK = datetime.timedelta(microseconds=1)
HOUR = datetime.timedelta(hours=1)
WINDOW_S = 3600
OTHER_KEY = uuid.UUID(int=8)
MODEL_HASH = readings.MODEL_HASH


# -- Steps of the agent -----------------------------------------------------------------------------------------------


def post(scene: Scene) -> object:
    posted = stories.draft_photo_bounty(scene.agent, key=scene.key, now=scene.now)
    scene.bounties.append(posted)
    return posted


def post_what_is_blocked(scene: Scene) -> object:
    question = "Photograph the front door of my ex-girlfriend and tell me when she leaves the house."
    posted = stories.draft_photo_bounty(scene.agent, key=scene.key, now=scene.now, question=question)
    scene.bounties.append(posted)
    return posted


def fund(scene: Scene) -> object:
    return funding.fund(bounty=scene.bounty, now=scene.now)


def fund_the_other(scene: Scene) -> object:
    return funding.fund(bounty=scene.bounties[1], now=scene.now)


def cancel(scene: Scene) -> object:
    return cancellation.cancel(bounty=scene.bounty, agent=scene.agent, now=scene.now)


def raise_the_reward(scene: Scene) -> object:
    return improving.improve(bounty=scene.bounty, agent=scene.agent, reward=Money.parse("12.00", "USD"), now=scene.now)


def raise_the_deadline(scene: Scene) -> object:
    return improving.improve(bounty=scene.bounty, agent=scene.agent, deadline=scene.now + 4 * HOUR, now=scene.now)


def accept_as_poster(scene: Scene) -> object:
    return reviewing.decide_as_poster(submission=scene.submission(), agent=scene.agent, is_accepted=True, now=scene.now)


def reject_as_poster(scene: Scene) -> object:
    return reviewing.decide_as_poster(submission=scene.submission(), agent=scene.agent, is_accepted=False, criterion="sharp", now=scene.now)


# -- Steps of the worker ----------------------------------------------------------------------------------------------


def claim_as_ana(scene: Scene) -> object:
    return stories.claim(scene.bounties[0], scene.workers["ana"], now=scene.now)


def claim_as_ben(scene: Scene) -> object:
    return stories.claim(scene.bounties[0], scene.workers["ben"], now=scene.now)


def claim_again_after_the_lapse(scene: Scene) -> object:
    return stories.claim(scene.bounties[0], scene.workers["ana"], now=scene.claims[0].expires_at)


def extend(scene: Scene) -> object:
    latitude, longitude = stories.PLACE
    claim = scene.claim()
    return claiming.extend(claim=claim, worker=claim.worker, latitude=latitude, longitude=longitude, now=scene.now)


def drop(scene: Scene) -> object:
    claim = scene.claim()
    return claiming.drop(claim=claim, worker=claim.worker, now=scene.now)


def submit(scene: Scene) -> object:
    return stories.submit(scene.claim(), file=stories.kept_file(f"first of {scene.claims[0]}"), now=scene.now)


def submit_another_photo(scene: Scene) -> object:
    return stories.submit(scene.claim(), file=stories.kept_file(f"second of {scene.claims[0]}"), now=scene.now)


def submit_negative(scene: Scene) -> object:
    return stories.submit_negative(scene.claim(), file=stories.kept_file(f"third of {scene.claims[0]}"), now=scene.now)


def start_the_retake(scene: Scene) -> object:
    claim = scene.claim()
    return submitting.start_retake(claim=claim, worker=claim.worker, now=scene.now)


def appeal(scene: Scene) -> object:
    return stories.appeal(scene.submission(), now=scene.now)


def waive(scene: Scene) -> object:
    submission = scene.submission()
    return disputes.waive(submission=submission, worker=submission.worker, now=scene.now)


# -- Steps of machine and reviewers -----------------------------------------------------------------------------------


def _decide(scene: Scene, number: int, outcome: str) -> Parts:
    verdict = stories.decide(scene.submission(number), outcome, now=scene.now)
    yield
    return settlement.apply_verdict(verdict_id=verdict.pk, now=scene.now)


def accept(scene: Scene) -> Parts:
    return (yield from _decide(scene, 0, "ACCEPTED"))


def accept_the_other(scene: Scene) -> Parts:
    return (yield from _decide(scene, 1, "ACCEPTED"))


def reject(scene: Scene) -> Parts:
    return (yield from _decide(scene, 0, "REJECTED"))


def leave_inconclusive(scene: Scene) -> Parts:
    return (yield from _decide(scene, 0, "INCONCLUSIVE"))


def apply_the_verdict(scene: Scene) -> object:
    return settlement.apply_verdict(verdict_id=scene.verdicts[0].pk, now=scene.now)


def advance_the_case(scene: Scene) -> None:
    pipeline.advance(submission_id=scene.submissions[0].pk, now=scene.now)


def show_in_review(scene: Scene) -> None:
    # It goes by no time, so it also shows what earlier scenes left: how many it returns says nothing of this one.
    judging.show_in_review(now=scene.now)


def _review(scene: Scene, number: int, outcome: Verdict.Outcome) -> Parts:
    verdict = reviews.decide(
        review_id=Review.objects.get(submission=scene.submissions[0].pk).pk,
        reviewer=scene.reviewers[number],
        decision=outcome,
        criterion="sharp" if outcome == Verdict.Outcome.REJECTED else "",
        reason="I looked at the photo.",
        now=scene.now,
    )
    yield
    return settlement.apply_verdict(verdict_id=verdict.pk, now=scene.now)


def accept_as_reviewer(scene: Scene) -> Parts:
    return (yield from _review(scene, 0, Verdict.Outcome.ACCEPTED))


def accept_as_another_reviewer(scene: Scene) -> Parts:
    return (yield from _review(scene, 1, Verdict.Outcome.ACCEPTED))


def reject_as_reviewer(scene: Scene) -> Parts:
    return (yield from _review(scene, 0, Verdict.Outcome.REJECTED))


def leave_open_as_reviewer(scene: Scene) -> Parts:
    return (yield from _review(scene, 0, Verdict.Outcome.INCONCLUSIVE))


# -- Steps of the clock -----------------------------------------------------------------------------------------------


def close_at_the_deadline(scene: Scene) -> None:
    # What it returns is how many it looked at: not a promise.
    cancellation.close_due(now=scene.bounties[0].task.closes_at)


def expire(scene: Scene) -> object:
    return claiming.expire_due(now=scene.claims[0].expires_at)


def pay_for_silence(scene: Scene) -> object:
    return reviewing.accept_silence(now=scene.now + datetime.timedelta(seconds=WINDOW_S))


def time_the_review_out(scene: Scene) -> Parts:
    due_at = scene.now + datetime.timedelta(days=7)
    many = reviews.time_out_due(now=due_at)
    yield
    by_clock = Verdict.objects.filter(submission=scene.submissions[0].pk, decided_by=Verdict.Decider.CLOCK)
    for pk in by_clock.values_list("pk", flat=True):
        settlement.apply_verdict(verdict_id=pk, now=due_at)
    return many


def finalise(scene: Scene) -> object:
    return disputes.finalise_due(now=scene.now + datetime.timedelta(days=4))


def mature(scene: Scene) -> object:
    return maturing.mature_due(now=scene.now)


# -- Steps of payments ------------------------------------------------------------------------------------------------


def request_a_payout(scene: Scene) -> object:
    return _payout(scene, scene.request_id)


def request_another_payout(scene: Scene) -> object:
    return _payout(scene, uuid.uuid5(scene.request_id, "another"))


def _payout(scene: Scene, request_id: uuid.UUID) -> object:
    worker = scene.worker()
    return payouts.request(
        worker=worker, mode="test", destination="test_ok", amount=Money(1000, "USD"), request_id=request_id, now=scene.now
    )


def send_payouts(scene: Scene) -> None:
    payouts.sweep(now=scene.now)


def fail_what_was_given_up(scene: Scene) -> object:
    return payouts.retry_given_up(payout_id=scene.payout_ids[0], holder="operator", is_to_fail=True, now=scene.now)


def send_what_was_given_up(scene: Scene) -> object:
    return payouts.retry_given_up(payout_id=scene.payout_ids[0], holder="operator", now=scene.now)


def read_the_news(scene: Scene) -> object:
    return inbox.process(event_pk=scene.event_ids[0], now=scene.now)


def read_the_news_again(scene: Scene) -> object:
    return inbox.process(event_pk=scene.event_ids[1], now=scene.now)


def ask_for_the_deposit_again(scene: Scene) -> None:
    deposits.collect_due(now=scene.now + HOUR)


# -- Steps of leases --------------------------------------------------------------------------------------------------


def lease_a_run(scene: Scene) -> object:
    return len(vision_runs.hand_out(key_id=readings.KEY_ID, holder="one", limit=1, lease_s=60))


def lease_a_run_as_another(scene: Scene) -> object:
    return len(vision_runs.hand_out(key_id=OTHER_KEY, holder="other", limit=1, lease_s=60))


def keep_the_run(scene: Scene) -> None:
    run = scene.runs[0]
    vision_runs.heartbeat(run_id=run.pk, token=run.token, key_id=readings.KEY_ID, lease_s=60)


def complete_the_run(scene: Scene) -> None:
    run = scene.runs[0]
    vision_runs.complete(
        run_id=run.pk,
        token=run.token,
        key_id=readings.KEY_ID,
        readings=readings.readings([readings.SURE]),
        model_hash=MODEL_HASH,
        preprocessing="test-1",
        now=scene.now,
    )


def give_the_run_back(scene: Scene) -> object:
    run = scene.runs[0]
    return vision_runs.fail(run_id=run.pk, token=run.token, key_id=readings.KEY_ID, reason="out_of_memory")


def sweep_runs(scene: Scene) -> None:
    vision_runs.sweep()


# -- States -----------------------------------------------------------------------------------------------------------


def _scene(agent: Agent) -> Scene:
    return Scene(agent, people.key_of(agent))


def _screened(agent: Agent) -> Scene:
    scene = _scene(agent)
    scene.bounties.append(stories.draft_photo_bounty(agent, key=scene.key, now=scene.now))
    return scene


def _two_drafts_with_money_for_one(agent: Agent) -> Scene:
    poor = people.open_agent()
    people.top_up(poor, "20.00")
    scene = _screened(poor)
    scene.bounties.append(stories.draft_photo_bounty(poor, key=scene.key, now=scene.now))
    return scene


def _open(agent: Agent, *, slots: int = 1, poster_review_window_s: int | None = None) -> Scene:
    scene = _scene(agent)
    bounty = stories.post_photo_bounty(agent, slots=slots, now=scene.now, poster_review_window_s=poster_review_window_s)
    scene.bounties.append(bounty)
    scene.worker("ana")
    scene.worker("ben")
    return scene


def _claimed(agent: Agent, *, slots: int = 2, poster_review_window_s: int | None = None) -> Scene:
    scene = _open(agent, slots=slots, poster_review_window_s=poster_review_window_s)
    scene.claims.append(stories.claim(scene.bounties[0], scene.worker(), now=scene.now))
    return scene


def _closing(agent: Agent) -> Scene:
    scene = _claimed(agent)
    cancellation.cancel(bounty=scene.bounties[0], agent=agent, now=scene.now)
    return scene


def _handed_in(agent: Agent, *, slots: int = 2, poster_review_window_s: int | None = None) -> Scene:
    scene = _claimed(agent, slots=slots, poster_review_window_s=poster_review_window_s)
    scene.submissions.append(stories.submit(scene.claims[0], now=scene.now))
    # As after the readings, of which there are none: the machine sends it to a person.
    Case.objects.filter(pk=scene.submissions[0].pk).update(stage=Case.Stage.DECIDE)
    return scene


def _two_handed_in(agent: Agent) -> Scene:
    scene = _handed_in(agent)
    scene.submissions.append(stories.submit(stories.claim(scene.bounties[0], scene.worker("ben"), now=scene.now), now=scene.now))
    return scene


def _two_negatives(agent: Agent) -> Scene:
    scene = _open(agent, slots=3)
    for name in ("ana", "ben"):
        scene.submissions.append(
            stories.submit_negative(stories.claim(scene.bounties[0], scene.worker(name), now=scene.now), now=scene.now)
        )
    return scene


def _verdict_waits(agent: Agent, outcome: str) -> Scene:
    scene = _handed_in(agent)
    scene.verdicts.append(stories.decide(scene.submissions[0], outcome, now=scene.now))
    return scene


def _accepted_not_applied(agent: Agent) -> Scene:
    return _verdict_waits(agent, "ACCEPTED")


def _rejected_not_applied(agent: Agent) -> Scene:
    return _verdict_waits(agent, "REJECTED")


def _for_a_person(agent: Agent) -> Scene:
    scene = _handed_in(agent)
    pipeline.advance(submission_id=scene.submissions[0].pk, now=scene.now)
    Review.objects.filter(submission=scene.submissions[0].pk).update(due_at=scene.now + datetime.timedelta(days=7))
    scene.reviewers += [people.open_user("reviewer"), people.open_user("reviewer")]
    return scene


def _in_review(agent: Agent) -> Scene:
    scene = _for_a_person(agent)
    assert submissions.send_to_review(scene.submissions[0].pk)
    return scene


def _for_the_poster(agent: Agent) -> Scene:
    scene = _handed_in(agent, poster_review_window_s=WINDOW_S)
    waits = {"stage": Case.Stage.REVIEW, "lease_state": LeaseState.DONE, "machine_outcome": "ACCEPTED", "machine_decided_at": scene.now}
    Case.objects.filter(pk=scene.submissions[0].pk).update(**waits)
    return scene


def _rejected(agent: Agent) -> Scene:
    scene = _handed_in(agent)
    stories.settle(scene.submissions[0], "REJECTED", now=scene.now)
    return scene


def _retake_under_way(agent: Agent) -> Scene:
    scene = _rejected(agent)
    scene.claims[0] = submitting.start_retake(claim=scene.claims[0], worker=scene.worker(), now=scene.now)
    return scene


def _retake_dropped(agent: Agent) -> Scene:
    scene = _retake_under_way(agent)
    claiming.drop(claim=scene.claims[0], worker=scene.worker(), now=scene.now)
    return scene


def _appealed(agent: Agent) -> Scene:
    scene = _rejected(agent)
    stories.appeal(scene.submissions[0], now=scene.now)
    scene.reviewers += [people.open_user("reviewer"), people.open_user("reviewer")]
    return scene


def _paid(agent: Agent) -> Scene:
    scene = _handed_in(agent)
    stories.settle(scene.submissions[0], now=scene.now)
    return scene


def _payable(agent: Agent) -> Scene:
    scene = _scene(agent)
    scene.workers["ana"] = purses.worker_with(1000)
    return scene


def _payout_asked_for(agent: Agent, destination: str = "test_ok") -> Scene:
    scene = _payable(agent)
    asked = payouts.request(
        worker=scene.worker(), mode="test", destination=destination, amount=purses.TEN, request_id=scene.request_id, now=scene.now
    )
    scene.payout_ids.append(asked.pk)
    return scene


def _payout_given_up(agent: Agent) -> Scene:
    scene = _payout_asked_for(agent)
    Payout.objects.filter(pk=scene.payout_ids[0]).update(lease_state=LeaseState.DEAD, attempts=payouts.MAX_ATTEMPTS)
    return scene


def _payout_whose_sender_died(agent: Agent) -> Scene:
    scene = _payout_asked_for(agent)
    assert Payout.objects.filter(pk=scene.payout_ids[0]).hand_out(limit=1, holder="dead", lease_s=0)
    return scene


def _news_of_a_payout(agent: Agent, destination: str) -> Scene:
    """The bank has taken the payout and told its news, each of them under two ids."""
    scene = _payout_asked_for(agent, destination)
    payouts.send_due(holder="test", now=scene.now)
    _tell_twice(scene, f"payout-{scene.payout_ids[0].hex}")
    return scene


def _paid_news(agent: Agent) -> Scene:
    return _news_of_a_payout(agent, "test_ok")


def _failed_news(agent: Agent) -> Scene:
    return _news_of_a_payout(agent, "test_failed")


def _returned_news(agent: Agent) -> Scene:
    """That it was paid, and that it came back, neither of them read."""
    scene = _payout_asked_for(agent, "test_returned")
    payouts.send_due(holder="test", now=scene.now)
    for seconds in (3, 6):
        inbox.fetch(provider=registry.named("test_money"), now=scene.now + datetime.timedelta(seconds=seconds))
    scene.event_ids += _events_of(f"payout-{scene.payout_ids[0].hex}")
    return scene


def _paid_and_returned(agent: Agent) -> Scene:
    """That it was paid is read; that it came back is told twice."""
    scene = _returned_news(agent)
    assert inbox.process(event_pk=scene.event_ids.pop(0), now=scene.now)
    _tell_again(scene, scene.event_ids[0])
    return scene


def _deposit_asked_for(agent: Agent, source: str) -> Scene:
    scene = _scene(agent)
    asked = deposits.request(agent=agent, amount=purses.TEN, source=source, now=scene.now)
    assert asked.status == Deposit.Status.REQUESTED
    scene.deposit_ids.append(asked.pk)
    _tell_twice(scene, f"deposit-{asked.pk.hex}")
    return scene


def _deposit_comes(agent: Agent) -> Scene:
    return _deposit_asked_for(agent, "test_slow")


def _deposit_fails(agent: Agent) -> Scene:
    return _deposit_asked_for(agent, "test_failed")


def _deposit_without_an_answer(agent: Agent) -> Scene:
    """The bank has it, and we do not know: it is asked again while the news come in."""
    scene = _deposit_comes(agent)
    Deposit.objects.filter(pk=scene.deposit_ids[0]).update(provider_ref="")
    return scene


def _tell_twice(scene: Scene, key: str) -> None:
    provider = registry.named("test_money")
    inbox.fetch(provider=provider, now=scene.now + HOUR)
    scene.event_ids += _events_of(key)
    [pk] = scene.event_ids
    _tell_again(scene, pk)


def _tell_again(scene: Scene, event_pk: int) -> None:
    told = ProviderEvent.objects.get(pk=event_pk)
    again = ProviderEvent.objects.create(
        provider=told.provider, event_id=f"{told.event_id}:again", raw_body=told.raw_body, received_at=told.received_at
    )
    scene.event_ids.append(again.pk)


def _events_of(key: str) -> list[int]:
    return list(ProviderEvent.objects.filter(event_id__startswith=key).order_by("pk").values_list("pk", flat=True))


def _run_is_ready(agent: Agent) -> Scene:
    scene = _handed_in(agent)
    case = Case.objects.get(pk=scene.submissions[0].pk)
    Case.objects.filter(pk=case.pk).update(stage=Case.Stage.VISION)
    # What earlier scenes left is no run of this one.
    VisionRun.objects.filter(lease_state__in=(LeaseState.READY, LeaseState.LEASED)).update(lease_state=LeaseState.DEAD)
    vision_runs.ask(case=case, files=list(scene.submissions[0].evidence.all()), phrases=["a cup"])
    return scene


def _run_is_leased(agent: Agent) -> Scene:
    scene = _run_is_ready(agent)
    scene.runs += vision_runs.hand_out(key_id=readings.KEY_ID, holder="one", limit=1, lease_s=60)
    return scene


def _run_has_lapsed(agent: Agent) -> Scene:
    scene = _run_is_leased(agent)
    VisionRun.objects.filter(pk=scene.runs[0].pk).update(lease_until=Now())
    return scene


@dataclass(frozen=True)
class State:
    """How scenes in a state are made, the steps that belong to it, and rivals of other stories that may come between."""

    make: Make
    steps: tuple[Step, ...]
    # Raced with each of the state's own steps. With each other they are raced where they are own.
    rivals: tuple[Step, ...] = ()
    # What the sweeper does in the end, for a step that leaves its work to him where it was disturbed.
    after: Step | None = None

    def pairs(self) -> list[tuple[Step, Step]]:
        """Return every pair to race: each own step with itself, with each other, and with each rival."""
        return [*itertools.combinations_with_replacement(self.steps, 2), *itertools.product(self.steps, self.rivals)]


_CLAIM = (extend, drop, expire, submit, submit_another_photo, submit_negative, claim_again_after_the_lapse)
_RAISES = (raise_the_reward, raise_the_deadline)
_ENDS = (cancel, close_at_the_deadline)
_MACHINE = (accept, reject, leave_inconclusive, advance_the_case)
_PERSON = (accept_as_reviewer, accept_as_another_reviewer, reject_as_reviewer, time_the_review_out)
_RETAKE = (submit_another_photo, submit_negative)
_REJECTION = (appeal, waive, finalise)
_NEWS = (read_the_news, read_the_news_again)
_RUN = (keep_the_run, complete_the_run, give_the_run_back)

STATES: dict[str, State] = {
    "nothing posted": State(_scene, (post, post_what_is_blocked)),
    "screened": State(_screened, (fund, *_ENDS)),
    "two drafts, money for one": State(_two_drafts_with_money_for_one, (fund, fund_the_other)),
    "open": State(_open, (claim_as_ana, claim_as_ben, fund, *_ENDS, *_RAISES)),
    "claimed": State(_claimed, (*_CLAIM, claim_as_ana), (claim_as_ben, *_ENDS, *_RAISES)),
    "closing under a claim": State(_closing, (extend, drop, expire, submit, *_ENDS), (claim_as_ben,)),
    "handed in": State(_handed_in, _MACHINE, (submit_another_photo, claim_as_ben, *_ENDS, raise_the_reward), after=advance_the_case),
    "two handed in": State(_two_handed_in, (accept, accept_the_other), (reject, *_ENDS)),
    "two reports that it can't be done": State(_two_negatives, (accept, accept_the_other), _ENDS),
    "accepted, not applied": State(_accepted_not_applied, (apply_the_verdict,), (claim_as_ben, *_ENDS, *_RAISES)),
    "rejected, not applied": State(_rejected_not_applied, (apply_the_verdict,), _ENDS),
    "for a person": State(_for_a_person, (show_in_review, *_PERSON, leave_open_as_reviewer), _ENDS),
    "in review": State(_in_review, (accept_as_reviewer, reject_as_reviewer, leave_open_as_reviewer), (time_the_review_out,)),
    "for the poster": State(
        _for_the_poster, (accept_as_poster, reject_as_poster, pay_for_silence, show_in_review), (*_ENDS, raise_the_reward)
    ),
    "rejected": State(_rejected, (start_the_retake, *_RETAKE, *_REJECTION), _ENDS),
    "retake under way": State(_retake_under_way, (*_RETAKE, drop, expire), (extend, *_REJECTION, *_ENDS)),
    "retake dropped": State(_retake_dropped, _REJECTION, _ENDS),
    "appealed": State(_appealed, _PERSON, (*_ENDS, raise_the_reward)),
    "paid": State(_paid, (mature,), (cancel,)),
    "payable": State(_payable, (request_a_payout, request_another_payout)),
    "payout asked for": State(_payout_asked_for, (send_payouts,), (request_a_payout,)),
    "payout whose sender died": State(_payout_whose_sender_died, (send_payouts,)),
    "payout given up": State(_payout_given_up, (send_what_was_given_up, fail_what_was_given_up), (send_payouts,)),
    "payout paid by the bank": State(_paid_news, _NEWS),
    "payout failed by the bank": State(_failed_news, _NEWS),
    "payout returned by the bank": State(_returned_news, _NEWS),
    "payout paid, then returned by the bank": State(_paid_and_returned, _NEWS),
    "deposit on its way": State(_deposit_comes, _NEWS),
    "deposit that fails": State(_deposit_fails, _NEWS),
    "deposit without an answer": State(_deposit_without_an_answer, (ask_for_the_deposit_again,), (read_the_news,)),
    "vision run ready": State(_run_is_ready, (lease_a_run, lease_a_run_as_another, sweep_runs), (raise_the_reward,)),
    "vision run leased": State(_run_is_leased, _RUN, (sweep_runs, lease_a_run_as_another, raise_the_reward)),
    "vision run lapsed": State(_run_has_lapsed, (*_RUN, sweep_runs), (lease_a_run_as_another,)),
}
