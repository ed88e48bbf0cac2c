"""A folder for the market's data."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.market.config.supervisor import starting


@pytest.fixture
def data_folder() -> Iterator[Path]:
    """A data folder that does not exist yet."""
    with starting.reachable_folder() as root:
        yield root / "data"
