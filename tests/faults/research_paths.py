"""Every step of a research bounty on the server: requests over the API as clients send them, and the sweeps of the workers.

Owners and the trusted pool go by `tests.verification.research.scenes`: what a tree scores stands in its text, weights are digests.
"""

import contextlib
import dataclasses
import datetime
import io
import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from unittest import mock

from django.db.models.functions import Now
from django.test import override_settings

from market.accounts.models import Agent, ApiKey, User
from market.bounties.research import cancelling, challenging, entering, funding, posting
from market.bounties.research import sweeping as money
from market.bounties.research.models import ResearchBounty
from market.config import rates
from tasks import clock, leases
from tasks.models import WorkerProfile
from tests import people, sweepers
from tests.faults import effects, money_paths, research_calls, research_promises, states
from tests.market.api.caller import Caller
from tests.market.bounties.research import scene
from tests.verification.research import scenes
from verification.replay import reports, trees
from verification.research import candidates, ringers, runs, tips, trusted
from verification.research import sweeping as facts
from verification.research.models import Candidate, Host, ResearchTask, Run, TrustedJob

NOW = money_paths.NOW
_MINUTE = datetime.timedelta(minutes=1)
_DAY = datetime.timedelta(days=1)
# After the challenge window; after that and the maturity of deposits; after the deadline.
FINAL, MATURE, OVER = NOW + 1.1 * _DAY, NOW + 40 * _DAY, NOW + 8 * _DAY
KEY = "the-request-that-is-cut-off"
# A gain of ten times the smallest effect, and none.
BETTER, WORSE = 1.40, 1.60
MAX_PASSES = 40
LEASE_S = 600

PATHS: dict[str, money_paths.Path] = {}


def _path(name: str, *, at: datetime.datetime = NOW) -> Callable[[money_paths.Begin], money_paths.Begin]:
    def keep(begin: money_paths.Begin) -> money_paths.Begin:
        PATHS[name] = money_paths.Path(name, begin, at, rest=come_to_rest, broken=research_promises.broken)
        return begin

    return keep


@contextlib.contextmanager
def without_chance() -> Iterator[None]:
    """Let the time stand still, draw the same numbers each time, and refuse nobody for asking often: none of this is what is tried."""
    with (
        mock.patch.object(clock, "now", return_value=NOW),
        mock.patch.object(secrets, "randbits", return_value=7),
        mock.patch.object(ringers, "_random", _NoRinger()),
        mock.patch.multiple(rates, WRITES=10**9, LEASE_CALLS=10**9),
        override_settings(ALLOWED_HOSTS=["testserver"]),
    ):
        yield


class _NoRinger(secrets.SystemRandom):
    def random(self) -> float:
        return 1.0


def come_to_rest(*, now: datetime.datetime) -> None:
    """Run every sweeper until nothing changes any more, as if the leases of dead workers were over; owners and the pool keep theirs."""
    before = None
    for _ in range(MAX_PASSES):
        Host.objects.update(last_seen_at=now)
        waiting = Candidate.objects.filter(status__in=Candidate.UNDECIDED)
        waiting.filter(lease_state=leases.LeaseState.LEASED).update(lease_until=Now() - datetime.timedelta(seconds=1))
        _sweep_facts(now)
        money.sweep(now=now)
        sweepers.sweep_until_quiet(now=now)
        after = effects.facts()
        if after == before:
            return
        before = after
    raise AssertionError(f"Something still changes after {MAX_PASSES} passes.")


def _sweep_facts(now: datetime.datetime) -> None:
    Candidate.objects.filter(lease_state=leases.LeaseState.READY).update(available_at=Now())
    facts.sweep(now=now)


# -- A bounty and whoever works for it --------------------------------------------------------------------------------
@dataclasses.dataclass(frozen=True)
class Machine:
    """An owner's machine, with the key that it leases with."""

    host: Host
    key: ApiKey
    secret: str = dataclasses.field(repr=False)


@dataclasses.dataclass
class World:
    """One research bounty, its candidate's maker, three owners and the trusted pool."""

    agent: Agent
    bounty: ResearchBounty
    maker: Agent
    machines: Sequence[Machine]
    pool: Machine

    def submit(self, score: float = BETTER) -> Candidate:
        """Send a commit that scores so much."""
        return entering.submit(
            bounty=self.bounty,
            user=self.maker.owner,
            source=self.maker,
            edited=scenes.edit(score),
            parent_digest=tips.current(self.task).tree_id,
            now=NOW,
        )

    @property
    def task(self) -> ResearchTask:
        """The task as it is now."""
        return ResearchTask.objects.get(pk=self.bounty.task_id)

    def lease(self) -> list[Run]:
        """Let each machine lease one run; those of one round are leased before any is sealed."""
        return [run for machine in self.machines for run in _lease(machine)]

    def lease_jobs(self) -> list[TrustedJob]:
        """Let the pool lease its jobs."""
        key = self.pool.key
        return trusted.hand_out(key_id=key.pk, user=key.user, holder="pool", limit=8, lease_s=LEASE_S, modes=("test",))

    def do_jobs(self, jobs: Sequence[TrustedJob]) -> None:
        """Let the pool do leased jobs."""
        for job in jobs:
            readings = scenes.readings_of(job)
            trusted.complete(job_id=job.pk, token=job.token, key_id=self.pool.key.pk, readings_json=readings, now=NOW)

    def work(self) -> int:
        """Let owners and the pool do everything that waits for them; return how much it was."""
        done = 0
        while found := self.lease():
            for run in found:
                scenes.seal(run)
            for run in found:
                scenes.reveal(run)
                scenes.hand_in(run)
            done += len(found)
        while jobs := self.lease_jobs():
            self.do_jobs(jobs)
            done += len(jobs)
        key = self.pool.key
        for run in runs.hand_out(
            key_id=key.pk, user=key.user, host=None, holder="pool", limit=8, lease_s=LEASE_S, modes=("test",), is_trusted=True
        ):
            scenes.train(run)
            done += 1
        return done

    def until(self, is_so: Callable[[], bool], move: Callable[[], object]) -> None:
        """Let everybody work and candidates advance, and stop just before the move after which something is so."""
        for _ in range(100):
            self.be_there()
            before = states.read()
            move()
            if is_so():
                states.put_back(before, over=states.read())
                return
            self.work()
        raise AssertionError("It never came to that.")

    def be_there(self) -> None:
        """Let the machines be seen: the database's clock, by which they are when they lease, is not ours."""
        Host.objects.update(last_seen_at=NOW)

    def advance(self) -> None:
        """Sweep the facts once."""
        self.be_there()
        _sweep_facts(NOW)


def _lease(machine: Machine) -> list[Run]:
    key = machine.key
    return runs.hand_out(
        key_id=key.pk, user=key.user, host=Host.objects.get(pk=machine.host.pk), holder="box", limit=1, lease_s=LEASE_S, modes=("test",)
    )


def _draft(agent: Agent, budget: str = "300.00") -> ResearchBounty:
    drafted = posting.post(
        agent=agent,
        key=people.key_of(agent),
        title="Train a byte model better",
        description="",
        spec_json=scenes.spec_json(agent.owner),
        base_files=scenes.BASE,
        offer=scene.offer(budget),
        closes_at=NOW + 7 * _DAY,
        now=NOW,
    )
    # Every run is audited in every segment: which ones are drawn is not what is tried.
    ResearchTask.objects.filter(pk=drafted.task_id).update(audit_share=1.0, audited_segments=100)
    return drafted


def _open(cast: money_paths.Cast, budget: str = "300.00") -> World:
    machines = []
    for _ in range(3):
        host = scenes.open_host()
        machines.append(Machine(host, *research_calls.owner_key(User.objects.get(pk=host.owner_id))))
    host = scenes.open_host(scenes.pool_user())
    pool = Machine(host, *research_calls.owner_key(scenes.pool_user(), is_trusted=True))
    Host.objects.filter(pk=host.pk).delete()
    bounty = funding.fund(bounty=_draft(cast.agent, budget), now=NOW)
    return World(cast.agent, bounty, scene.open_maker(), machines, pool)


def _replaying(cast: money_paths.Cast, score: float = BETTER) -> tuple[World, Candidate]:
    """Take a new candidate to its first pair: three runs wait for owners."""
    world = _open(cast)
    candidate = world.submit(score)
    world.advance()
    world.do_jobs(world.lease_jobs())
    world.advance()
    candidate.refresh_from_db()
    assert candidate.status == Candidate.Status.REPLAYING, candidate.status
    return world, candidate


def _leased(cast: money_paths.Cast, score: float = BETTER) -> tuple[World, Candidate, list[Run]]:
    world, candidate = _replaying(cast, score)
    found = world.lease()
    assert len(found) == 3, found
    return world, candidate, found


def _before_decision(cast: money_paths.Cast, score: float) -> tuple[World, Candidate]:
    world = _open(cast)
    candidate = world.submit(score)
    world.until(lambda: Candidate.objects.filter(pk=candidate.pk, status__in=Candidate.DECIDED).exists(), world.advance)
    world.be_there()
    return world, candidate


def _decided(cast: money_paths.Cast, score: float) -> tuple[World, Candidate]:
    world, candidate = _before_decision(cast, score)
    world.advance()
    candidate.refresh_from_db()
    expected = Candidate.Status.ACCEPTED if score == BETTER else Candidate.Status.REJECTED
    assert candidate.status == expected, (candidate.status, candidate.reason_code)
    return world, candidate


def _settled(cast: money_paths.Cast) -> tuple[World, Candidate]:
    world, candidate = _decided(cast, BETTER)
    money.sweep(now=NOW)
    return world, candidate


# -- Requests ---------------------------------------------------------------------------------------------------------
def _post(secret: str, path: str, body: dict[str, object]) -> money_paths.Request:
    """Return a POST over the API, the same each time under one Idempotency-Key."""

    def request() -> str:
        answer = Caller(secret).post(path, body, key=KEY)
        assert answer.status < 300, answer.body
        return f"{answer.status} {json.dumps(answer.body)}"

    return request


def _send(secret: str, path: str, content: bytes) -> money_paths.Request:
    """Return a POST whose body is one file."""

    def request() -> str:
        answer = Caller(secret).post_raw(path, content, content_type="application/octet-stream", **{"Idempotency-Key": KEY})
        assert answer.status < 300, answer.body
        return f"{answer.status} {json.dumps(answer.body)}"

    return request


def _job(work: Callable[[], object]) -> money_paths.Request:
    def run() -> str:
        work()
        return ""

    return run


def _machine_of(world: World, run: Run) -> Machine:
    return next(machine for machine in world.machines if machine.host.pk == run.host_id)


# -- The poster -------------------------------------------------------------------------------------------------------
@_path("hand in a data file")
def _hand_in_data(cast: money_paths.Cast) -> money_paths.Request:
    return _send(people.secret_of(cast.agent), "research/files", b"text of a poster's own " * 200)


@_path("post a research bounty")
def _post_bounty(cast: money_paths.Cast) -> money_paths.Request:
    return _post(people.secret_of(cast.agent), "research", research_calls.bounty_body(cast.agent))


@_path("fund a research bounty")
def _fund(cast: money_paths.Cast) -> money_paths.Request:
    return _post(people.secret_of(cast.agent), f"research/{_draft(cast.agent)}/fund", {})


@_path("cancel over a candidate")
def _cancel(cast: money_paths.Cast) -> money_paths.Request:
    world, _ = _replaying(cast)
    return _post(people.secret_of(cast.agent), f"research/{world.bounty}/cancel", {})


@_path("cancel without candidates")
def _cancel_free(cast: money_paths.Cast) -> money_paths.Request:
    return _post(people.secret_of(cast.agent), f"research/{_open(cast).bounty}/cancel", {})


# -- The maker --------------------------------------------------------------------------------------------------------
@_path("send a commit")
def _submit(cast: money_paths.Cast) -> money_paths.Request:
    world = _open(cast)
    body = research_calls.candidate_body(world.bounty, files=scenes.edit(BETTER, mark="sent"))
    return _post(people.secret_of(world.maker), f"research/{world.bounty}/candidates", body)


@_path("announce a commit")
def _announce(cast: money_paths.Cast) -> money_paths.Request:
    world = _open(cast)
    return _post(people.secret_of(world.maker), f"research/{world.bounty}/precommits", {"sealed_sha256": "ab" * 32})


def _announced(world: World) -> tuple[Candidate, dict[str, str]]:
    edited = scenes.edit(BETTER, mark="announced")
    digest = trees.tree_digest(trees.apply(scenes.BASE, edited))
    seal = candidates.seal_of(tree_digest=digest, salt=scenes.SALT)
    maker = world.maker
    return entering.announce(bounty=world.bounty, user=maker.owner, source=maker, sealed_sha256=seal, now=NOW), edited


@_path("send what was announced")
def _send_announced(cast: money_paths.Cast) -> money_paths.Request:
    world = _open(cast)
    candidate, edited = _announced(world)
    body = research_calls.candidate_body(world.bounty, files=edited, announced=str(candidate), salt=scenes.SALT)
    return _post(people.secret_of(world.maker), f"research/{world.bounty}/candidates", body)


@_path("an announcement lapses", at=NOW + 31 * _MINUTE)
def _lapse(cast: money_paths.Cast) -> money_paths.Request:
    _announced(_open(cast))
    return _job(lambda: (facts.sweep(now=NOW + 31 * _MINUTE), money.sweep(now=NOW + 31 * _MINUTE)))


# -- Candidates advance -----------------------------------------------------------------------------------------------
@_path("ask for the smoke run")
def _ask_smoke(cast: money_paths.Cast) -> money_paths.Request:
    _open(cast).submit()
    return _job(lambda: facts.sweep(now=NOW))


@_path("begin the replays")
def _begin(cast: money_paths.Cast) -> money_paths.Request:
    world = _open(cast)
    world.submit()
    world.advance()
    world.do_jobs(world.lease_jobs())
    world.be_there()
    return _job(lambda: facts.sweep(now=NOW))


@_path("ask for the next pair")
def _next_pair(cast: money_paths.Cast) -> money_paths.Request:
    world, _ = _replaying(cast)
    world.work()
    world.be_there()
    return _job(lambda: facts.sweep(now=NOW))


@_path("accept a candidate")
def _accept(cast: money_paths.Cast) -> money_paths.Request:
    _before_decision(cast, BETTER)
    return _job(lambda: facts.sweep(now=NOW))


@_path("reject a candidate")
def _reject(cast: money_paths.Cast) -> money_paths.Request:
    _before_decision(cast, WORSE)
    return _job(lambda: facts.sweep(now=NOW))


@_path("put a candidate on a newer tip")
def _rebase(cast: money_paths.Cast) -> money_paths.Request:
    world = _open(cast)
    first = world.submit()
    second = {"extra.py": "NOTE = 1\n"}
    entering.submit(
        bounty=world.bounty,
        user=(later := scene.open_maker()).owner,
        source=later,
        edited=second,
        parent_digest=tips.current(world.task).tree_id,
        now=NOW,
    )
    world.until(lambda: Candidate.objects.filter(pk=first.pk, status__in=Candidate.DECIDED).exists(), world.advance)
    world.be_there()
    return _job(lambda: facts.sweep(now=NOW))


# -- Owners -----------------------------------------------------------------------------------------------------------
@_path("register a machine")
def _register(cast: money_paths.Cast) -> money_paths.Request:
    secret = research_calls.owner_key(people.open_user("owner"))[1]
    body: dict[str, object] = {"name": "garage", "class_key": scenes.CLASS, "sandbox_level": "bwrap-cpu", "facts": {"cores": 8}}
    return _post(secret, "hosts", body)


@_path("lease a run")
def _lease_run(cast: money_paths.Cast) -> money_paths.Request:
    world, _ = _replaying(cast)
    machine = world.machines[0]
    body = {"kind": "replay", "limit": 1, "holder": "box", "lease_s": LEASE_S, "host_id": str(machine.host), "class_key": scenes.CLASS}
    return _post(machine.secret, "leases", body)


@_path("keep a run")
def _keep_run(cast: money_paths.Cast) -> money_paths.Request:
    world, _, (run, *_) = _leased(cast)
    body = {"token": run.token, "lease_s": LEASE_S, "progress": {"step": 50, "steps": 200}}
    return _post(_machine_of(world, run).secret, f"leases/{run}/heartbeat", body)


@_path("give a run back")
def _give_back(cast: money_paths.Cast) -> money_paths.Request:
    world, _, (run, *_) = _leased(cast)
    return _post(_machine_of(world, run).secret, f"leases/{run}/fail", {"token": run.token, "reason": "paused", "steps_done": 50})


@_path("seal a report")
def _seal(cast: money_paths.Cast) -> money_paths.Request:
    world, _, (run, *_) = _leased(cast)
    seal = reports.seal(scenes.report_of(run), scenes.SALT)
    return _post(_machine_of(world, run).secret, f"leases/{run}/seal", {"token": run.token, "seal": seal})


@_path("give a sealed run up")
def _give_up(cast: money_paths.Cast) -> money_paths.Request:
    world, _, found = _leased(cast)
    for run in found:
        scenes.seal(run)
    run = found[0]
    return _post(_machine_of(world, run).secret, f"leases/{run}/fail", {"token": run.token, "reason": "disk_full", "steps_done": 200})


@_path("reveal a report")
def _reveal(cast: money_paths.Cast) -> money_paths.Request:
    world, _, found = _leased(cast)
    for run in found:
        scenes.seal(run)
    run = found[0]
    return _post(_machine_of(world, run).secret, f"leases/{run}/complete", dict(research_calls.report_body(run)))


def _revealed(cast: money_paths.Cast, leaves: Callable[[Run], list[bytes]] = scenes.leaves_of) -> tuple[World, Run]:
    """Reveal all of a round and hand in the others' checkpoints; the one that is left is the candidate's."""
    world, _, found = _leased(cast)
    own = next(run for run in found if run.kind == Run.Kind.CANDIDATE)
    for run in found:
        scenes.seal(run, leaves(run) if run == own else None)
    for run in found:
        scenes.reveal(run, leaves(run) if run == own else None)
        if run != own:
            scenes.hand_in(run)
    own.refresh_from_db()
    return world, own


def _checkpoint(run: Run, index: int) -> bytes:
    return f"checkpoint {index} of {run.pk} ".encode() * 5_000


@_path("hand in a checkpoint")
def _hand_in(cast: money_paths.Cast) -> money_paths.Request:
    world, run = _revealed(cast)
    index = run.wanted_checkpoints[-1]
    path = f"leases/{run}/artefacts?token={run.token}&index={index}"
    return _send(_machine_of(world, run).secret, path, _checkpoint(run, index))


def _keep_all(run: Run) -> None:
    for index in run.wanted_checkpoints:
        content = io.BytesIO(_checkpoint(run, index))
        runs.keep_artefact(run_id=run.pk, token=run.token, key_id=scenes.key_id_of(run), index=index, stream=content, now=NOW)


@_path("finish a run")
def _finish(cast: money_paths.Cast) -> money_paths.Request:
    world, run = _revealed(cast)
    _keep_all(run)
    return _post(_machine_of(world, run).secret, f"leases/{run}/finish", {"token": run.token})


def _lapsed(run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(lease_until=Now() - datetime.timedelta(seconds=1))


@_path("take back a run of an owner who is gone")
def _take_back(cast: money_paths.Cast) -> money_paths.Request:
    world, _, (run, *_) = _leased(cast)
    _lapsed(run)
    world.be_there()
    return _job(lambda: facts.sweep(now=NOW))


@_path("end a sealed run of an owner who is gone")
def _end_vanished(cast: money_paths.Cast) -> money_paths.Request:
    world, run = _revealed(cast)
    _lapsed(run)
    world.be_there()
    return _job(lambda: (facts.sweep(now=NOW), money.sweep(now=NOW)))


# -- The trusted pool -------------------------------------------------------------------------------------------------
@_path("lease a trusted job")
def _lease_job(cast: money_paths.Cast) -> money_paths.Request:
    world = _open(cast)
    world.submit()
    world.advance()
    return _post(world.pool.secret, "leases", {"kind": "trusted", "limit": 1, "holder": "pool", "lease_s": LEASE_S})


def _complete(world: World, job: TrustedJob) -> money_paths.Request:
    return _post(world.pool.secret, f"leases/{job}/complete", {"token": job.token, "readings": scenes.readings_of(job)})


@_path("hand in a smoke run")
def _complete_smoke(cast: money_paths.Cast) -> money_paths.Request:
    world = _open(cast)
    world.submit()
    world.advance()
    (job,) = world.lease_jobs()
    world.be_there()
    return _complete(world, job)


@_path("give a trusted job back")
def _fail_job(cast: money_paths.Cast) -> money_paths.Request:
    world = _open(cast)
    world.submit()
    world.advance()
    (job,) = world.lease_jobs()
    return _post(world.pool.secret, f"leases/{job}/fail", {"token": job.token, "reason": "cannot_be_done_here"})


def _to_judge(cast: money_paths.Cast, last: str, leaves: Callable[[Run], list[bytes]] = scenes.leaves_of) -> tuple[World, TrustedJob]:
    """Let the pool do everything of a round but one job about the candidate's run."""
    world, run = _revealed(cast, leaves)
    _keep_all(run)
    runs.finish(run_id=run.pk, token=run.token, key_id=scenes.key_id_of(run), now=NOW)
    jobs = world.lease_jobs()
    wanted = next(job for job in jobs if job.kind == last and job.run_id == run.pk)
    world.do_jobs([job for job in jobs if job != wanted])
    world.be_there()
    return world, wanted


@_path("hand in an evaluation")
def _complete_evaluation(cast: money_paths.Cast) -> money_paths.Request:
    return _complete(*_to_judge(cast, TrustedJob.Kind.EVALUATE))


@_path("hand in an audit")
def _complete_audit(cast: money_paths.Cast) -> money_paths.Request:
    return _complete(*_to_judge(cast, TrustedJob.Kind.AUDIT))


def _forged(run: Run) -> list[bytes]:
    return scenes.leaves_of(run, forged_from=1, flavour="no work")


@_path("hand in an audit that finds a forger")
def _complete_conviction(cast: money_paths.Cast) -> money_paths.Request:
    return _complete(*_to_judge(cast, TrustedJob.Kind.AUDIT, _forged))


# -- Money ------------------------------------------------------------------------------------------------------------
@_path("pay the runs of a pair")
def _pay_runs(cast: money_paths.Cast) -> money_paths.Request:
    world, _ = _replaying(cast)
    world.work()
    return _job(lambda: money.sweep(now=NOW))


@_path("pay a machine's first run")
def _pay_calibration(cast: money_paths.Cast) -> money_paths.Request:
    host = scenes.open_host(is_calibrated=False)
    machine = Machine(host, *research_calls.owner_key(User.objects.get(pk=host.owner_id)))
    (run,) = _lease(machine)
    scenes.train(run)
    scenes.work_pool()
    return _job(lambda: money.sweep(now=NOW))


@_path("take a forger's stake")
def _forfeit(cast: money_paths.Cast) -> money_paths.Request:
    # Two pairs of which were honest: his stake is filled by them.
    world, _ = _settled(cast)
    world.submit(WORSE)
    world.advance()
    world.do_jobs(world.lease_jobs())
    world.advance()
    found = world.lease()
    forger = found[0]
    for run in found:
        scenes.seal(run, _forged(run) if run == forger else None)
    for run in found:
        scenes.reveal(run, _forged(run) if run == forger else None)
        scenes.hand_in(run)
    world.do_jobs(world.lease_jobs())
    forger.refresh_from_db()
    assert forger.stage == Run.Stage.INVALID, forger.stage
    assert scene.staked(_machine_of(world, forger).key.user) > 0
    return _job(lambda: money.sweep(now=NOW))


@_path("settle an accepted candidate")
def _settle_accepted(cast: money_paths.Cast) -> money_paths.Request:
    _decided(cast, BETTER)
    return _job(lambda: money.sweep(now=NOW))


@_path("settle a rejected candidate")
def _settle_rejected(cast: money_paths.Cast) -> money_paths.Request:
    _decided(cast, WORSE)
    return _job(lambda: money.sweep(now=NOW))


@_path("settle under a cancelled bounty")
def _settle_cancelled(cast: money_paths.Cast) -> money_paths.Request:
    world, _ = _decided(cast, WORSE)
    cancelling.cancel(bounty=ResearchBounty.objects.get(pk=world.bounty.pk), agent=cast.agent, now=NOW)
    return _job(lambda: money.sweep(now=NOW))


@_path("an acceptance becomes final", at=FINAL)
def _final(cast: money_paths.Cast) -> money_paths.Request:
    _settled(cast)
    return _job(lambda: money.sweep(now=FINAL))


@_path("rewards and pay mature", at=MATURE)
def _mature(cast: money_paths.Cast) -> money_paths.Request:
    _settled(cast)
    money.sweep(now=FINAL)
    return _job(lambda: money.sweep(now=MATURE))


@_path("a research bounty runs out", at=OVER)
def _run_out(cast: money_paths.Cast) -> money_paths.Request:
    _settled(cast)
    return _job(lambda: money.sweep(now=OVER))


@_path("a research bounty runs out over a candidate", at=OVER)
def _run_out_over(cast: money_paths.Cast) -> money_paths.Request:
    _replaying(cast)
    return _job(lambda: money.sweep(now=OVER))


@_path("challenge a candidate")
def _challenge(cast: money_paths.Cast) -> money_paths.Request:
    _, candidate = _settled(cast)
    body: dict[str, object] = {"statement": "Its loss falls before it sees the data."}
    return _post(people.secret_of(scene.open_maker()), f"candidates/{candidate}/challenge", body)


def _challenged(cast: money_paths.Cast, leaves: Callable[[Run], list[bytes]] | None = None) -> World:
    """Challenge an accepted candidate, and let the pool train all its runs again; with ``leaves``, it comes to others than the owners."""
    world, candidate = _settled(cast)
    skeptic = scene.open_maker()
    challenging.challenge(candidate=candidate, user=skeptic.owner, source=skeptic, now=NOW)
    key = world.pool.key
    for _ in range(50):
        found = runs.hand_out(
            key_id=key.pk, user=key.user, host=None, holder="pool", limit=8, lease_s=LEASE_S, modes=("test",), is_trusted=True
        )
        for run in found:
            scenes.train(run, leaves(run) if leaves else None)
        jobs = world.lease_jobs()
        world.do_jobs(jobs)
        if not found and not jobs:
            return world
    raise AssertionError("The pool never comes to an end.")


@_path("dismiss a challenge")
def _dismiss(cast: money_paths.Cast) -> money_paths.Request:
    _challenged(cast)
    return _job(lambda: money.sweep(now=NOW))


@_path("uphold a challenge")
def _uphold(cast: money_paths.Cast) -> money_paths.Request:
    _challenged(cast, _forged)
    return _job(lambda: money.sweep(now=NOW))


@_path("take a stake out", at=MATURE)
def _withdraw(cast: money_paths.Cast) -> money_paths.Request:
    world, _ = _settled(cast)
    for moment in (FINAL, MATURE):
        money.sweep(now=moment)
    owner = User.objects.get(pk=world.machines[0].host.owner_id)
    assert scene.staked(owner) > 0
    return _post(people.secret_of(WorkerProfile.objects.get(pk=owner.pk)), "stakes/withdraw", {"currency": "USD"})
