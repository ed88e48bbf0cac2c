"""The ledger: entries posted one by one in a model, in batches in the database; every refusal leaves both as they were."""

import dataclasses
import uuid
from collections.abc import Sequence

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from market.common import account_paths, money
from market.ledger import audit, balances, marks, transfers
from tests.faults.stateful import running
from tests.market.books import FEES, OUTSIDE, purse
from tests.market.ledger import model

Outcome = transfers.Outcome

OUTSIDE_EUR = "test:platform:outside:EUR"
FEES_EUR = account_paths.platform_fees(mode="test", currency="EUR")
PATHS = [purse(1), purse(2), OUTSIDE, FEES, purse(1, "EUR"), purse(2, "EUR"), OUTSIDE_EUR, FEES_EUR, purse(1, mode="live")]

# Small amounts out of few purses, so that the last cent is asked for often; and the largest that an entry may move.
_AMOUNTS = st.one_of(st.integers(1, 6), st.just(money.MAX_MINOR))
_IDS = st.integers(0, 15).map(lambda number: uuid.UUID(int=number))
_ACCOUNTS = st.lists(st.sampled_from(PATHS), min_size=2, max_size=2, unique=True)

# What no statement may do past the ledger's own functions.
_PAST = {
    "update of a transfer": "UPDATE ledger_transfer SET amount_minor = amount_minor + 1",
    "deletion of a transfer": "DELETE FROM ledger_transfer",
    "transfer by hand": "INSERT INTO ledger_transfer (id, seq, source_id, destination_id, amount_minor, reason, subject)"
    " VALUES (gen_random_uuid(), 0, 1, 2, 1, '', '')",
    "balance by hand": "UPDATE ledger_account SET balance_minor = balance_minor + 1",
    "deletion of an account": "DELETE FROM ledger_account",
    "deletion of a mark": "DELETE FROM ledger_balancemark",
}

# By hand, here and in the other machines: it is asked after every step.
_ROWS = """
    SELECT transfer.id, source.path, destination.path, transfer.amount_minor, source.currency, transfer.reason, transfer.subject
    FROM ledger_transfer transfer
    JOIN ledger_account source ON source.id = transfer.source_id
    JOIN ledger_account destination ON destination.id = transfer.destination_id
    ORDER BY transfer.seq
"""


@st.composite
def entries(draw: st.DrawFn) -> transfers.Entry:
    """Draw an entry that is well formed; its accounts may not fit each other or its currency."""
    source, destination = draw(_ACCOUNTS)
    currency = account_paths.currency_of(draw(st.sampled_from([source, source, source, destination])))
    return transfers.Entry(draw(_IDS), source, destination, draw(_AMOUNTS), currency, draw(st.sampled_from(["test", "other"])), "test")


class LedgerMachine(running.Machine):
    """Batches, repeats, conflicts, overdrafts, marks, broken transactions and writes past the one way in."""

    def __init__(self) -> None:
        super().__init__()
        self.model = model.Model(PATHS)

    @rule(minor=st.integers(1, 9), destination=st.sampled_from([purse(1), purse(2), purse(1, "EUR")]))
    def fund(self, minor: int, destination: str) -> None:
        source = OUTSIDE if account_paths.currency_of(destination) == "USD" else OUTSIDE_EUR
        self._post([self._fresh(source, destination, minor)])

    @rule(batch=st.lists(entries(), min_size=1, max_size=6))
    def post(self, batch: list[transfers.Entry]) -> None:
        self._post(batch)

    @rule(path=st.sampled_from([purse(1), purse(2), purse(1, "EUR")]), over=st.integers(-1, 1))
    def spend_to_the_last_cent(self, path: str, over: int) -> None:
        """Ask for one cent less than there is, all of it, and one more."""
        amount_minor = self.model.balances[path] + over
        if 0 < amount_minor <= money.MAX_MINOR:
            fees = account_paths.platform_fees(mode="test", currency=account_paths.currency_of(path))
            self._post([self._fresh(path, fees, amount_minor)])

    @rule(batch=st.lists(entries(), min_size=1, max_size=4))
    def post_all(self, batch: list[transfers.Entry]) -> None:
        after = self.model.copy()
        refused = next(
            ((entry, outcome) for entry in batch if (outcome := after.post(entry)) not in (Outcome.POSTED, Outcome.EXISTS)), None
        )
        if refused is None:
            with transaction.atomic():
                transfers.post_all(batch)
            self.model = after
            return
        kind = transfers.Overdrawn if refused[1] is Outcome.OVERDRAWN else transfers.TransferConflict
        self.outcomes[kind.__name__] += 1
        with pytest.raises(kind) as raised, transaction.atomic():
            transfers.post_all(batch)
        assert (raised.value.entry, raised.value.outcome) == refused

    @precondition(lambda self: self.model.recorded)
    @rule(which=st.integers(0, 40), change=st.sampled_from(["none", "amount", "reason", "subject", "accounts", "currency"]))
    def post_again(self, which: int, change: str) -> None:
        """Send a recorded entry again, as it was or with one thing changed."""
        entry = list(self.model.recorded.values())[which % len(self.model.recorded)]
        changed = {
            "none": entry,
            "amount": dataclasses.replace(entry, amount_minor=entry.amount_minor % 7 + 1),
            "reason": dataclasses.replace(entry, reason="another"),
            "subject": dataclasses.replace(entry, subject="another"),
            "accounts": dataclasses.replace(entry, source=entry.destination, destination=entry.source),
            "currency": dataclasses.replace(entry, currency="GBP"),
        }[change]
        assert transfers.are_recorded([changed]) == (changed == entry)
        self._post([changed])

    @rule(batch=st.lists(entries(), min_size=1, max_size=4))
    def post_and_fail(self, batch: list[transfers.Entry]) -> None:
        """Post inside a transaction that ends with an error of somebody else: nothing is left of it."""
        undone = self.model.copy()
        try:
            with transaction.atomic():
                assert transfers.post(batch) == [undone.post(entry) for entry in batch]
                raise InterruptedError
        except InterruptedError:
            self.outcomes["rolled back"] += 1

    @rule(minor=st.sampled_from([-1, 0, money.MAX_MINOR + 1]), entry=entries())
    def write_an_amount_that_none_is(self, minor: int, entry: transfers.Entry) -> None:
        self.attempt(lambda: dataclasses.replace(entry, amount_minor=minor), refusal=transfers.MalformedEntry)

    @rule(entry=entries(), change=st.sampled_from(["account", "reason", "subject"]))
    def write_an_entry_that_none_is(self, entry: transfers.Entry, change: str) -> None:
        wrong = {"account": {"destination": entry.source}, "reason": {"reason": "r" * 33}, "subject": {"subject": "s" * 41}}[change]
        self.attempt(lambda: dataclasses.replace(entry, **wrong), refusal=transfers.MalformedEntry)  # type: ignore[arg-type]

    @rule()
    def mark(self) -> None:
        assert marks.mark() == len(self.model.moved_since_mark)
        self.model.moved_since_mark = set()

    @rule()
    def audit(self) -> None:
        assert set(audit.trial_balance().values()) <= {0}
        assert audit.audit().breaches == ()

    @precondition(lambda self: self.model.recorded)
    @rule(what=st.sampled_from(sorted(_PAST)))
    def write_past_the_ledger(self, what: str) -> None:
        def write() -> None:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(_PAST[what])

        self.attempt(write, refusal=IntegrityError)

    def compare(self) -> None:
        """Compare every transfer in order, and every balance."""
        with connection.cursor() as cursor:
            cursor.execute(_ROWS)
            rows = cursor.fetchall()
        assert rows == [dataclasses.astuple(entry) for entry in self.model.recorded.values()]
        assert balances.balances(self.model.balances) == self.model.balances

    def _fresh(self, source: str, destination: str, minor: int) -> transfers.Entry:
        identity = uuid.UUID(int=1_000 + len(self.model.recorded))
        return transfers.Entry(identity, source, destination, minor, account_paths.currency_of(destination), "test", "test")

    def _post(self, batch: Sequence[transfers.Entry]) -> None:
        expected = [self.model.post(entry) for entry in batch]
        self.outcomes.update(outcome.value for outcome in expected)
        assert transfers.post(batch) == expected
