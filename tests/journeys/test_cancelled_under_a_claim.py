"""The agent cancels while somebody is on the way: that claim is honoured and paid, the rest goes back."""

from collections.abc import Callable

import pytest

from agents_sdk import Market, errors, models
from agents_sdk.worker import WorkerMarket
from tests.journeys import telling


def test_live_claim_is_honoured_and_the_rest_returned(market: Market, hire: Callable[..., list[WorkerMarket]]) -> None:
    early, late = hire("canceller", 2)
    bounty = telling.post(market, telling.FLOWER, slots=2)
    task = telling.task_of(late, bounty)
    claim = telling.claim(early, bounty)

    cancelled = bounty.cancel()
    assert cancelled.status == "OPEN"
    with pytest.raises(errors.AtomsError):
        late.claim(task, at=telling.PLACE)

    submission = telling.judged(early, telling.send(early, claim.id, telling.FLOWER.photo()).id)
    assert submission.status == "ACCEPTED"
    answer = bounty.wait(timeout=30, until="settled")
    assert (answer.bounty.status, answer.bounty.closed_because) == ("CANCELLED", "CANCELLED")
    held = answer.bounty.held
    assert isinstance(held, models.Held)
    assert (held.captured.amount, held.held.amount) == ("1.10", "0.00")
    telling.eventually(lambda: telling.payable_minor(early), lambda minor: minor == 100)
