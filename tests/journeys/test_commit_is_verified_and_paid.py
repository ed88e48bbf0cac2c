"""The second engine's story: strangers' commits are replayed by GPU owners in sandboxes, audited, and paid for verified gain alone."""

import decimal
import json
from collections.abc import Iterator
from typing import TypedDict

import pytest

from agents_sdk import Market, research_models
from agents_sdk.working_folder import Candidate
from gpu_workers.runner.workloads.byte_lm import corpus, workload
from tests.attacks import cheating
from tests.journeys import forger, telling
from tests.journeys import stage as stages
from tests.market.config.supervisor import starting

# A base that learns too slowly, so that an honest improvement is far larger than the noise after 40 steps: measured with 3 seeds,
# twice the rate gains 0.99 bits per byte (sd of the pairs 0.01), a null edit 0.0001, a fixed seed 0.07 (sd 0.06).
RATE = "LEARNING_RATE = 1e-3"
SLOW = "LEARNING_RATE = 5e-4"
HONEST = "LEARNING_RATE = 1e-3"
WITHIN = "20m"

_MONEY = """
import json
from market.bounties.research.models import Forfeit, RunPayment
from verification.research.models import Run
print("MONEY", json.dumps({
    "paid_runs": RunPayment.objects.exclude(reason="CALIBRATION").count(),
    "owners_paid": RunPayment.objects.exclude(reason="CALIBRATION").values("worker").distinct().count(),
    "valid_runs": Run.objects.filter(stage="VALID").exclude(kind="CALIBRATION").exclude(is_trusted_only=True).count(),
    "audited": Run.objects.exclude(audited_segments=[]).filter(stage="VALID").count(),
    "invalid": sorted(Run.objects.filter(stage="INVALID").values_list("reason_code", flat=True)),
    "forfeited_minor": sum(Forfeit.objects.values_list("amount_minor", flat=True)),
}))
"""


class Told(TypedDict):
    """What the market's own tables say of the runs."""

    paid_runs: int
    owners_paid: int
    valid_runs: int
    audited: int
    invalid: list[str]
    forfeited_minor: int


@pytest.fixture(scope="module")
def research_stage() -> Iterator[stages.Stage]:
    """A market with two GPU owners and the trusted pool; its books add up when the story has been told."""
    with starting.reachable_folder() as root, stages.open_market(root / "data", "--no-simulated-worker") as opened:
        yield opened
        assert " 0 differences." in opened.manage("ledger_audit")


def test_honest_gain_is_paid_and_cheats_pay(research_stage: stages.Stage) -> None:
    stage = research_stage
    base = workload.base_files()["train.py"].replace(RATE, SLOW)
    with (
        Market(api_key=stage.keys["agent_key"], base_url=stage.url) as poster,
        Market(api_key=stage.keys["claimant_key"], base_url=stage.url) as claimant,
    ):
        bounty = _post(poster, base)
        before = _available(claimant)

        honest = _submit(claimant, bounty.id, base.replace(SLOW, HONEST), note="Twice the learning rate.")
        assert (honest.status, honest.reason_code, honest.tip_number) == ("ACCEPTED", "gain_verified", 1)
        assert honest.shrunk_gain is not None
        assert honest.gain is not None
        assert 0.2 < honest.shrunk_gain <= honest.gain
        assert honest.reward is not None
        assert decimal.Decimal("1.00") < decimal.Decimal(honest.reward.amount) <= decimal.Decimal("3.00")
        assert honest.receipt is not None
        told = telling.eventually(lambda: _money(stage), lambda seen: seen["paid_runs"] == seen["valid_runs"])
        assert told["owners_paid"] == 2
        assert told["paid_runs"] >= 6
        assert told["audited"] >= 3

        # Each on the new tip: what was paid once is not paid again.
        tip = base.replace(SLOW, HONEST)
        with forger.at_work(stage) as owner:
            null = owner.replay_of(claimant, bounty.id, tip.replace(HONEST, "LEARNING_RATE = 1.0001e-3"), is_forged=False)
            assert (null.case.status, null.case.reason_code, null.run.status) == ("REJECTED", "no_gain", "VALID")
            seed_picker = _submit(claimant, bounty.id, cheating.CANDIDATES["ignores the seed"].replace(RATE, HONEST))
            assert (seed_picker.status, seed_picker.reason_code) == ("REJECTED", "smoke_failed")
            forged = owner.replay_of(claimant, bounty.id, tip.replace(HONEST, "LEARNING_RATE = 0.9999e-3"), is_forged=True)
            assert (forged.case.status, forged.case.reason_code) == ("REJECTED", "no_gain")
            assert (forged.run.status, forged.run.money_status) == ("INVALID", "FAILED")
        for refused in (null.case, seed_picker, forged.case):
            _loses_its_bond(claimant, refused.id)
        # Three bonds of 0.10 are gone; the honest candidate's is still placed or has come back.
        assert before - _available(claimant) in (decimal.Decimal("0.30"), decimal.Decimal("0.40"))
        told = telling.eventually(lambda: _money(stage), lambda seen: seen["forfeited_minor"] > 0)
        assert told["invalid"] == ["audit_failed"]

        leaders = list(poster.research.leaderboard(bounty.id))
        assert [leader.candidate for leader in leaders] == [honest.id]
        assert [tip.number for tip in poster.research.lineage(bounty.id)] == [1, 0]
        told = telling.eventually(lambda: _money(stage), lambda seen: seen["paid_runs"] == seen["valid_runs"])
        assert told["owners_paid"] == 3


def _post(poster: Market, base: str) -> research_models.ResearchBounty:
    texts = corpus.texts()
    bounty = poster.research.post(
        "A byte-level language model on Python's reference",
        tree={"train.py": base},
        editable=["train.py"],
        data={"train": texts["train"], "validation": texts["validation"], "holdout": texts["holdout"]},
        budget="60.00",
        reward_per_effect="1.00",
        cap="3.00",
        run_fee="0.10",
        by="6h",
        steps=40,
        rows=8,
        sequence=64,
        checkpoint_every=20,
        wall_s=240,
        max_parameters=250_000,
        memory_mib=2048,
        eval_tokens=4160,
        min_effect=0.2,
        unpaired_sd=0.07,
        paired_sd=0.02,
        max_pairs=4,
        challenge_window="1h",
    )
    assert bounty.status == "OPEN"
    return bounty


def _submit(claimant: Market, bounty_id: str, text: str, *, note: str = "") -> research_models.ResearchCase:
    tip = claimant.research.tip(bounty_id)
    candidate = Candidate(parent=tip.digest, files={"train.py": text}, note=note)
    return claimant.research.submit(bounty_id, candidate, idempotency_key=candidate.name).wait(timeout=WITHIN)


def _loses_its_bond(claimant: Market, candidate: str) -> None:
    def bond() -> str:
        found = claimant.research.candidate(candidate).show().bond
        return found.status if found else ""

    telling.eventually(bond, lambda status: status == "LOST")


def _available(market: Market) -> decimal.Decimal:
    return sum((money.value for money in market.balance().available), decimal.Decimal(0))


def _money(stage: stages.Stage) -> Told:
    said = stage.manage("shell", "--no-imports", "-c", _MONEY)
    found: Told = json.loads(next(line for line in said.splitlines() if line.startswith("MONEY")).removeprefix("MONEY"))
    return found
