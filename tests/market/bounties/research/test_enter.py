"""Sending a candidate: it ..."""

import datetime

import pytest

from market.accounts.models import Agent, User
from market.bounties import posting as bounty_posting
from market.bounties.locks import NoBounty
from market.bounties.research import cancelling, entering, reserving, settlement
from market.bounties.research.models import CaseReserve, ResearchBounty
from market.escrow import holds
from market.escrow.models import Bond
from tasks.models import WorkerProfile
from tests import people
from tests.market.books import fund
from tests.market.bounties import ledger
from tests.market.bounties.research import scene
from verification.research import candidates, tips
from verification.research.models import Candidate


@pytest.fixture
def bounty(agent: Agent, now: datetime.datetime) -> ResearchBounty:
    return scene.post(agent, now=now)


@pytest.fixture
def maker(db: None) -> Agent:
    return scene.open_maker()


def refreshed(bounty: ResearchBounty) -> ResearchBounty:
    return ResearchBounty.objects.select_related("task", "agent").get(pk=bounty.pk)


def nothing_came_in(bounty: ResearchBounty) -> bool:
    return (Candidate.objects.count(), CaseReserve.objects.count(), Bond.objects.count(), refreshed(bounty).reserved_minor) == (0, 0, 0, 0)


def test_places_its_bond_and_reserves_what_it_may_cost(bounty: ResearchBounty, maker: Agent, now: datetime.datetime) -> None:
    candidate = scene.submit(bounty, maker, now=now)
    reserve = CaseReserve.objects.select_related("bond").get(candidate=candidate)
    assert (reserve.amount_minor, reserve.spent_minor, reserve.bond.amount_minor) == (scene.CASE_MINOR, 0, scene.BOND_MINOR)
    assert (refreshed(bounty).reserved_minor, scene.held(bounty)) == (scene.CASE_MINOR, 10_000)
    assert (ledger.available(maker), candidate.status) == (1_900, "RECEIVED")


def test_takes_the_bond_from_what_a_worker_may_have_paid_out(bounty: ResearchBounty, now: datetime.datetime) -> None:
    worker = people.open_worker()
    edited, parent = scene.edit(), tips.current(bounty.task).tree_id
    user = User.objects.get(pk=worker.pk)
    with pytest.raises(holds.InsufficientFunds):
        entering.submit(bounty=bounty, user=user, source=worker, edited=edited, parent_digest=parent, now=now)
    assert nothing_came_in(bounty)
    fund(entering.source_path(worker, mode="test", currency="USD"), 150)
    entering.submit(bounty=bounty, user=user, source=worker, edited=edited, parent_digest=parent, now=now)
    assert scene.payable(user) == 50


def test_moves_nothing_for_a_commit_that_the_gate_refuses(bounty: ResearchBounty, maker: Agent, now: datetime.datetime) -> None:
    parent = tips.current(bounty.task).tree_id
    with pytest.raises(candidates.GateRefused):
        entering.submit(bounty=bounty, user=maker.owner, source=maker, edited={"eval.py": "x = 1\n"}, parent_digest=parent, now=now)
    assert nothing_came_in(bounty)
    assert ledger.available(maker) == 2_000


def test_takes_the_same_tree_once(bounty: ResearchBounty, maker: Agent, now: datetime.datetime) -> None:
    edited, parent = scene.edit(), tips.current(bounty.task).tree_id
    entering.submit(bounty=bounty, user=maker.owner, source=maker, edited=edited, parent_digest=parent, now=now)
    with pytest.raises(candidates.DuplicateTree):
        entering.submit(bounty=bounty, user=maker.owner, source=maker, edited=edited, parent_digest=parent, now=now)
    assert (ledger.available(maker), refreshed(bounty).reserved_minor) == (1_900, scene.CASE_MINOR)


def test_is_refused_when_the_budget_can_not_pay_another(agent: Agent, maker: Agent, now: datetime.datetime) -> None:
    bounty = scene.post(agent, terms=scene.offer("73.99"), now=now)
    scene.submit(bounty, maker, now=now)
    with pytest.raises(reserving.BudgetSpent):
        scene.submit(bounty, maker, now=now)
    assert (Candidate.objects.count(), ledger.available(maker)) == (1, 1_900)


def test_takes_the_last_that_the_budget_can_pay(agent: Agent, maker: Agent, now: datetime.datetime) -> None:
    bounty = scene.post(agent, terms=scene.offer("74.00"), now=now)
    scene.submit(bounty, maker, now=now)
    scene.submit(bounty, maker, now=now)
    assert reserving.free_minor(refreshed(bounty)) == 0


def test_is_refused_from_whoever_posted_the_bounty(bounty: ResearchBounty, agent: Agent, now: datetime.datetime) -> None:
    with pytest.raises(entering.OwnBounty):
        scene.submit(bounty, agent, now=now)
    second = people.open_agent("second", user=agent.owner)
    people.top_up(second)
    with pytest.raises(entering.OwnBounty):
        scene.submit(bounty, second, now=now)
    assert nothing_came_in(bounty)


def test_never_takes_anothers_money(bounty: ResearchBounty, maker: Agent, stranger: User, now: datetime.datetime) -> None:
    parent = tips.current(bounty.task).tree_id
    for source in (maker, people.open_worker(), people.open_agent("live", user=stranger, mode="live")):
        with pytest.raises(entering.NotYours):
            entering.submit(bounty=bounty, user=stranger, source=source, edited=scene.edit(), parent_digest=parent, now=now)
    assert nothing_came_in(bounty)
    assert ledger.available(maker) == 2_000


def test_is_refused_from_the_suspended(bounty: ResearchBounty, maker: Agent, now: datetime.datetime) -> None:
    maker.is_suspended = True
    with pytest.raises(bounty_posting.AgentSuspended):
        scene.submit(bounty, maker, now=now)
    worker = people.open_worker()
    WorkerProfile.objects.filter(pk=worker.pk).update(is_suspended=True)
    worker.refresh_from_db()
    user = User.objects.get(pk=worker.pk)
    with pytest.raises(entering.WorkerSuspended):
        entering.submit(bounty=bounty, user=user, source=worker, edited=scene.edit(), parent_digest="", now=now)
    assert nothing_came_in(bounty)


def test_is_taken_until_the_deadline_and_not_at_it(agent: Agent, maker: Agent, now: datetime.datetime) -> None:
    end = now + datetime.timedelta(hours=1)
    bounty = scene.post(agent, closes_at=end, now=now)
    scene.submit(bounty, maker, now=end - datetime.timedelta(microseconds=1))
    with pytest.raises(entering.NotOpen):
        scene.submit(bounty, maker, now=end)


def test_is_refused_before_funding_and_after_cancelling(agent: Agent, maker: Agent, now: datetime.datetime) -> None:
    bounty = scene.draft(agent, now=now)
    with pytest.raises(entering.NotOpen):
        scene.submit(bounty, maker, now=now)
    opened = scene.post(agent, now=now)
    cancelling.cancel(bounty=opened, agent=agent, now=now)
    with pytest.raises(entering.NotOpen):
        scene.submit(opened, maker, now=now)
    assert nothing_came_in(opened)


def test_names_no_bounty_that_is_not_there(bounty: ResearchBounty, maker: Agent, now: datetime.datetime) -> None:
    gone = ResearchBounty(pk=maker.pk, task=bounty.task)
    with pytest.raises(NoBounty):
        scene.submit(gone, maker, now=now)


def test_keeps_its_place_by_an_announcement_that_is_backed_once(bounty: ResearchBounty, maker: Agent, now: datetime.datetime) -> None:
    candidate, edited, salt = scene.announce(bounty, maker, now=now)
    again = entering.announce(bounty=bounty, user=maker.owner, source=maker, sealed_sha256=candidate.sealed_sha256, now=now)
    assert (again, ledger.available(maker), refreshed(bounty).reserved_minor) == (candidate, 1_900, scene.CASE_MINOR)
    sent = entering.submit(
        bounty=bounty,
        user=maker.owner,
        source=maker,
        edited=edited,
        parent_digest=tips.current(bounty.task).tree_id,
        announced=candidate,
        salt=salt,
        now=now + datetime.timedelta(minutes=1),
    )
    assert (sent.pk, sent.place, sent.status) == (candidate.pk, 1, "RECEIVED")
    assert (ledger.available(maker), refreshed(bounty).reserved_minor) == (1_900, scene.CASE_MINOR)


def test_loses_its_bond_when_it_was_announced_and_never_sent(bounty: ResearchBounty, maker: Agent, now: datetime.datetime) -> None:
    candidate, *_ = scene.announce(bounty, maker, now=now)
    assert candidate.reveal_until is not None
    candidates.lapse_due(now=candidate.reveal_until - datetime.timedelta(microseconds=1))
    assert settlement.lapse_due(now=candidate.reveal_until) == 0
    candidates.lapse_due(now=candidate.reveal_until)
    assert [settlement.lapse_due(now=candidate.reveal_until) for _ in range(2)] == [1, 0]
    assert (ledger.available(maker), ledger.fees(), refreshed(bounty).reserved_minor) == (1_900, scene.BOND_MINOR, 0)


def test_gets_its_bond_back_when_the_bounty_closed_before_it_was_sent(
    bounty: ResearchBounty, agent: Agent, maker: Agent, now: datetime.datetime
) -> None:
    candidate, *_ = scene.announce(bounty, maker, now=now)
    cancelling.cancel(bounty=bounty, agent=agent, now=now)
    assert refreshed(bounty).status == "OPEN"
    assert candidate.reveal_until is not None
    candidates.lapse_due(now=candidate.reveal_until)
    settlement.lapse_due(now=candidate.reveal_until)
    assert (ledger.available(maker), ledger.fees(), refreshed(bounty).status) == (2_000, 0, "CANCELLED")
    assert ledger.available(agent) == 100_000
