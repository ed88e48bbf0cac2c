"""The same money wanted by two at once, or by a process that is killed: it ..."""

import datetime
import functools

import pytest

from market.accounts.models import Agent
from market.bounties.research import cancelling, entering, funding, maturing, paying, reserving, settlement, staking
from market.bounties.research.models import CaseReserve, Forfeit, ResearchBounty, ResearchSettlement, RunPayment
from market.escrow import stakes
from market.escrow.models import Bond
from tasks import clock
from tests import people, processes, racing
from tests.market import in_turn
from tests.market.bounties import ledger
from tests.market.bounties.research import scene
from verification.research import reasons
from verification.research.models import Candidate, Run

pytestmark = pytest.mark.django_db(transaction=True)

SETTLER = """
from market.bounties.research import paying, settlement
from tasks import clock
tell("ready")
while paying.pay_runs_due(now=clock.now(), limit=1) + settlement.apply_due(now=clock.now(), limit=1):
    tell("settled")
sys.stdin.read()
"""


@pytest.fixture
def now() -> datetime.datetime:
    return clock.now()


@pytest.fixture
def agent() -> Agent:
    someone = people.open_agent()
    people.top_up(someone)
    return someone


def refreshed(bounty: ResearchBounty) -> ResearchBounty:
    return ResearchBounty.objects.select_related("task", "agent").get(pk=bounty.pk)


def test_takes_one_of_two_for_the_last_reserve(agent: Agent, now: datetime.datetime) -> None:
    bounty = scene.post(agent, terms=scene.offer("73.99"), now=now)
    makers = [scene.open_maker() for _ in range(4)]
    outcomes = racing.together([functools.partial(scene.submit, bounty, maker, now=now) for maker in makers])
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["BudgetSpent"] * 3 + ["Candidate"]
    assert (Candidate.objects.count(), CaseReserve.objects.count(), Bond.objects.count()) == (1, 1, 1)
    assert sum(ledger.available(maker) for maker in makers) == 8_000 - scene.BOND_MINOR
    assert refreshed(bounty).reserved_minor == scene.CASE_MINOR


def test_does_not_take_what_waited_while_the_bounty_was_cancelled(agent: Agent, now: datetime.datetime) -> None:
    bounty, maker = scene.post(agent, now=now), scene.open_maker()
    first, second = in_turn.second_waits_for(
        lambda: cancelling.cancel(bounty=bounty, agent=agent, now=now), lambda: scene.submit(bounty, maker, now=now)
    )
    assert isinstance(first, ResearchBounty)
    assert isinstance(second, entering.NotOpen)
    assert (ledger.available(maker), ledger.available(agent)) == (2_000, 100_000)


def test_funds_once(agent: Agent, now: datetime.datetime) -> None:
    bounty = scene.draft(agent, now=now)
    fund = lambda: funding.fund(bounty=bounty, now=now)  # noqa: E731
    assert in_turn.second_waits_for(fund, fund) == [bounty, bounty]
    assert ledger.available(agent) == 90_000


def test_settles_and_pays_once_however_many_sweep(agent: Agent, now: datetime.datetime) -> None:
    bounty, maker, host = scene.post(agent, now=now), scene.open_maker(), scene.open_host()
    candidate = scene.submit(bounty, maker, now=now)
    for _ in range(4):
        scene.valid_run(candidate, host, now=now)
    scene.decide(candidate, "ACCEPTED", now=now)
    steps = [paying.pay_runs_due, settlement.apply_due] * 4
    outcomes = racing.together([functools.partial(step, now=now) for step in steps])
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert (ResearchSettlement.objects.count(), RunPayment.objects.count()) == (1, 4)
    assert (scene.earned(maker.owner), scene.staked(host.owner), scene.held(bounty)) == (1_000, 200, 10_000 - 1_100 - 200)
    later = now + datetime.timedelta(days=2)
    racing.together([lambda: maturing.finalise_due(now=later)] * 4)
    racing.together([lambda: maturing.mature_due(now=later), lambda: maturing.mature_runs_due(now=later)] * 3)
    assert (scene.payable(maker.owner), ledger.available(maker)) == (1_000, 2_000)


def test_pays_one_owners_runs_of_two_bounties_into_one_stake(agent: Agent, now: datetime.datetime) -> None:
    maker, host = scene.open_maker(), scene.open_host()
    for bounty in (scene.post(agent, now=now), scene.post(agent, now=now)):
        candidate = scene.submit(bounty, maker, now=now)
        for _ in range(6):
            scene.valid_run(candidate, host, now=now)
    outcomes = racing.together([lambda: paying.pay_runs_due(now=now)] * 4)
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert (RunPayment.objects.count(), scene.staked(host.owner), scene.earned(host.owner)) == (12, 500, 100)


def test_pays_a_hosts_calibration_once(agent: Agent, now: datetime.datetime) -> None:
    candidate, host = scene.submit(scene.post(agent, now=now), scene.open_maker(), now=now), scene.open_host()
    for _ in range(2):
        scene.valid_run(candidate, host, now=now, kind=Run.Kind.CALIBRATION, candidate_id=None, task_id=None, tip_id=None)
    racing.together([lambda: paying.pay_calibrations_due(now=now)] * 4)
    assert (scene.earned(host.owner), ledger.fees()) == (5, -5)


def test_loses_a_stake_or_gives_it_back_but_not_both(agent: Agent, now: datetime.datetime) -> None:
    candidate, host = scene.submit(scene.post(agent, now=now), scene.open_maker(), now=now), scene.open_host()
    scene.valid_run(candidate, host, now=now)
    paying.pay_runs_due(now=now)
    RunPayment.objects.update(matured_at=now)
    withdraw = lambda: staking.withdraw(owner=host.owner, mode="test", currency="USD", now=now)  # noqa: E731
    forged = scene.run(candidate, host, now=now)
    scene.end(forged, Run.Stage.INVALID, reason=reasons.AUDIT_FAILED, now=now)
    first, second = in_turn.second_waits_for(lambda: paying.forfeit_due(now=now), withdraw)
    assert first == 1
    assert isinstance(second, stakes.NothingStaked)
    assert (Forfeit.objects.get().amount_minor, scene.payable(host.owner), ledger.fees()) == (50, 0, 50)


def test_loses_nothing_and_pays_nothing_twice_when_it_is_killed(agent: Agent, now: datetime.datetime) -> None:
    bounty, makers, hosts = scene.post(agent, now=now, terms=scene.offer("500.00")), [], []
    for _ in range(6):
        makers.append(scene.open_maker())
        hosts.append(scene.open_host())
        candidate = scene.submit(bounty, makers[-1], now=now)
        for _ in range(2):
            scene.valid_run(candidate, hosts[-1], now=now)
        scene.decide(candidate, "ACCEPTED", now=now)
    for words in (1, 3, 2):
        with processes.python(SETTLER) as child:
            processes.wait_for_word(child, "ready")
            for _ in range(words):
                processes.wait_for_word(child, "settled")
        # Killed wherever it was: in the middle of the next one.
    while paying.pay_runs_due(now=now) + settlement.apply_due(now=now):
        pass
    cancelling.close_due(now=now)
    assert (ResearchSettlement.objects.count(), RunPayment.objects.count()) == (6, 12)
    assert [scene.earned(maker.owner) for maker in makers] == [1_000] * 6
    assert [scene.staked(host.owner) for host in hosts] == [100] * 6
    assert reserving.free_minor(refreshed(bounty)) == scene.held(bounty) == 50_000 - 6 * 1_200
