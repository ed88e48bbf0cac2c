"""Stakes: it ..."""

import uuid
from collections.abc import Sequence
from typing import TypedDict

import pytest
from django.db import transaction

from market.common import account_paths
from market.escrow import holds, platform, queries, stakes
from market.escrow.models import Stake
from market.ledger import balances
from tests.market import in_turn
from tests.market.books import FEES


class Whose(TypedDict):
    """Whose stake it is."""

    mode: str
    worker_id: uuid.UUID
    currency: str


OWNER = uuid.UUID(int=7)
WHOSE: Whose = {"mode": "test", "worker_id": OWNER, "currency": "USD"}
EARNED = account_paths.worker_earned(mode="test", worker_id=OWNER, currency="USD")


def pay(minor: int, effect: str, *, full: int = 100) -> int:
    """Pay an owner out of the platform's fees, as a run is paid; return what went into his stake."""
    with transaction.atomic():
        part = stakes.fill(**WHOSE, pay_minor=minor, full_minor=full)
        parts = [holds.Part(stakes.path(**WHOSE), part, "run_staked"), holds.Part(EARNED, minor - part, "run_paid")]
        platform.pay(mode="test", currency="USD", parts=parts, effect=effect)
    return part


def to_fees(minor: int) -> Sequence[holds.Part]:
    return [holds.Part(FEES, minor, "stake_forfeited")]


def money_now() -> tuple[int, int]:
    """Staked, earned."""
    assert queries.check_stakes() == []
    found = balances.balances([stakes.path(**WHOSE), EARNED])
    assert found[stakes.path(**WHOSE)] == stakes.left(**WHOSE)
    return found[stakes.path(**WHOSE)], found[EARNED]


@pytest.mark.django_db
class TestOneAtATime:
    def test_takes_of_a_pay_what_is_missing(self) -> None:
        assert [pay(60, "rpl_1"), pay(60, "rpl_2"), pay(60, "rpl_3")] == [60, 40, 0]
        assert money_now() == (100, 80)
        assert pay(60, "rpl_4", full=50) == 0  # A cheaper run asks for a smaller stake: nothing comes back by itself.
        assert pay(60, "rpl_5", full=130) == 30
        assert money_now() == (130, 170)

    def test_comes_out_whole_and_fills_again(self) -> None:
        pay(60, "rpl_1")
        first = stakes.withdraw(**WHOSE)
        pay(60, "rpl_2")
        second = stakes.withdraw(**WHOSE)
        assert (first.amount_minor, second.amount_minor, first.effect != second.effect, money_now()) == (60, 60, True, (0, 120))
        with pytest.raises(stakes.NothingStaked):
            stakes.withdraw(**WHOSE)

    def test_is_lost_whole(self) -> None:
        pay(60, "rpl_1")
        assert stakes.lose(**WHOSE, divide=to_fees, effect="rpl_9") == 60
        assert stakes.lose(**WHOSE, divide=to_fees, effect="rpl_8") == 0
        assert (money_now(), balances.balance(FEES)) == ((0, 0), 0)
        with pytest.raises(stakes.NothingStaked):
            stakes.withdraw(**WHOSE)

    def test_is_lost_to_all_of_its_parts_or_not_at_all(self) -> None:
        pay(60, "rpl_1")
        with pytest.raises(ValueError, match="must come to 60"):
            stakes.lose(**WHOSE, divide=lambda minor: to_fees(minor - 1), effect="rpl_9")
        assert money_now() == (60, 0)

    def test_is_found_by_the_audit_where_a_row_says_otherwise(self) -> None:
        pay(60, "rpl_1")
        Stake.objects.update(filled_minor=61)
        [difference] = queries.check_stakes()
        assert "61 in rows, 60 in transfers" in difference
        Stake.objects.update(filled_minor=60)


@pytest.mark.django_db(transaction=True)
class TestTwoAtOnce:
    def test_two_pays_do_not_overfill_it(self) -> None:
        assert in_turn.second_waits_for(lambda: pay(70, "rpl_1"), lambda: pay(70, "rpl_2")) == [70, 30]
        assert money_now() == (100, 40)

    def test_what_is_lost_is_not_withdrawn_too(self) -> None:
        pay(60, "rpl_1")
        first, second = in_turn.second_waits_for(
            lambda: stakes.lose(**WHOSE, divide=to_fees, effect="rpl_9"), lambda: stakes.withdraw(**WHOSE)
        )
        assert first == 60
        assert isinstance(second, stakes.NothingStaked)
        assert money_now() == (0, 0)
