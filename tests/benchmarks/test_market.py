import pytest

from market.bounties.models import Bounty, Settlement
from market.payments.models import Payout
from tests.benchmarks.marketplace import flow, served


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
    report = served.run(seed=1, rounds=1, seconds=0.3, size=served.Size(widths=(1, 4), agents=8, workers=24, tasks=8))
    assert report.violations == []
    assert report.figures["refusals"] == 0
    # Each way was walked to its end at least once by each number of clients.
    assert sum("cycles a second" in name and "(n 0)" not in name for name in report.figures) == 8
