"""A worker sends the wrong picture, reads which criterion it missed, takes it again and is paid."""

from collections.abc import Callable

from agents_sdk import Market
from agents_sdk.worker import WorkerMarket
from tests.journeys import telling


def test_wrong_photo_is_rejected_with_its_criterion_and_the_retake_is_paid(market: Market, hire: Callable[..., list[WorkerMarket]]) -> None:
    (worker,) = hire("retaker")
    bounty = telling.post(market, telling.PALACE)
    claim = telling.claim(worker, bounty)

    first = telling.judged(worker, telling.send(worker, claim.id, telling.GRASS.photo()).id)
    assert first.verdict is not None
    assert (first.verdict.outcome, first.verdict.decided_by) == ("REJECTED", "MACHINE")
    assert telling.failed_criteria(first) == {"shows:0"}
    assert first.is_retake_offered
    assert telling.payable_minor(worker) == 0

    second = telling.judged(worker, telling.send(worker, claim.id, telling.PALACE.photo()).id)
    assert (second.number, second.status) == (2, "ACCEPTED")
    answer = bounty.wait(timeout=30, until="settled")
    assert (answer.outcome, answer.bounty.status, answer.receipt.verify()) == ("ACCEPTED", "SETTLED", True)
    telling.eventually(lambda: telling.payable_minor(worker), lambda minor: minor == 100)
