"""200 workers go for 20 bounties at the same moment: the winners are as many as the slots."""

import collections
import concurrent.futures
import threading
from collections.abc import Callable

from agents_sdk import Market, errors
from agents_sdk.worker import WorkerMarket
from tests.journeys import telling
from tests.journeys.stage import Stage

WORKERS, BOUNTIES = 200, 20
# Away from the other stories, so that the list near here holds these tasks alone.
PLACE = (48.1374, 11.5755)


def test_winners_equal_the_slots(stage: Stage, market: Market, hire: Callable[..., list[WorkerMarket]]) -> None:
    # Every other bounty has 3 slots: 10 x 1 + 10 x 3 = 40 places for 200 workers.
    slots = {_open_task(market, slots=1 + 2 * (number % 2)): 1 + 2 * (number % 2) for number in range(BOUNTIES)}
    workers = hire("crowd", WORKERS)
    assert slots.keys() <= {task.id for task in workers[0].tasks(near=PLACE)}
    together = threading.Barrier(WORKERS)

    def go(number: int) -> str | None:
        task = list(slots)[number % BOUNTIES]
        together.wait()
        try:
            workers[number].claim(task, at=PLACE)
        except errors.Conflict:
            return None
        return task

    with concurrent.futures.ThreadPoolExecutor(WORKERS) as crowd:
        won = collections.Counter(task for task in crowd.map(go, range(WORKERS)) if task)

    assert won == slots
    assert " 0 differences." in stage.manage("ledger_audit")


def _open_task(market: Market, *, slots: int) -> str:
    return telling.post(market, telling.CAT, slots=slots, at=PLACE).show().task
