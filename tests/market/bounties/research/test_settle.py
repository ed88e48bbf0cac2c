"""A candidate's verdict: it ..."""

import datetime

import pytest

from agents_sdk import errors
from agents_sdk import receipts as sdk_receipts
from market.accounts.models import Agent
from market.bounties.research import cancelling, maturing, paying, pricing, settlement
from market.bounties.research.models import CaseReserve, ResearchBounty, ResearchSettlement, RunPayment
from market.events.models import Event
from market.payments.models import Deposit
from tests.market.bounties import ledger
from tests.market.bounties.research import scene
from verification import receipts
from verification.research import reasons
from verification.research.models import Candidate, Run

DAY = datetime.timedelta(days=1)


@pytest.fixture
def bounty(agent: Agent, now: datetime.datetime) -> ResearchBounty:
    return scene.post(agent, now=now)


@pytest.fixture
def maker(db: None) -> Agent:
    return scene.open_maker()


@pytest.fixture
def candidate(bounty: ResearchBounty, maker: Agent, now: datetime.datetime) -> Candidate:
    return scene.submit(bounty, maker, now=now)


def settle(candidate: Candidate, outcome: str, *, now: datetime.datetime, **more: object) -> ResearchSettlement:
    scene.decide(candidate, outcome, now=now, **more)  # type: ignore[arg-type]
    assert [settlement.apply_due(now=now) for _ in range(2)] == [1, 0]
    return ResearchSettlement.objects.get(candidate=candidate)


def refreshed(bounty: ResearchBounty) -> ResearchBounty:
    return ResearchBounty.objects.select_related("task", "agent").get(pk=bounty.pk)


@pytest.mark.parametrize(
    ("effects", "reward", "fee"),
    [(1.0, 1000, 100), (2.5, 2500, 250), (3.0, 3000, 300), (99.0, 3000, 300), (0.00001, 1, 1), (1.2345, 1234, 124)],
)
def test_pays_for_the_verified_gain_up_to_the_cap(
    bounty: ResearchBounty, candidate: Candidate, maker: Agent, now: datetime.datetime, effects: float, reward: int, fee: int
) -> None:
    written = settle(candidate, "ACCEPTED", effects=effects, now=now)
    assert (written.reward_minor, written.fee_minor) == (reward, fee)
    assert (scene.earned(maker.owner), ledger.fees(), scene.held(bounty)) == (reward, fee, 10_000 - reward - fee)
    assert (refreshed(bounty).spent_minor, refreshed(bounty).reserved_minor) == (reward + fee, 0)
    assert ledger.available(maker) == 1_900  # Its bond stays until nobody can challenge it any more.


def test_reads_a_gain_as_the_decimal_that_it_is_written_as() -> None:
    paid = {"reward_per_effect_minor": 1000, "cap_minor": 10**6}
    # The floats' own quotient is a hair below 3.
    assert pricing.reward_minor(shrunk_gain=0.03, min_effect=0.01, **paid) == 3000
    assert pricing.reward_minor(shrunk_gain=0.0299999, min_effect=0.01, **paid) == 2999
    assert pricing.reward_minor(shrunk_gain=5e-324, min_effect=100.0, **paid) == 1


@pytest.mark.parametrize("reason", [reasons.NO_GAIN, reasons.SMOKE_FAILED, reasons.RUN_FAILED, reasons.EVALUATION_FAILED])
def test_takes_the_bond_for_a_commit_that_was_rejected(
    bounty: ResearchBounty, candidate: Candidate, maker: Agent, now: datetime.datetime, reason: str
) -> None:
    settle(candidate, "REJECTED", reason=reason, now=now)
    assert (ledger.available(maker), ledger.fees(), scene.earned(maker.owner)) == (1_900, scene.BOND_MINOR, 0)
    assert (scene.held(bounty), refreshed(bounty).reserved_minor) == (10_000, 0)
    candidate.refresh_from_db()
    assert candidate.final_at == now


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        ("INCONCLUSIVE", reasons.PAIRS_SPENT),
        ("INCONCLUSIVE", reasons.NO_HOSTS),
        ("REJECTED", reasons.REBASE_CONFLICT),
        ("REJECTED", reasons.NOTHING_NEW),
    ],
)
def test_gives_the_bond_back_where_nobody_is_to_blame(
    bounty: ResearchBounty, candidate: Candidate, maker: Agent, now: datetime.datetime, outcome: str, reason: str
) -> None:
    settle(candidate, outcome, reason=reason, now=now)
    assert (ledger.available(maker), ledger.fees(), refreshed(bounty).reserved_minor) == (2_000, 0, 0)


def test_pays_owners_whatever_it_is(bounty: ResearchBounty, maker: Agent, now: datetime.datetime) -> None:
    paid = []
    for outcome in ("ACCEPTED", "REJECTED", "INCONCLUSIVE"):
        one = scene.submit(bounty, maker, now=now)
        host = scene.open_host()
        scene.valid_run(one, host, now=now)
        scene.valid_run(one, host, now=now, kind=Run.Kind.BASELINE)
        paying.pay_runs_due(now=now)
        settle(one, outcome, now=now)
        paid.append(scene.staked(host.owner))
    assert paid == [100, 100, 100]


def test_keeps_the_reserve_until_its_last_run_has_ended_and_is_paid(
    bounty: ResearchBounty, candidate: Candidate, now: datetime.datetime
) -> None:
    host = scene.open_host()
    late = scene.run(candidate, host, now=now)
    settle(candidate, "REJECTED", now=now)
    assert refreshed(bounty).reserved_minor == scene.CASE_MINOR
    scene.end(late, Run.Stage.VALID, now=now)
    cancelling.close_due(now=now)
    assert refreshed(bounty).reserved_minor == scene.CASE_MINOR
    paying.pay_runs_due(now=now)
    cancelling.close_due(now=now)
    assert (refreshed(bounty).reserved_minor, refreshed(bounty).spent_minor, CaseReserve.objects.get().released_at) == (0, 50, now)


def test_is_final_and_payable_when_the_window_has_closed_and_not_before(
    bounty: ResearchBounty, candidate: Candidate, maker: Agent, now: datetime.datetime
) -> None:
    host = scene.open_host()
    for _ in range(12):
        scene.valid_run(candidate, host, now=now)
    paying.pay_runs_due(now=now)
    settle(candidate, "ACCEPTED", now=now + 5 * DAY)
    last = now + 6 * DAY - datetime.timedelta(microseconds=1)
    steps = (maturing.finalise_due, maturing.mature_due, maturing.mature_runs_due)
    assert [step(now=last) for step in steps] == [0, 0, 0]
    assert (scene.payable(maker.owner), scene.payable(host.owner), ledger.available(maker)) == (0, 0, 1_900)
    assert [step(now=now + 6 * DAY) for step in steps] == [1, 1, 12]
    assert [step(now=now + 6 * DAY) for step in steps] == [0, 0, 0]
    assert (scene.payable(maker.owner), scene.payable(host.owner), scene.staked(host.owner)) == (1_000, 100, 500)
    assert ledger.available(maker) == 2_000


def test_waits_for_the_deposits_behind_the_money(
    bounty: ResearchBounty, candidate: Candidate, maker: Agent, now: datetime.datetime
) -> None:
    Deposit.objects.filter(agent=bounty.agent).update(provider="card")
    scene.valid_run(candidate, scene.open_host(), now=now)
    paying.pay_runs_due(now=now)
    settle(candidate, "ACCEPTED", now=now)
    maturing.finalise_due(now=now + 2 * DAY)
    assert (maturing.mature_due(now=now + 89 * DAY), maturing.mature_runs_due(now=now + 89 * DAY)) == (0, 0)
    assert (maturing.mature_due(now=now + 91 * DAY), maturing.mature_runs_due(now=now + 91 * DAY)) == (1, 1)
    # Or the audit would miss a provider's clearing account.
    Deposit.objects.filter(agent=bounty.agent).update(provider="test_money")


def test_is_signed_so_that_anyone_can_check_it(bounty: ResearchBounty, candidate: Candidate, now: datetime.datetime) -> None:
    run = scene.valid_run(candidate, scene.open_host(), now=now)
    written = settle(candidate, "ACCEPTED", now=now)
    assert written.receipt is not None
    payload = written.receipt["payload"]
    assert (payload["candidate"], payload["terms_hash"], payload["tree"]) == (
        str(candidate),
        refreshed(bounty).terms_hash,
        candidate.tree_id,
    )
    assert payload["paid"] == {"reward_minor": 1000, "fee_minor": 100, "currency": "USD"}
    assert [(line["id"], line["root"]) for line in payload["runs"]] == [(str(run), "00" * 32)]
    keys = {key["key_id"]: key["public_key"] for key in receipts.public_keys()}
    assert sdk_receipts.signed_payload(written.receipt, keys=keys) == payload
    payload["paid"]["reward_minor"] = 2000
    with pytest.raises(errors.ReceiptInvalid):
        sdk_receipts.signed_payload(written.receipt, keys=keys)


def test_tells_the_agent_and_names_no_worker(bounty: ResearchBounty, candidate: Candidate, maker: Agent, now: datetime.datetime) -> None:
    host = scene.open_host()
    scene.valid_run(candidate, host, now=now)
    paying.pay_runs_due(now=now)
    settle(candidate, "ACCEPTED", now=now)
    maturing.finalise_due(now=now + DAY)
    maturing.mature_due(now=now + DAY)
    told = list(Event.objects.filter(agent_id=bounty.agent_id, data__bounty=str(bounty)).order_by("id"))
    assert [event.type for event in told] == [
        "research.screened",
        "research.opened",
        "candidate.received",
        "run.paid",
        "candidate.accepted",
        "candidate.settled",
        "candidate.final",
        "settlement.matured",
    ]
    words = " ".join(str(event.data) for event in told)
    for somebody in (maker.owner_id, host.owner_id, maker.pk, host.pk):
        assert somebody.hex not in words


def test_never_pays_a_run_before_its_candidates_window(bounty: ResearchBounty, candidate: Candidate, now: datetime.datetime) -> None:
    host = scene.open_host()
    scene.valid_run(candidate, host, now=now)
    paying.pay_runs_due(now=now)
    # Long after its own day has passed, the candidate has no verdict.
    assert maturing.mature_runs_due(now=now + 30 * DAY) == 0
    settle(candidate, "REJECTED", now=now + 30 * DAY)
    assert maturing.mature_runs_due(now=now + 30 * DAY) == 1
    assert RunPayment.objects.get().matured_at == now + 30 * DAY
