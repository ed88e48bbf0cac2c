"""A photograph that somebody else has sent before earns nothing."""

from collections.abc import Callable

from agents_sdk import Market
from agents_sdk.worker import WorkerMarket
from tests.journeys import telling


def test_somebody_elses_photo_is_rejected_as_a_copy(market: Market, hire: Callable[..., list[WorkerMarket]]) -> None:
    honest, thief = hire("copied", 2)
    first = telling.post(market, telling.CAT)
    taken = telling.send(honest, telling.claim(honest, first).id, telling.CAT.photo())
    telling.eventually(lambda: honest.submission(taken.id), lambda seen: seen.status == "IN_REVIEW")

    second = telling.post(market, telling.CAT)
    claim = telling.claim(thief, second)
    same = telling.judged(thief, telling.send(thief, claim.id, telling.CAT.photo()).id)
    assert same.status == "REJECTED"
    assert telling.failed_criteria(same) == {"original"}

    # Re-encoded, the bytes differ; it still looks like the first, so no machine accepts it.
    retake = telling.send(thief, claim.id, telling.CAT.photo(quality=60))
    waiting = telling.eventually(lambda: thief.submission(retake.id), lambda seen: seen.status not in ("RECEIVED", "CHECKING"))
    assert waiting.status == "IN_REVIEW"
    assert telling.payable_minor(thief) == 0
    assert second.show().status == "OPEN"
