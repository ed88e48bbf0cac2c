"""The shop is closed: the worker says so with a photograph, a person agrees, and the truth is paid from the reserve."""

from pathlib import Path

from agents_sdk import Market
from tests.journeys import operator, telling
from tests.journeys.phone import Phone
from tests.journeys.stage import Stage


def test_a_truthful_closed_is_paid(stage: Stage, market: Market, phone: Phone, tmp_path: Path) -> None:
    bounty = telling.post(market, telling.WALL)
    (photo := tmp_path / "door.jpg").write_bytes(telling.WALL.photo())

    phone.open(f"/tasks/{bounty.show().task}")
    phone.page.get_by_label("I am 18 or older and live in").select_option("DE")
    phone.photograph("Claim and take the photo", photo)
    phone.reads("You are at the place")
    phone.follow("It can't be done")
    phone.page.get_by_label("It is closed").check()
    phone.page.get_by_label("Take the photo").set_input_files(photo)
    phone.reads("You are at the place")
    phone.tap("Send")
    phone.reads("A person is looking")

    waiting = bounty.show().submissions[0]
    assert waiting.kind == "NEGATIVE"
    operator.decide(stage, waiting.id, accept=True, reason="The shutters are down, as the photo shows.")

    answer = bounty.wait(timeout=30, until="settled")
    assert (answer.outcome, answer.bounty.status, answer.bounty.closed_because) == ("NOT_POSSIBLE", "SETTLED", "NOT_POSSIBLE")
    phone.reads("Accepted")
    phone.open("/money")
    phone.reads("$0.50")
