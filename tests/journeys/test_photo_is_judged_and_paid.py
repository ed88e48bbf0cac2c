"""The whole story: an agent asks, somebody with a phone answers, models and checks judge, held money becomes the worker's."""

import decimal
from pathlib import Path

from agents_sdk import Market, models
from tests.journeys import telling
from tests.journeys.phone import Phone
from tests.journeys.stage import Stage


def test_agent_asks_and_a_phone_answers_and_is_paid(stage: Stage, market: Market, phone: Phone, tmp_path: Path) -> None:
    before = market.balance()
    bounty = telling.post(market, telling.MOTORBIKE)
    (photo := tmp_path / "photo.jpg").write_bytes(telling.MOTORBIKE.photo())

    phone.open()
    phone.tap("Show tasks near me")
    phone.reads("Tasks near you")
    phone.taps = 0  # The list is on the screen: from here to the sent photo.
    phone.page.locator(f'a[href="/tasks/{bounty.show().task}"]').tap()
    phone.taps += 1
    phone.page.get_by_label("I am 18 or older and live in").select_option("DE")
    phone.photograph("Claim and take the photo", photo)
    phone.reads("You are at the place")
    phone.tap("Send the photo")
    assert phone.taps == 3
    phone.reads("Ready to be paid out")
    phone.reads("Accepted")

    answer = bounty.wait(timeout=30, until="settled")
    assert answer.verdict is not None
    assert (answer.verdict.outcome, answer.verdict.decided_by) == ("ACCEPTED", "MACHINE")
    assert {check.name for check in answer.checks} >= {"geofence", "time_window", "exact_copy", "near_copy", "learned_copy", "shows"}
    assert answer.receipt.verify()
    assert answer.photos[0].download().startswith(b"\xff\xd8")
    held = answer.bounty.held
    assert isinstance(held, models.Held)
    assert (held.captured.amount, held.returned.amount, held.held.amount) == ("1.10", "0.50", "0.00")
    assert before.available[0].value - market.balance().available[0].value == decimal.Decimal("1.10")

    phone.open("/money")
    phone.reads("$1.00")
    phone.tap("Pay out")
    # How far it has come by then is the provider's affair.
    phone.reads("Payouts")
    telling.eventually(lambda: _money_page(phone), lambda text: "paid" in text.lower() and "$0.00" in text, within_s=60)
    assert " 0 differences." in stage.manage("ledger_audit")


def _money_page(phone: Phone) -> str:
    phone.open("/money")
    return phone.page.inner_text("main")
