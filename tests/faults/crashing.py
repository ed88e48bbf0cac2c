"""Ending a process at a chosen point of a money path, doing its request again, and comparing what comes of it.

A path runs in a forked child that exits before or after one SQL statement, COMMIT or outside call. Then the same request
is done again, the sweepers work, and the whole database is compared with that of a run without a crash.
"""

import dataclasses
import datetime
import json
import os
import random
import re
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import celery
from django.core.files.storage import default_storage
from django.db import connection
from django.test import override_settings

from market.events import egress
from market.ledger import audit
from market.payments.providers import test_money
from tasks.storage import WholeFileStorage
from tests import forking, listener
from tests.faults import campaign, money_paths, states

CRASHED = 71
# When what follows a crash is swept: at once, and when everything that waits for seconds or minutes is due.
_SWEPT_AFTER = (datetime.timedelta(0), datetime.timedelta(minutes=5))
_VERB = re.compile(r'^\W*(\w+)(?:.*?(?:FROM|INTO|UPDATE|SAVEPOINT)\s+"?(\w+))?', re.IGNORECASE | re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Point:
    """A place in a path: the number of a step, what the step is, and the side of it on which the process ends."""

    number: int
    label: str
    is_after: bool

    def __str__(self) -> str:
        return f"{'after' if self.is_after else 'before'} step {self.number} ({self.label})"


class Tripwire:
    """Counts the steps of the process it is laid in, and ends the process at one of them."""

    def __init__(self, point: Point | None) -> None:
        self.point = point
        self.labels: list[str] = []
        self._lock = threading.Lock()

    def lay(self) -> None:
        """Watch the database, the provider, the files, the bells and the webhooks. It can't be taken up again: fork first."""
        connection.execute_wrappers.append(self._statement)
        connection._commit = self._watched("COMMIT", connection._commit)  # type: ignore[attr-defined]
        for owner, name in (
            *((test_money.Bank, name) for name in ("collect", "pay", "find", "fetch_events")),
            (WholeFileStorage, "save"),
            # What a storage does with a file: it is begun, its bytes are on the disk, it gets its name.
            (tempfile, "mkstemp"),
            (os, "fsync"),
            (Path, "replace"),
            (celery.Celery, "send_task"),
            (egress, "post"),
        ):
            setattr(owner, name, self._watched(f"{getattr(owner, '__name__', owner)}.{name}", getattr(owner, name)))

    def step(self, label: str, call: Callable[[], Any]) -> Any:
        """Do one step, unless the process ends before it; end it after the step if that is the point, whatever came of it."""
        with self._lock:
            self.labels.append(label)
            is_here = self.point is not None and self.point.number == len(self.labels)
        if is_here and self.point and not self.point.is_after:
            self.end()
        try:
            return call()
        finally:
            if is_here:
                self.end()

    def end(self) -> None:
        """End the process without any clean-up."""
        os._exit(CRASHED)

    def _statement(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Mapping[str, Any]) -> Any:
        return self.step(label_of(sql), lambda: execute(sql, params, many, context))

    def _watched(self, label: str, call: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: self.step(label, lambda: call(*args, **kwargs))


def label_of(sql: str) -> str:
    """Return a statement's verb and table."""
    found = _VERB.match(sql)
    return " ".join(filter(None, found.groups())) if found else sql[:20]


@dataclasses.dataclass
class _Proof:
    """One path: where it starts, its steps, and how it ends when nothing happens to it."""

    path: money_paths.Path
    request: money_paths.Request
    start: states.State
    files: list[str]
    labels: list[str] = dataclasses.field(default_factory=list)
    answer: str = ""
    end: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    # States after a crash from which the way to the end was shown already: what follows depends on the rows alone.
    shown: set[str] = dataclasses.field(default_factory=set)


def run(
    *, seed: int, most_points: int = 0, names: Sequence[str] = (), paths: Mapping[str, money_paths.Path] = money_paths.PATHS
) -> campaign.Report:
    """Crash each of ``paths`` (all, or those named) at each point, or at ``most_points`` of each path; return what was found."""
    report = campaign.Report()
    with listener.listen() as hooks, override_settings(EGRESS_TEST_HOSTS=[f"hooks.test:{hooks.port}"]):
        cast = money_paths.gather_cast(webhook_url=f"http://hooks.test:{hooks.port}/in")
        base = states.read()
        for name in names or paths:
            _prove(paths[name], cast, random.Random(f"{seed} {name}"), most_points, report)
            states.put_back(base, over=states.read())
    return report


def _prove(path: money_paths.Path, cast: money_paths.Cast, chance: random.Random, most_points: int, report: campaign.Report) -> None:
    request = path.begin(cast)
    proof = _without_crash(path, request, report)
    points = [Point(number, label, is_after) for number, label in enumerate(proof.labels, 1) for is_after in (False, True)]
    chosen = _choose(points, most_points, chance)
    for point in chosen:
        _crash(proof, point, report)
    report.figures[path.name] = len(chosen)
    report.count("points", len(chosen))
    report.count("states after a crash", len(proof.shown))


def _choose(points: list[Point], most: int, chance: random.Random) -> list[Point]:
    """Return all points, or a sample in order that has every COMMIT and outside call first: there the state changes."""
    if not most or most >= len(points):
        return points
    telling = [point for point in points if point.label == "COMMIT" or "." in point.label]
    others = [point for point in points if point not in telling]
    chosen = chance.sample(telling, min(most, len(telling)))
    chosen += chance.sample(others, most - len(chosen))
    return sorted(chosen, key=points.index)


def _without_crash(path: money_paths.Path, request: money_paths.Request, report: campaign.Report) -> _Proof:
    proof = _Proof(path, request, states.read(), _files())
    # In this process: what it keeps in memory from now on, every child has from the beginning.
    proof.answer = request()
    _sweep(path)
    proof.end = _end_of(proof)
    report.violations += [f"{path.name}: without a crash: {breach}" for breach in _broken(path)]
    request()
    _sweep(path)
    report.violations += [f"{path.name}: the repeat changed {line}" for line in states.differences(_end_of(proof), proof.end)]
    _start_again(proof)
    labels = _in_child(request, Tripwire(None))
    assert labels is not None, f"{path.name}: the request ends without a crash as if it had crashed."
    proof.labels = labels
    _start_again(proof)
    return proof


def _crash(proof: _Proof, point: Point, report: campaign.Report) -> None:
    before = forking.sessions()
    if _in_child(proof.request, Tripwire(point)) is not None:
        report.violations.append(f"{proof.path.name}: {point} was not reached.")
    forking.wait_for_sessions_to_end(before)
    found = states.read()
    # What has no name yet is forgotten by time alone; of the others, half a file is not the whole one.
    named = [(name, default_storage.size(name)) for name in _files() if not name.startswith(".")]
    look = json.dumps([states.comparable(found, since=proof.start, is_end=False), named])
    if look not in proof.shown:
        proof.shown.add(look)
        try:
            answer = proof.request()
            _sweep(proof.path)
            if proof.path.is_asked_later:
                proof.request()
                _sweep(proof.path)
        except Exception as error:
            report.violations.append(f"{proof.path.name}: {point}: the repeat raised {type(error).__name__}: {error}")
        else:
            report.violations += [f"{proof.path.name}: {point}: {line}" for line in _wrong(proof, answer)]
    _start_again(proof)


def _wrong(proof: _Proof, answer: str) -> list[str]:
    lines = states.differences(_end_of(proof), proof.end)
    if _plain(proof, answer) != _plain(proof, proof.answer):
        lines.append(f"the repeat answered {answer}, not {proof.answer}")
    return lines + _broken(proof.path)


def _start_again(proof: _Proof) -> None:
    states.put_back(proof.start, over=states.read())
    for name in set(_files()) - set(proof.files):
        default_storage.delete(name)


def _sweep(path: money_paths.Path) -> None:
    for span in _SWEPT_AFTER:
        path.rest(now=path.at + span)


def _broken(path: money_paths.Path) -> list[str]:
    breaches = [*audit.audit().breaches, *path.broken()]
    return breaches + [f"trial balance of {currency}: {minor}" for currency, minor in audit.trial_balance().items() if minor]


def _end_of(proof: _Proof) -> dict[str, list[str]]:
    return states.comparable(states.read(), since=proof.start, is_end=True)


def _plain(proof: _Proof, words: str) -> str:
    return states.text_without_chance(words, known=states.ids_in(proof.start))


def _files() -> list[str]:
    folder = Path(default_storage.path(""))
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def _in_child(request: money_paths.Request, tripwire: Tripwire) -> list[str] | None:
    """Run the request in a child; return the labels of its steps, or None where it crashed."""
    with tempfile.TemporaryDirectory() as folder:
        letter = Path(folder) / "labels.json"

        def work() -> None:
            tripwire.lay()
            request()
            letter.write_text(json.dumps(tripwire.labels), encoding="utf-8")

        status = forking.wait(forking.fork(work))
        if status == CRASHED:
            return None
        assert status == 0, f"The child ended with status {status}; it printed why."
        labels: list[str] = json.loads(letter.read_text(encoding="utf-8"))
        return labels
