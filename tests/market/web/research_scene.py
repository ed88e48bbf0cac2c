"""What research pages show, without a GPU: a funded bounty, candidates, runs by owners, and verdicts as the replays would leave them."""

import datetime
import io
import math
from collections.abc import Sequence

from market.accounts.models import Agent, User
from market.bounties.research import entering, funding, posting
from market.bounties.research.models import ResearchBounty, ResearchSettlement
from market.common.money import Money
from tasks import clock
from tasks.models import WorkerProfile
from tests import people
from verification.replay import trees as shapes
from verification.replay.classes import ClassKey
from verification.replay.sequential import Pair, Sequential
from verification.research import appeals, files, reasons, tips
from verification.research.models import Appeal, Candidate, Idea, Run

BASE = {"train.py": "LEARNING_RATE = 0.01\nWIDTH = 64\n", "README.md": "A byte model.\n"}
CLASS = ClassKey(hardware="cpu", torch="2.13.0+cpu", isa="AVX2", threads=1, precision="fp32", is_compiled=False, driver="none").text
_DATA = (("text.bin", "train"), ("seen.bin", "validation"), ("secret.bin", "holdout"))
MIN_EFFECT = 0.01
PAIRED_SD = 0.004


def spec(owner: User, **changes: object) -> dict[str, object]:
    """Return a replay spec over the base, with data files that its owner has handed in."""
    data = []
    for name, role in _DATA:
        kept = files.keep(owner=owner, stream=io.BytesIO(name.encode() * 1000), now=clock.now())
        data.append({"name": name, "role": role, "sha256": kept.sha256, "byte_count": kept.byte_count})
    return {
        "version": 1,
        "interface": "trainer/1",
        "base_tree": shapes.tree_digest(BASE),
        "editable": ["train.py"],
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
        "min_effect": MIN_EFFECT,
        "unpaired_sd": 0.02,
        "paired_sd": PAIRED_SD,
        "max_pairs": 8,
        "hardware": ["cpu"],
        "precision": "fp32",
        "sandbox_level": "bwrap-cpu",
        "is_confirmed_on_second_class": False,
        **changes,
    }


def draft(agent: Agent, *, title: str = "Train a byte model better in 200 steps", budget: str = "200.00") -> ResearchBounty:
    """Post a research bounty that is not funded yet."""
    now = clock.now()
    return posting.post(
        agent=agent,
        key=people.key_of(agent),
        title=title,
        description="A small model of bytes of a book.\nAnything in train.py may change: the net, the optimizer, the schedule.",
        spec_json=spec(agent.owner),
        base_files=BASE,
        offer=posting.Offer(
            budget=Money.parse(budget, "USD"),
            reward_per_effect=Money.parse("10.00", "USD"),
            cap=Money.parse("30.00", "USD"),
            run_fee=Money.parse("0.05", "USD"),
        ),
        closes_at=now + datetime.timedelta(days=7),
        now=now,
    )


def post(agent: Agent, *, title: str = "Train a byte model better in 200 steps", budget: str = "200.00") -> ResearchBounty:
    """Post and fund a research bounty: it is open when this returns."""
    bounty = draft(agent, title=title, budget=budget)
    funding.fund(bounty=bounty, key=people.key_of(agent), now=clock.now())
    return ResearchBounty.objects.select_related("task", "agent").get(pk=bounty.pk)


def searcher(name: str = "searcher") -> Agent:
    """Return an agent of somebody who sends candidates, with money for bonds."""
    agent = people.open_agent(name)
    people.top_up(agent, "10.00")
    return agent


def send(bounty: ResearchBounty, agent: Agent, text: str, *, reported_gain: float | None = None, note: str = "") -> Candidate:
    """Send a commit on the current tip as ``agent``'s owner."""
    return entering.submit(
        bounty=bounty,
        user=agent.owner,
        source=agent,
        edited={"train.py": text},
        parent_digest=tips.current(bounty.task).tree_id,
        reported_gain=reported_gain,
        note=note,
        now=clock.now(),
    )


def owners(count: int) -> list[WorkerProfile]:
    """Return GPU owners."""
    return [people.open_worker(f"owner-{number}") for number in range(count)]


def replay(candidate: Candidate, gains: Sequence[float], by: Sequence[WorkerProfile], *, hidden: int = 0) -> list[Run]:
    """Let owners train a pair of runs for each gain; the last ``hidden`` pairs have one sealed run, beside one that handed in."""
    _move(candidate, "SMOKE")
    _move(candidate, "WAITING")
    _move(candidate, "REPLAYING", class_text=CLASS, seed_indexes=[_seed_index(candidate, number) for number in range(len(gains))])
    runs: list[Run] = []
    for number, gain in enumerate(gains):
        is_hidden = number >= len(gains) - hidden
        for kind, score in ((Run.Kind.CANDIDATE, 2.5 - gain), (Run.Kind.BASELINE, 2.5)):
            is_sealed = is_hidden and kind == Run.Kind.CANDIDATE
            owner = by[len(runs) % len(by)]
            runs.append(_run(candidate, kind, number, owner, score, stage="SEALED" if is_sealed else "VALID"))
    test = Sequential(min_effect=MIN_EFFECT, unpaired_sd=0.02, paired_sd=PAIRED_SD, max_pairs=8)
    for gain in gains[: len(gains) - hidden]:
        if test.decision == "CONTINUE":
            test = test.after(Pair(tip_score=2.5, candidate_score=2.5 - gain))
    Candidate.objects.filter(pk=candidate.pk).update(test=test.to_json())
    return runs


def rewrite(run: Run, **fields: object) -> None:
    """Let a run have ended otherwise: a final stage has no edge to another, so the row is made anew."""
    ended = Run.objects.get(pk=run.pk)
    Run.objects.filter(pk=run.pk).delete()
    for name, value in fields.items():
        setattr(ended, name, value)
    ended.save(force_insert=True)


def decide(candidate: Candidate, outcome: str, *, gain: float, reward_minor: int = 0, reason: str = "") -> Candidate:
    """Give a replayed candidate its verdict, and an accepted one its place in the chain and its pay."""
    now = clock.now()
    codes = {"ACCEPTED": reasons.GAIN_VERIFIED, "REJECTED": reasons.NO_GAIN, "INCONCLUSIVE": reasons.PAIRS_SPENT}
    _move(candidate, outcome, decided_at=now, gain=gain, shrunk_gain=max(0.0, gain * 0.9) or None, reason_code=reason or codes[outcome])
    candidate.refresh_from_db()
    if outcome == "ACCEPTED":
        tips.extend(candidate=candidate)
        ResearchSettlement.objects.create(
            candidate=candidate,
            bounty=candidate.task.bounty,
            outcome="ACCEPTED",
            worker=WorkerProfile.objects.get_or_create(user=candidate.claimant, defaults={"mode": "test", "country": "DE"})[0],
            reward_minor=reward_minor or 1000,
            fee_minor=100,
            currency="USD",
            settled_at=now,
            final_at=now + datetime.timedelta(hours=72),
            matures_at=now + datetime.timedelta(hours=72),
        )
    return candidate


def idea(bounty: ResearchBounty, text: str, status: str, result: str = "") -> Idea:
    """Put an idea into the queue as it ended."""
    now = clock.now()
    is_ended = status in ("FAILED", "WORKED")
    return Idea.objects.create(
        task=bounty.task,
        author=people.open_user("thinker"),
        untrusted_text=text,
        words_sha256=f"{Idea.objects.count():064x}",
        status=status,
        untrusted_result=result,
        reported_gain=-0.002 if status == "FAILED" else None,
        ended_at=now if is_ended else None,
    )


def invalid(candidate: Candidate, owner: WorkerProfile, *, number: int = 0) -> Run:
    """Let an owner have trained a run that an audit did not confirm."""
    run = _run(candidate, Run.Kind.CANDIDATE, number, owner, 2.4, stage="VALID")
    assert run.report is not None
    report = {**run.report, "leaves": [f"{index:02x}" * 32 for index in range(11)], "class_text": CLASS}
    rewrite(run, stage="INVALID", reason_code=reasons.AUDIT_FAILED, report=report)
    return Run.objects.get(pk=run.pk)


def repeat(run: Run, *, differs_from: int | None) -> Appeal:
    """Appeal a run, and let the trusted pool come to the same, or to other weights and losses from a checkpoint on."""
    now, again = clock.now(), appeals.ask(run=run, now=clock.now()).again
    assert run.report is not None
    edge = 10**9 if differs_from is None else differs_from * 20
    leaves = [leaf if index * 20 < edge else "ff" * 32 for index, leaf in enumerate(run.report["leaves"])]
    curve = [[step, loss if step < edge else loss + 0.5] for step, loss in run.report["curve"]]
    report = {**run.report, "leaves": leaves, "curve": curve, "root": run.report["root"] if differs_from is None else "f00d" * 16}
    pool = people.open_user("pool")
    Run.objects.filter(pk=again.pk).update(owner=pool, lease_state="DONE", seal="5e" * 32, sealed_at=now, report=report, judged_at=now)
    for stage in ("SEALED", "REVEALED", "HANDED_IN", "VALID"):
        Run.objects.filter(pk=again.pk).update(stage=stage)
    appeals.conclude(run_id=run.pk, now=now)
    return Appeal.objects.select_related("again").get(run=run)


def _move(candidate: Candidate, status: str, **fields: object) -> None:
    Candidate.objects.filter(pk=candidate.pk).update(status=status, **fields)


def _seed_index(candidate: Candidate, number: int) -> int:
    # Seeds of one candidate alone, so that no run of the tip is shared.
    return 100 * candidate.place + number


def _run(candidate: Candidate, kind: str, number: int, owner: WorkerProfile, score: float, *, stage: str) -> Run:
    curve = [[step, round(score + 3 * math.exp(-step / 40), 4)] for step in range(0, 200, 2)]
    is_baseline = kind == Run.Kind.BASELINE
    assert candidate.parent is not None
    assert candidate.tree is not None
    return Run.objects.create(
        task=candidate.task,
        mode=candidate.task.mode,
        kind=kind,
        stage=stage,
        candidate=candidate,
        tip=candidate.parent,
        tree=candidate.parent.tree if is_baseline else candidate.tree,
        spec=candidate.task.spec,
        seed_index=_seed_index(candidate, number),
        seed=7_000_000_000_000 + number,
        class_text=CLASS,
        hardware=["cpu"],
        level="bwrap-cpu",
        owner_id=owner.pk,
        lease_state="DONE",
        seal="5e" * 32,
        sealed_at=clock.now(),
        report={"curve": curve, "wall_s": 3.25, "root": "d00f" * 16, "leaves": ["beef" * 16]},
        public_score=score,
        holdout_score=score + 0.987654,
        audited_segments=[3, 7] if number == 0 else [],
        reason_code=reasons.VALID if stage == "VALID" else "",
        judged_at=clock.now() if stage == "VALID" else None,
    )
