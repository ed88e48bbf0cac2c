"""An appeal of a run that was judged invalid: when it is decided, it ..."""

import datetime
import functools

import pytest

from market.accounts.models import Agent
from market.bounties.research import appealing, maturing, paying, sweeping
from market.bounties.research.models import Forfeit, ResearchBounty, Restitution, RunPayment
from market.escrow import queries as escrow_queries
from tasks import clock
from tests import people, processes, racing
from tests.market.bounties import ledger
from tests.market.bounties.research import scene
from verification.research import appeals, reasons, rules
from verification.research.models import Appeal, Candidate, Host, Run

_Status = Appeal.Status
LEAVES = [f"{number:02x}" * 32 for number in range(11)]
MENDER = """
from market.bounties.research import appealing, paying
from tasks import clock
tell("ready")
while appealing.make_good_due(now=clock.now(), limit=1) or paying.pay_runs_due(now=clock.now(), limit=1):
    tell("made good")
sys.stdin.read()
"""


@pytest.fixture
def bounty(agent: Agent, now: datetime.datetime) -> ResearchBounty:
    return scene.post(agent, now=now)


@pytest.fixture
def candidate(bounty: ResearchBounty, now: datetime.datetime) -> Candidate:
    return scene.submit(bounty, scene.open_maker(), now=now)


@pytest.fixture
def host(db: None) -> Host:
    return scene.open_host()


def found_invalid(candidate: Candidate, host: Host, *, now: datetime.datetime, runs: int = 6) -> Run:
    """Fill an owner's stake by so many runs, and take it for another one that an audit did not confirm."""
    for _ in range(runs):
        scene.valid_run(candidate, host, now=now)
    paying.pay_runs_due(now=now)
    run = scene.end(scene.run(candidate, host, now=now), Run.Stage.INVALID, reason=reasons.AUDIT_FAILED, now=now)
    return _told(run, LEAVES)


def again(run: Run, leaves: list[str], *, now: datetime.datetime) -> Run:
    """Appeal, and let the trusted pool come to these checkpoints."""
    trained = appeals.ask(run=run, now=now).again
    owner = people.open_user("pool")
    Run.objects.filter(pk=trained.pk).update(owner=owner, lease_state="LEASED", lease_holder="pool", leased_at=now)
    return _told(scene.end(trained, Run.Stage.VALID, reason=reasons.VALID, now=now), leaves)


def _told(run: Run, leaves: list[str]) -> Run:
    Run.objects.filter(pk=run.pk).update(report={"root": "".join(leaves)[:64] + leaves[-1], "leaves": leaves, "class_text": scene.CLASS})
    run.refresh_from_db()
    return run


def settle(now: datetime.datetime) -> None:
    for _ in range(2):
        sweeping.sweep(now=now)
        assert escrow_queries.check_stakes() == []


def test_puts_the_stake_back_and_pays_the_run_out_of_the_platforms_fees(
    bounty: ResearchBounty, candidate: Candidate, host: Host, now: datetime.datetime
) -> None:
    run = found_invalid(candidate, host, now=now)
    paying.forfeit_due(now=now)
    assert (scene.staked(host.owner), ledger.fees()) == (0, 300)
    held = scene.held(bounty)
    again(run, LEAVES, now=now)
    settle(now)
    payment = RunPayment.objects.get(run=run)
    assert (payment.reason, payment.amount_minor, payment.platform_minor, payment.staked_minor) == ("OVERTURNED", 50, 50, 50)
    assert (scene.staked(host.owner), ledger.fees(), scene.held(bounty)) == (350, -50, held)
    assert Restitution.objects.get().amount_minor == Forfeit.objects.get().amount_minor == 300
    # The pool's own training is nobody's to be paid for.
    assert RunPayment.objects.count() == 7


def test_leaves_everything_where_the_finding_stands(
    bounty: ResearchBounty, candidate: Candidate, host: Host, now: datetime.datetime
) -> None:
    run = found_invalid(candidate, host, now=now)
    again(run, [*LEAVES[:7], *("ff" * 32 for _ in range(4))], now=now)
    settle(now)
    assert Appeal.objects.get().differs_from == 7
    assert (scene.staked(host.owner), ledger.fees()) == (0, 300)
    assert not Restitution.objects.exists()
    assert not RunPayment.objects.filter(run=run).exists()


def test_puts_the_stake_back_without_pay_where_nobody_can_tell(candidate: Candidate, host: Host, now: datetime.datetime) -> None:
    run = found_invalid(candidate, host, now=now)
    appeals.ask(run=run, now=now)
    settle(now)
    assert scene.staked(host.owner) == 0
    late = now + rules.APPEAL_DECIDED_WITHIN
    settle(late - datetime.timedelta(microseconds=1))
    assert Appeal.objects.get().status == _Status.OPEN
    settle(late)
    assert (scene.staked(host.owner), ledger.fees(), Appeal.objects.get().status) == (300, 0, _Status.UNDECIDED)
    assert not RunPayment.objects.filter(run=run).exists()


def test_keeps_the_stake_from_being_lost_afterwards(candidate: Candidate, host: Host, now: datetime.datetime) -> None:
    """The appeal is decided before the stake was taken: then nothing is taken, and nothing put back."""
    run = found_invalid(candidate, host, now=now)
    again(run, LEAVES, now=now)
    appeals.conclude_due(now=now)
    assert paying.forfeit_due(now=now) == 0
    settle(now)
    assert (scene.staked(host.owner), Restitution.objects.get().amount_minor) == (350, 0)


def test_pays_a_hosts_first_run_once(host: Host, candidate: Candidate, now: datetime.datetime) -> None:
    first = scene.run(candidate, host, now=now, kind=Run.Kind.CALIBRATION, candidate_id=None, task_id=None, tip_id=None)
    run = _told(scene.end(first, Run.Stage.INVALID, reason=reasons.AUDIT_FAILED, now=now), LEAVES)
    again(run, LEAVES, now=now)
    settle(now)
    payment = RunPayment.objects.get(run=run)
    assert (payment.reason, payment.amount_minor, scene.earned(host.owner), ledger.fees()) == ("CALIBRATION", 5, 5, -5)


def test_can_be_taken_out_of_the_stake_and_matures_like_other_pay(
    bounty: ResearchBounty, candidate: Candidate, host: Host, now: datetime.datetime
) -> None:
    run = found_invalid(candidate, host, now=now, runs=10)
    paying.forfeit_due(now=now)
    again(run, LEAVES, now=now)
    settle(now)
    assert (scene.staked(host.owner), scene.earned(host.owner)) == (500, 50)
    scene.decide(candidate, "REJECTED", now=now)
    settle(now + datetime.timedelta(days=20))
    assert maturing.unmatured_of(host.owner_id, mode="test", currency="USD").count() == 0
    assert (scene.payable(host.owner), scene.earned(host.owner)) == (50, 0)


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_puts_back_once_whoever_sweeps(self) -> None:
        now = clock.now()
        agent = people.open_agent()
        people.top_up(agent)
        host, candidate = scene.open_host(), scene.submit(scene.post(agent, now=now), scene.open_maker(), now=now)
        run = found_invalid(candidate, host, now=now)
        again(run, LEAVES, now=now)
        calls = [functools.partial(step, now=now) for step in (paying.forfeit_due, appeals.conclude_due, appealing.make_good_due)]
        racing.together([call for call in calls for _ in range(3)])
        settle(now)
        # Taken or not before the appeal was decided: in the end it is all there.
        assert (scene.staked(host.owner), Restitution.objects.count(), RunPayment.objects.filter(run=run).count()) == (350, 1, 1)

    @pytest.mark.parametrize("words", [0, 1, 2])
    def test_goes_on_after_a_kill_between_the_stake_and_the_pay(self, words: int) -> None:
        now = clock.now()
        agent = people.open_agent()
        people.top_up(agent)
        host, candidate = scene.open_host(), scene.submit(scene.post(agent, now=now), scene.open_maker(), now=now)
        run = found_invalid(candidate, host, now=now)
        paying.forfeit_due(now=now)
        again(run, LEAVES, now=now)
        appeals.conclude_due(now=now)
        with processes.python(MENDER) as child:
            processes.wait_for_word(child, "ready")
            for _ in range(words):
                processes.wait_for_word(child, "made good")
        settle(now)
        assert (scene.staked(host.owner), ledger.fees()) == (350, -50)
        assert (Restitution.objects.count(), RunPayment.objects.filter(run=run).count()) == (1, 1)
