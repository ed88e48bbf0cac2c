"""Research tasks in a test's words: owners, their machines and the trusted pool go by the use cases; only the training is made up.

What a tree scores stands in its text: ``SCORE = 1.50``. Weights are digests of tree, seed and segment, so that honest runs agree.
"""

import datetime
import hashlib
import io
import itertools
import re
import uuid
from collections.abc import Callable, Mapping, Sequence

from django.db.models.functions import Now

from market.accounts.models import User
from tasks import clock, ids, leases
from tests import people
from verification.replay import digests, reports, scoring
from verification.replay import trees as shapes
from verification.replay.classes import ClassKey
from verification.replay.spec import Spec
from verification.research import advancing, candidates, files, hosts, posting, runs, tips, trusted
from verification.research.models import Candidate, Host, ResearchTask, Run, TrustedJob

KEY = ClassKey(hardware="cpu", torch="2.13.0+cpu", isa="AVX2", threads=1, precision="fp32", is_compiled=False, driver="none")
CLASS = KEY.text
SECOND_CLASS = KEY.text.replace("AVX2", "AVX512")
BASE = {"train.py": "SCORE = 1.50\n\n\n\nWIDTH = 64\n\n\n\nDEPTH = 2\n", "README.md": "A model of bytes.\n"}
BOTH = ("test", "live")
DATA = (("text.bin", "train"), ("seen.bin", "validation"), ("secret.bin", "holdout"))
# A record so long that no audit is drawn by chance, which would make one test in fifty another one.
TRUSTED = 10**9
_numbers = itertools.count(1)
_SCORE = re.compile(r"SCORE = ([0-9.]+)")


def spec_json(owner: User, base: Mapping[str, str] = BASE, **changes: object) -> dict[str, object]:
    """Return a spec over the base, whose data files the owner has handed in: 200 steps, ten segments."""
    data = []
    for name, role in DATA:
        kept = files.keep(owner=owner, stream=io.BytesIO(name.encode() * 1000), now=clock.now())
        data.append({"name": name, "role": role, "sha256": kept.sha256, "byte_count": kept.byte_count})
    return {
        "version": 1,
        "interface": "trainer/1",
        "base_tree": shapes.tree_digest(base),
        "editable": ["train.py", "extra.py"],
        "max_tree_bytes": 100_000,
        "data": data,
        "steps": 200,
        "rows": 16,
        "sequence": 64,
        "checkpoint_every": 20,
        "vocabulary": 256,
        "wall_s": 60,
        "max_parameters": 200_000,
        "memory_mib": 1024,
        "eval_tokens": 4096,
        "metric": "bits_per_byte",
        "token_bytes": None,
        "min_effect": 0.01,
        "unpaired_sd": 0.02,
        "paired_sd": 0.004,
        "max_pairs": 8,
        "hardware": ["cpu"],
        "precision": "fp32",
        "sandbox_level": "bwrap-cpu",
        "is_confirmed_on_second_class": False,
        **changes,
    }


def post(
    owner: User | None = None,
    *,
    base: Mapping[str, str] = BASE,
    now: datetime.datetime | None = None,
    audit_share: float = 0.0,
    is_listed: bool = True,
    **changes: object,
) -> ResearchTask:
    """Make a task that takes candidates; nothing is audited that need not be."""
    poster, at = owner or people.open_user("poster"), now or clock.now()
    task = posting.create(
        mode="test",
        owner=poster,
        title="Train a byte model better",
        description="",
        spec_json=spec_json(poster, base, **changes),
        base_files=base,
        closes_at=at + datetime.timedelta(days=30),
        audit_share=audit_share,
        audited_segments=2,
        now=at,
    )
    if is_listed:
        posting.list_task(task=task)
    return task


def edit(score: float, base: Mapping[str, str] = BASE, *, mark: str | None = None) -> dict[str, str]:
    """Return the text of a commit that scores so much; without ``mark``, one that nobody sent before."""
    named = mark if mark is not None else f"commit {next(_numbers)}"
    return {"train.py": _SCORE.sub(f"SCORE = {score:.4f}", base["train.py"]) + f"# {named}\n"}


def submit(
    task: ResearchTask,
    score: float = 1.40,
    *,
    claimant: User | None = None,
    edited: Mapping[str, str] | None = None,
    parent: str | None = None,
    now: datetime.datetime | None = None,
    **more: object,
) -> Candidate:
    """Send a commit on the tip, by somebody new."""
    return candidates.receive(
        task=task,
        claimant=claimant or people.open_user("maker"),
        edited=edit(score) if edited is None else edited,
        parent_digest=parent or tips.current(task).tree_id,
        reported_gain=0.1,
        note="wider",
        now=now or clock.now(),
        **more,  # type: ignore[arg-type]
    )


def open_host(
    owner: User | None = None, *, class_text: str = CLASS, valid_count: int = TRUSTED, is_calibrated: bool = True, name: str = "garage"
) -> Host:
    """Make an owner with a record, and his machine, which is there."""
    host = hosts.register(
        owner=owner or people.open_user("owner"),
        mode="test",
        name=name,
        class_text=class_text,
        reported_level="bwrap-cpu",
        facts={"cores": 8},
        now=clock.now(),
    )
    if is_calibrated:
        Run.objects.filter(host=host, kind=Run.Kind.CALIBRATION).delete()
        Host.objects.filter(pk=host.pk).update(calibrated_at=clock.now(), valid_count=valid_count)
        host.refresh_from_db()
    return host


def key_of(host: Host) -> uuid.UUID:
    """Return the id of the key that a host leases with."""
    return uuid.uuid5(uuid.NAMESPACE_OID, str(host.owner_id))


def lease(host: Host, limit: int = 1) -> list[Run]:
    """Lease runs to a host."""
    return runs.hand_out(
        key_id=key_of(host), user=host.owner, host=host, holder="garage", limit=limit, lease_s=60, modes=BOTH, is_trusted=False
    )


def lease_one(host: Host, kind: Run.Kind) -> Run:
    """Lease a run of one kind to a host, and leave the others to whoever comes."""
    found = lease(host, limit=8)
    wanted = next(run for run in found if run.kind == kind)
    others = Run.objects.filter(pk__in=[run.pk for run in found]).exclude(pk=wanted.pk)
    others.update(lease_state=leases.LeaseState.READY, lease_until=None, owner=None, host=None)
    return wanted


def leaves_of(run: Run, *, forged_from: int = 99, flavour: str = "") -> list[bytes]:
    """Return the leaves of an honest run, or of one that is forged from a checkpoint on."""
    count = Spec.from_json(run.spec).segments + 1
    names = [f"{run.tree_id}:{run.seed}:{run.class_text}:{index}:{flavour if index >= forged_from else ''}" for index in range(count)]
    return [hashlib.sha256(name.encode()).digest() for name in names]


def report_of(run: Run, leaves: Sequence[bytes] | None = None, **changes: object) -> reports.Report:
    """Return the report of a run."""
    spec = Spec.from_json(run.spec)
    made = list(leaves or leaves_of(run))
    fields: dict[str, object] = {
        "run_id": ids.encode("rpl", run.pk),
        "spec_digest": spec.digest,
        "tree_digest": run.tree_id,
        "seed": run.seed,
        "class_text": run.class_text,
        "root": digests.root(made).hex(),
        "leaf_count": len(made),
        "leaves": tuple(leaf.hex() for leaf in made),
        "norms": tuple(1.0 for _ in made[1:]),
        "tokens_served": spec.steps * spec.rows * spec.sequence,
        "steps": spec.steps,
        "wall_s": 12.0,
        "cpu_s": 11.0,
        "peak_memory_bytes": 1 << 28,
        "sandbox_level": "bwrap-cpu",
        "runner_version": "atoms-1",
        "curve": ((100, 2.0), (200, 1.5)),
        **changes,
    }
    return reports.Report(**fields)  # type: ignore[arg-type]


SALT = "ab" * 32


def key_id_of(run: Run) -> uuid.UUID:
    """Return the key that a run is leased to."""
    assert run.leased_by_key is not None
    return run.leased_by_key


def seal(run: Run, leaves: Sequence[bytes] | None = None) -> runs.Sealed:
    """Seal a run's report."""
    written = reports.seal(report_of(run, leaves), SALT)
    return runs.seal(run_id=run.pk, token=run.token, key_id=key_id_of(run), seal=written, now=clock.now())


def reveal(run: Run, leaves: Sequence[bytes] | None = None) -> Run:
    """Send a sealed run's report."""
    report = report_of(run, leaves).to_json()
    return runs.reveal(run_id=run.pk, token=run.token, key_id=key_id_of(run), report=report, salt=SALT, now=clock.now())


def hand_in(run: Run) -> Run:
    """Send the checkpoints that are asked for, and finish."""
    common = {"run_id": run.pk, "token": run.token, "key_id": key_id_of(run), "now": clock.now()}
    for index in Run.objects.get(pk=run.pk).wanted_checkpoints:
        runs.keep_artefact(index=index, stream=io.BytesIO(f"checkpoint {index} of {run.pk}".encode()), **common)  # type: ignore[arg-type]
    return runs.finish(**common)  # type: ignore[arg-type]


def train(run: Run, leaves: Sequence[bytes] | None = None) -> Run:
    """Take a leased run all the way, by itself."""
    seal(run, leaves)
    reveal(run, leaves)
    return hand_in(run)


POOL_KEY = uuid.UUID(int=77)


def pool_user() -> User:
    """Return the user of the trusted pool."""
    return User.objects.filter(username="trusted-pool").first() or User.objects.create_user(username="trusted-pool")


def lease_jobs(limit: int = 8) -> list[TrustedJob]:
    """Lease jobs to the trusted pool."""
    return trusted.hand_out(key_id=POOL_KEY, user=pool_user(), holder="pool", limit=limit, lease_s=60, modes=BOTH)


def lease_trusted_runs(limit: int = 8) -> list[Run]:
    """Lease the runs that only the trusted pool does."""
    return runs.hand_out(key_id=POOL_KEY, user=pool_user(), host=None, holder="pool", limit=limit, lease_s=60, modes=BOTH, is_trusted=True)


def probes(failed: str = "") -> tuple[scoring.Probe, ...]:
    """Return the probes of an honest model, or of one that fails one of them."""
    return tuple(
        scoring.Probe(name, 0.0 if name != failed else 1.0, tolerance, 512, 0 if name != failed else 9)
        for name, tolerance in scoring.TOLERANCES.items()
    )


def score_of(run: Run) -> scoring.Score:
    """Return what a run's tree scores on its seed: what its text says, and noise that all trees share on that seed and a little more."""
    found = _SCORE.search(run.tree.untrusted_files["train.py"])
    written = float(found.group(1)) if found else 2.0
    noise = int.from_bytes(hashlib.sha256(f"{run.seed}".encode()).digest()[:4], "big") / 2**32 - 0.5
    little = int.from_bytes(hashlib.sha256(f"{run.seed}{run.tree_id}".encode()).digest()[:4], "big") / 2**32 - 0.5
    value = written + 0.04 * noise + 0.002 * little
    return scoring.Score(public=value, holdout=value, parameter_count=100_000, probes=probes())


def readings_of(job: TrustedJob) -> dict[str, object]:
    """Return what an honest pool finds: every smoke run passes, a report is right where its leaves are those of the tree."""
    if job.kind == TrustedJob.Kind.SMOKE:
        return {"is_passed": True, "codes": []}
    assert job.run is not None
    assert job.run.report is not None
    if job.kind == TrustedJob.Kind.EVALUATE:
        return {"leaf": job.run.report["leaves"][-1], "score": score_of(job.run).to_json(), "refusal": None}
    right = [leaf.hex() for leaf in leaves_of(job.run)]
    told = job.run.report["leaves"]
    # A segment trained again from the checkpoint that was handed in ends where honest training ends.
    is_passed = all(told[index : index + 2] == right[index : index + 2] for index in [*job.params["segments"], 0])
    return {"is_passed": is_passed, "code": None if is_passed else "segment_differs"}


def complete(job: TrustedJob, readings: Mapping[str, object] | None = None) -> TrustedJob:
    """Hand in the readings of a trusted job."""
    found = readings_of(job) if readings is None else readings
    return trusted.complete(job_id=job.pk, token=job.token, key_id=POOL_KEY, readings_json=found, now=clock.now())


def work_pool() -> int:
    """Let the trusted pool do all its jobs and runs; return how many."""
    done = 0
    while jobs := lease_jobs():
        done += len([complete(job) for job in jobs])
    for run in lease_trusted_runs():
        train(run)
        done += 1 + work_pool()
    return done


def advance(candidate: Candidate, *, now: datetime.datetime | None = None) -> Candidate:
    """Take a candidate as far as it goes."""
    Candidate.objects.filter(pk=candidate.pk, lease_state=leases.LeaseState.READY).update(available_at=Now())
    advancing.advance(candidate_id=candidate.pk, now=now or clock.now())
    candidate.refresh_from_db()
    return candidate


def begin(task: ResearchTask, score: float = 1.40, **more: object) -> Candidate:
    """Send a commit, let it pass its smoke run and begin its replays."""
    candidate = submit(task, score, **more)  # type: ignore[arg-type]
    advance(candidate)
    work_pool()
    return advance(candidate)


def work_hosts(machines: Sequence[Host], trained: Callable[[Run], object] = train) -> int:
    """Let each machine do what it gets, round after round, until none gets any; return how many runs that were."""
    done = 0
    while found := [run for machine in machines for run in lease(machine)]:
        for run in found:
            seal(run)
        for run in found:
            reveal(run)
            hand_in(run)
        done += len(found)
        work_pool()
    return done


def play(candidate: Candidate, machines: Sequence[Host]) -> Candidate:
    """Let everybody work until the candidate is decided."""
    for _ in range(100):
        advance(candidate)
        if candidate.status in Candidate.DECIDED:
            return candidate
        if not work_pool() + work_hosts(machines):
            return candidate
    return candidate
