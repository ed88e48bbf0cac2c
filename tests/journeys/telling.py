"""What stories share: a place, photographs and what is truly asked about them, and patience."""

import dataclasses
import datetime
import time
from collections.abc import Callable
from typing import TypeVar

from agents_sdk import Market, models
from agents_sdk.market import PostedBounty
from agents_sdk.worker import Claim, WorkerMarket
from tests import photographs

T = TypeVar("T")

PLACE = (52.5200, 13.4050)
JUDGED_WITHIN_S = 60.0


@dataclasses.dataclass(frozen=True)
class Scene:
    """A photograph of a package and a question that it truly answers."""

    file: str
    question: str

    def photo(self, *, quality: int = 90) -> bytes:
        """Return the photograph as a phone would send it."""
        return photographs.jpeg(self.file, quality=quality)


# One scene a story: what another worker has sent before is a copy. The cup of coffee is the simulated worker's. The model accepts
# the first three by itself and leaves the others to a person.
MOTORBIKE = Scene("motorcycle_left.png", "Show a motorbike.")
FLOWER = Scene("flower.jpg", "Show a flower.")
PALACE = Scene("china.jpg", "Show a palace.")
CAT = Scene("chelsea.png", "Show a cat.")
ROCKET = Scene("rocket.jpg", "Show a rocket on its launch pad.")
WALL = Scene("brick.png", "Show the open door of the bakery.")
GRASS = Scene("grass.png", "Show a lawn.")


def post(
    market: Market, scene: Scene, *, reward: str = "1.00", by: str = "2h", slots: int = 1, at: tuple[float, float] = PLACE
) -> PostedBounty:
    """Post a bounty that the simulated worker leaves to the story's people."""
    posted = market.ask_photo(scene.question, at=at, within_m=50, reward=reward, by=by, slots=slots, simulate="no_taker")
    assert not isinstance(posted, models.Model)
    return posted


def task_of(worker: WorkerMarket, bounty: PostedBounty, *, near: tuple[float, float] = PLACE) -> str:
    """Return the id of the bounty's task, found as a worker finds it."""
    wanted = bounty.show().task
    return next(task.id for task in worker.tasks(near=near) if task.id == wanted)


def claim(worker: WorkerMarket, bounty: PostedBounty, *, near: tuple[float, float] = PLACE) -> Claim:
    """Claim a slot from the place itself."""
    return worker.claim(task_of(worker, bounty, near=near), at=near)


def send(worker: WorkerMarket, claim_id: str, photo: bytes, *, at: tuple[float, float] = PLACE) -> models.Submission:
    """Send one photograph taken just now at ``at``."""
    return worker.submit(claim_id, photos=[photo], at=at, accuracy_m=8.0, captured_at=datetime.datetime.now(tz=datetime.UTC))


def eventually(look: Callable[[], T], is_good: Callable[[T], bool], *, within_s: float = JUDGED_WITHIN_S) -> T:
    """Look until it is good; return what was seen then.

    Raises:
        AssertionError: it was not good in time; the last look is in the message.
    """
    end_s = time.monotonic() + within_s
    while True:
        seen = look()
        if is_good(seen):
            return seen
        assert time.monotonic() < end_s, f"not within {within_s:.0f} s; the last look: {seen!r}"
        time.sleep(0.25)


def judged(worker: WorkerMarket, submission_id: str) -> models.Submission:
    """Wait for a verdict, as the worker sees it."""
    return eventually(lambda: worker.submission(submission_id), lambda seen: seen.is_judged)


def payable_minor(worker: WorkerMarket) -> int:
    """Return what the worker may have paid out, in cents."""
    return sum(int(purse.payable.value * 100) for purse in worker.balance().data if purse.payable.currency == "USD")


def failed_criteria(submission: models.Submission) -> set[str]:
    """Return the published criteria that the verdict calls failed."""
    assert submission.verdict is not None
    return {result.criterion for result in submission.verdict.criteria if result.outcome == "FAIL"}
