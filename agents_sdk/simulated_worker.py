"""A worker made of software, for test mode: it claims, travels, photographs, hands in and asks for its pay over the public API.

It is judged like anyone else. What it does next is read from the market at every look, so it may be stopped and started
at any moment, and the market restarted under it. One worker a process: ``python -m agents_sdk.simulated_worker``.
A task's ``simulate`` makes it misbehave: ``late`` (sends when its claim has ended), ``blurred`` (the retake is sharp),
``wrong_place``, ``fraud`` (photographs something else) or ``no_taker`` (leaves the task alone).
"""

import datetime
import itertools
import logging
import math
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from agents_sdk import errors, scenes, worker

LOOK_EVERY_S = 1.0
LONGEST_PAUSE_S = 30.0
TRAVEL_S = 0.5
TRAVEL_M = 2_000.0
# As many as one page of a list has.
MOST_OPEN_CLAIMS = 20
PAYOUT_EVERY_S = 5.0
# A task that was refused is tried again after this long: its slot may be free again.
REFUSED_FOR_S = 60.0
BANK = "test_ok"
_METRES_A_DEGREE = 111_195.0
_LEAST_SHORT_SIDE_PX, _MOST_SHORT_SIDE_PX = 720, 1_600

_log = logging.getLogger("simulated_worker")


class SimulatedWorker:
    """One worker with an album. `look` does all there is to do at the moment."""

    def __init__(
        self,
        market: worker.WorkerMarket,
        album: dict[scenes.Scene, Path],
        *,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(tz=datetime.UTC),
        monotonic: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._market = market
        self._album = album
        self._now = now
        self._monotonic = monotonic
        self._pause = pause
        self._refused_until: dict[str, float] = {}
        self._late: dict[str, worker.Claim] = {}
        self._next_payout = 0.0

    def look(self) -> None:
        """Finish what is claimed, claim what the album can answer, and ask for what is payable.

        Raises:
            AtomsError: the market can't be reached, or refuses this key; look again later.
        """
        for claim in self._newest("ACTIVE"):
            self._work_on(claim, self._market.task(claim.task))
        for claim in self._newest("SUBMITTED"):
            if claim.ended_at is None:
                self._follow(claim)
        self._send_late_ones()
        self._claim_what_fits()
        if self._monotonic() >= self._next_payout:
            self._ask_for_pay()
            self._next_payout = self._monotonic() + PAYOUT_EVERY_S

    def _newest(self, status: str) -> list[worker.Claim]:
        # One page: a worker has few open claims, and they are his newest.
        return list(itertools.islice(self._market.claims(status=status), MOST_OPEN_CLAIMS))

    def _claim_what_fits(self) -> None:
        wanted = [task for task in self._market.tasks() if self._wants(task)]
        # To be late takes a claim's whole time, in which there may be no other claim: the others come first.
        for task in sorted(wanted, key=lambda task: task.simulate == "late"):
            if not self._claim(task):
                return

    def _wants(self, task: worker.Task) -> bool:
        if task.kind != "photo" or task.simulate == "no_taker" or self._refused_until.get(task.id, 0.0) > self._monotonic():
            return False
        return self._scene_for(task) is not None

    def _scene_for(self, task: worker.Task) -> scenes.Scene | None:
        choose = scenes.that_does_not_show if task.simulate == "fraud" else scenes.that_shows
        return choose(_phrases(task), self._album)

    def _claim(self, task: worker.Task) -> bool:
        """Claim a task and do it; return whether another may be claimed as well."""
        away_m = 0 if task.simulate == "late" else TRAVEL_M
        try:
            claim = self._market.claim(task.id, at=_position(task, offset_m=away_m))
        except (errors.Conflict, errors.NotFound, errors.BadRequest, errors.Forbidden) as refusal:
            if refusal.code == "too_many_open_claims":
                return False
            self._remember(task.id, for_ever=refusal.code == "claimed_before")
            _log.info("%s not claimed: %s", task.id, refusal.code)
            return True
        _log.info("%s claimed: %s", task.id, claim.id)
        self._work_on(claim, task)
        return True

    def _remember(self, task_id: str, *, for_ever: bool) -> None:
        self._refused_until = {known: until for known, until in self._refused_until.items() if until > self._monotonic()}
        self._refused_until[task_id] = math.inf if for_ever else self._monotonic() + REFUSED_FOR_S

    def _work_on(self, claim: worker.Claim, task: worker.Task) -> None:
        scene = self._scene_for(task)
        if scene is None:
            self._drop(claim)
        elif task.simulate == "late":
            self._late[claim.id] = claim
        else:
            self._pause(TRAVEL_S)
            self._send(claim, task, scene)

    def _follow(self, claim: worker.Claim) -> None:
        """Take up the one retake after a rejection, and give in after the second; a cheat gives in at once."""
        if not claim.submissions:
            return
        submission = self._market.submission(claim.submissions[-1])
        if submission.status != "REJECTED" or submission.is_final:
            return
        task = self._market.task(claim.task)
        scene = self._scene_for(task)
        if submission.is_retake_offered and scene is not None and task.simulate not in {"fraud", "wrong_place", "late"}:
            self._pause(TRAVEL_S)
            self._send(claim, task, scene)
            return
        try:
            self._market.waive(submission.id)
        except (errors.Conflict, errors.NotFound) as refusal:
            _log.info("%s stays: %s", submission.id, refusal.code)
        else:
            _log.info("%s is rejected, rightly", submission.id)

    def _send_late_ones(self) -> None:
        for claim in list(self._late.values()):
            if self._now() <= claim.expires_at:
                continue
            del self._late[claim.id]
            task = self._market.task(claim.task)
            scene = self._scene_for(task)
            if scene is not None:
                self._send(claim, task, scene)

    def _send(self, claim: worker.Claim, task: worker.Task, scene: scenes.Scene) -> None:
        number = len(claim.submissions) + 1
        # Made of the claim, so that a repetition after a crash sends the same picture with the same key.
        seed = f"{claim.id}:{number}"
        photo = scenes.take(
            self._album[scene],
            seed=seed,
            short_side_px=min(max(task.min_short_side_px, _LEAST_SHORT_SIDE_PX), _MOST_SHORT_SIDE_PX),
            is_blurred=task.simulate == "blurred" and number == 1,
        )
        away_m = 3_000 + 5 * (task.place.within_m or 0) if task.simulate == "wrong_place" else 0
        try:
            submission = self._market.submit(
                claim.id,
                photos=[photo],
                at=_position(task, offset_m=away_m),
                accuracy_m=8.0,
                captured_at=self._now(),
                idempotency_key=f"simulated-{seed}",
            )
        except (errors.Conflict, errors.NotFound) as refusal:
            _log.info("%s not taken: %s", claim.id, refusal.code)
            if not refusal.is_retryable:
                self._drop(claim)
        except errors.BadRequest as refusal:
            _log.warning("%s refused: %s", claim.id, refusal)
            self._drop(claim)
        else:
            _log.info("%s sent: %s shows %s", claim.id, submission.id, Path(scene.file).name)

    def _drop(self, claim: worker.Claim) -> None:
        try:
            self._market.drop(claim.id)
        except (errors.Conflict, errors.NotFound):
            return  # It has ended by itself.
        _log.info("%s dropped", claim.id)

    def _ask_for_pay(self) -> None:
        for purse in self._market.balance().data:
            if purse.payable.value <= 0:
                continue
            try:
                payout = self._market.payout(purse.payable.amount, purse.payable.currency, destination=BANK)
            except (errors.Conflict, errors.Forbidden, errors.BadRequest) as refusal:
                _log.warning("no payout: %s", refusal)
            else:
                _log.info("%s asks for %s", payout.id, purse.payable)


def run(simulated: SimulatedWorker, *, pause: Callable[[float], None] = time.sleep) -> None:
    """Look for ever, politely: once a second, as much less often as the market asks, and less while it is away."""
    failures = 0
    while True:
        try:
            simulated.look()
        except errors.Unauthenticated:
            raise
        except errors.AtomsError as error:
            if failures == 0:
                _log.warning("the market does not answer as hoped: %s", error)
            asked_s = error.retry_after_s if isinstance(error, errors.APIStatusError) and error.retry_after_s else 0.0
            pause(max(asked_s, min(LONGEST_PAUSE_S, LOOK_EVERY_S * 2 ** min(failures, 10)) * random.uniform(0.5, 1.0)))  # noqa: S311
            failures += 1
        else:
            failures = 0
            pause(LOOK_EVERY_S)


def main() -> int:
    """Run one simulated worker with ATOMS_API_KEY and ATOMS_URL until SIGTERM; return the exit code."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s simulated worker: %(message)s")
    # Its line for every request would hide what the worker does.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, _stop)
    if not os.environ.get("ATOMS_API_KEY", "").startswith("test_worker_"):
        _log.error("Set ATOMS_API_KEY to a test_worker_ key: simulated work exists in test mode only.")
        return 2
    album = scenes.find_all()
    if not album:
        _log.error('No photographs are on this machine. Install them: pip install "atoms-market[photos]".')
        return 2
    try:
        with worker.WorkerMarket() as market:
            run(SimulatedWorker(market, album))
    except errors.Unauthenticated as error:
        _log.error("%s", error)
        return 3
    except KeyboardInterrupt:
        _log.info("stopped")
    return 0


def _stop(signal_number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    # Wherever it stands: everything sent may be sent again, and everything else is read from the market.
    raise KeyboardInterrupt


def _phrases(task: worker.Task) -> tuple[str, ...]:
    """Return what must be seen: the terms' phrases, as the published criteria carry them."""
    shown = tuple(criterion.text.partition(": ")[2] for criterion in task.criteria if criterion.code.startswith("shows:"))
    return task.must_show or shown or (task.question,)


def _position(task: worker.Task, *, offset_m: float) -> tuple[float, float]:
    """Return a place so many metres from the task's, towards the equator."""
    latitude = task.place.latitude - (offset_m / _METRES_A_DEGREE) * (1 if task.place.latitude >= 0 else -1)
    return latitude, task.place.longitude


if __name__ == "__main__":
    sys.exit(main())
