import dataclasses
import datetime
import re
from collections.abc import Sequence

import pytest

from market.bounties.models import Bounty, Settlement
from market.escrow import holds
from market.escrow.models import Hold
from market.payments.models import Payout
from tests.benchmarks.marketplace import arrivals, flow, served

SMALL = served.Size(widths=(1, 4), agents=8, workers=24, tasks=8)
FORGETFUL = "tests.benchmarks.marketplace.forgetful:application"


@pytest.mark.django_db
def test_every_bounty_of_the_flow_is_settled_and_paid_out() -> None:
    report = flow.run(seed=1, count=20)
    assert report.violations == []
    assert (report.figures["flow: bounties"], report.figures["flow: fees taken, minor units"]) == (20, 20 * flow.FEE.amount_minor)
    assert Bounty.objects.filter(status=Bounty.Status.SETTLED).count() == 20
    assert Settlement.objects.exclude(matured_at=None).count() == 20
    assert set(Payout.objects.values_list("status", flat=True)) == {Payout.Status.PAID}
    assert sum(Payout.objects.values_list("amount_minor", flat=True)) == 20 * flow.REWARD.amount_minor


@pytest.mark.django_db(transaction=True)
def test_everything_answered_over_http_was_done() -> None:
    report = served.run(seed=1, rounds=1, seconds=0.3, size=SMALL)
    assert report.violations == []
    assert report.figures["refusals"] == 0
    # Each way was walked to its end at least once by each number of clients.
    assert sum("cycles a second" in name and "(n 0)" not in name for name in report.figures) == 8


@pytest.mark.django_db(transaction=True)
def test_everything_that_arrived_was_answered_and_done() -> None:
    # So slowly that a machine which stands still for a second or two sheds none of them.
    report = arrivals.run(seed=1, rate=5.0, seconds=8.0, size=SMALL)
    assert report.violations == []
    assert [report.figures[name] for name in ("arrivals", "answers of 5xx", "refused or lost")] == [40, 0, 0]
    told = {name.split(",")[0]: name for name in report.figures if "since its moment" in name}
    # Where no claim was answered yet there is none to drop: then it is claimed once more.
    assert set(told) >= set(arrivals.MIX) - {"drop"}


@pytest.mark.django_db
def test_find_an_effect_of_the_flow_that_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    capture, left = holds.capture, [1]

    def free_once(*, hold: Hold, parts: Sequence[holds.Part], effect: str, now: datetime.datetime) -> Hold:
        paid = [part for part in parts if part.reason != "platform_fee"] if left else parts
        left.clear()
        return capture(hold=hold, parts=paid, effect=effect, now=now)

    monkeypatch.setattr(holds, "capture", free_once)
    [violation] = flow.run(seed=1, count=20).violations
    assert f"{19 * flow.FEE.amount_minor} of it fees" in violation


@pytest.mark.django_db(transaction=True)
def test_find_answers_for_what_was_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "OURS", FORGETFUL)
    violations = served.run(seed=1, rounds=1, seconds=0.3, size=dataclasses.replace(SMALL, widths=(1,))).violations
    assert any(violation.startswith("refused: drop: 404") for violation in violations)
    assert any(violation.startswith("answered were") for violation in violations)


@pytest.mark.django_db(transaction=True)
def test_find_arrivals_answered_and_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "OURS", FORGETFUL)
    violations = arrivals.run(seed=1, rate=20.0, seconds=1.0, size=SMALL).violations
    assert any(re.fullmatch(r"answered were [1-9] x claim, and 0 stand in the database", violation) for violation in violations)
