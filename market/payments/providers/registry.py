"""Which provider serves which mode. Live money has none yet, and says so."""

from market.payments.providers import base, test_money
from tasks.models import Mode

_TEST_MONEY = test_money.Bank()


class LiveMoneyUnavailable(Exception):
    """No provider for live money is configured; use a test key."""


def for_mode(mode: str) -> base.Provider:
    """Return the provider that serves new deposits and payouts of a mode.

    Raises:
        LiveMoneyUnavailable: live mode.
    """
    if mode == Mode.TEST:
        return _TEST_MONEY
    raise LiveMoneyUnavailable("Live money can't move yet: no provider is configured for it. Use a test key.")


def named(name: str) -> base.Provider:
    """Return the provider that a row was made for."""
    return {_TEST_MONEY.name: _TEST_MONEY}[name]


def every() -> list[base.Provider]:
    """Return all providers, for the sweeper."""
    return [_TEST_MONEY]
