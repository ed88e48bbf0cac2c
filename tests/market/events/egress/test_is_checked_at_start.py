"""A production market does not start with hosts that webhooks may reach on loopback."""

from pytest_django import Settings

from market.events import checks


def test_refuses_test_hosts_in_production(settings: Settings) -> None:
    settings.IS_PRODUCTION = True
    settings.EGRESS_TEST_HOSTS = frozenset({"127.0.0.1:9000"})
    (error,) = checks.no_test_hosts_in_production(None)
    assert error.id == "events.E001"
    settings.EGRESS_TEST_HOSTS = frozenset()
    assert checks.no_test_hosts_in_production(None) == []
