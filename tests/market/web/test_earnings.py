"""An owner's earnings: every run with its reason, sums that are the ledger's to the cent, and nobody else's runs."""

import csv
import datetime
import html
import io
import random

import pytest
from django.test import Client

from market.accounts.models import Agent, User
from market.bounties.research import maturing, paying, sweeping
from market.bounties.research.models import RunPayment
from market.common.money import Money
from market.payments import queries as payment_queries
from market.web import research_csv, research_earnings
from tasks import clock
from tasks.models import WorkerProfile
from tests import people
from tests.market.web import research_scene as scene
from verification.research import candidates, reasons
from verification.research.models import Candidate, Run

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner(client: Client) -> WorkerProfile:
    """A GPU owner, who is signed in."""
    worker = people.open_worker("owner")
    client.force_login(User.objects.get(pk=worker.pk))
    return worker


def _replayed(agent: Agent, by: list[WorkerProfile], pairs: int = 6) -> tuple[Candidate, list[Run]]:
    candidate = scene.send(scene.post(agent), scene.searcher(), "LEARNING_RATE = 0.02\n")
    return candidate, scene.replay(candidate, [0.0] * pairs, by)


def _pay() -> None:
    now = clock.now()
    paying.pay_runs_due(now=now)
    paying.forfeit_due(now=now)
    maturing.mature_runs_due(now=now)


def _rows(client: Client) -> list[dict[str, str]]:
    answer = client.get("/earnings.csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.content.decode())))


def test_says_that_there_is_nothing_yet(client: Client, owner: WorkerProfile) -> None:
    page = client.get("/earnings").content.decode()
    assert "No replay yet" in page
    assert _rows(client) == []


def test_lists_every_run_with_its_state_and_reason(client: Client, agent: Agent, owner: WorkerProfile) -> None:
    candidate, runs = _replayed(agent, [owner])
    ready, earned, forged, training, unneeded = runs[:5]
    ends = ((forged, "INVALID", reasons.AUDIT_FAILED), (training, "OPEN", ""), (unneeded, "CANCELLED", reasons.NEVER_FINISHED))
    for run, stage, reason in ends:
        scene.rewrite(run, stage=stage, reason_code=reason)
    _pay()
    Candidate.objects.filter(pk=candidate.pk).update(status="REJECTED", decided_at=clock.now(), final_at=clock.now(), reason_code="no_gain")
    RunPayment.objects.filter(run=ready).update(matures_at=clock.now())
    _pay()
    rows = {row["run"]: row for row in _rows(client)}
    assert len(rows) == len(runs)
    assert [rows[str(run)]["state"] for run in (ready, earned, forged, training, unneeded)] == [
        "ready",
        "earned",
        "failed",
        "due",
        "failed",
    ]
    assert rows[str(forged)]["reason"] == reasons.MESSAGES[reasons.AUDIT_FAILED]
    assert rows[str(unneeded)]["reason"] == reasons.MESSAGES[reasons.NEVER_FINISHED]
    assert rows[str(training)]["pay"] == "0.05"
    assert rows[str(forged)]["pay"] == ""
    page = client.get("/earnings").content.decode()
    for run in runs:
        assert str(run) in page
    assert html.escape(reasons.MESSAGES[reasons.AUDIT_FAILED]) in page
    assert "9 paid, 1 under way, 2 not paid" in page


@pytest.mark.parametrize("seed", range(5))
def test_sums_are_the_ledgers(client: Client, agent: Agent, owner: WorkerProfile, seed: int) -> None:
    choose = random.Random(seed)
    candidate, runs = _replayed(agent, [owner], pairs=choose.randrange(4, 9))
    for run in runs:
        stage, reason = choose.choice(
            [("VALID", "valid"), ("VALID", "valid"), ("INVALID", "audit_failed"), ("CANCELLED", "never_finished")]
        )
        if stage != "VALID":
            scene.rewrite(run, stage=stage, reason_code=reason)
    # A forged run takes what was staked until then.
    paying.pay_runs_due(now=clock.now(), limit=choose.randrange(1, 8))
    _pay()
    candidates.make_final(candidate=scene.decide(candidate, "REJECTED", gain=0.0), now=clock.now())
    # Some of it is ready.
    half = RunPayment.objects.order_by("run_id").values_list("pk", flat=True)[: len(runs) // 3]
    RunPayment.objects.filter(pk__in=list(half)).update(matures_at=clock.now())
    _pay()
    [sums] = research_earnings.sums_of(owner)
    [balance] = payment_queries.worker_balance(owner, owner.mode).values()
    assert sums.earned == Money(balance.earned_minor, "USD")
    assert sums.ready == Money(balance.payable_minor + balance.in_transit_minor + balance.paid_out_minor, "USD")
    assert sums.stake == Money(balance.stake_minor, "USD")
    assert sums.staked.amount_minor - sums.lost.amount_minor == balance.stake_minor
    rows = _rows(client)
    assert sum(Money.parse(row["pay"], "USD").amount_minor for row in rows if row["state"] in ("ready", "earned")) == sums.paid.amount_minor
    assert sum(Money.parse(row["lost_from_stake"], "USD").amount_minor for row in rows if row["lost_from_stake"]) == sums.lost.amount_minor


def test_pay_that_was_taken_back_is_not_counted(agent: Agent, owner: WorkerProfile) -> None:
    _, runs = _replayed(agent, [owner], pairs=8)
    _pay()
    before = research_earnings.sums_of(owner)[0]
    last = RunPayment.objects.get(run=runs[-1])
    RunPayment.objects.filter(pk=last.pk).update(taken_back_at=clock.now())
    after = research_earnings.sums_of(owner)[0]
    assert before.earned.amount_minor - after.earned.amount_minor == last.amount_minor - last.staked_minor == 5
    [row] = [
        each for each in research_earnings.earnings_of(research_earnings.runs_of(owner), now=clock.now()) if each.run.pk == runs[-1].pk
    ]
    assert (row.state, row.pay) == ("failed", None)
    assert "went back" in row.why


def test_shows_nobody_elses_runs(client: Client, agent: Agent, owner: WorkerProfile) -> None:
    _, runs = _replayed(agent, [people.open_worker("another")])
    _pay()
    page = client.get("/earnings").content.decode()
    assert not any(str(run) in page for run in runs)
    assert _rows(client) == []


def test_has_pages_and_a_file_with_all(client: Client, agent: Agent, owner: WorkerProfile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(research_earnings, "_CHUNK", 3)
    _, runs = _replayed(agent, [owner], pairs=30)
    first = client.get("/earnings").content.decode()
    assert first.count("<code>rpl_") == 50
    link = first.partition('href="?after=')[2].partition('"')[0]
    assert client.get(f"/earnings?after={link}").content.decode().count("<code>rpl_") == 10
    assert [row["run"] for row in _rows(client)] == [str(run) for run in sorted(runs, key=lambda run: run.pk, reverse=True)]
    assert client.get("/earnings?after=rpl_x").status_code == 404


def test_a_ringer_looks_like_any_other_run(client: Client, agent: Agent, owner: WorkerProfile) -> None:
    _, runs = _replayed(agent, [owner], pairs=1)
    Run.objects.filter(pk=runs[0].pk).update(kind="RINGER", candidate=None)
    page = client.get("/earnings").content.decode().lower()
    assert "ringer" not in page
    assert "known" not in page


def test_cells_that_a_spreadsheet_would_run_are_text() -> None:
    content = research_csv.answer("x", ["a"], [["=1+1"], ["-5"], [-5], [None], ['a"b,c']]).content.decode()
    assert content == 'a\r\n\'=1+1\r\n\'-5\r\n-5\r\n""\r\n"a""b,c"\r\n'


def test_sums_up_the_last_days_and_draws_them(client: Client, agent: Agent, owner: WorkerProfile) -> None:
    candidate, runs = _replayed(agent, [owner], pairs=6)
    today = clock.now()
    forged, old, older = runs[0], runs[1], runs[2]
    scene.rewrite(forged, stage="INVALID", reason_code=reasons.AUDIT_FAILED)
    Run.objects.filter(pk=old.pk).update(judged_at=today - datetime.timedelta(days=6))
    Run.objects.filter(pk=older.pk).update(judged_at=today - datetime.timedelta(days=7))
    Run.objects.filter(pk=runs[3].pk).update(judged_at=today - datetime.timedelta(days=30))
    _pay()
    candidates.make_final(candidate=scene.decide(candidate, "REJECTED", gain=0.0), now=clock.now())
    RunPayment.objects.filter(run=old).update(matures_at=clock.now())
    _pay()
    [windows] = research_earnings.windows_of(owner, now=today)
    # Ten of eleven valid runs filled the stake, which is lost; one is older than all windows.
    assert [(span.days, span.earned, span.pending, span.lost) for span in windows.spans] == [
        (7, Money(5, "USD"), Money(40, "USD"), Money(50, "USD")),
        (30, Money(5, "USD"), Money(45, "USD"), Money(50, "USD")),
    ]
    page = client.get("/earnings").content.decode()
    assert "The last days, USD" in page
    assert f"3 days of the last 30 brought something; the most was $0.40 on {today.date().isoformat()}." in page
    rows = list(csv.DictReader(io.StringIO(client.get("/earnings/days.csv").content.decode())))
    assert len(rows) == 30
    assert rows[-1] == {"day": today.date().isoformat(), "currency": "USD", "earned": "0.00", "pending": "0.40", "lost": "0.50"}
    assert (rows[-7]["earned"], rows[-8]["pending"]) == ("0.05", "0.05")


def test_counts_nothing_as_lost_that_was_put_back(client: Client, agent: Agent, owner: WorkerProfile) -> None:
    candidate, runs = _replayed(agent, [owner])
    run = scene.invalid(candidate, owner, number=90)
    _pay()
    [before] = research_earnings.sums_of(owner)
    assert before.lost.amount_minor > 0
    scene.repeat(run, differs_from=None)
    sweeping.sweep(now=clock.now())
    [after] = research_earnings.sums_of(owner)
    assert (after.lost.amount_minor, after.stake.amount_minor) == (0, before.lost.amount_minor)
    assert after.staked.amount_minor - after.lost.amount_minor == after.stake.amount_minor
    assert research_earnings.windows_of(owner, now=clock.now())[0].spans[0].lost == Money(0, "USD")
    assert _rows(client)[0]["lost_from_stake"] == ""
    assert len(runs) == 12
