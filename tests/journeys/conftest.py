"""One market for all the stories of a session, with a simulated worker that leaves the stories' tasks alone."""

import json
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page

from agents_sdk import Market
from agents_sdk.worker import WorkerMarket
from tests.journeys import phone as phones
from tests.journeys import stage as stages
from tests.market.config.supervisor import starting

_ISSUE_WORKER_KEYS = """
import json, sys
from market.accounts import keys
from market.accounts.models import User
from tasks.models import WorkerProfile
secrets = []
for number in range({count}):
    user = User.objects.create_user(username=f"{name}-{{number}}")
    WorkerProfile.objects.create(user=user, mode="test", country="DE")
    secrets.append(keys.issue(user=user, agent=None, mode="test", scope="worker", name="journey")[1])
print("KEYS", json.dumps(secrets))
"""


@pytest.fixture(scope="session")
def stage() -> Iterator[stages.Stage]:
    """A market started by the newcomer's command; its books add up when the stories have been told."""
    with starting.reachable_folder() as root, stages.open_market(root / "data", "--no-gpu-owners") as opened:
        yield opened
        assert " 0 differences." in opened.manage("ledger_audit")


@pytest.fixture
def market(stage: stages.Stage) -> Iterator[Market]:
    """The agent's client."""
    with Market(api_key=stage.keys["agent_key"], base_url=stage.url) as client:
        yield client


@pytest.fixture
def hire(stage: stages.Stage) -> Iterator[Callable[..., list[WorkerMarket]]]:
    """Make workers with clients of their own."""
    opened: list[WorkerMarket] = []

    def make(name: str, count: int = 1) -> list[WorkerMarket]:
        said = stage.manage("shell", "--no-imports", "-c", _ISSUE_WORKER_KEYS.format(name=name, count=count))
        secrets = json.loads(next(line for line in said.splitlines() if line.startswith("KEYS")).removeprefix("KEYS"))
        opened.extend(WorkerMarket(api_key=secret, base_url=stage.url) for secret in secrets)
        return opened[-count:]

    yield make
    for client in opened:
        client.close()


@pytest.fixture
def phone(stage: stages.Stage, open_phone_at: Callable[..., Page]) -> Iterator[phones.Phone]:
    """A phone that nobody has used yet, at the stories' place. Its pages run without an error."""
    page = open_phone_at(stage.url)
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    yield phones.Phone(page)
    assert broken == []
