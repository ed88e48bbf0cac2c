"""The simulated worker works on the real market, and misbehaves when a test task asks for it ..."""

import datetime
import os
import signal
import subprocess
import sys

import httpx
import pytest

from agents_sdk import Market, errors, scenes, simulated_worker, worker
from market.accounts.models import Agent
from tasks import clock
from tasks.models import WorkerProfile
from tests.agents_sdk import real, replies

pytestmark = pytest.mark.usefixtures("real_market")
SURE, BAD = 1_000.0, -1_000.0


@pytest.fixture
def market(agent: Agent) -> Market:
    return real.market_of(agent)


def statuses(market: Market, bounty_id: str) -> list[str]:
    return [submission.status for submission in reversed(list(market.submissions.list(bounty_id)))]


def test_it_leaves_alone_what_it_can_not_show_truly(market: Market, worker: WorkerProfile) -> None:
    posted = market.ask_photo("Is the bakery open? Show the door sign.", **real.ASK)
    real.simulated(worker).look()
    assert statuses(market, posted.id) == []
    assert list(real.worker_market_of(worker).claims()) == []


def test_no_taker_is_left_alone(market: Market, worker: WorkerProfile) -> None:
    posted = market.ask_photo(real.CUP, **real.ASK, simulate="no_taker")
    real.simulated(worker).look()
    assert statuses(market, posted.id) == []


def test_looking_again_sends_nothing_twice(market: Market, worker: WorkerProfile) -> None:
    posted = market.ask_photo(real.CUP, **real.ASK)
    real.simulated(worker).look()
    real.simulated(worker).look()
    assert len(statuses(market, posted.id)) == 1


def test_a_claim_from_before_a_crash_is_finished(market: Market, worker: WorkerProfile) -> None:
    posted = market.ask_photo(real.CUP, **real.ASK)
    hands = real.worker_market_of(worker)
    hands.claim(next(iter(hands.tasks())).id)
    real.simulated(worker).look()
    assert len(statuses(market, posted.id)) == 1


def test_blurred_is_caught_and_its_retake_is_sharp(market: Market, worker: WorkerProfile) -> None:
    posted = market.ask_photo(real.CUP, **real.ASK, simulate="blurred")
    simulated = real.simulated(worker)
    simulated.look()
    real.judge(score=SURE)
    first = posted.answer()
    assert first.outcome == "REJECTED"
    assert first.verdict is not None
    assert "sharp" in {result.criterion for result in first.verdict.criteria if result.outcome == "FAIL"}
    simulated.look()
    real.judge(score=SURE)
    real.review("ACCEPTED")
    assert posted.wait(timeout="10s").is_accepted
    assert statuses(market, posted.id) == ["REJECTED", "ACCEPTED"]


def test_wrong_place_is_caught_and_given_up(market: Market, worker: WorkerProfile) -> None:
    posted = market.ask_photo(real.CUP, **real.ASK, simulate="wrong_place")
    simulated = real.simulated(worker)
    simulated.look()
    real.judge(score=SURE)
    answer = posted.wait(timeout="10s", until="judged")
    assert answer.verdict is not None
    assert {result.criterion for result in answer.verdict.criteria if result.outcome == "FAIL"} == {"in_place"}
    simulated.look()
    assert statuses(market, posted.id) == ["REJECTED"]
    assert real.worker_market_of(worker).submission(answer.submissions[0].id).is_final


def test_fraud_photographs_something_else_and_gives_in(market: Market, worker: WorkerProfile) -> None:
    posted = market.ask_photo(real.CUP, **real.ASK, simulate="fraud")
    simulated = real.simulated(worker)
    simulated.look()
    real.judge(score=BAD)
    real.review("REJECTED", criterion="shows:0")
    assert posted.wait(timeout="10s", until="judged").outcome == "REJECTED"
    simulated.look()
    assert statuses(market, posted.id) == ["REJECTED"]
    # Its only claim is free again for the next task.
    honest = market.ask_photo(real.CUP, **real.ASK)
    simulated.look()
    assert len(statuses(market, honest.id)) == 1


def test_late_comes_when_the_claim_has_ended(market: Market, worker: WorkerProfile) -> None:
    posted = market.ask_photo(real.CUP, **real.ASK, simulate="late", task_time_s=60)
    now = [clock.now()]
    simulated = simulated_worker.SimulatedWorker(real.worker_market_of(worker), scenes.find_all(), pause=lambda _: None, now=lambda: now[0])
    simulated.look()
    simulated.look()
    assert [claim.status for claim in real.worker_market_of(worker).claims()] == ["ACTIVE"]
    assert statuses(market, posted.id) == []
    now[0] += datetime.timedelta(hours=1)
    simulated.look()
    # By the market's clock it is still in time: what is shown here is that it sends only now.
    assert len(statuses(market, posted.id)) == 1


def test_payable_money_is_asked_for_once(market: Market, worker: WorkerProfile) -> None:
    market.ask_photo(real.CUP, **real.ASK)
    simulated = real.simulated(worker)
    simulated.look()
    real.judge(score=SURE)
    real.review("ACCEPTED")
    for _ in range(2):
        real.simulated(worker).look()
    (payout,) = real.worker_market_of(worker).payouts()
    assert (str(payout.amount), payout.destination) == ("1.00 USD", "test_ok")


def test_an_outage_slows_it_down_and_does_not_end_it() -> None:
    market = replies.FakeMarket(httpx.ConnectError("x"))
    client = httpx.Client(transport=httpx.MockTransport(market.handle))
    hands = worker.WorkerMarket(api_key="test_worker_x", base_url=replies.URL, http_client=client, max_retries=0)
    paused: list[float] = []

    def pause(seconds: float) -> None:
        paused.append(seconds)
        if len(paused) == 8:
            market.replies[:] = [replies.problem(429, "rate_limited", retry_after=45)]
        if len(paused) == 9:
            market.replies[:] = [replies.problem(401, "api_key_refused")]

    with pytest.raises(errors.Unauthenticated):
        simulated_worker.run(simulated_worker.SimulatedWorker(hands, {}), pause=pause)
    assert paused[0] <= 1.0
    assert 15 <= paused[7] <= 30
    assert paused[8] >= 45


def program(**environment: str) -> "subprocess.Popen[str]":
    variables = {name: value for name, value in os.environ.items() if not name.startswith("ATOMS_")} | environment
    return subprocess.Popen(
        [sys.executable, "-m", "agents_sdk.simulated_worker"], env=variables, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.mark.parametrize("key", ["", "test_agent_x", "live_worker_x"])
def test_it_works_under_test_worker_keys_only(key: str) -> None:
    with program(ATOMS_API_KEY=key) as started:
        _, said = started.communicate(timeout=60)
    assert started.returncode == 2
    assert "test_worker_" in said


def test_sigterm_stops_it_at_once() -> None:
    # Nothing listens on port 9: it waits for a market to appear.
    with program(ATOMS_API_KEY="test_worker_x", ATOMS_URL="http://127.0.0.1:9") as started:
        assert started.stderr is not None
        assert "does not answer" in started.stderr.readline()
        started.send_signal(signal.SIGTERM)
        _, said = started.communicate(timeout=60)
    assert started.returncode == 0
    assert "stopped" in said
