"""Vision hosts: machines that lease runs and hand in readings, in time, too late, broken or not at all."""

import base64
import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from market.accounts.models import User
from tasks import leases
from tests.faults.simulation import network
from tests.faults.simulation.cast import Person
from verification import calibration
from verification.models import VisionRun

if TYPE_CHECKING:
    from tests.faults.simulation.world import World

SURE, UNSURE, BAD = 6.0, 2.0, -1.0


class VisionHost(Person):
    """One machine with a lease key."""

    HABITS = {"take_work": 10, "work_on_old": 1}
    # A run that nobody reads in fifteen minutes is given up.
    SLOWEST = datetime.timedelta(minutes=6)

    def __init__(self, world: "World", name: str, user: User, secret: str) -> None:
        super().__init__(world, name)
        self.user, self.secret = user, secret
        self.taken: list[dict[str, Any]] = []

    def take_work(self) -> str:
        """Lease some runs, where there are any."""
        if self.chance.random() < 0.9 and not VisionRun.objects.filter(lease_state=leases.LeaseState.READY).exists():
            return "nothing is ready"
        body: dict[str, object] = {
            "kind": "vision",
            "limit": self.chance.choice((1, 2, 8)),
            "holder": self.name,
            "lease_s": self.chance.choice((5, 60, 600)),
        }
        return self.post(self.secret, "leases", body, then=self._begin_work)

    def work_on_old(self) -> str:
        """Hand in for a run that was taken long ago, or under a token that is not the newest."""
        if not self.taken:
            return "has none"
        item = self.chance.choice(self.taken[-6:])
        return self._complete({**item, "token": max(0, item["token"] - self.chance.choice((0, 1)))})

    def _begin_work(self, answer: network.Answer) -> None:
        for item in answer.body.get("items", []):
            self.taken.append(item)
            left = datetime.datetime.fromisoformat(item["lease_until"]) - self.now
            plan = self.chance.choices((self._complete, self._fail, self._keep, None), (80, 6, 8, 6))[0]
            if plan is not None:
                when = max(left, datetime.timedelta(seconds=1)) * self.chance.choice((0.1, 0.2, 0.5, 0.9, 1.5, 4))
                self.later(when, "works", lambda plan=plan, item=item: plan(item))  # type: ignore[misc]

    def _complete(self, item: dict[str, Any]) -> str:
        model = calibration.table().model_hash if self.chance.random() < 0.95 else "0" * 64
        score = self.chance.choices((SURE, UNSURE, BAD), (75, 12, 13))[0]
        scores = [score] * (len(item["params"]["phrases"]) + (self.chance.random() < 0.03))
        readings = {"labels": [], "phrase_scores": scores, "descriptor": _descriptor(item["inputs"][0]["sha256"])}
        body = {"token": item["token"], "readings": readings, "model_hash": model, "preprocessing": "simulated-1"}
        return self.post(self.secret, f"leases/{item['id']}/complete", body)

    def _fail(self, item: dict[str, Any]) -> str:
        return self.post(self.secret, f"leases/{item['id']}/fail", {"token": item["token"], "reason": "out of memory"})

    def _keep(self, item: dict[str, Any]) -> str:
        self.later(datetime.timedelta(seconds=30), "works", lambda: self._complete(item))
        return self.post(self.secret, f"leases/{item['id']}/heartbeat", {"token": item["token"], "lease_s": 60})


def _descriptor(sha256: str) -> str:
    values = np.random.default_rng(int(sha256[:12], 16)).normal(size=64)
    # Far from any other: two random directions in 64 dimensions are never as alike as copies are.
    return base64.b64encode((values / np.linalg.norm(values)).astype("<f2").tobytes()).decode()
