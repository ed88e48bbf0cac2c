"""Workers: people who claim, photograph, hand in, give up, appeal and take their money out; some cheat."""

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from market.common import account_paths
from market.ledger import balances
from tasks import ids
from tasks.models import Claim, Submission, Task, WorkerProfile
from tests.faults.simulation import album, invariants, network
from tests.faults.simulation.cast import Person

if TYPE_CHECKING:
    from tests.faults.simulation.world import World

SHOTS = {"good": 44, "other": 16, "blurred": 14, "dark": 4, "small": 4, "stolen": 4, "far away": 4, "negative": 14}


class Worker(Person):
    """One worker with a phone, and an album of his own scene."""

    HABITS = {"claim": 20, "look_around": 1, "check_phone": 6, "try_late": 3, "take_money": 3, "trespass": 1, "read": 1}
    SLOWNESS = 0.4

    def __init__(self, world: "World", name: str, worker: WorkerProfile, secret: str, number: int) -> None:
        super().__init__(world, name)
        self.worker, self.secret, self.number = worker, secret, number

    def claim(self) -> str:
        """Claim an open task, or one of the other mode."""
        listed = Task.objects.filter(status=Task.Status.LISTED).order_by("-pk")
        mine = listed if self.chance.random() < 0.05 else listed.filter(mode=self.worker.mode)
        found = list(mine[:8])
        if self.chance.random() < 0.85:
            used = set(Claim.objects.filter(worker=self.worker, task__in=found).values_list("task_id", flat=True))
            found = [task for task in found if task.pk not in used]
        if not found:
            return "nothing is listed"
        task = self.chance.choice(found)
        where = {"latitude": task.latitude, "longitude": task.longitude} if self.chance.random() < 0.5 else {}
        return self.post(self.secret, f"tasks/{task}/claims", dict(where), then=lambda answer: self._set_out(answer, task))

    def look_around(self) -> str:
        """List open tasks."""
        return self.get(self.secret, "tasks", {"near": "52.52,13.41"})

    def read(self) -> str:
        """Read the balance or the claims."""
        return self.get(self.secret, self.chance.choice(("balance", "claims")))

    def check_phone(self) -> str:
        """See what became of one's work; after a rejection retake, appeal, give in, or do nothing."""
        rejected = Submission.objects.filter(worker=self.worker, status=Submission.Status.REJECTED, final_at=None).order_by("-pk")
        found = list(rejected.select_related("claim__task")[:3])
        if not found:
            return self.claim()
        submission = self.chance.choice(found)
        return self._answer_rejection(submission, self.chance.choice(("retake", "retake", "appeal", "appeal", "waive", "nothing")))

    def try_late(self) -> str:
        """Do to any old work what may be too late by now."""
        found = list(Submission.objects.filter(worker=self.worker).select_related("claim__task").order_by("-pk")[:6])
        if found and self.chance.random() < 0.7:
            return self._answer_rejection(self.chance.choice(found), self.chance.choice(("retake", "appeal", "waive")))
        old = list(Claim.objects.filter(worker=self.worker).select_related("task").order_by("-pk")[:4])
        if not old:
            return self.claim()
        claim = self.chance.choice(old)
        return self._hand_in(str(claim), claim.task) if self.chance.random() < 0.7 else self.post(self.secret, f"claims/{claim}/drop")

    def take_money(self) -> str:
        """Ask for payable money, or for more than that."""
        prefix = account_paths.worker_prefix(mode=self.worker.mode, worker_id=self.worker.pk)
        payable = {path: minor for path, minor in sorted(balances.guarded_under(prefix).items()) if ":payable:" in path and minor}
        if not payable:
            return self.claim()
        path = self.chance.choice(list(payable))
        minor = int(payable[path] * self.chance.choice((0.4, 1, 1, 1.5))) or 1
        currency = account_paths.currency_of(path)
        amount = str(minor) if currency == "JPY" else f"{minor // 100}.{minor % 100:02}"
        body = {"amount": {"amount": amount, "currency": currency}, "destination": self.chance.choice(("account_1", "account_3"))}
        return self.post(self.secret, "payouts", body)

    def trespass(self) -> str:
        """Touch another worker's claim."""
        others = list(Claim.objects.exclude(worker=self.worker).select_related("task").order_by("-pk")[:3])
        if not others:
            return "there is none"
        claim = self.chance.choice(others)
        return self._hand_in(str(claim), claim.task) if self.chance.random() < 0.3 else self.post(self.secret, f"claims/{claim}/drop")

    def _set_out(self, answer: network.Answer, task: Task) -> None:
        if answer.status != 201:
            return
        lasts = datetime.datetime.fromisoformat(answer.body["expires_at"]) - self.now
        plan = self._pick({"hand in": 80, "drop": 6, "extend": 8, "forget": 6})
        when = max(lasts, datetime.timedelta(0)) * self.chance.choice((0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 0.99, 1.02))
        if plan == "forget":
            return
        self.later(when, plan, lambda: self._carry_out(plan, answer.body, task))

    def _carry_out(self, plan: str, claim: dict[str, Any], task: Task) -> str:
        if plan == "hand in":
            return self._hand_in(claim["id"], task)
        if plan == "drop":
            return self.post(self.secret, f"claims/{claim['id']}/drop")
        self.later(datetime.timedelta(minutes=5), "hands in", lambda: self._hand_in(claim["id"], task))
        return self.post(self.secret, f"claims/{claim['id']}/extend", {"latitude": task.latitude, "longitude": task.longitude})

    def _hand_in(self, claim: str, task: Task) -> str:
        kind = self._pick(SHOTS)
        owner = (self.number + 1) % album.OWNERS if kind == "stolen" else self.number
        shot = album.shot(owner, kind if kind in album.SHOTS else "good")
        body: dict[str, object] = {
            "latitude": task.latitude + (0.1 if kind == "far away" else 0),
            "longitude": task.longitude,
            "accuracy_m": self.chance.choice((8, 8, 8, 400)),
            "note": invariants.NOTE,
        }
        if kind == "negative":
            body |= {"kind": "NEGATIVE", "negative_reason": self.chance.choice(("closed", "closed", "no_access"))}
        return f"{kind} {self.post(self.secret, f'claims/{claim}/submissions', body, photos=(shot,), then=self._look_after)}"

    def _look_after(self, answer: network.Answer) -> None:
        if answer.status == 201:
            for _ in range(2):
                self.later(self.world.pace * self.chance.uniform(0.1, 4), "looks after his work", lambda: self._look(answer.body["id"]))

    def _look(self, submission_id: str) -> str:
        submission = Submission.objects.select_related("claim__task").get(pk=ids.decode("sub", submission_id))
        if submission.status != Submission.Status.REJECTED:
            return submission.status
        return self._answer_rejection(submission, self.chance.choice(("retake", "retake", "appeal", "nothing")))

    def _pick(self, usual: Mapping[str, float]) -> str:
        told = self.world.mood.work
        return self.chance.choices(list(usual), [weight * told.get(name, 1) for name, weight in usual.items()])[0]

    def _answer_rejection(self, submission: Submission, choice: str) -> str:
        if choice == "retake":
            return f"retake {self._hand_in(ids.encode('clm', submission.claim_id), submission.claim.task)}"
        if choice == "nothing":
            return choice
        body: dict[str, object] = {"statement": "Look again."} if choice == "appeal" else {}
        return f"{choice} {self.post(self.secret, f'submissions/{submission}/{choice}', body)}"
