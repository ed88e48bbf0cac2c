import uuid

import pytest

from market.common import account_paths
from market.escrow import holds, queries
from market.escrow.models import Hold
from market.ledger import audit, transfers
from tasks import clock
from tests.market.books import FEES, entry, fund

pytestmark = pytest.mark.django_db

AGENT, BOUNTY, OTHER = uuid.UUID(int=1), uuid.UUID(int=2), uuid.UUID(int=3)


@pytest.fixture
def held() -> list[Hold]:
    fund(account_paths.agent_available(mode="test", agent_id=AGENT, currency="USD"), 1000)
    return [
        hold
        for bounty_id in (BOUNTY, OTHER)
        for hold in holds.place(
            bounty_id=bounty_id,
            agent_id=AGENT,
            mode="test",
            currency="USD",
            slot_amounts=[100, 200],
            reserve_minor=50,
            subject="bty_test",
            now=clock.now(),
        )
    ]


def test_unfunded_bounty_has_zeros() -> None:
    assert queries.totals(BOUNTY) == queries.Totals(0, 0, 0, 0)
    assert queries.check_bounty(BOUNTY) == []
    assert queries.held_for_agent(AGENT) == {}


def test_honest_bounty_has_no_difference(held: list[Hold]) -> None:
    holds.capture(hold=held[0], parts=[holds.Part(FEES, 60, "platform_fee")], effect="set_1", now=clock.now())
    holds.void(unused=[held[1]], now=clock.now())
    holds.capture_part(hold=held[2], parts=[holds.Part(FEES, 5, "platform_fee")], effect="set_2", now=clock.now())
    assert queries.totals(BOUNTY) == queries.Totals(350, 65, 240, 45)
    assert queries.held_for_agent(AGENT) == {"USD": 395}
    assert queries.check_bounty(BOUNTY) == []
    assert queries.check_bounties() == []


@pytest.mark.broken_books
def test_hold_that_differs_from_the_ledger_is_named(held: list[Hold]) -> None:
    Hold.objects.filter(pk=held[0].pk).update(amount_minor=101)
    path = account_paths.bounty_held(mode="test", bounty_id=BOUNTY, currency="USD")
    difference = (
        f"holds differ from ledger: {path}: funded, captured, returned, held are 351, 0, 0, 351 in holds, 350, 0, 0, 350 in transfers"
    )
    assert queries.check_bounty(BOUNTY) == [difference]
    assert queries.check_bounty(OTHER) == []
    assert queries.check_bounties() == [difference]
    assert audit.audit().breaches == (difference,)


@pytest.mark.broken_books
def test_transfer_past_the_holds_is_named(held: list[Hold]) -> None:
    path = account_paths.bounty_held(mode="test", bounty_id=OTHER, currency="USD")
    transfers.post([entry(path, FEES, 10)])
    assert [line.partition(": ")[0] for line in queries.check_bounty(OTHER)] == ["holds differ from ledger"]
    assert held[0].bounty_id == BOUNTY
    assert queries.check_bounty(BOUNTY) == []


@pytest.mark.broken_books
def test_ended_holds_row_without_its_transfers_is_named(held: list[Hold]) -> None:
    Hold.objects.filter(pk=held[1].pk).update(status="VOIDED", returned_minor=200, ended_at=clock.now())
    assert len(queries.check_bounty(BOUNTY)) == 1
