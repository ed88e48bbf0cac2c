"""Money goes on while others ask for ten times what they may; without threads of its own it does not."""

import pytest

from tests.faults import overloading

pytestmark = pytest.mark.django_db(transaction=True)


def test_money_goes_on() -> None:
    report = overloading.overload(seed=1, rounds=20, times_the_limit=3)
    assert report.violations == []
    assert report.figures["money succeeded"] == 20
    refused = [report.figures.get(f"{name} {status}", 0) for name in ("reader", "nobody", "guesser") for status in (429, 503)]
    assert sum(int(number) for number in refused) > 0


def test_finds_a_market_that_keeps_no_threads() -> None:
    report = overloading.overload(seed=1, rounds=3, patience_s=2, application="tests.faults.unshared:application", times_the_limit=0)
    (found,) = report.violations
    assert "3 of 3 money requests failed" in found
