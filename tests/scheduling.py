"""Which tests run in one process of the test runner, and in which order the processes take them."""

import pytest
from xdist.remote import Producer
from xdist.scheduler.loadscope import LoadScopeScheduling

# What these make (a whole market, models in memory) is dear, so all tests of a folder run in one process and make it once.
# They are the longest too, so they begin first; the rest, a file at a time, fills the processes up.
TOGETHER = ("tests/journeys/", "tests/gpu_workers/", "tests/market/web/", "tests/agents_sdk/", "tests/market/config/supervisor/")


class Together(LoadScopeScheduling):
    """Hands out folders of `TOGETHER` whole, everything else by file."""

    def _split_scope(self, nodeid: str) -> str:
        beginning = next((each for each in TOGETHER if nodeid.startswith(each)), None)
        return beginning or nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Together:
    """Give the test runner our scheduler."""
    config.option.loadscopereorder = False
    return Together(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the folders of `TOGETHER` first, in their order."""
    items.sort(key=lambda item: next((place for place, each in enumerate(TOGETHER) if item.nodeid.startswith(each)), len(TOGETHER)))
