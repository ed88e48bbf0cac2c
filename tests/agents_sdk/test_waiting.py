"""Waiting for a bounty ..."""

import httpx
import pytest

from agents_sdk import AsyncMarket, _waiting, errors, models
from tests.agents_sdk import replies

KINDS: list[replies.Kind] = ["sync", "async"]
BOUNTY = f"/v1/bounties/{replies.BOUNTY_ID}"
SUBMISSIONS = f"{BOUNTY}/submissions"


def market(bounties: list[object], submissions: list[object], **routes: object) -> replies.FakeMarket:
    pages = [replies.page(each) if each else replies.page() for each in submissions]
    return replies.FakeMarket(replies.by_path({BOUNTY: bounties, SUBMISSIONS: pages, "/v1/keys": replies.KEYS, **routes}))


PAID = replies.submission(receipt=replies.receipt())
UNPAID = replies.submission()
CHECKING = replies.submission("CHECKING")
REJECTED = replies.submission("REJECTED", is_retake_offered=True)


@pytest.mark.parametrize("kind", KINDS)
def test_it_ends_with_a_paid_answer_whose_receipt_verifies(kind: replies.Kind) -> None:
    bounties = [replies.bounty(), replies.bounty(submissions=[CHECKING]), replies.bounty("FILLED", submissions=[UNPAID])]
    fake = market([*bounties, replies.bounty("SETTLED", submissions=[PAID])], [UNPAID, PAID])
    answer = fake.ask(kind, lambda m: m.bounty(replies.BOUNTY_ID).wait())
    assert str(answer.verdict) == "ACCEPTED"
    assert answer.is_accepted
    assert answer.outcome == "ACCEPTED"
    assert repr(answer.checks) == "(<geofence in_place: PASS>,)"
    assert answer.receipt.verify(files=[replies.PHOTO]) is True


@pytest.mark.parametrize("kind", KINDS)
def test_photos_come_through_a_fresh_address_and_are_checked(kind: replies.Kind) -> None:
    fresh = replies.submission(receipt=replies.receipt())
    fresh["evidence"][0]["url"] = "https://another-name-of-the-market.test/v1/media/fresh"
    routes = {f"/v1/submissions/{replies.SUBMISSION_ID}": fresh, "/v1/media/fresh": replies.PHOTO}
    fake = market([replies.bounty("SETTLED", submissions=[PAID])], [PAID], **routes)

    async def download(client: AsyncMarket) -> bytes:
        return await (await client.bounty(replies.BOUNTY_ID).wait()).photos[0].download()

    photo = fake.ask(kind, download if kind == "async" else lambda m: m.bounty(replies.BOUNTY_ID).wait().photos[0].download())
    assert photo == replies.PHOTO
    assert fake.requests[-1].url.host == "market.test"
    assert fake.requests[-1].headers["authorization"] == f"Bearer {replies.KEY}"


def test_other_bytes_than_announced_are_refused() -> None:
    routes = {f"/v1/submissions/{replies.SUBMISSION_ID}": PAID, "/v1/media/abc": b"another photograph"}
    fake = market([replies.bounty("SETTLED", submissions=[PAID])], [PAID], **routes)
    with pytest.raises(errors.DigestMismatch):
        fake.ask("sync", lambda m: m.bounty(replies.BOUNTY_ID).wait()).photos[0].download()


@pytest.mark.parametrize("kind", KINDS)
def test_a_rejection_does_not_end_it_while_others_may_answer(kind: replies.Kind) -> None:
    paid = replies.submission(id="sub_" + "4" * 32, receipt=replies.receipt(submission="sub_" + "4" * 32))
    both = {"object": "list", "data": [REJECTED, paid], "has_more": False, "next_cursor": ""}
    routes = {BOUNTY: [replies.bounty(submissions=[REJECTED]), replies.bounty("SETTLED", submissions=[REJECTED, paid])], SUBMISSIONS: both}
    fake = replies.FakeMarket(replies.by_path({**routes, "/v1/keys": replies.KEYS}))
    answer = fake.ask(kind, lambda m: m.bounty(replies.BOUNTY_ID).wait())
    assert answer.submission.id == paid["id"]
    assert answer.receipt.verify()


def test_until_judged_ends_with_the_first_verdict() -> None:
    fake = market([replies.bounty(submissions=[CHECKING]), replies.bounty(submissions=[REJECTED])], [REJECTED])
    answer = fake.ask("sync", lambda m: m.bounty(replies.BOUNTY_ID).wait(until="judged"))
    assert (answer.outcome, answer.is_accepted) == ("REJECTED", False)


def test_until_settled_goes_on_after_the_answer() -> None:
    fake = market([replies.bounty(submissions=[PAID]), replies.bounty("SETTLED", submissions=[PAID])], [PAID])
    assert fake.ask("sync", lambda m: m.bounty(replies.BOUNTY_ID).wait(until="settled")).bounty.status == "SETTLED"


@pytest.mark.parametrize("status", ["EXPIRED", "CANCELLED", "BLOCKED"])
def test_the_end_of_the_bounty_ends_every_wait(status: str) -> None:
    fake = market([replies.bounty(), replies.bounty(status, closed_because="EXPIRED")], [None])
    answer = fake.ask("sync", lambda m: m.bounty(replies.BOUNTY_ID).wait())
    assert (answer.outcome, answer.verdict, answer.checks, answer.photos) == (status, None, (), ())
    with pytest.raises(errors.NoReceipt, match=status):
        _ = answer.receipt
    assert status in answer.to_llm()


def test_a_truthful_negative_is_not_possible_rather_than_accepted() -> None:
    negative = replies.submission(kind="NEGATIVE", negative_reason="closed")
    fake = market([replies.bounty("SETTLED", closed_because="NOT_POSSIBLE", submissions=[negative])], [negative])
    answer = fake.ask("sync", lambda m: m.bounty(replies.BOUNTY_ID).wait())
    assert (answer.outcome, answer.is_accepted) == ("NOT_POSSIBLE", False)
    assert '"negative_reason": "closed"' in answer.to_llm()


@pytest.mark.parametrize("kind", KINDS)
def test_an_outage_is_waited_out(kind: replies.Kind) -> None:
    away = [httpx.ConnectError("x")] * 7 + [replies.problem(503, "intake_busy", retryable=True)] * 4
    fake = market([replies.bounty(), *away, replies.bounty("SETTLED", submissions=[PAID])], [PAID])
    assert fake.ask(kind, lambda m: m.bounty(replies.BOUNTY_ID).wait()).is_accepted


def test_a_revoked_key_is_not_waited_out() -> None:
    fake = market([replies.bounty(), replies.problem(401, "api_key_refused")], [None])
    with pytest.raises(errors.Unauthenticated):
        fake.ask("sync", lambda m: m.bounty(replies.BOUNTY_ID).wait())


@pytest.mark.parametrize("kind", KINDS)
def test_its_time_ends_it_and_the_error_says_how_to_go_on(kind: replies.Kind) -> None:
    fake = market([replies.bounty()], [None])
    with pytest.raises(errors.WaitTimeout, match=replies.BOUNTY_ID) as caught:
        fake.ask(kind, lambda m: m.bounty(replies.BOUNTY_ID).wait(timeout=0.000001))
    assert isinstance(caught.value, TimeoutError)
    assert "OPEN" in caught.value.message


def waiting(*, timeout_s: float | None = None) -> _waiting.Waiting:
    return _waiting.Waiting(replies.BOUNTY_ID, until="answered", timeout_s=timeout_s, started=0.0, uniform=lambda _, most: most)


def test_it_looks_less_often_while_nothing_happens_and_often_again_when_something_does() -> None:
    wait = waiting()
    quiet, moved = (models.Bounty.model_validate(replies.bounty(submissions=s)) for s in ([], [CHECKING]))
    delays = []
    for _ in range(10):
        wait.may_be_over(quiet)
        delays.append(round(wait.delay_s(now=0.0), 2))
    assert delays == [0.5, 0.7, 0.98, 1.37, 1.92, 2.69, 3.76, 5.0, 5.0, 5.0]
    wait.may_be_over(moved)
    assert wait.delay_s(now=0.0) == 0.5


def test_its_last_look_is_at_its_end() -> None:
    wait = waiting(timeout_s=10.0)
    assert wait.delay_s(now=9.9) == pytest.approx(0.1)
    with pytest.raises(errors.WaitTimeout):
        wait.delay_s(now=10.0)


def test_an_outage_longer_than_five_minutes_ends_it() -> None:
    wait = waiting()
    gone = errors.APIConnectionError("gone")
    wait.failed(gone, now=0.0)
    wait.failed(gone, now=300.0)
    with pytest.raises(errors.APIConnectionError):
        wait.failed(gone, now=300.1)


def test_an_unknown_aim_is_refused_before_anything_is_sent() -> None:
    fake = market([replies.bounty()], [None])
    with pytest.raises(errors.ConfigurationError, match="until='paid'"):
        fake.ask("sync", lambda m: m.bounty(replies.BOUNTY_ID).wait(until="paid"))
    assert fake.requests == []
