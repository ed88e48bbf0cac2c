"""The trusted pool killed with SIGKILL at steps of its jobs: a real pool process and its real sandboxes, against a real web server.

A step is a request over HTTP, or a question to the stranger's tree in its sandbox. After each kill the lease ends, another pool
does the job, and the answer that the dead one might still have sent is refused.
"""

import contextlib
import ctypes
import dataclasses
import datetime
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil
from django.db.models.functions import Now
from pydantic import JsonValue

import agents_sdk.errors
from agents_sdk import leases as client_leases
from gpu_workers import pool
from gpu_workers.runner import conversation
from market.accounts.models import User
from market.bounties.research import entering, funding, posting
from market.bounties.research import sweeping as money
from market.ledger import audit
from tasks import clock, leases
from tests import forking, people
from tests.faults import campaign, crashing, research_calls, research_promises, serving, states
from tests.gpu_workers.runner import small
from tests.market.bounties.research import scene
from tests.verification.research import scenes
from verification.replay import reports
from verification.replay.spec import Spec
from verification.research import files, hosts, runs, tips
from verification.research import sweeping as facts
from verification.research.models import Candidate, Host, ResearchTask, Run, TrustedJob

_PR_SET_CHILD_SUBREAPER = 36
_EDIT = ("lr=1e-2", "lr=2e-2")
KINDS = ("smoke", "replay", "evaluate", "audit")
HOLDER = "pool"
_LATER = datetime.timedelta(days=1)
_SECOND = datetime.timedelta(seconds=1)

# What a job must not come to: the dead pool's last word.
_LATE: dict[str, dict[str, JsonValue]] = {
    "SMOKE": {"is_passed": False, "codes": ["raised"]},
    "EVALUATE": {"leaf": "0" * 64, "refusal": "raised"},
    "AUDIT": {"is_passed": False, "code": "segment_differs"},
}

Work = TrustedJob | Run


class Wire(crashing.Tripwire):
    """Counts the steps of a pool, and kills the process at one of them."""

    def lay(self) -> None:
        """Watch the questions to sandboxes; requests are watched by `client`."""
        ask = conversation.Conversation.ask

        def watched(talk: conversation.Conversation, kind: bytes, content: bytes, **limits: int) -> bytes:
            answer: bytes = self.step(f"sandbox {kind.decode()}", lambda: ask(talk, kind, content, **limits))
            return answer

        conversation.Conversation.ask = watched  # type: ignore[assignment,method-assign]

    def client(self, url: str, secret: str) -> client_leases.LeaseClient:
        """Return a client whose requests are steps."""
        transport = _Watched(self)
        return client_leases.LeaseClient(url, secret, http_client=httpx.Client(transport=transport))

    def end(self) -> None:
        """Die as by the kernel's hand."""
        os.kill(os.getpid(), signal.SIGKILL)


class _Watched(httpx.HTTPTransport):
    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.rpartition("/")[2] if request.method == "POST" else "file"
        answer: httpx.Response = self._wire.step(name, lambda: super(_Watched, self).handle_request(request))
        return answer


@dataclasses.dataclass
class _Stage:
    """A market with one candidate, whose server is at ``url``, and the pool's key."""

    url: str
    secret: str
    candidate: Candidate
    host: Host
    data: dict[str, Path]
    folder: Path
    report: campaign.Report

    def pool(self, wire: Wire) -> None:
        """Be a pool until nothing is ready."""
        wire.lay()
        tally = pool.Pool(client=wire.client(self.url, self.secret), holder=HOLDER).drain()
        assert tally == pool.Tally(completed=tally.completed), tally

    def sweep(self) -> None:
        """Run the sweepers, as if what waits for some seconds were due."""
        for _ in range(3):
            Host.objects.update(last_seen_at=Now())
            Candidate.objects.filter(lease_state=leases.LeaseState.READY).update(available_at=Now())
            facts.sweep(now=clock.now())
            money.sweep(now=clock.now())
        for model in (TrustedJob, Run):
            waiting = model._default_manager.filter(lease_state=leases.LeaseState.READY, available_at__lt=Now() + _LATER / 2)
            waiting.update(available_at=Now())


def run(*, seed: int, most_points: int = 0, kinds: Sequence[str] = KINDS) -> campaign.Report:
    """Kill a pool at each step of a job of each kind, in the order of `KINDS`, or at ``most_points`` of each; return what was found."""
    report = campaign.Report()
    chance = random.Random(seed)
    # Whoever is left without a parent comes to us, so that we see him.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    with tempfile.TemporaryDirectory() as folder, serving.server() as port:
        stage = _open(Path(folder), f"http://127.0.0.1:{port}", report)
        for kind in KINDS[: 1 + max(map(KINDS.index, kinds))]:
            work = _wait_for(stage, kind)
            if kind in kinds:
                _kill_many(stage, kind, work, most_points, chance)
            if kind != kinds[-1]:
                _in_process(stage, Wire(None))
    return report


def _open(folder: Path, url: str, report: campaign.Report) -> _Stage:
    """Post a bounty on a tree that trains in milliseconds, and send a commit."""
    data, now = small.write_data(folder / "data"), clock.now()
    agent = people.open_agent("poster")
    people.top_up(agent)
    for path in data.values():
        with path.open("rb") as stream:
            files.keep(owner=agent.owner, stream=stream, now=now)
    bounty = posting.post(
        agent=agent,
        key=people.key_of(agent),
        title="Train pairs of bytes better",
        description="",
        spec_json=small.spec(data).to_json(),
        base_files=small.files(),
        offer=scene.offer("300.00"),
        closes_at=now + datetime.timedelta(days=7),
        now=now,
    )
    funding.fund(bounty=bounty, now=now)
    maker = scene.open_maker()
    parent = tips.current(ResearchTask.objects.get(pk=bounty.task_id)).tree_id
    candidate = entering.submit(bounty=bounty, user=maker.owner, source=maker, edited=small.files(*_EDIT), parent_digest=parent, now=now)
    # One owner alone: the tip is for the pool to train. He is new, so that he is audited.
    owner = people.open_user("owner")
    host = hosts.register(owner=owner, mode="test", name="box", class_text=small.CPU.text, reported_level="bwrap-cpu", facts={}, now=now)
    Run.objects.filter(host=host).delete()
    Host.objects.filter(pk=host.pk).update(calibrated_at=now)
    pool_user = scenes.pool_user()
    secret = research_calls.owner_key(pool_user, is_trusted=True)[1]
    return _Stage(url, secret, candidate, host, data, folder, report)


def _wait_for(stage: _Stage, kind: str) -> Work:
    """Bring the candidate to where one job of this kind waits for the pool, and nothing else does."""
    stage.sweep()
    if kind == "evaluate":
        _train_as_owner(stage)
    if kind == "replay":
        found: Work = Run.objects.get(candidate=stage.candidate, is_trusted_only=True, stage=Run.Stage.OPEN)
    else:
        # The owner's run; the pool's own is not audited.
        of_owner = TrustedJob.objects.exclude(run__is_trusted_only=True)
        found = of_owner.get(kind=kind.upper(), lease_state=leases.LeaseState.READY)
    for model in (TrustedJob, Run):
        model._default_manager.exclude(pk=found.pk).filter(lease_state="READY").update(available_at=Now() + _LATER)
    type(found)._default_manager.filter(pk=found.pk).update(available_at=Now())
    return found


def _train_as_owner(stage: _Stage) -> None:
    Run.objects.filter(candidate=stage.candidate, is_trusted_only=False).update(available_at=Now())
    key = research_calls.owner_key(User.objects.get(pk=stage.host.owner_id))[0]
    (run,) = research_calls.lease_to(key, stage.host)
    finished = small.replay(
        terms=Spec.from_json(run.spec), tree=run.tree.untrusted_files, data=stage.data, folder=stage.folder / "run", seed=run.seed
    )
    report = dataclasses.replace(finished.report, run_id=str(run))
    common: dict[str, Any] = {"run_id": run.pk, "token": run.token, "key_id": key.pk, "now": clock.now()}
    runs.seal(seal=reports.seal(report, scenes.SALT), **common)
    revealed = runs.reveal(report=report.to_json(), salt=scenes.SALT, **common)
    for index in revealed.wanted_checkpoints:
        with finished.checkpoint_paths[index].open("rb") as stream:
            runs.keep_artefact(index=index, stream=stream, **common)
    runs.finish(**common)


def _kill_many(stage: _Stage, kind: str, work: Work, most_points: int, chance: random.Random) -> None:
    start = states.read()
    wire = Wire(None)
    labels = _in_process(stage, wire)
    assert labels is not None
    expected = _seen(stage, work)
    states.put_back(start, over=states.read())
    points = [crashing.Point(number, label, is_after) for number, label in enumerate(labels, 1) for is_after in (False, True)]
    chosen = _choose(points, most_points, chance)
    for point in chosen:
        where = f"{kind}: {point}"
        if _in_process(stage, Wire(point)) is not None:
            stage.report.violations.append(f"{where} was not reached.")
        stage.report.violations += [f"{where}: {line}" for line in _after(stage, work, expected)]
        stage.report.count(f"pool killed in {kind}")
        states.put_back(start, over=states.read())


def _choose(points: list[crashing.Point], most: int, chance: random.Random) -> list[crashing.Point]:
    """Return all points; or a sample in order, drawn from those of requests but for one in the sandbox: there a kill finds the most."""
    if not most or most >= len(points):
        return points
    requests = [point for point in points if "sandbox" not in point.label]
    inside = [point for point in points if point not in requests]
    chosen = [*chance.sample(inside, 1), *chance.sample(requests, min(most - 1, len(requests)))]
    return sorted(chosen, key=points.index)


def _after(stage: _Stage, work: Work, expected: object) -> Iterator[str]:
    """Let another pool go on, and say what is not as it would have been."""
    held: list[Work] = []
    for model in (TrustedJob, Run):
        rows = model._default_manager.filter(lease_holder=HOLDER, lease_state=leases.LeaseState.LEASED)
        held += rows
        for dead in rows.exclude(lease_until__lte=Now() + datetime.timedelta(seconds=pool.LEASE_S)):
            yield f"{dead} is kept for the dead until {dead.lease_until}"
        # What its heart would have kept, ends; the database's clock can't be moved, so the rows are.
        rows.update(lease_until=Now() - _SECOND)
    stage.report.count("rows held by the killed", len(held))
    stage.sweep()
    if _in_process(stage, Wire(None)) is None:
        yield "the next pool ended as if it had been killed"
    for dead in held:
        if not _is_refused_late(stage, dead):
            yield f"an answer about {dead} with the old token was taken"
    stage.sweep()
    found = _seen(stage, work)
    if found != expected:
        yield f"it came to {found}, not {expected}"
    yield from research_promises.stored()
    yield from research_promises.stuck()
    yield from audit.audit().breaches


def _is_refused_late(stage: _Stage, dead: Work) -> bool:
    """Send what the killed pool would have sent, with the token that it had."""
    with httpx.Client() as connection:
        client = client_leases.LeaseClient(stage.url, stage.secret, max_retries=0, http_client=connection)
        try:
            if isinstance(dead, Run):
                client.seal(str(dead), dead.token, dead.seal or "0" * 64)
            else:
                client.hand_in(str(dead), dead.token, _LATE[dead.kind])
        except agents_sdk.errors.StaleLease:
            return True
    return False


def _seen(stage: _Stage, work: Work) -> object:
    """Return what has come of a job: for a training, of the side of the pair that it is."""
    if isinstance(work, TrustedJob):
        done = TrustedJob.objects.filter(kind=work.kind, subject=work.subject)
        return [(job.lease_state, job.readings) for job in done]
    side = Run.objects.filter(kind=work.kind, tip=work.tip_id, seed_index=work.seed_index, stage__in=("HANDED_IN", "VALID"))
    return [(run.stage, run.report["root"] if run.report else None, run.artefacts.count()) for run in side]


def _in_process(stage: _Stage, wire: Wire) -> list[str] | None:
    """Be a pool in a process of its own; return its steps, or None where it was killed. Nothing of it lives on."""
    letter, before = stage.folder / "labels", _family()

    def work() -> None:
        stage.pool(wire)
        letter.write_text("\n".join(wire.labels), encoding="utf-8")

    status = forking.wait(forking.fork(work))
    _wait_for_the_end_of(before)
    if status == -signal.SIGKILL:
        return None
    assert status == 0, f"The pool ended with status {status}; it printed why."
    return letter.read_text(encoding="utf-8").splitlines()


def _family() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def _wait_for_the_end_of(before: set[int]) -> None:
    """Wait until the dead pool's sandboxes have ended too: they have no other way to live on than unseen."""
    ends_at = time.monotonic() + forking.PATIENCE_S
    while left := _family() - before:
        for pid in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        assert time.monotonic() < ends_at, "A sandbox lives on after its pool."
        threading.Event().wait(0.01)
