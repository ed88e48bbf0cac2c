"""Challenging an accepted candidate: it ..."""

import datetime

import pytest

from market.accounts.models import Agent
from market.bounties.locks import NoBounty
from market.bounties.research import challenging, entering, maturing, paying, settlement, sweeping
from market.bounties.research.models import Challenge, ResearchBounty
from market.escrow import holds
from market.escrow.models import Bond
from tests import people
from tests.market import in_turn
from tests.market.bounties import ledger
from tests.market.bounties.research import scene
from verification.research.models import Candidate, Finding, Host, Run, Tip

DAY = datetime.timedelta(days=1)


class Cast:
    """An accepted candidate with one pair by one owner, and a skeptic with money."""

    def __init__(self, agent: Agent, now: datetime.datetime, *, candidate_root: str = "aa" * 32) -> None:
        self.bounty: ResearchBounty = scene.post(agent, now=now)
        self.maker, self.skeptic = scene.open_maker(), scene.open_maker()
        self.host: Host = scene.open_host()
        self.candidate: Candidate = scene.submit(self.bounty, self.maker, now=now)
        tree = self.candidate.parent.tree_id if self.candidate.parent else None
        self.own = scene.valid_run(self.candidate, self.host, now=now, seed_index=7, holdout_score=1.98)
        self.base = scene.valid_run(
            self.candidate, self.host, now=now, kind=Run.Kind.BASELINE, tree_id=tree, seed_index=7, holdout_score=2.0
        )
        Run.objects.filter(pk=self.own.pk).update(report={"root": candidate_root, "class_text": scene.CLASS})
        Run.objects.filter(pk=self.base.pk).update(report={"root": "bb" * 32, "class_text": scene.CLASS})
        paying.pay_runs_due(now=now)
        scene.decide(self.candidate, "ACCEPTED", now=now)
        settlement.apply_due(now=now)

    def challenge(self, *, now: datetime.datetime, by: Agent | None = None) -> Challenge:
        skeptic = by or self.skeptic
        return challenging.challenge(
            candidate=self.candidate, user=skeptic.owner, source=skeptic, statement="It looks\u202e ahead.", now=now
        )

    def train_again(self, *, own: float = 1.98, own_root: str = "aa" * 32, stage: str = "VALID", now: datetime.datetime) -> None:
        """Do what the trusted pool does: the same two runs, with these scores and roots."""
        for run in Run.objects.filter(is_trusted_only=True):
            is_own = run.kind == Run.Kind.CANDIDATE
            report = {"root": own_root if is_own else "bb" * 32, "class_text": scene.CLASS}
            scene.end(run, stage, now=now, holdout_score=own if is_own else 2.0)
            Run.objects.filter(pk=run.pk).update(report=report)


@pytest.fixture
def cast(agent: Agent, now: datetime.datetime) -> Cast:
    return Cast(agent, now)


@pytest.mark.django_db
def test_takes_the_stake_and_has_every_run_trained_again(cast: Cast, now: datetime.datetime) -> None:
    first, again = cast.challenge(now=now), cast.challenge(now=now)
    assert (first, first.untrusted_statement) == (again, "It looks ahead.")
    assert (ledger.available(cast.skeptic), Bond.objects.filter(status="PLACED").count()) == (1_800, 2)
    asked = Run.objects.filter(is_trusted_only=True).order_by("kind")
    assert [(run.kind, run.seed_index, run.stage) for run in asked] == [("BASELINE", 7, "OPEN"), ("CANDIDATE", 7, "OPEN")]
    # Nothing is final, payable or decided while they are trained.
    assert set(sweeping.sweep(now=now + 30 * DAY).values()) <= {0, 1}
    assert (scene.payable(cast.maker.owner), Challenge.objects.get().status) == (0, "OPEN")


@pytest.mark.django_db
def test_loses_its_stake_where_the_verdict_stands(cast: Cast, now: datetime.datetime) -> None:
    cast.challenge(now=now)
    cast.train_again(now=now)
    for _ in range(2):
        sweeping.sweep(now=now)
    assert (Challenge.objects.get().status, ledger.available(cast.skeptic), ledger.fees()) == ("DISMISSED", 1_800, 100 + 200)
    sweeping.sweep(now=now + DAY)
    assert (scene.payable(cast.maker.owner), ledger.available(cast.maker)) == (1_000, 2_000)


@pytest.mark.django_db
def test_wins_the_bond_and_its_part_of_a_forgers_stake(agent: Agent, now: datetime.datetime) -> None:
    cast = Cast(agent, now, candidate_root="cc" * 32)
    poster_before = ledger.available(agent)
    cast.challenge(now=now)
    cast.train_again(now=now)
    for _ in range(2):
        sweeping.sweep(now=now)
    challenge = Challenge.objects.get()
    assert (challenge.status, challenge.award_minor) == ("UPHELD", scene.BOND_MINOR + 50)
    assert Finding.objects.get().run == cast.own
    assert Tip.objects.get(candidate=cast.candidate).withdrawn_at == now
    # The forger's stake of two runs is halved, the maker has neither bond nor reward, the poster has his money back.
    assert (scene.staked(cast.host.owner), ledger.fees(), scene.earned(cast.maker.owner)) == (0, 50, 0)
    assert (ledger.available(cast.maker), ledger.available(cast.skeptic)) == (1_900, 2_000)
    assert ledger.available(agent) == poster_before + 1_100
    sweeping.sweep(now=now + DAY)
    assert (scene.payable(cast.skeptic.owner), scene.earned(cast.skeptic.owner)) == (150, 0)


@pytest.mark.django_db
def test_wins_where_the_gain_is_not_there(cast: Cast, now: datetime.datetime) -> None:
    cast.challenge(now=now)
    # Half of the smallest effect would do; a hair less does not.
    cast.train_again(own=1.9951, now=now)
    sweeping.sweep(now=now)
    assert (Challenge.objects.get().status, Finding.objects.get().reason_code) == ("UPHELD", "no_gain")
    # Who trained what he was asked to train loses nothing.
    assert scene.staked(cast.host.owner) == 100


@pytest.mark.django_db
def test_has_its_stake_back_where_nobody_could_tell(cast: Cast, now: datetime.datetime) -> None:
    cast.challenge(now=now)
    cast.train_again(stage="CANCELLED", now=now)
    sweeping.sweep(now=now)
    assert (Challenge.objects.get().status, ledger.available(cast.skeptic), ledger.fees()) == ("UNDECIDED", 2_000, 100)


@pytest.mark.django_db
def test_may_be_in_the_windows_last_moment_and_not_after(cast: Cast, now: datetime.datetime) -> None:
    with pytest.raises(challenging.NotChallengeable):
        cast.challenge(now=now + DAY)
    cast.challenge(now=now + DAY - datetime.timedelta(microseconds=1))
    assert maturing.finalise_due(now=now + DAY) == 0


@pytest.mark.django_db
def test_is_refused_from_whoever_has_a_part_in_it(cast: Cast, agent: Agent, now: datetime.datetime) -> None:
    owner = people.open_agent("owner", user=cast.host.owner)
    people.top_up(owner)
    for somebody in (cast.maker, agent, owner):
        with pytest.raises(challenging.OwnCandidate):
            cast.challenge(by=somebody, now=now)
    assert not Challenge.objects.exists()


@pytest.mark.django_db
def test_is_refused_twice_at_once_with_anothers_money_and_without_enough(cast: Cast, now: datetime.datetime) -> None:
    poor = scene.open_maker("1.99")
    with pytest.raises(holds.InsufficientFunds):
        cast.challenge(by=poor, now=now)
    with pytest.raises(entering.NotYours):
        challenging.challenge(candidate=cast.candidate, user=poor.owner, source=cast.skeptic, now=now)
    live = people.open_agent("live", mode="live")
    with pytest.raises(NoBounty):
        cast.challenge(by=live, now=now)
    cast.challenge(now=now)
    with pytest.raises(challenging.NotChallengeable):
        cast.challenge(by=scene.open_maker(), now=now)
    assert (Challenge.objects.count(), ledger.available(poor)) == (1, 199)


@pytest.mark.django_db
def test_is_refused_against_what_was_not_accepted(agent: Agent, now: datetime.datetime) -> None:
    bounty, skeptic = scene.post(agent, now=now), scene.open_maker()
    rejected = scene.decide(scene.submit(bounty, scene.open_maker(), now=now), "REJECTED", now=now)
    settlement.apply_due(now=now)
    with pytest.raises(challenging.NotChallengeable):
        challenging.challenge(candidate=rejected, user=skeptic.owner, source=skeptic, now=now)


@pytest.mark.django_db(transaction=True)
def test_is_one_of_two_at_once(now: datetime.datetime) -> None:
    agent = people.open_agent()
    people.top_up(agent)
    cast, rival = Cast(agent, now), scene.open_maker()
    first, second = in_turn.second_waits_for(lambda: cast.challenge(now=now), lambda: cast.challenge(by=rival, now=now))
    assert isinstance(first, Challenge)
    assert isinstance(second, challenging.NotChallengeable)
    assert ledger.available(rival) == 2_000
