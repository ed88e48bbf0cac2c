"""A GPU owner who hands in one honest run and one that he trained otherwise, over the same HTTP as everybody."""

import contextlib
import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from agents_sdk import Market, research_models
from agents_sdk.leases import LeaseClient, LeaseItem, Replay
from agents_sdk.working_folder import Candidate
from gpu_workers.runner import conversation, hardware, training
from tests.journeys.stage import Stage
from verification.replay import reports, trees
from verification.replay.classes import ClassKey
from verification.replay.spec import Spec

WITHIN_S = 900.0
_LOOK_S = 1.0
_ISSUE_KEY = """
from market.accounts import keys
from market.accounts.models import User
from tasks.models import WorkerProfile
user = User.objects.create_user(username="forger")
WorkerProfile.objects.create(user=user, mode="test", country="DE")
print("KEY", keys.issue(user=user, agent=None, mode="test", scope="lease:replay", name="journey")[1])
"""


@dataclass(frozen=True)
class Worked:
    """What became of it: the candidate's verdict, and the run as its maker sees it."""

    case: research_models.ResearchCase
    run: Replay


@contextlib.contextmanager
def at_work(stage: Stage) -> Iterator["Forger"]:
    """Open an account for somebody with a machine of his own, registered and calibrated."""
    key = next(line for line in stage.manage("shell", "--no-imports", "-c", _ISSUE_KEY).splitlines() if line.startswith("KEY"))[4:]
    with LeaseClient(stage.url, key) as client, tempfile.TemporaryDirectory(prefix="atoms-forger-") as folder:
        forger = Forger(stage, client, Path(folder))
        forger.calibrate()
        yield forger


class Forger:
    """Does as a GPU owner does, honestly or not."""

    def __init__(self, stage: Stage, client: LeaseClient, folder: Path) -> None:
        self._stage = stage
        self._client = client
        self._folder = folder
        self._class = hardware.class_key(precision="fp32", threads=1)
        self._host = client.register_host("forger", class_key=self._class.text, sandbox_level="bwrap-cpu", facts={})

    def calibrate(self) -> None:
        """Do the host's first run, as every new host must."""
        self.train(self.take(), is_forged=False)
        _until(lambda: self._client.hosts()[0].status == "READY")

    def replay_of(self, claimant: Market, bounty_id: str, text: str, *, is_forged: bool) -> Worked:
        """Submit a candidate; while the honest owners rest, do its first run; then let them go on to the verdict."""
        _tell_owners(self._stage, "pause")
        tip = claimant.research.tip(bounty_id)
        candidate = claimant.research.submit(bounty_id, Candidate(parent=tip.digest, files={"train.py": text}))
        taken = self.take()
        self.train(taken, is_forged=is_forged)
        _tell_owners(self._stage, "resume")
        return Worked(candidate.wait(timeout=WITHIN_S), self.judged(taken))

    def take(self) -> LeaseItem:
        """Lease one run, waiting until there is one."""
        taken: list[LeaseItem] = []

        def has_one() -> bool:
            lease = self._client.lease_replays(1, holder="forger", class_key=self._class.text, host_id=self._host.id, lease_s=600)
            taken.extend(lease.items)
            return bool(taken)

        _until(has_one)
        return taken[0]

    def train(self, item: LeaseItem, *, is_forged: bool) -> None:
        """Train, seal, reveal, hand in and end."""
        finished = self._trained(item, is_forged=is_forged)
        salt = reports.new_salt()
        seal = reports.seal(finished.report, salt)
        _until(lambda: self._client.seal(item.id, item.token, seal).is_reveal_due)
        content = cast("Mapping[str, JsonValue]", finished.report.to_json())
        for index in self._client.reveal(item.id, item.token, report=content, salt=salt).wanted_checkpoints:
            self._client.upload(item.id, item.token, index, finished.checkpoint_paths[index].read_bytes())
        self._client.finish(item.id, item.token)

    def judged(self, item: LeaseItem) -> Replay:
        """Wait until a run of ours is judged."""
        _until(lambda: self._client.replay(item.id).status in ("VALID", "INVALID", "CANCELLED"))
        return self._client.replay(item.id)

    def _trained(self, item: LeaseItem, *, is_forged: bool) -> training.Finished:
        spec = Spec.from_json(item.params["spec"])
        data: dict[str, Path] = {}
        files: dict[str, str] = {}
        for wanted in item.inputs:
            content = self._client.fetch(wanted.url, sha256=wanted.sha256)
            role, _, name = wanted.role.partition(":")
            if role == "tree":
                files = trees.parse_tree(content)
            else:
                data[name] = self._folder / f"{item.id}-{len(data)}"
                data[name].write_bytes(content)
        trained = {**files, "train.py": files["train.py"].replace("BETAS = (0.9, 0.95)", "BETAS = (0.9, 0.94)")} if is_forged else files
        assert (trained == files) is not is_forged
        finished = training.replay(
            spec=spec,
            files=trained,
            seed=cast(int, item.params["seed"]),
            class_key=ClassKey.parse(str(item.params["class_key"] or self._class.text)),
            data=data,
            folder=self._folder / item.id,
            run_id=item.id,
            place=conversation.Place(level="bwrap-cpu"),
        )
        return dataclasses.replace(finished, report=dataclasses.replace(finished.report, tree_digest=trees.tree_digest(files)))


def _tell_owners(stage: Stage, word: str) -> None:
    for number in (1, 2):
        environment = {**os.environ, "ATOMS_GPU_HOME": str(stage.folder / f"gpu-owner-{number}"), "ATOMS_URL": stage.url}
        command = [sys.executable, "-m", "gpu_workers.owner.program", word]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def _until(is_so: Callable[[], bool], within_s: float = WITHIN_S) -> None:
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        if is_so():
            return
        time.sleep(_LOOK_S)
    raise AssertionError("It did not happen in time.")
