"""Answers that may have moved money are kept for ever; those to machine workers for two days."""

import datetime

import pytest

from market.accounts import idempotency
from market.accounts.models import IdempotentRequest
from tasks import clock

pytestmark = pytest.mark.django_db


def keep(scope: str, *, age: datetime.timedelta) -> None:
    asked = idempotency.Asked(scope=scope, key="one", method_and_path="POST /v1/x", request_sha256="0" * 64)
    idempotency.once(asked, lambda: idempotency.Answer(200, "{}"))
    IdempotentRequest.objects.filter(scope=scope).update(created_at=clock.now() - age)


def test_forgets_old_answers_to_machines() -> None:
    keep("lease:old", age=datetime.timedelta(days=3))
    keep("lease:new", age=datetime.timedelta(days=1))
    keep("key:old", age=datetime.timedelta(days=3_000))
    assert idempotency.forget_leases(now=clock.now()) == 1
    assert set(IdempotentRequest.objects.values_list("scope", flat=True)) == {"lease:new", "key:old"}
