import uuid

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market.ledger import audit, balances, transfers
from market.ledger.models import Transfer
from tests.market.books import FEES, OUTSIDE, purse
from tests.market.ledger.model import Model

pytestmark = pytest.mark.django_db

PATHS = [purse(1), purse(2), purse(3), OUTSIDE, FEES, purse(1, "EUR"), purse(1, mode="live")]
IDS = [uuid.UUID(int=number) for number in range(12)]
Outcome = transfers.Outcome


@st.composite
def entries(draw: st.DrawFn) -> transfers.Entry:
    source, destination = draw(st.lists(st.sampled_from(PATHS), min_size=2, max_size=2, unique=True))
    # Few ids and small amounts, so that repeats, conflicts and overdrafts are common.
    return transfers.Entry(draw(st.sampled_from(IDS)), source, destination, draw(st.integers(1, 6)), "USD", "test", "test")


@settings(max_examples=120, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(entries(), max_size=12), max_size=5))
def test_batches_do_what_a_plain_loop_would(batches: list[list[transfers.Entry]]) -> None:
    model = Model(PATHS)
    with transaction.atomic():
        for batch in batches:
            assert transfers.post(batch) == [model.post(entry) for entry in batch]
            assert balances.balances(PATHS) == model.balances
        assert Transfer.objects.count() == len(model.recorded)
        assert audit.audit().breaches == ()
        transaction.set_rollback(True)


@settings(max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.lists(entries(), max_size=8), batch=st.lists(entries(), min_size=1, max_size=8))
def test_all_or_nothing_is_all_or_nothing(before: list[transfers.Entry], batch: list[transfers.Entry]) -> None:
    model = Model(PATHS)
    with transaction.atomic():
        transfers.post(before)
        for entry in before:
            model.post(entry)
        at_start = dict(model.balances)
        outcomes = [model.post(entry) for entry in batch]
        first_refused = next((n for n, outcome in enumerate(outcomes) if outcome not in (Outcome.POSTED, Outcome.EXISTS)), None)
        if first_refused is None:
            transfers.post_all(batch)
            assert balances.balances(PATHS) == model.balances
        else:
            with pytest.raises(transfers.Refused) as refused:
                transfers.post_all(batch)
            assert (refused.value.entry, refused.value.outcome) == (batch[first_refused], outcomes[first_refused])
            assert balances.balances(PATHS) == at_start
        transaction.set_rollback(True)
