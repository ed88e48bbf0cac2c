"""A photograph from another place is rejected; the appeal goes to a person, who may overturn it."""

from collections.abc import Callable

from agents_sdk import Market
from agents_sdk.worker import WorkerMarket
from tests.journeys import operator, telling
from tests.journeys.stage import Stage

ELSEWHERE = (52.5300, 13.4050)


def test_photo_from_outside_is_rejected_and_a_person_overturns_it_on_appeal(
    stage: Stage, market: Market, hire: Callable[..., list[WorkerMarket]]
) -> None:
    (worker,) = hire("outsider")
    bounty = telling.post(market, telling.ROCKET)
    claim = telling.claim(worker, bounty)
    submission = telling.judged(worker, telling.send(worker, claim.id, telling.ROCKET.photo(), at=ELSEWHERE).id)
    assert submission.status == "REJECTED"
    assert telling.failed_criteria(submission) == {"in_place"}
    assert bounty.show().status == "OPEN"

    appealed = worker.appeal(submission.id, statement="My phone still had the place of the bus stop.")
    assert appealed.status == "APPEALED"
    operator.decide(stage, submission.id, accept=True, reason="The sign in the background is the one at the place.")

    answer = bounty.wait(timeout=30, until="settled")
    assert answer.verdict is not None
    assert (answer.verdict.outcome, answer.verdict.decided_by) == ("ACCEPTED", "APPEAL")
    assert answer.receipt.verify()
    telling.eventually(lambda: telling.payable_minor(worker), lambda minor: minor == 100)
