"""The ledger in a few lines of Python: one entry after another, in arrival order."""

import uuid
from collections.abc import Iterable

from market.common import account_paths
from market.ledger import transfers

Outcome = transfers.Outcome


class Model:
    """Entries in order of recording, the balances that they come to, and the shared accounts moved since they were marked."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.recorded: dict[uuid.UUID, transfers.Entry] = {}
        self.balances = dict.fromkeys(paths, 0)
        self.moved_since_mark: set[str] = set()

    def outcome_of(self, entry: transfers.Entry) -> Outcome:
        """Say what would become of an entry now."""
        if entry.id in self.recorded:
            return Outcome.EXISTS if self.recorded[entry.id] == entry else Outcome.CONFLICT
        if {account_paths.currency_of(entry.source), account_paths.currency_of(entry.destination)} != {entry.currency}:
            return Outcome.CURRENCY_MISMATCH
        if entry.source.partition(":")[0] != entry.destination.partition(":")[0]:
            return Outcome.MODE_MISMATCH
        if account_paths.is_guarded(entry.source) and self.balances[entry.source] < entry.amount_minor:
            return Outcome.OVERDRAWN
        return Outcome.POSTED

    def post(self, entry: transfers.Entry) -> Outcome:
        """Post one entry."""
        outcome = self.outcome_of(entry)
        if outcome is Outcome.POSTED:
            self.recorded[entry.id] = entry
            self.balances[entry.source] -= entry.amount_minor
            self.balances[entry.destination] += entry.amount_minor
            self.moved_since_mark |= {path for path in (entry.source, entry.destination) if not account_paths.is_guarded(path)}
        return outcome

    def copy(self) -> "Model":
        """Return another model that is as this one is now."""
        other = Model(())
        other.recorded, other.balances = dict(self.recorded), dict(self.balances)
        other.moved_since_mark = set(self.moved_since_mark)
        return other
