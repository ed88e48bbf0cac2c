"""An agent whose feed is written to."""

import pytest

from market.accounts.models import Agent, User


@pytest.fixture
def feed_owner(db: None) -> Agent:
    return Agent.objects.create(owner=User.objects.create_user("feed-owner"), name="Feed owner", mode="test")
