import itertools
import json

import pytest

from market.common.money import Money
from market.ledger import audit
from market.payments import inbox, notices, payouts
from market.payments.models import Deposit, Payout, ProviderEvent
from market.payments.providers import base, registry
from tasks import clock
from tests.market.payments.purses import ask, clearing, purse_of, worker_with

pytestmark = pytest.mark.django_db


def event(row: Payout | Deposit, kind: str, *, number: int = 0, fields: dict[str, object] | None = None) -> base.RawEvent:
    key = notices.key_of(row)
    event_id = f"evt-{kind}-{number}"
    content = {"id": event_id, "type": kind, "key": key, "reference": f"bank-{key}", "amount_minor": row.amount_minor, "currency": "USD"}
    return base.RawEvent(event_id, json.dumps({**content, **(fields or {})}).encode())


def arrive(*events: base.RawEvent) -> list[str]:
    """Store and process events; return their errors in the order of their arrival."""
    for one in events:
        inbox.store(provider_name="test_money", events=[one], now=clock.now())
        inbox.process_due(now=clock.now())
    return [ProviderEvent.objects.get(event_id=one.event_id).error.partition(":")[0] for one in events]


def sent() -> Payout:
    worker = worker_with(1000)
    payout = ask(worker)
    payouts.send_due(holder="test", now=clock.now())
    payout.refresh_from_db()
    return payout


@pytest.mark.parametrize(
    ("kinds", "status", "purse", "out"),
    [
        (("payout.paid",), "PAID", (0, 0), 1000),
        (("payout.failed",), "FAILED", (1000, 0), 0),
        (("payout.paid", "payout.returned"), "FAILED", (1000, 0), 0),
    ],
)
def test_any_order_and_any_number_has_one_end(kinds: tuple[str, ...], status: str, purse: tuple[int, int], out: int) -> None:
    for order in itertools.permutations([(kind, number) for kind in kinds for number in (1, 2)]):
        payout = sent()
        before = clearing()
        arrive(*[event(payout, kind, number=hash((payout.pk, number)) % 10**9) for kind, number in order])
        payout.refresh_from_db()
        assert (payout.status, purse_of(payout.worker), clearing() - before) == (status, purse, out), order
    assert not ProviderEvent.objects.exclude(error="").exists()


def test_news_before_our_own_commit_of_sent_counts() -> None:
    payout = ask(worker_with(1000))
    assert arrive(event(payout, "payout.paid")) == [""]
    payout.refresh_from_db()
    assert (payout.status, payout.sent_at is not None, purse_of(payout.worker)) == ("PAID", True, (0, 0))


@pytest.mark.broken_books
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("payout.failed", "payout.paid"),
        ("payout.paid", "payout.failed"),
        ("payout.failed", "payout.returned"),
        ("payout.returned", "payout.failed"),
    ],
)
def test_contradiction_moves_nothing_and_is_named_by_the_audit(first: str, second: str) -> None:
    payout = sent()
    assert arrive(event(payout, first)) == [""]
    payout.refresh_from_db()
    before = (payout.status, purse_of(payout.worker), clearing())
    assert arrive(event(payout, second)) == ["Contradiction"]
    payout.refresh_from_db()
    assert (payout.status, purse_of(payout.worker), clearing()) == before
    assert [line.partition(": ")[0] for line in audit.audit().breaches] == ["event had no effect"]


@pytest.mark.broken_books
@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"amount_minor": 1001}, "Contradiction"),
        ({"currency": "EUR"}, "Contradiction"),
        ({"currency": "ZZZ"}, "MalformedEvent"),
        ({"key": "payout-00000000000000000000000000000000"}, "UnknownKey"),
        ({"key": "payout-not-hex"}, "UnknownKey"),
        ({"key": "deposit-00000000000000000000000000000000"}, "UnknownKey"),
        ({"key": ""}, "UnknownKey"),
        ({"type": "payout.doubled"}, "MalformedEvent"),
        ({"type": "deposit.confirmed"}, "UnknownKey"),
        ({"amount_minor": "1000"}, "MalformedEvent"),
        ({"amount_minor": 1e3}, "MalformedEvent"),
        ({"amount_minor": -1}, "MalformedEvent"),
        ({"approve_everything": True}, "MalformedEvent"),
        ({"reason": "x" * 81}, "MalformedEvent"),
    ],
)
def test_event_that_is_not_ours_moves_nothing(fields: dict[str, object], error: str) -> None:
    payout = sent()
    assert arrive(event(payout, "payout.paid", fields=fields)) == [error]
    payout.refresh_from_db()
    assert (payout.status, purse_of(payout.worker), clearing()) == ("SENT", (0, 1000), 0)


@pytest.mark.broken_books
@pytest.mark.parametrize("body", [b"", b"\x00\xff", b"null", b"[]", b'{"a":', b"[" * 5000, b"\xef\xbb\xbf{}", b'"\\u0000"'])
def test_hostile_bytes_are_kept_as_they_came(body: bytes) -> None:
    assert arrive(base.RawEvent("evt-hostile", body)) == ["MalformedEvent"]
    stored = ProviderEvent.objects.get()
    assert bytes(stored.raw_body) == body
    assert stored.processed_at is not None


@pytest.mark.parametrize("event_id", ["", "a b", "a\x00", "é", "x" * 121])
def test_event_without_a_usable_id_is_not_stored(event_id: str) -> None:
    with pytest.raises(inbox.UnacceptableEvent):
        inbox.store(provider_name="test_money", events=[base.RawEvent(event_id, b"{}")], now=clock.now())


def test_too_long_event_is_not_stored() -> None:
    with pytest.raises(inbox.UnacceptableEvent):
        inbox.store(provider_name="test_money", events=[base.RawEvent("evt", b" " * 65_537)], now=clock.now())
    assert not ProviderEvent.objects.exists()


def test_same_event_is_stored_once_and_the_first_bytes_stay() -> None:
    payout = sent()
    paid = event(payout, "payout.paid")
    assert inbox.store(provider_name="test_money", events=[paid, paid], now=clock.now()) == 1
    forged = base.RawEvent(paid.event_id, event(payout, "payout.failed").body)
    assert inbox.store(provider_name="test_money", events=[forged], now=clock.now()) == 0
    assert inbox.process_due(now=clock.now()) == 1
    assert inbox.process_due(now=clock.now()) == 0
    payout.refresh_from_db()
    assert payout.status == "PAID"


def test_notices_speak_in_money() -> None:
    payout = sent()
    provider_event = event(payout, "payout.paid")
    notice = registry.named("test_money").read_event(provider_event.body)
    assert notice == base.Notice(
        base.NoticeKind.PAYOUT_PAID, notices.key_of(payout), f"bank-{notices.key_of(payout)}", Money(1000, "USD"), ""
    )
