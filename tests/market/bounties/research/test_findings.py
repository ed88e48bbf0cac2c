"""A finding against an accepted candidate: it ..."""

import datetime

import pytest

from market.accounts.models import Agent
from market.bounties.research import findings, maturing, paying, settlement
from market.bounties.research.models import AppliedFinding, ResearchBounty, ResearchSettlement, RunPayment
from tests.market.bounties import ledger
from tests.market.bounties.research import scene
from verification.research.models import Candidate, Finding, Host, Run

DAY = datetime.timedelta(days=1)


@pytest.fixture
def bounty(agent: Agent, now: datetime.datetime) -> ResearchBounty:
    return scene.post(agent, now=now)


@pytest.fixture
def maker(db: None) -> Agent:
    return scene.open_maker()


@pytest.fixture
def host(db: None) -> Host:
    return scene.open_host()


@pytest.fixture
def candidate(bounty: ResearchBounty, maker: Agent, host: Host, now: datetime.datetime) -> Candidate:
    """An accepted candidate whose twelve runs are one owner's: ten in his stake, two that he earned."""
    made = scene.submit(bounty, maker, now=now)
    for _ in range(12):
        scene.valid_run(made, host, now=now)
    paying.pay_runs_due(now=now)
    scene.decide(made, "ACCEPTED", now=now)
    settlement.apply_due(now=now)
    return made


def find(candidate: Candidate, *, run: Run | None = None, is_upheld: bool = False, version: int = 1) -> Finding:
    return Finding.objects.create(
        candidate=candidate,
        run=run,
        source=Finding.Source.REJUDGED,
        check_name="look_ahead",
        check_version=version,
        is_upheld=is_upheld,
        reason_code="" if is_upheld else "probe_truncated",
    )


def test_takes_back_what_is_not_payable_yet_and_the_bond(
    bounty: ResearchBounty, candidate: Candidate, maker: Agent, host: Host, now: datetime.datetime
) -> None:
    before = ledger.available(bounty.agent)
    find(candidate)
    assert [findings.apply_due(now=now) for _ in range(2)] == [1, 0]
    assert (scene.earned(maker.owner), ledger.available(maker)) == (0, 1_900)
    assert ledger.available(bounty.agent) == before + 1_100
    applied = AppliedFinding.objects.get()
    assert (applied.taken_back_minor, applied.bond_minor, applied.stake_minor) == (1_100, scene.BOND_MINOR, 0)
    # Owners who trained what they were asked to train are paid as they were.
    assert (scene.staked(host.owner), scene.earned(host.owner)) == (500, 100)
    later = now + DAY
    assert (maturing.finalise_due(now=later), maturing.mature_due(now=later), maturing.mature_runs_due(now=later)) == (0, 0, 12)


def test_leaves_what_is_payable(bounty: ResearchBounty, candidate: Candidate, maker: Agent, now: datetime.datetime) -> None:
    maturing.finalise_due(now=now + DAY)
    maturing.mature_due(now=now + DAY)
    before = ledger.available(bounty.agent)
    find(candidate)
    findings.apply_due(now=now + DAY)
    assert (scene.payable(maker.owner), ledger.available(maker), ledger.available(bounty.agent)) == (1_000, 2_000, before)
    assert ResearchSettlement.objects.get().taken_back_at is None


def test_takes_the_stake_and_the_unpaid_pay_of_who_forged_a_run(
    bounty: ResearchBounty, candidate: Candidate, host: Host, now: datetime.datetime
) -> None:
    forged = RunPayment.objects.filter(staked_minor=0).first()
    assert forged is not None
    find(candidate, run=forged.run)
    findings.apply_due(now=now)
    assert (scene.staked(host.owner), scene.earned(host.owner)) == (0, 50)
    assert AppliedFinding.objects.get().stake_minor == 500
    # Four of the twelve runs were the platform's to pay, this one among them: it has its money back, and the stake and the bond.
    assert ledger.fees() == -200 + 50 + 500 + 100 - 100 + scene.BOND_MINOR
    assert (maturing.mature_runs_due(now=now + 2 * DAY), scene.payable(host.owner)) == (11, 50)


def test_costs_nothing_where_the_verdict_stands(candidate: Candidate, maker: Agent, now: datetime.datetime) -> None:
    find(candidate, is_upheld=True)
    assert findings.apply_due(now=now) == 0
    assert scene.earned(maker.owner) == 1_000


def test_costs_once_whatever_else_is_found(bounty: ResearchBounty, candidate: Candidate, maker: Agent, now: datetime.datetime) -> None:
    before = ledger.available(bounty.agent)
    find(candidate)
    find(candidate, version=2)
    assert findings.apply_due(now=now) == 2
    assert (ledger.available(bounty.agent), ledger.available(maker)) == (before + 1_100, 1_900)
