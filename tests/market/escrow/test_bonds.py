"""Bonds: it ..."""

import uuid

import pytest

from market.common import account_paths
from market.escrow import bonds, holds, queries
from market.escrow.models import Bond
from market.ledger import balances
from market.ledger.models import Transfer
from tasks import clock
from tests.market import in_turn
from tests.market.books import FEES, fund

AGENT, WINNER = uuid.UUID(int=1), uuid.UUID(int=3)
AVAILABLE = account_paths.agent_available(mode="test", agent_id=AGENT, currency="USD")
EARNED = account_paths.worker_earned(mode="test", worker_id=WINNER, currency="USD")
SUBJECT = "cnd_" + "0" * 32


def place(minor: int = 100, *, subject: str = SUBJECT, source: str = AVAILABLE) -> Bond:
    return bonds.place(subject=subject, mode="test", source_path=source, currency="USD", amount_minor=minor, now=clock.now())


def lose(bond: Bond, won: int, fees: int) -> Bond:
    return bonds.lose(bond=bond, parts=[holds.Part(EARNED, won, "bond_won"), holds.Part(FEES, fees, "bond_lost")], now=clock.now())


def money_now() -> tuple[int, int, int]:
    """Available, won, fees."""
    found = balances.balances([AVAILABLE, EARNED, FEES])
    return found[AVAILABLE], found[EARNED], found[FEES]


@pytest.mark.django_db
class TestOneAtATime:
    @pytest.fixture(autouse=True)
    def money(self) -> None:
        fund(AVAILABLE, 150)

    def test_takes_and_returns_all_of_it_once(self) -> None:
        bond = place()
        assert (place(), money_now(), queries.check_bonds()) == (bond, (50, 0, 0), [])
        for _ in range(2):
            assert bonds.give_back(bond=bond, now=clock.now()).status == "RETURNED"
        assert (money_now(), queries.check_bonds()) == ((150, 0, 0), [])
        assert place().status == "RETURNED"  # It is not placed anew.
        assert money_now() == (150, 0, 0)

    def test_moves_nothing_without_enough(self) -> None:
        with pytest.raises(holds.InsufficientFunds):
            place(151)
        assert (Bond.objects.count(), money_now()) == (0, (150, 0, 0))

    def test_refuses_another_bond_for_the_same(self) -> None:
        place()
        with pytest.raises(bonds.BondPlacedOtherwise):
            place(99)
        assert money_now() == (50, 0, 0)

    def test_is_lost_once_to_the_same(self) -> None:
        bond = place()
        for _ in range(2):
            lose(bond, 70, 30)
        assert (money_now(), Transfer.objects.filter(reason="bond_won").count()) == ((50, 70, 30), 1)
        with pytest.raises(bonds.BondEnded):
            lose(bond, 60, 40)
        with pytest.raises(bonds.BondEnded):
            bonds.give_back(bond=bond, now=clock.now())
        assert (money_now(), queries.check_bonds()) == ((50, 70, 30), [])

    def test_is_never_lost_after_it_was_returned(self) -> None:
        bond = bonds.give_back(bond=place(), now=clock.now())
        with pytest.raises(bonds.BondEnded):
            lose(bond, 100, 0)
        assert money_now() == (150, 0, 0)

    @pytest.mark.parametrize("parts", [(99, 0), (100, 1)])
    def test_is_lost_whole(self, parts: tuple[int, int]) -> None:
        bond = place()
        with pytest.raises(ValueError, match="must come to 100"):
            lose(bond, *parts)
        assert money_now() == (50, 0, 0)

    def test_is_found_by_the_audit_where_a_row_says_otherwise(self) -> None:
        bond = place()
        Bond.objects.filter(pk=bond.pk).update(amount_minor=99)
        [difference] = queries.check_bonds()
        assert "99 in rows, 100 in transfers" in difference
        Bond.objects.filter(pk=bond.pk).update(amount_minor=100)


@pytest.mark.django_db(transaction=True)
class TestTwoAtOnce:
    def test_placed_twice_is_one(self) -> None:
        fund(AVAILABLE, 150)
        first, second = in_turn.second_waits_for(place, place)
        assert first == second
        assert (Bond.objects.count(), money_now()) == (1, (50, 0, 0))

    def test_returned_and_lost_is_one_of_them(self) -> None:
        fund(AVAILABLE, 150)
        bond = place()
        copy = Bond.objects.get(pk=bond.pk)
        first, second = in_turn.second_waits_for(lambda: bonds.give_back(bond=bond, now=clock.now()), lambda: lose(copy, 50, 50))
        assert isinstance(first, Bond)
        assert isinstance(second, bonds.BondEnded)
        assert money_now() == (150, 0, 0)

    def test_two_bonds_from_one_purse_take_no_more_than_is_there(self) -> None:
        fund(AVAILABLE, 150)
        first, second = in_turn.second_waits_for(place, lambda: place(subject="cnd_" + "1" * 32))
        assert isinstance(first, Bond)
        assert isinstance(second, holds.InsufficientFunds)
        assert (Bond.objects.count(), money_now()) == (1, (50, 0, 0))
