"""A bank's news may arrive in any way: the state is a fold over what is genuine. The campaign, in its smaller form: it ..."""

import dataclasses
import datetime
import uuid
from collections.abc import Sequence
from unittest import mock

import pytest
import standardwebhooks

from market.ledger import transfers
from market.payments import inbox, notices
from market.payments.models import Deposit
from market.payments.providers import base
from tests.faults import notices_arriving, notices_signed

# The audit after the test would name the forged events, as it should.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.broken_books]


def test_folds_what_is_genuine_and_believes_nothing_else() -> None:
    report = notices_arriving.arrive(seed=1, rounds=600, copies=20)
    assert report.violations == []
    assert report.figures["forged and accepted"] == 0


def test_reads_no_webhook_that_the_market_did_not_sign() -> None:
    report = notices_signed.receive(seed=1, rounds=1_000)
    assert report.violations == []


def test_finds_events_that_are_stored_at_each_arrival() -> None:
    store = inbox.store

    def store_all(*, provider_name: str, events: Sequence[base.RawEvent], now: datetime.datetime) -> int:
        relabelled = [base.RawEvent(f"{event.event_id}-{uuid.uuid4().hex}", event.body) for event in events]
        return store(provider_name=provider_name, events=relabelled, now=now)

    with mock.patch.object(inbox, "store", store_all):
        found = notices_arriving.arrive(seed=1, rounds=60, copies=5).violations
    assert any("events are stored" in line for line in found)


def test_finds_a_deposit_that_moves_with_each_event() -> None:
    def confirm(deposit: Deposit, provider_ref: str, now: datetime.datetime) -> None:
        Deposit.objects.filter(pk=deposit.pk).update(status=Deposit.Status.CONFIRMED, confirmed_at=now, provider_ref=provider_ref)
        transfers.post_all([dataclasses.replace(notices._deposit_leg(deposit), id=uuid.uuid4())])

    with mock.patch.object(notices, "_confirm", confirm):
        found = notices_arriving.arrive(seed=1, rounds=60, copies=5).violations
    assert any("by the fold" in line for line in found)


def test_finds_a_signature_that_nobody_checks() -> None:
    with mock.patch.object(standardwebhooks.Webhook, "verify", return_value=None):
        assert any("accepted with" in line for line in notices_signed.receive(seed=1, rounds=100).violations)
