"""A payout that was given up while its money is in transit: an operator ..."""

import io

import pytest
from django.core.management import CommandError, call_command

from market.ledger import audit
from market.payments import payouts
from market.payments.models import Payout, TestBankEntry
from market.payments.providers import base
from tasks import clock, ids
from tasks.leases import LeaseState
from tests.market.payments.purses import ask, purse_of, worker_with

# What is given up is a breach of the books until it is taken up again; each test ends with it mended.
pytestmark = pytest.mark.django_db


def given_up(destination: str = "test_ok") -> Payout:
    """Return a payout whose sender died every time."""
    payout = ask(worker_with(1000), destination)
    Payout.objects.filter(pk=payout.pk).update(lease_state=LeaseState.LEASED, lease_until=clock.now(), attempts=payouts.MAX_ATTEMPTS)
    assert payouts.sweep(now=clock.now()) == 0
    assert audit.audit().breaches == (f"payout was given up: {payout}: after 50 attempts",)
    return payout


def retry(*arguments: str) -> str:
    said = io.StringIO()
    call_command("retry_payouts", *arguments, stdout=said)
    return said.getvalue()


def state(payout: Payout) -> tuple[str, str, str]:
    payout.refresh_from_db()
    return payout.status, payout.failure, payout.lease_state


def test_sends_what_the_bank_never_had() -> None:
    payout = given_up()
    assert retry() == f"{payout}: sent\n1 payouts taken up again.\n"
    assert (state(payout), TestBankEntry.objects.count()) == (("SENT", "", "DONE"), 1)
    assert retry() == "0 payouts taken up again.\n"


@pytest.mark.parametrize("arguments", [(), ("--fail",)])
def test_finds_what_the_bank_has_and_sends_it_no_second_time(arguments: tuple[str, ...]) -> None:
    # To this destination a first `pay` would lose its answer: that none is lost shows that the bank was asked first.
    payout = given_up("test_lost_answer")
    TestBankEntry.objects.create(
        idempotency_key=f"payout-{payout.pk.hex}",
        direction=TestBankEntry.Direction.OUT,
        amount_minor=1000,
        currency="USD",
        counterpart="test_lost_answer",
    )
    retry(*arguments)
    assert (state(payout), purse_of(payout.worker)) == (("SENT", "", "DONE"), (0, 1000))
    assert payout.provider_ref == f"bank-payout-{payout.pk.hex}"


def test_gives_the_money_back_where_the_bank_refuses() -> None:
    payout = given_up("test_refused")
    retry()
    assert (state(payout), purse_of(payout.worker)) == (("FAILED", "refused_by_bank", "DONE"), (1000, 0))


def test_fails_what_the_bank_never_had_if_he_says_so() -> None:
    payout = given_up()
    assert retry("--fail", str(payout)) == f"{payout}: failed or returned given_up\n1 payouts taken up again.\n"
    assert (state(payout), purse_of(payout.worker)) == (("FAILED", "given_up", "DONE"), (1000, 0))
    assert not TestBankEntry.objects.exists()


def test_has_a_lost_answer_tried_again_like_any_other() -> None:
    payout = given_up("test_lost_answer")
    retry()
    assert state(payout) == ("REQUESTED", "", "READY")
    Payout.objects.update(available_at=clock.now())
    payouts.send_due(holder="next", now=clock.now())
    assert (state(payout), TestBankEntry.objects.count()) == (("SENT", "", "DONE"), 1)


def test_touches_nothing_that_is_under_way_and_hides_no_bad_id() -> None:
    payout = ask(worker_with(1000))
    with pytest.raises(ExceptionGroup) as refused:
        retry("--fail", str(payout))
    assert refused.group_contains(payouts.NotGivenUp)
    with pytest.raises(CommandError, match="pay_"):
        retry(ids.encode("dep", payout.pk))
    assert (state(payout), purse_of(payout.worker)) == (("REQUESTED", "", "READY"), (0, 1000))


def test_learns_nothing_from_a_silent_bank_and_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    payout = given_up()

    def silent(_: object, *, key: str) -> str | None:
        raise base.OutcomeUnknown(f"No answer about {key}.")

    with monkeypatch.context() as silence:
        silence.setattr("market.payments.providers.test_money.Bank.find", silent)
        with pytest.raises(ExceptionGroup):
            retry("--fail")
    payouts.sweep(now=clock.now())
    assert (state(payout), purse_of(payout.worker)) == (("REQUESTED", "", "DEAD"), (0, 1000))
    retry("--fail", str(payout))
    assert (state(payout), purse_of(payout.worker)) == (("FAILED", "given_up", "DONE"), (1000, 0))


def test_does_not_send_what_he_wanted_failed_when_he_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    payout = given_up()

    def die(_: object, *, key: str) -> str | None:
        raise SystemExit(key)

    with monkeypatch.context() as cut_off:
        cut_off.setattr("market.payments.providers.test_money.Bank.find", die)
        with pytest.raises(SystemExit):
            retry("--fail", str(payout))
    Payout.objects.update(lease_until=clock.now())
    payouts.sweep(now=clock.now())
    assert (state(payout), purse_of(payout.worker)) == (("REQUESTED", "", "DEAD"), (0, 1000))
    assert not TestBankEntry.objects.exists()
    retry("--fail", str(payout))
    assert (state(payout), purse_of(payout.worker)) == (("FAILED", "given_up", "DONE"), (1000, 0))
