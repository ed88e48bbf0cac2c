"""Posting and funding a research bounty: it ..."""

import datetime

import pytest

from market.accounts import keys
from market.accounts.models import Agent, ApiKey
from market.bounties import funding as bounty_funding
from market.bounties import posting as bounty_posting
from market.bounties import spending
from market.bounties.models import Spend
from market.bounties.research import funding, posting
from market.bounties.research.models import ResearchBounty
from market.common.money import Money
from market.escrow import holds
from market.escrow.models import Hold
from market.policy import mandates
from tests import people, stories
from tests.market.bounties import ledger
from tests.market.bounties.research import scene
from verification.research.models import ResearchTask


def quote(agent: Agent, now: datetime.datetime, **changes: object) -> posting.Quote:
    asked: dict[str, object] = {
        "agent": agent,
        "key": people.key_of(agent),
        "title": "Train a small model of bytes better",
        "description": "Anything may change.",
        "spec_json": scene.spec_json(agent.owner),
        "offer": scene.offer(),
        "closes_at": now + datetime.timedelta(days=7),
        "now": now,
    }
    return posting.quote(**{**asked, **changes})  # type: ignore[arg-type]


def test_quotes_what_one_candidate_may_cost_and_writes_nothing(agent: Agent, now: datetime.datetime) -> None:
    quoted = quote(agent, now)
    assert (quoted.price.case_minor, quoted.price.sure_candidate_count, quoted.price.max_runs) == (scene.CASE_MINOR, 2, 8)
    assert quoted.policy.is_allowed
    assert quoted.warnings == ()
    noisy = scene.spec_json(agent.owner, paired_sd=0.72 * scene.MIN_EFFECT)
    assert quote(agent, now, spec_json=noisy).warnings == ("pairs_too_noisy",)
    assert (ResearchBounty.objects.count(), ResearchTask.objects.count()) == (0, 0)


def test_is_screened_and_holds_nothing(agent: Agent, now: datetime.datetime) -> None:
    bounty = scene.draft(agent, now=now)
    assert (bounty.status, bounty.task.status, bounty.terms_hash) == ("SCREENED", "DRAFT", "")
    assert (ledger.available(agent), Hold.objects.count()) == (100_000, 0)


def test_is_blocked_with_codes_where_policy_forbids_its_words(agent: Agent, now: datetime.datetime) -> None:
    bounty = scene.draft(agent, description="Photograph the passport and the password of a stranger and send them.", now=now)
    assert bounty.status == "BLOCKED"
    assert bounty.policy_codes
    with pytest.raises(bounty_funding.NotFundable):
        funding.fund(bounty=bounty, now=now)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"title": "ab"}, "title"),
        ({"title": "Train\u202e it"}, "title"),
        ({"description": "x" * 4001}, "description"),
        ({"closes_at": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)}, "deadline"),
        ({"spec_json": {"version": 1}}, "spec"),
        ({"offer": scene.offer("36.99")}, "budget"),
        ({"offer": scene.offer(bond=scene.usd("0.49"))}, "bond"),
        ({"offer": scene.offer(challenge_stake=scene.usd("10.01"))}, "challenge_stake"),
        ({"offer": scene.offer(cap=scene.usd("9.99"))}, "reward_per_effect"),
        ({"offer": scene.offer(challenge_window_s=0)}, "challenge_window_s"),
        ({"offer": scene.offer(run_fee=Money.parse("0.50", "EUR"))}, "run_fee"),
    ],
)
def test_refuses_what_is_out_of_its_limits(agent: Agent, now: datetime.datetime, changes: dict[str, object], param: str) -> None:
    with pytest.raises(bounty_posting.BadTerms) as refused:
        quote(agent, now, **changes)
    assert {error.param.split(".")[0] for error in refused.value.errors} == {param.split(".")[0]}


def test_names_every_wrong_field_of_a_spec(agent: Agent, now: datetime.datetime) -> None:
    spec = scene.spec_json(agent.owner, steps=0, hardware=["?"])
    with pytest.raises(bounty_posting.BadTerms) as refused:
        quote(agent, now, spec_json=spec)
    assert {error.param for error in refused.value.errors} == {"spec.steps", "spec.hardware[0]"}


def test_refuses_a_suspended_agent_and_a_foreign_key(agent: Agent, now: datetime.datetime) -> None:
    with pytest.raises(bounty_posting.ForeignKeyUsed):
        quote(agent, now, key=people.key_of(people.open_agent()))
    agent.is_suspended = True
    with pytest.raises(bounty_posting.AgentSuspended):
        quote(agent, now)


def test_holds_the_whole_budget_and_lists_the_task(agent: Agent, now: datetime.datetime) -> None:
    bounty = scene.post(agent, now=now)
    hold = Hold.objects.get()
    assert (hold.kind, hold.amount_minor, scene.held(bounty), ledger.available(agent)) == ("BUDGET", 10_000, 10_000, 90_000)
    stored = ResearchBounty.objects.select_related("task").get()
    assert (stored.status, stored.task.status, stored.funded_at, len(stored.terms_hash)) == ("OPEN", "LISTED", now, 64)
    again = funding.fund(bounty=bounty, now=now + datetime.timedelta(minutes=1))
    assert (again.funded_at, ledger.available(agent)) == (now, 90_000)


def test_moves_nothing_without_enough_money(now: datetime.datetime, db: None) -> None:
    agent = people.open_agent()
    people.top_up(agent, "99.99")
    bounty = scene.draft(agent, now=now)
    with pytest.raises(holds.InsufficientFunds):
        funding.fund(bounty=bounty, now=now)
    bounty.refresh_from_db()
    assert (bounty.status, Hold.objects.count(), Spend.objects.count(), ledger.available(agent)) == ("SCREENED", 0, 0, 9_999)


def test_refuses_at_the_deadline(agent: Agent, now: datetime.datetime) -> None:
    end = now + datetime.timedelta(hours=1)
    bounty = scene.draft(agent, closes_at=end, now=now)
    with pytest.raises(bounty_funding.NotFundable, match="deadline"):
        funding.fund(bounty=bounty, now=end)
    funding.fund(bounty=bounty, now=end - datetime.timedelta(microseconds=1))


def test_counts_with_photo_bounties_against_the_limits_of_a_key(now: datetime.datetime, db: None) -> None:
    agent = people.open_agent(limit_per_day_minor=11_000, limit_per_bounty_minor=10_000)
    people.top_up(agent)
    stories.post_photo_bounty(agent, reward="5.00", now=now)  # 8.00 are held for it.
    bounty = scene.post(agent, now=now)
    assert ledger.available(agent) == 100_000 - 800 - 10_000
    with pytest.raises(mandates.SpendLimitExceeded) as refused:
        stories.post_photo_bounty(agent, reward="5.00", now=now)
    assert refused.value.left_minor == 200
    second = scene.draft(agent, title="Train another model of bytes", now=now)
    with pytest.raises(mandates.SpendLimitExceeded):
        funding.fund(bounty=second, now=now)
    assert Spend.objects.get(research_bounty_id=bounty.pk).amount_minor == 10_000
    with pytest.raises(mandates.SpendLimitExceeded):
        quote(agent, now, offer=scene.offer("100.01"))


def test_spends_with_the_key_that_acts_unless_it_is_revoked(agent: Agent, now: datetime.datetime) -> None:
    key = keys.issue(user=agent.owner, agent=agent, mode="test", scope=ApiKey.Scope.AGENT, name="another")[0]
    bounty = scene.draft(agent, now=now)
    ApiKey.objects.filter(pk=key.pk).update(revoked_at=now)
    with pytest.raises(spending.KeyRevoked):
        funding.fund(bounty=bounty, key=key, now=now)
    assert (ledger.available(agent), Hold.objects.count()) == (100_000, 0)


def test_hashes_spec_and_offer(agent: Agent, now: datetime.datetime) -> None:
    ends = now + datetime.timedelta(days=7)
    first, same = (scene.post(agent, closes_at=ends, now=now) for _ in range(2))
    other = scene.post(agent, closes_at=ends, terms=scene.offer(bond=scene.usd("1.01")), now=now)
    assert first.terms_hash == same.terms_hash != other.terms_hash


def test_audits_often_enough_that_a_forger_with_a_full_stake_loses(agent: Agent, now: datetime.datetime) -> None:
    bounty = scene.post(agent, now=now)
    won, lost = scene.FEE_MINOR * (1 - bounty.task.audit_share), scene.FULL_STAKE_MINOR * bounty.task.audit_share
    assert won <= lost + 1e-9
