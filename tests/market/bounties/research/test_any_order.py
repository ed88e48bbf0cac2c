"""Whatever happens to a research bounty, in whatever order: it ..."""

import datetime

import hypothesis
import pytest
from django.db import transaction
from hypothesis import strategies

from market.accounts.models import Agent
from market.bounties.research import cancelling, entering, reserving, sweeping
from market.bounties.research.models import CaseReserve, ResearchBounty
from market.common import account_paths
from market.escrow.models import Bond
from market.ledger import audit, balances
from tasks import clock
from tests import people
from tests.market.bounties import ledger
from tests.market.bounties.research import scene
from verification.research import candidates, reasons
from verification.research.models import Candidate, Finding, Host, Run

JUDGE = ("run", "run", "forged run", "cut run", "accept", "reject", "leave open", "find")
STEPS = ("submit", "submit", "announce", *JUDGE, "sweep", "sweep", "wait", "wait long", "cancel")
MOVES = strategies.tuples(strategies.sampled_from(STEPS), strategies.integers(0, 5))


class Story:
    """One bounty, three makers, two owners, and what may happen to them next."""

    def __init__(self, agent: Agent, makers: list[Agent], hosts: list[Host], now: datetime.datetime) -> None:
        self.agent, self.makers, self.hosts, self.now = agent, makers, hosts, now
        self.bounty = scene.post(agent, terms=scene.offer("110.00"), now=now)
        self.people = [agent.owner, *(maker.owner for maker in makers), *(host.owner for host in hosts)]
        self.everything = self._all_money()

    def take(self, step: str, which: int) -> None:
        maker, host = self.makers[which % 3], self.hosts[which % 2]
        candidate = self._pick(Candidate.UNDECIDED, which)
        if step in ("submit", "announce"):
            try:
                with transaction.atomic():
                    act = scene.submit if step == "submit" else scene.announce
                    act(self.bounty, maker, now=self.now)
            except (entering.NotOpen, reserving.BudgetSpent, candidates.AnnouncedBefore):
                pass
        elif step == "cancel":
            cancelling.cancel(bounty=self.bounty, agent=self.agent, now=self.now)
        elif step == "sweep":
            candidates.lapse_due(now=self.now)
            sweeping.sweep(now=self.now)
        elif step.startswith("wait"):
            self.now += datetime.timedelta(hours=1 if step == "wait" else 30)
        elif step == "find":
            self._find(which)
        elif candidate is not None:
            self._judge(step, candidate, host)

    def check(self) -> None:
        """Compare what must be so at every instant; the audit compares the rest."""
        bounty = ResearchBounty.objects.get(pk=self.bounty.pk)
        left = bounty.budget_minor - bounty.spent_minor if bounty.status == "OPEN" else 0
        assert scene.held(bounty) == left
        assert self._all_money() == self.everything
        report = audit.audit()
        assert report.breaches == ()

    def finish(self) -> None:
        """Let everything end: nothing is reserved, held or bonded any more, and nobody's pay stays behind."""
        self.now += datetime.timedelta(days=30)
        for candidate in Candidate.objects.filter(status__in=Candidate.UNDECIDED):
            scene.decide(candidate, "INCONCLUSIVE", now=self.now)
        for _ in range(3):
            candidates.lapse_due(now=self.now)
            sweeping.sweep(now=self.now)
            self.now += datetime.timedelta(days=10)
        bounty = ResearchBounty.objects.get(pk=self.bounty.pk)
        assert bounty.status in ("SETTLED", "CANCELLED", "EXPIRED")
        assert (bounty.reserved_minor, scene.held(bounty)) == (0, 0)
        assert not CaseReserve.objects.filter(released_at=None).exists()
        assert not Bond.objects.filter(status=Bond.Status.PLACED).exists()
        assert [scene.earned(person) for person in self.people] == [0] * len(self.people)
        self.check()

    def _judge(self, step: str, candidate: Candidate, host: Host) -> None:
        if step == "run":
            scene.valid_run(candidate, host, now=self.now)
        elif step == "forged run":
            scene.end(scene.run(candidate, host, now=self.now), Run.Stage.INVALID, reason=reasons.AUDIT_FAILED, now=self.now)
        elif step == "cut run":
            begun = self.now - datetime.timedelta(seconds=40)
            cut = scene.run(candidate, host, now=self.now, leased_at=begun, reported_step=70)
            scene.end(cut, Run.Stage.CANCELLED, reason=reasons.NOT_NEEDED, now=self.now)
        else:
            outcome = {"accept": "ACCEPTED", "reject": "REJECTED", "leave open": "INCONCLUSIVE"}[step]
            scene.decide(candidate, outcome, effects=1.5, now=self.now)

    def _find(self, which: int) -> None:
        candidate = self._pick((Candidate.Status.ACCEPTED,), which)
        if candidate is None or candidate.findings.exists():
            return
        run = candidate.runs.filter(stage=Run.Stage.VALID).first() if which % 2 else None
        Finding.objects.create(
            candidate=candidate, run=run, source="REJUDGED", check_name="look_ahead", check_version=1, is_upheld=False, reason_code="found"
        )

    def _pick(self, statuses: tuple[str, ...], which: int) -> Candidate | None:
        found = list(Candidate.objects.filter(task=self.bounty.task_id, status__in=statuses).order_by("place"))
        return found[which % len(found)] if found else None

    def _all_money(self) -> int:
        """All that the cast, the platform, the bounty and the bonds have: nothing comes in and nothing goes out."""
        bonds = sum(Bond.objects.filter(status=Bond.Status.PLACED).values_list("amount_minor", flat=True))
        purses = sum(scene.earned(one) + scene.payable(one) + scene.staked(one) for one in self.people)
        agents = sum(ledger.available(one) for one in (self.agent, *self.makers))
        held = account_paths.bounty_held(mode="test", bounty_id=self.bounty.pk, currency="USD")
        return agents + purses + bonds + ledger.fees() + balances.balance(held)


@pytest.mark.django_db
@hypothesis.settings(max_examples=15)
@hypothesis.given(steps=strategies.lists(MOVES, min_size=3, max_size=18))
def test_neither_makes_nor_loses_a_minor_unit(steps: list[tuple[str, int]]) -> None:
    with transaction.atomic():
        agent = people.open_agent()
        people.top_up(agent)
        makers, hosts = [scene.open_maker() for _ in range(3)], [scene.open_host() for _ in range(2)]
        story = Story(agent, makers, hosts, clock.now())
        for step, which in steps:
            story.take(step, which)
            story.check()
        story.finish()
        # The next example begins from the same rows.
        transaction.set_rollback(True)
