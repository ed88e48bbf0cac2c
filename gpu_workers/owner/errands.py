"""Carries out what the machine wants of the market: one blocking call an intent, its outcome as an event. Every POST has a fixed key."""

import random
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from agents_sdk import errors, leases
from gpu_workers.owner import folder as folders
from gpu_workers.owner import history, machine
from gpu_workers.owner.machine import Do, Stage
from verification.replay import reports, trees
from verification.replay.spec import MalformedSpec, Spec

# How long a question for work whose answer was lost is asked again as the same question.
SAME_QUESTION_S = float(machine.LEASE_S)
MOST_TREE_BYTES = 1_100_000
_JITTER_S = 2.0
# A market that asks to look again at once is looked at this often.
LEAST_LOOK_S = 1.0
_ROLE = re.compile(r"(tree)|(train|asset):([a-z0-9][a-z0-9_.-]{0,63})")


@dataclass(frozen=True)
class Host:
    """This machine as the market knows it."""

    id: str
    class_key: str
    sandbox_level: str
    holder: str


# Says why an item is not wanted here (a code), or nothing.
Judge = Callable[[leases.LeaseItem, Spec], str]


class Unfit(Exception):
    """An item can't be worked on here; `reason` is a code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Errands:
    """Talks to the market for the runs of one folder. Safe to use from several threads, for different runs."""

    def __init__(
        self, *, client: leases.LeaseClient, folder: folders.Folder, host: Host, judge: Judge, clock: Callable[[], float] = time.time
    ) -> None:
        self._client = client
        self._folder = folder
        self._host = host
        self._judge = judge
        self._clock = clock

    def carry_out(self, intent: machine.Intent) -> machine.Event:
        """Do what an intent says and return what came of it. What can be tried again never raises."""
        if intent.do is Do.ASK:
            return self._ask()
        try:
            return _STEPS[intent.do](self, intent)
        except leases.StaleLease:
            return machine.Stale(intent.run_id, intent.token)
        except Unfit as unfit:
            return machine.Unwanted(intent.run_id, intent.token, unfit.reason)
        except errors.AtomsError as error:
            return machine.Failed(intent.run_id, intent.token, intent.do, str(error)[:300], _retry_after_s(error))
        except (OSError, folders.BrokenFolder, reports.MalformedReport) as error:
            return machine.Failed(intent.run_id, intent.token, intent.do, f"{type(error).__name__}: {error}"[:300])

    def _ask(self) -> machine.Event:
        asking = self._asking()
        try:
            lease = self._client.lease_replays(
                1,
                holder=self._host.holder,
                class_key=self._host.class_key,
                host_id=self._host.id,
                lease_s=machine.LEASE_S,
                idempotency_key=str(asking["key"]),
            )
        except errors.APIConnectionError as error:
            # It may have been answered: the same question under the same key brings the same items.
            return machine.NothingLeased("offline", error.message, _retry_after_s(error))
        except errors.AtomsError as error:
            self._asked()
            answer = "offline" if isinstance(error, errors.ServerError | errors.RateLimited | errors.MalformedResponse) else "refused"
            answer = "not_verified" if isinstance(error, errors.APIStatusError) and error.code.startswith("host_") else answer
            return machine.NothingLeased(answer, str(error)[:300], _retry_after_s(error))
        runs = tuple(run for item in lease.items if (run := self._taken(item)) is not None)
        self._asked()
        return machine.Leased(runs) if runs else machine.NothingLeased("no_demand", "", lease.retry_after_s + random.uniform(0, 1))  # noqa: S311

    def _asking(self) -> Mapping[str, JsonValue]:
        now = self._clock()
        question: dict[str, JsonValue] = {"holder": self._host.holder, "class_key": self._host.class_key, "host_id": self._host.id}
        open_one = folders.read(self._folder.path / "asking.json")
        if open_one is not None and open_one["question"] == question and now - cast(float, open_one["at"]) < SAME_QUESTION_S:
            return open_one
        asking: dict[str, JsonValue] = {"key": str(uuid.uuid4()), "question": question, "at": now}
        folders.write(self._folder.path / "asking.json", asking)
        return asking

    def _asked(self) -> None:
        (self._folder.path / "asking.json").unlink(missing_ok=True)

    def _taken(self, item: leases.LeaseItem) -> machine.Run | None:
        """Keep an item on the disk before the question is forgotten; None if it is known, by an answer that is read twice after a kill.

        What a finished training left under an older token stays.
        """
        steps = item.params.get("spec")
        count = steps.get("steps") if isinstance(steps, dict) else 0
        run = machine.Run(item.id, item.token, steps=count if isinstance(count, int) and 0 <= count <= 10**9 else 0)
        known = history.of_run(self._folder, item.id)
        if known is not None and cast(int, known["token"]) >= item.token:
            return None
        old = folders.read(self._folder.run_folder(item.id) / "run.json")
        details: dict[str, JsonValue] = {
            "params": item.params,
            "inputs": [each.model_dump(mode="json") for each in item.inputs],
            "leased_at": self._clock(),
        }
        self._folder.keep_run(item.id, {**(old or {}), **details, **kept(machine.again(run_of(old) if old else None, run))})
        return run

    def _fetch(self, intent: machine.Intent) -> machine.Event:
        record = self._record(intent)
        item = _item(intent, record)
        spec = _spec(item)
        reason = self._judge(item, spec)
        if reason:
            raise Unfit(reason)
        files = {file.name: file for file in (*spec.files("train"), *spec.files("asset"))}
        missing = set(files)
        for given in item.inputs:
            match = _ROLE.fullmatch(given.role)
            if match is None:
                raise Unfit("broken_inputs")
            if match[1]:
                self._fetch_tree(item, given)
                continue
            file = files.get(match[3])
            if file is None or (file.role, file.sha256) != (match[2], given.sha256):
                raise Unfit("broken_inputs")
            self._fetch_data(given, file.byte_count)
            missing.discard(file.name)
        if missing or not (self._folder.run_folder(intent.run_id) / "tree.json").exists():
            raise Unfit("broken_inputs")
        return machine.Done(intent.run_id, intent.token, Do.FETCH, stage=Stage.READY)

    def _fetch_tree(self, item: leases.LeaseItem, given: leases.LeaseInput) -> None:
        content = self._download(given, MOST_TREE_BYTES)
        if given.sha256 != item.params.get("tree_digest"):
            raise Unfit("broken_inputs")
        try:
            trees.parse_tree(content)
        except ValueError:
            raise Unfit("broken_inputs") from None
        folders.write_bytes(self._folder.run_folder(item.id) / "tree.json", content)

    def _fetch_data(self, given: leases.LeaseInput, byte_count: int) -> None:
        path = data_path(self._folder, given.sha256)
        if path.exists():
            # Used again: the sweep goes by the time.
            path.touch()
            return
        path.parent.mkdir(mode=0o700, exist_ok=True)
        folders.write_bytes(path, self._download(given, byte_count))

    def _download(self, given: leases.LeaseInput, largest_bytes: int) -> bytes:
        try:
            return self._client.fetch(given.url, sha256=given.sha256, largest_bytes=largest_bytes)
        except errors.DigestMismatch:
            raise Unfit("broken_inputs") from None

    def _beat(self, intent: machine.Intent) -> machine.Event:
        record = self._record(intent)
        step, steps = cast(int, record.get("steps_done", 0)), cast(int, record.get("steps", 0))
        self._client.keep(intent.run_id, intent.token, lease_s=machine.LEASE_S, step=step, steps=steps)
        return machine.Done(intent.run_id, intent.token, Do.BEAT)

    def _seal(self, intent: machine.Intent) -> machine.Event:
        sealed = self._client.seal(intent.run_id, intent.token, self._seal_of(intent), idempotency_key=_key(intent))
        return _sealed(intent, sealed)

    def _look(self, intent: machine.Intent) -> machine.Event:
        # A new key each time: under an old one the market repeats what it said before.
        return _sealed(intent, self._client.seal(intent.run_id, intent.token, self._seal_of(intent)))

    def _seal_of(self, intent: machine.Intent) -> str:
        return reports.seal(reports.Report.from_json(self._result(intent)["report"]), str(self._record(intent)["salt"]))

    def _reveal(self, intent: machine.Intent) -> machine.Event:
        report = cast("Mapping[str, JsonValue]", self._result(intent)["report"])
        salt = str(self._record(intent)["salt"])
        try:
            revealed = self._client.reveal(intent.run_id, intent.token, report=report, salt=salt, idempotency_key=_key(intent))
        except errors.Conflict as error:
            if error.code != "reveal_too_early":
                raise
            return machine.Done(intent.run_id, intent.token, Do.REVEAL, stage=Stage.SEALED, retry_after_s=error.retry_after_s or 60.0)
        return machine.Done(intent.run_id, intent.token, Do.REVEAL, stage=Stage.REVEALED, wanted=revealed.wanted_checkpoints)

    def _upload(self, intent: machine.Intent) -> machine.Event:
        paths = cast("list[str]", self._result(intent)["checkpoints"])
        if intent.index >= len(paths):
            raise folders.BrokenFolder(f"The market asks for checkpoint {intent.index}; there are {len(paths)}.")
        content = (self._folder.run_folder(intent.run_id) / paths[intent.index]).read_bytes()
        self._client.upload(intent.run_id, intent.token, intent.index, content, idempotency_key=f"{_key(intent)}-{intent.index}")
        return machine.Done(intent.run_id, intent.token, Do.UPLOAD, uploaded=intent.index)

    def _finish(self, intent: machine.Intent) -> machine.Event:
        self._client.finish(intent.run_id, intent.token, idempotency_key=_key(intent))
        return machine.Done(intent.run_id, intent.token, Do.FINISH)

    def _give_back(self, intent: machine.Intent) -> machine.Event:
        record = self._record(intent)
        steps_done = cast(int, record.get("steps_done", 0))
        reason = str(record.get("reason") or "given_back")
        self._client.give_back(intent.run_id, intent.token, reason, steps_done=steps_done, idempotency_key=_key(intent))
        return machine.Done(intent.run_id, intent.token, Do.GIVE_BACK)

    def _record(self, intent: machine.Intent) -> folders.JsonObject:
        record = folders.read(self._folder.run_folder(intent.run_id) / "run.json")
        if record is None:
            raise folders.BrokenFolder(f"The record of {intent.run_id} is gone. The market hands the run out again.")
        return record

    def _result(self, intent: machine.Intent) -> folders.JsonObject:
        result = folders.read(self._folder.run_folder(intent.run_id) / "result.json")
        if result is None:
            raise folders.BrokenFolder(f"The result of {intent.run_id} is gone. The market hands the run out again.")
        return result


_STEPS: dict[Do, Callable[[Errands, machine.Intent], machine.Event]] = {
    Do.FETCH: Errands._fetch,
    Do.BEAT: Errands._beat,
    Do.SEAL: Errands._seal,
    Do.LOOK: Errands._look,
    Do.REVEAL: Errands._reveal,
    Do.UPLOAD: Errands._upload,
    Do.FINISH: Errands._finish,
    Do.GIVE_BACK: Errands._give_back,
}


def data_path(folder: folders.Folder, sha256: str) -> Path:
    """Return where a data file is kept for all runs that need it."""
    return folder.path / "data" / sha256


def kept(run: machine.Run) -> folders.JsonObject:
    """Return the part of a run's state that is kept on the disk."""
    return {
        "id": run.id,
        "token": run.token,
        "stage": str(run.stage),
        "steps": run.steps,
        "steps_done": run.steps_done,
        "wanted": list(run.wanted),
        "reason": run.reason,
    }


def run_of(record: Mapping[str, JsonValue]) -> machine.Run:
    """Return the run that a record keeps."""
    return machine.Run(
        id=str(record["id"]),
        token=cast(int, record["token"]),
        stage=Stage(str(record["stage"])),
        steps=cast(int, record["steps"]),
        steps_done=cast(int, record["steps_done"]),
        wanted=tuple(cast("Sequence[int]", record["wanted"])),
        reason=str(record["reason"]),
    )


def _item(intent: machine.Intent, record: Mapping[str, JsonValue]) -> leases.LeaseItem:
    return leases.LeaseItem.model_validate(
        {
            "id": intent.run_id,
            "token": intent.token,
            "lease_until": "1970-01-01T00:00:00Z",
            "kind": "replay",
            "params": record["params"],
            "inputs": record["inputs"],
        }
    )


def _spec(item: leases.LeaseItem) -> Spec:
    try:
        return Spec.from_json(item.params.get("spec"))
    except MalformedSpec:
        raise Unfit("malformed_spec") from None


def _sealed(intent: machine.Intent, sealed: leases.Sealed) -> machine.Event:
    if sealed.is_reveal_due:
        return machine.Done(intent.run_id, intent.token, intent.do, stage=Stage.DUE)
    return machine.Done(intent.run_id, intent.token, intent.do, stage=Stage.SEALED, retry_after_s=max(LEAST_LOOK_S, sealed.retry_after_s))


def _key(intent: machine.Intent) -> str:
    """Return the key of a step: the same after a kill, another under another token."""
    return f"{intent.run_id}-{intent.token}-{intent.do.lower()}"


def _retry_after_s(error: errors.AtomsError) -> float:
    asked = error.retry_after_s if isinstance(error, errors.APIStatusError) else None
    # Spread, so that all owners do not come back to a market in the same second.
    return (asked or 0.0) + random.uniform(0, _JITTER_S)  # noqa: S311
