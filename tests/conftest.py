"""What holds for every test: the cast, books that add up, statuses that follow their edges, and files of its own."""

from collections.abc import Iterator

import hypothesis
import pytest
from django.db import connection
from django.test import override_settings
from pytest_django.plugin import DjangoDbBlocker

from market.ledger import audit
from market.ledger.models import Transfer
from tests import edges

pytest_plugins = ["tests.people", "tests.browser", "tests.scheduling"]


def pytest_configure(config: pytest.Config) -> None:
    """Name the markers of our own, and let no property fail because the machine was busy: the suite asserts no times."""
    hypothesis.settings.register_profile("suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
    hypothesis.settings.load_profile("suite")
    config.addinivalue_line("markers", "broken_books: breaks the ledger on purpose, so the audit after it is left out")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """Watch every status in the test database."""
    with django_db_blocker.unblock():
        edges.watch()


@pytest.fixture(scope="session", autouse=True)
def media_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep evidence in a folder that goes with the session."""
    with override_settings(MEDIA_ROOT=tmp_path_factory.mktemp("media")):
        yield


@pytest.fixture(autouse=True)
def books_add_up(request: pytest.FixtureRequest) -> Iterator[None]:
    """Audit the ledger after every test that moved money: trial balance zero, holds and payouts as the transfers say."""
    uses_database = {"db", "transactional_db", "live_server"} & set(request.fixturenames) or request.node.get_closest_marker("django_db")
    if not uses_database:
        yield
        return
    request.getfixturevalue("db")  # So that this ends before the database is rolled back or emptied.
    yield
    if connection.needs_rollback or request.node.get_closest_marker("broken_books"):
        return
    if Transfer.objects.exists():
        assert audit.audit().breaches == ()
        assert set(audit.trial_balance().values()) == {0}
