"""Agents: programs that post, pay, improve, cancel and review, with what they remember of the market's answers."""

import datetime
from typing import TYPE_CHECKING, Any

from market.accounts.models import Agent
from market.bounties.models import Bounty
from market.common.money import Money
from tasks.models import Submission
from tests.faults.simulation import internet, network
from tests.faults.simulation.cast import Person
from verification.models import Case

if TYPE_CHECKING:
    from tests.faults.simulation.world import World

PLACES = ((52.5219, 13.4132), (52.5163, 13.3777), (48.8584, 2.2945))
# In a country where no task may be.
FORBIDDEN_PLACE = (53.9006, 27.5590)
CRITERIA = ("in_place", "in_time", "sharp", "exposed", "large_enough", "original", "shows:0", "ugly", "")


class AgentProgram(Person):
    """One agent with one or two keys."""

    HABITS = {
        "post_bounty": 16,
        "deposit": 2,
        "fund": 2,
        "cancel": 2,
        "improve": 3,
        "review": 4,
        "read": 1,
        "read_events": 2,
        "trespass": 1,
        "reuse_key": 1,
        "open_webhook": 1,
    }
    SLOWNESS = 0.7

    def __init__(self, world: "World", name: str, agent: Agent, secrets: list[str]) -> None:
        super().__init__(world, name)
        self.agent, self.secrets = agent, secrets
        self.bounties: list[dict[str, Any]] = []
        self.seen_events = 0
        self._used: network.Request | None = None

    def begin(self) -> None:
        """Post at once, so that there is work from the beginning."""
        for _ in range(2):
            self.later(datetime.timedelta(0), "opens", self.post_bounty)
        super().begin()

    @property
    def secret(self) -> str:
        """One of the keys."""
        return self.chance.choice(self.secrets)

    def deposit(self) -> str:
        """Ask for money from the bank."""
        amount = {"amount": self.chance.choice(("5.00", "80.00", "400.00")), "currency": self.chance.choice(("USD", "USD", "USD", "EUR"))}
        source = self.chance.choice(("account_1", "account_2", "account_2", "nowhere"))
        return self.post(self.secret, "deposits", {"amount": amount, "source": source})

    def post_bounty(self) -> str:
        """Post a bounty, usually with its money."""
        body = self._terms()
        key = self.world.network.new_key()
        self._used = network.Request(self.secret, "POST", "bounties", body, key=key)
        return self.world.network.send(self._used, self._remember)

    def reuse_key(self) -> str:
        """Send another body under a key that was used before."""
        if self._used is None:
            return "has used none"
        again = network.Request(self._used.secret, "POST", "bounties", self._terms(), key=self._used.key)
        return self.world.network.send(again)

    def fund(self) -> str:
        """Fund a bounty that was posted without money, or any other once more."""
        waiting = Bounty.objects.filter(agent=self.agent, status=Bounty.Status.SCREENED).order_by("pk").first()
        return self.post(self.secret, f"bounties/{waiting}/fund") if waiting else self._about_one("fund")

    def cancel(self) -> str:
        """Cancel a bounty."""
        opened = self._open_ones()
        if not opened or self.chance.random() < 0.3:
            return self._about_one("cancel")
        return self.post(self.secret, f"bounties/{self.chance.choice(opened)}/cancel")

    def improve(self) -> str:
        """Offer more money, more time, or less of one, which must be refused."""
        opened = self._open_ones()
        if not opened:
            return "has none"
        bounty = self.chance.choice(opened)
        offer = bounty.offers.latest("version")
        body: dict[str, object] = {}
        if self.chance.random() < 0.7:
            reward = Money(max(10, int(offer.reward_minor * self.chance.choice((0.5, 1.1, 1.5, 1.5, 3)))), offer.currency)
            body["reward"] = {"amount": reward.decimal_text(), "currency": reward.currency}
        if self.chance.random() < 0.4 or not body:
            body["deadline"] = (offer.deadline + datetime.timedelta(hours=self.chance.choice((-1, 1, 5, 60, 2000)))).isoformat()
        return self.post(self.secret, f"bounties/{bounty}/improve", body)

    def review(self) -> str:
        """Speak about a submission that waits for its poster, or about any other."""
        mine = Submission.objects.filter(task__bounty__agent=self.agent)
        waiting = mine.filter(case__stage=Case.Stage.REVIEW, case__machine_outcome="ACCEPTED").order_by("pk")
        found = list((waiting if self.chance.random() < 0.8 else mine.order_by("-pk"))[:3])
        if not found:
            return "nothing waits"
        criterion = self.chance.choice(CRITERIA)
        body = {"decision": "ACCEPTED"} if self.chance.random() < 0.5 else {"decision": "REJECTED", "criterion": criterion}
        return self.post(self.secret, f"submissions/{self.chance.choice(found)}/review", body)

    def read(self) -> str:
        """Read a bounty or the balance."""
        if self.bounties and self.chance.random() < 0.7:
            return self.get(self.secret, f"bounties/{self.chance.choice(self.bounties)['id']}")
        return self.get(self.secret, "balance")

    def read_events(self) -> str:
        """Read the feed on from what was seen."""

        def note(answer: network.Answer) -> None:
            self.seen_events = max(self.seen_events, answer.body["next_after"])

        return self.get(self.secret, "events", {"after": self.seen_events, "limit": 100}, then=note)

    def trespass(self) -> str:
        """Touch what belongs to another agent."""
        others = list(Bounty.objects.exclude(agent=self.agent).order_by("-pk")[:3])
        if not others:
            return "there is none"
        return self.post(self.secret, f"bounties/{self.chance.choice(others)}/{self.chance.choice(('cancel', 'fund', 'improve'))}")

    def open_webhook(self) -> str:
        """Register for webhooks, a few times at most."""
        return self.post(self.secret, "webhook_endpoints", {"url": f"http://{self.chance.choice(internet.HOSTS)}/{self.name}"})

    def _open_ones(self) -> list[Bounty]:
        return list(Bounty.objects.filter(agent=self.agent, status=Bounty.Status.OPEN).order_by("-pk")[:5])

    def _about_one(self, verb: str) -> str:
        if not self.bounties:
            return "has none"
        return self.post(self.secret, f"bounties/{self.chance.choice(self.bounties[-8:])['id']}/{verb}")

    def _remember(self, answer: network.Answer) -> None:
        if answer.status == 201:
            self.bounties.append(answer.body)
        elif answer.body["code"] == "insufficient_funds":
            self.deposit()

    def _terms(self) -> dict[str, object]:
        place = FORBIDDEN_PLACE if self.chance.random() < 0.03 else self.chance.choice(PLACES)
        amount = self.chance.choice(("0.20", "0.50", "0.50", "1.00", "1.00", "1.25", "1.25", "9.99", "40.00"))
        currency = self.chance.choice(("USD", "USD", "USD", "USD", "EUR", "JPY"))
        window_s = self.chance.choice((0, 600, 7200, 7200, 100_000))
        minutes = self.chance.choice((2, 30, 120, 300, 300, 600, 1500, 8000))
        return {
            "question": "Is there a cup on the table? Show the cup.",
            "place": {"latitude": place[0], "longitude": place[1], "within_m": 50},
            "reward": {"amount": "50" if currency == "JPY" else amount, "currency": currency},
            "deadline_in_s": 60 * minutes,
            "slots": self.chance.choice((1, 1, 2, 2, 3, 4)),
            "max_negative_outcomes": self.chance.choice((1, 1, 2)),
            "poster_review_window_s": window_s if self.world.mood.poster_window_s is None else self.world.mood.poster_window_s,
            "task_time_s": self.chance.choice((60, 600, 3600)),
            "fund": self.chance.random() < 0.9,
        }
