"""Who acts in a simulated market, and the accounts they are opened with."""

import datetime
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from market.accounts import keys
from market.accounts.models import Agent, ApiKey, User
from market.common.money import Money
from market.payments import deposits
from tasks.models import Mode, WorkerProfile
from tests.faults.simulation import network

if TYPE_CHECKING:
    from tests.faults.simulation.world import World


class Person:
    """Somebody who thinks from time to time and then does one of his habits."""

    # Name of a method -> how often it is chosen among them.
    HABITS: dict[str, int] = {}
    # How much slower than the usual pace.
    SLOWNESS = 1.0
    SLOWEST: datetime.timedelta | None = None

    def __init__(self, world: "World", name: str) -> None:
        self.world, self.name = world, name
        self.chance: random.Random = world.chance_of(name)
        # Each seed has its own fashions: what is rare in one is common in another.
        fashion = world.chance_of(f"fashion of {type(self).__name__}")
        told = world.mood.habits
        self.habits = {habit: weight * fashion.choice((0.5, 1, 1, 3)) * told.get(habit, 1) for habit, weight in self.HABITS.items()}

    @property
    def now(self) -> datetime.datetime:
        """The simulated present."""
        return self.world.clock.now

    def begin(self) -> None:
        """Plan the first thought."""
        self.later(self.world.pace * self.chance.random(), "thinks", self._think)

    def later(self, span: datetime.timedelta, label: str, happening: Callable[[], str]) -> None:
        """Plan something of one's own, unless the market has been left alone."""
        if not self.world.is_left_alone:
            self.world.queue.plan(self.now + span, f"{self.name} {label}", happening, is_thought=True)

    def post(
        self,
        secret: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        then: Callable[[network.Answer], None] = lambda answer: None,
        photos: tuple[bytes, ...] = (),
        key: str = "",
    ) -> str:
        """Send a POST with a new idempotency key."""
        request = network.Request(secret, "POST", path, body or {}, photos, key or self.world.network.new_key())
        return self.world.network.send(request, then)

    def get(
        self,
        secret: str,
        path: str,
        query: Mapping[str, object] | None = None,
        *,
        then: Callable[[network.Answer], None] = lambda answer: None,
    ) -> str:
        """Send a GET."""
        return self.world.network.send(network.Request(secret, "GET", path, query or {}), then)

    def _think(self) -> str:
        pace = self.SLOWNESS * self.world.pace / self.world.mood.haste.get(type(self).__name__, 1)
        self.later(min(pace, self.SLOWEST or pace) * min(8.0, self.chance.expovariate(1.0)), "thinks", self._think)
        [habit] = self.chance.choices(list(self.habits), list(self.habits.values()))
        did: str = getattr(self, habit)()
        return f"{habit}: {did}"


def gather(world: "World") -> list[Person]:
    """Open the accounts of everybody and return them as people who act."""
    from tests.faults.simulation import agents, machines, staff, workers  # They are people of this module.

    owners = [_open_user(f"owner-{number}") for number in range(4)]
    people: list[Person] = []
    for number, (owner, mode) in enumerate(zip(owners, (Mode.TEST, Mode.TEST, Mode.TEST, Mode.LIVE), strict=True)):
        agent = Agent.objects.create(owner=owner, name=f"agent-{number}", mode=mode)
        secrets = [_issue(owner, mode, ApiKey.Scope.AGENT, agent=agent)]
        if number < 2:
            secrets = [
                _issue(owner, mode, ApiKey.Scope.AGENT, agent=agent, per_bounty_minor=600, per_day_minor=1500),
                *secrets[: 1 - number],
            ]
        for amount in (Money(200_000 if number else 30_000, "USD"), Money(50_000, "EUR"), Money(90_000, "JPY")):
            deposits.request(agent=agent, amount=amount, source="account_1", now=world.clock.now)
        people.append(agents.AgentProgram(world, f"agent-{number}", agent, secrets))
    for number in range(7):
        mode = Mode.LIVE if number > 4 else Mode.TEST
        # The first worker owns an agent too, and must never work for himself.
        user = owners[0] if number == 0 else _open_user(f"worker-{number}")
        record = world.chance.choice((0, 12, 30, 30))
        worker = WorkerProfile.objects.create(user=user, mode=mode, accepted_count=record, country="DE")
        people.append(workers.Worker(world, f"worker-{number}", worker, _issue(user, mode, ApiKey.Scope.WORKER), number))
    for number, mode in enumerate((Mode.TEST, Mode.TEST, Mode.LIVE)):
        # The second vision host is a worker's own machine, and must never read his work.
        user = User.objects.get(username="worker-1") if number == 1 else _open_user(f"host-{number}")
        people.append(machines.VisionHost(world, f"host-{number}", user, _issue(user, mode, ApiKey.Scope.LEASE_VISION, is_trusted=True)))
    judges = [_open_user("judge-0"), _open_user("judge-1"), owners[1], User.objects.get(username="worker-2")]
    people += [staff.Reviewer(world, f"reviewer-{number}", user) for number, user in enumerate(judges)]
    people.append(staff.Operator(world, "operator"))
    return people


def _open_user(name: str) -> User:
    return User.objects.create(username=name)


def _issue(
    user: User,
    mode: str,
    scope: str,
    *,
    agent: Agent | None = None,
    per_bounty_minor: int | None = None,
    per_day_minor: int | None = None,
    is_trusted: bool = False,
) -> str:
    _, secret = keys.issue(
        user=user,
        agent=agent,
        mode=mode,
        scope=scope,
        name="simulated",
        limit_per_bounty_minor=per_bounty_minor,
        limit_per_day_minor=per_day_minor,
        is_trusted=is_trusted,
    )
    return secret
