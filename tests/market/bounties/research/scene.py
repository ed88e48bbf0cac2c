"""Research bounties in a test's words: posted and entered by the use cases; what facts decide is written as the rows they leave."""

import datetime
import io
import itertools

from market.accounts.models import Agent, User
from market.bounties.research import entering, funding, posting
from market.bounties.research.models import ResearchBounty
from market.common import account_paths
from market.common.money import Money
from market.escrow import queries as escrow_queries
from market.escrow import stakes
from market.ledger import balances
from tasks import clock
from tests import people
from verification.replay import trees as shapes
from verification.replay.classes import ClassKey
from verification.research import candidates, files, reasons, tips
from verification.research.models import Candidate, Host, ResearchTask, Run

BASE = {"train.py": "LEARNING_RATE = 0.01\n"}
CLASS = ClassKey(hardware="cpu", torch="2.13.0+cpu", isa="AVX2", threads=1, precision="fp32", is_compiled=False, driver="none").text
MIN_EFFECT = 0.01
MAX_PAIRS = 2
# 30.00 and its fee of 3.00, and 4 runs for each of 2 pairs at 0.50.
CASE_MINOR = 3000 + 300 + 8 * 50
FEE_MINOR, CAP_MINOR, BOND_MINOR, STAKE_MINOR = 50, 3000, 100, 200
FULL_STAKE_MINOR = 10 * FEE_MINOR
_DATA = (("text.bin", "train"), ("seen.bin", "validation"), ("secret.bin", "holdout"))
_numbers = itertools.count(1)


def spec_json(owner: User, **changes: object) -> dict[str, object]:
    """Return a replay spec over the base, whose data files the owner has handed in."""
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
        "wall_s": 100,
        "max_parameters": 200_000,
        "memory_mib": 1024,
        "eval_tokens": 4096,
        "metric": "bits_per_byte",
        "token_bytes": None,
        "min_effect": MIN_EFFECT,
        "unpaired_sd": 0.02,
        "paired_sd": 0.004,
        "max_pairs": MAX_PAIRS,
        "hardware": ["cpu"],
        "precision": "fp32",
        "sandbox_level": "bwrap-cpu",
        "is_confirmed_on_second_class": False,
        **changes,
    }


def usd(amount: str) -> Money:
    """Return an amount of USD."""
    return Money.parse(amount, "USD")


def offer(budget: str = "100.00", **changes: Money | int | None) -> posting.Offer:
    """Return an offer: 10.00 for each min_effect up to 30.00, 0.50 a run, a bond of 1.00, a stake of 2.00, a window of a day."""
    fields: dict[str, object] = {
        "budget": usd(budget),
        "reward_per_effect": usd("10.00"),
        "cap": usd("30.00"),
        "run_fee": usd("0.50"),
        "bond": usd("1.00"),
        "challenge_stake": usd("2.00"),
        "challenge_window_s": 24 * 3600,
        **changes,
    }
    return posting.Offer(**fields)  # type: ignore[arg-type]


def draft(
    agent: Agent,
    *,
    title: str = "Train a small model of bytes better",
    description: str = "Anything in train.py may change: the net, the optimizer, the schedule.",
    terms: posting.Offer | None = None,
    closes_at: datetime.datetime | None = None,
    now: datetime.datetime,
    **spec: object,
) -> ResearchBounty:
    """Post a research bounty that is not funded yet."""
    return posting.post(
        agent=agent,
        key=people.key_of(agent),
        title=title,
        description=description,
        spec_json=spec_json(agent.owner, **spec),
        base_files=BASE,
        offer=terms or offer(),
        closes_at=closes_at or now + datetime.timedelta(days=7),
        now=now,
    )


def post(agent: Agent, *, now: datetime.datetime, terms: posting.Offer | None = None, **more: object) -> ResearchBounty:
    """Post and fund a research bounty: it is open when this returns."""
    return funding.fund(bounty=draft(agent, now=now, terms=terms, **more), now=now)  # type: ignore[arg-type]


def open_maker(amount: str = "20.00") -> Agent:
    """Make somebody who sends commits: a user whose agent has money for bonds."""
    maker = people.open_agent("maker")
    people.top_up(maker, amount)
    return maker


def edit() -> dict[str, str]:
    """Return the text of a commit that nobody sent before."""
    return {"train.py": f"LEARNING_RATE = 0.02\nWIDTH = {next(_numbers)}\n"}


def submit(bounty: ResearchBounty, maker: Agent, *, now: datetime.datetime) -> Candidate:
    """Send a new commit on the tip."""
    parent = tips.current(ResearchTask.objects.get(pk=bounty.task_id)).tree_id
    return entering.submit(bounty=bounty, user=maker.owner, source=maker, edited=edit(), parent_digest=parent, now=now)


def open_host(owner: User | None = None, *, mode: str = "test") -> Host:
    """Make a GPU owner and his machine."""
    return Host.objects.create(
        owner=owner or people.open_user("owner"),
        mode=mode,
        untrusted_name="box",
        class_text=CLASS,
        hardware="cpu",
        reported_level="bwrap-cpu",
    )


def run(candidate: Candidate, host: Host | None, *, now: datetime.datetime, kind: str = Run.Kind.CANDIDATE, **fields: object) -> Run:
    """Write a run of a candidate as it is with an owner, or waits for one."""
    row: dict[str, object] = {
        "task_id": candidate.task_id,
        "mode": candidate.task.mode,
        "kind": kind,
        "candidate_id": candidate.pk,
        "tip_id": candidate.parent_id,
        "tree_id": candidate.tree_id,
        "spec": candidate.task.spec,
        "seed_index": next(_numbers),
        "seed": 1,
        "class_text": CLASS,
        "hardware": ["cpu"],
        "level": "bwrap-cpu",
        **fields,
    }
    if host is not None:
        row |= {"owner_id": host.owner_id, "host": host, "lease_state": "LEASED", "lease_holder": "box", "leased_at": now}
    return Run.objects.create(**{**row, **fields})


def end(run: Run, stage: str, *, reason: str = "", now: datetime.datetime, **fields: object) -> Run:
    """Write how a run ended, by the way it went there."""
    Run.objects.filter(pk=run.pk).update(lease_state="DONE", reason_code=reason, judged_at=now, **fields)
    if stage in (Run.Stage.VALID, Run.Stage.INVALID):
        report = {"root": "00" * 32}
        Run.objects.filter(pk=run.pk).update(seal="11" * 32, sealed_at=now, report=report, revealed_at=now, handed_in_at=now)
        for step in (Run.Stage.SEALED, Run.Stage.REVEALED, Run.Stage.HANDED_IN):
            Run.objects.filter(pk=run.pk).update(stage=step)
    Run.objects.filter(pk=run.pk).update(stage=stage)
    run.refresh_from_db()
    return run


def valid_run(candidate: Candidate, host: Host, *, now: datetime.datetime, **fields: object) -> Run:
    """Write a valid run of a candidate."""
    return end(run(candidate, host, now=now, **fields), Run.Stage.VALID, reason=reasons.VALID, now=now)  # type: ignore[arg-type]


def decide(candidate: Candidate, outcome: str, *, reason: str | None = None, effects: float = 1.0, now: datetime.datetime) -> Candidate:
    """Write a verdict as the sequential test leaves it; an accepted candidate is the tip and gains ``effects`` times min_effect."""
    for step in (Candidate.Status.SMOKE, Candidate.Status.WAITING, Candidate.Status.REPLAYING):
        Candidate.objects.filter(pk=candidate.pk).update(status=step)
    gain = effects * MIN_EFFECT if outcome == Candidate.Status.ACCEPTED else 0.0
    codes = {"ACCEPTED": reasons.GAIN_VERIFIED, "REJECTED": reasons.NO_GAIN, "INCONCLUSIVE": reasons.PAIRS_SPENT}
    Candidate.objects.filter(pk=candidate.pk).update(
        status=outcome, reason_code=reason or codes[outcome], gain=gain, shrunk_gain=gain, decided_at=now, lease_state="DONE"
    )
    candidate.refresh_from_db()
    if outcome == Candidate.Status.ACCEPTED:
        tips.extend(candidate=candidate)
    return candidate


def announce(bounty: ResearchBounty, maker: Agent, *, now: datetime.datetime) -> tuple[Candidate, dict[str, str], str]:
    """Announce a new commit; return it with its text and salt."""
    edited, salt = edit(), "ab" * 16
    seal = candidates.seal_of(tree_digest=shapes.tree_digest(shapes.apply(BASE, edited)), salt=salt)
    return entering.announce(bounty=bounty, user=maker.owner, source=maker, sealed_sha256=seal, now=now), edited, salt


# -- Balances ---------------------------------------------------------------------------------------------------------


def held(bounty: ResearchBounty) -> int:
    """Return what is held for the bounty."""
    return escrow_queries.totals(bounty.pk).held_minor


def earned(user: User, currency: str = "USD") -> int:
    """Return what a user has earned and can't be paid yet."""
    return balances.balance(account_paths.worker_earned(mode="test", worker_id=user.pk, currency=currency))


def payable(user: User, currency: str = "USD") -> int:
    """Return what a user may have paid out."""
    return balances.balance(account_paths.worker_payable(mode="test", worker_id=user.pk, currency=currency))


def staked(user: User, currency: str = "USD") -> int:
    """Return what backs a user's reports."""
    in_ledger = balances.balance(stakes.path(mode="test", worker_id=user.pk, currency=currency))
    assert in_ledger == stakes.left(mode="test", worker_id=user.pk, currency=currency)
    return in_ledger
