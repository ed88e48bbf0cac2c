"""Histories of the ledger: accounts are lists of transfers, and a balance that was read is a number of them.

Every balance must be one that the account had at some moment of the reading, every refusal one that it could not pay then, and
all transactions together must have a serial order.
"""

import contextlib
import datetime
import functools
import random
import time
import uuid
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from market.common import account_paths, retrying
from market.escrow import holds
from market.escrow.models import Hold
from market.ledger import audit, balances, transfers
from market.ledger.models import Account, Transfer
from tests import racing
from tests.faults import campaign, elle
from tests.market import books

THREADS = 8
# Transactions at one moment meet on few accounts; after so many the next group begins.
PER_GROUP, KEYS = 400, 4

_START = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)

Reader = Callable[[Iterable[str]], dict[str, int]]

# Amounts that are often too much, and seldom give two equal balances.
_OPENING_MINOR, _MOST_MINOR = 1_000_000, 600_000


@dataclass(slots=True)
class Deed:
    """What one transaction of a ledger history did, between two moments (seconds of the machine's steady clock)."""

    number: int
    began_s: float = field(default_factory=time.monotonic)
    ended_s: float = 0.0
    posted: list[transfers.Entry] = field(default_factory=list)
    # Whose account had too little, for what, and how much of the same batch had moved on it before.
    refused: list[tuple[str, int, int]] = field(default_factory=list)
    read: dict[str, int] = field(default_factory=dict)

    @property
    def moment(self) -> datetime.datetime:
        """The ``now`` of its use cases: no two have the same, so a hold tells who placed and who ended it."""
        return _START + datetime.timedelta(microseconds=self.number)


@dataclass
class _Recent:
    """What other transactions did lately, to be done again or undone at the same moment."""

    batches: deque[list[transfers.Entry]] = field(default_factory=lambda: deque(maxlen=THREADS))
    holds: deque[Hold] = field(default_factory=lambda: deque(maxlen=THREADS))


def check(*, seed: int, count: int, read: Reader = balances.balances) -> campaign.Report:
    """Run ``count`` postings, holds and readings of balances, some at once; report whatever no serial order explains."""
    deeds = [_open(group) for group in range(count // PER_GROUP + 1)]
    recent = _Recent()
    results = racing.together([functools.partial(_trade, seed, thread, count, recent, read) for thread in range(THREADS)])
    met = [result for result in results if isinstance(result, Exception)]
    if met:
        # A deadlock or a broken constraint must not reach whoever posts.
        return campaign.Report({"ledger transactions": 0}, [f"seed {seed}: a thread met {error!r}" for error in met])
    deeds += [deed for result in results if isinstance(result, list) for deed in result]
    books_now = _Books(deeds)
    known = [elle.Transaction(deed.number, tuple(books_now.operations(deed))) for deed in deeds]
    anomalies = elle.check(known, books_now.orders)
    words = [*books_now.faults(), *audit.audit().breaches, *books_now.unexplained]
    words += [f"{one.kind} {one.transactions} {one.detail}" for one in anomalies]
    violations = [f"seed {seed}: {each}" for each in words]
    figures: dict[str, int | float | str] = {
        "ledger transactions": len(deeds),
        "transfers": sum(map(len, books_now.orders.values())) // 2,
        "refusals": sum(len(deed.refused) for deed in deeds),
        "balances read": sum(len(deed.read) for deed in deeds),
        "balances that two moments explain": books_now.ambiguous,
        "cycles over money keys": len(anomalies),
    }
    return campaign.Report(figures, violations)


def _purse(number: int, chance: random.Random) -> int:
    return 1 + (number // PER_GROUP) * KEYS + chance.randrange(KEYS)


def _open(group: int) -> Deed:
    deed = Deed(-1 - group)
    for place in range(KEYS):
        deed.posted.append(books.entry(books.OUTSIDE, books.purse(1 + group * KEYS + place), _OPENING_MINOR))
    assert set(transfers.post(deed.posted)) == {transfers.Outcome.POSTED}
    deed.ended_s = time.monotonic()
    return deed


def _trade(seed: int, thread: int, count: int, recent: _Recent, read: Reader) -> list[Deed]:
    chance = random.Random(f"{seed} {thread}")
    deeds = []
    for number in range(thread, count, THREADS):
        deed = Deed(number)
        kind = chance.choices(("post", "again", "spend", "look", "place", "end"), weights=(30, 6, 14, 30, 8, 12))[0]
        if kind == "post" or (kind == "again" and not recent.batches):
            _post(deed, [_entry(number, chance) for _ in range(chance.randint(1, 3))], recent)
        elif kind == "again":
            _post(deed, list(chance.choice(list(recent.batches))), recent)
        elif kind == "spend":
            _spend(deed, _entry(number, chance))
        elif kind == "place":
            _place(deed, _purse(number, chance), chance.randint(1, _MOST_MINOR), recent)
        elif kind == "end" and recent.holds:
            _end(deed, chance.choice(list(recent.holds)), books.purse(_purse(number, chance)), chance)
        else:
            deed.read = read({books.purse(_purse(number, chance)) for _ in range(3)})
        deed.ended_s = time.monotonic()
        deeds.append(deed)
    return deeds


def _entry(number: int, chance: random.Random) -> transfers.Entry:
    first, second = chance.sample([*(1 + (number // PER_GROUP) * KEYS + place for place in range(KEYS)), 0], 2)
    source, destination = (books.purse(one) if one else books.FEES for one in (first, second))
    return transfers.Entry(
        uuid.UUID(int=chance.getrandbits(128)), source, destination, chance.randint(1, _MOST_MINOR), "USD", "test", "test"
    )


def _post(deed: Deed, entries: list[transfers.Entry], recent: _Recent) -> None:
    recent.batches.append(entries)
    moved: Counter[str] = Counter()
    for entry, outcome in zip(entries, transfers.post(entries), strict=True):
        if outcome is transfers.Outcome.POSTED:
            deed.posted.append(entry)
            moved[entry.source] -= entry.amount_minor
            moved[entry.destination] += entry.amount_minor
        elif outcome is transfers.Outcome.OVERDRAWN:
            deed.refused.append((entry.source, entry.amount_minor, moved[entry.source]))


def _spend(deed: Deed, entry: transfers.Entry) -> None:
    """Post inside a transaction and look at both accounts before it is committed."""

    def work() -> dict[str, int]:
        transfers.post_all([entry])
        return balances.balances([path for path in (entry.source, entry.destination) if account_paths.is_guarded(path)])

    try:
        deed.read = retrying.in_transaction(work)
    except transfers.Overdrawn:
        deed.refused.append((entry.source, entry.amount_minor, 0))
    else:
        deed.posted.append(entry)


def _place(deed: Deed, purse: int, minor: int, recent: _Recent) -> None:
    try:
        [placed] = holds.place(
            bounty_id=uuid.UUID(int=deed.number),
            agent_id=uuid.UUID(int=purse),
            mode="test",
            currency="USD",
            slot_amounts=[minor],
            reserve_minor=0,
            subject="test",
            now=deed.moment,
        )
    except holds.InsufficientFunds:
        deed.refused.append((books.purse(purse), minor, 0))
    else:
        recent.holds.append(placed)


def _end(deed: Deed, hold: Hold, payee: str, chance: random.Random) -> None:
    mine = Hold.objects.get(pk=hold.pk)
    steps: list[Callable[[], object]] = [
        functools.partial(holds.void, unused=[mine], now=deed.moment),
        functools.partial(holds.expire, unused=[mine], now=deed.moment),
    ]
    if mine.amount_minor > 1:
        parts = [holds.Part(payee, mine.amount_minor // 2, "reward"), holds.Part(books.FEES, mine.amount_minor // 4, "platform_fee")]
        steps.append(functools.partial(holds.capture, hold=mine, parts=parts, effect=f"test {deed.number}", now=deed.moment))
    # Or somebody else was first; what he did is in the books.
    with contextlib.suppress(holds.HoldEnded):
        retrying.in_transaction(chance.choice(steps))


class _Books:
    """Every guarded account as the ledger recorded it: its transfers in their order, who posted them, and its balance after each."""

    def __init__(self, deeds: Sequence[Deed]) -> None:
        self.deeds = {deed.number: deed for deed in deeds}
        self.orders: dict[str, list[uuid.UUID]] = defaultdict(list)
        self.sums: dict[str, list[int]] = defaultdict(lambda: [0])
        self.writers = {entry.id: deed.number for deed in deeds for entry in deed.posted}
        self.appended: dict[int, list[elle.Append | elle.Read]] = defaultdict(list)
        self.ambiguous = 0
        self.unexplained: list[str] = []
        ended = {hold.bounty_id: hold for hold in Hold.objects.all()}
        rows = Transfer.objects.order_by("seq").values_list("id", "source__path", "destination__path", "amount_minor", "reason")
        for pk, source, destination, minor, reason in rows.iterator():
            for path in (source, destination):
                if path.split(":")[1] == "bounty":
                    hold = ended[uuid.UUID(path.split(":")[2])]
                    moment = hold.created_at if reason == "hold_placed" else hold.ended_at
                    assert moment is not None
                    self.writers[pk] = (moment - _START) // datetime.timedelta(microseconds=1)
            for path, delta in ((source, -minor), (destination, minor)):
                if account_paths.is_guarded(path):
                    self.orders[path].append(pk)
                    self.sums[path].append(self.sums[path][-1] + delta)
            if pk in self.writers:
                self.appended[self.writers[pk]] += [
                    elle.Append(path, pk) for path in (source, destination) if account_paths.is_guarded(path)
                ]
        # The versions of an account that had this balance.
        self._places: dict[str, defaultdict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for path, sums in self.sums.items():
            for version, minor in enumerate(sums):
                self._places[path][minor].append(version)

    def faults(self) -> list[str]:
        """Return accounts that were below zero once, or whose balance is another than that of their transfers."""
        found = [f"{path} was below zero" for path, sums in self.sums.items() if min(sums) < 0]
        for path, minor in Account.objects.filter(is_guarded=True).values_list("path", "balance_minor"):
            if minor != self.sums[path][-1]:
                found.append(f"{path} keeps {minor}, its transfers make {self.sums[path][-1]}: an update was lost")
        posted = {pk for order in self.orders.values() for pk in order}
        for deed in self.deeds.values():
            for entry in deed.posted:
                if entry.id not in posted and (account_paths.is_guarded(entry.source) or account_paths.is_guarded(entry.destination)):
                    found.append(f"transaction {deed.number} was told that {entry.id} is posted, and it is not")
        return found

    def operations(self, deed: Deed) -> list[elle.Append | elle.Read]:
        """Return what a transaction appended and, as numbers of transfers, the balances that it read; note what nothing explains."""
        done = list(self.appended[deed.number])
        for path, minor in deed.read.items():
            versions = [one for one in self._places[path][minor] if self._was_there(path, one, deed)]
            if not versions:
                self.unexplained.append(f"transaction {deed.number} read {minor} of {path}, which it did not have then")
            elif len(versions) > 1:
                self.ambiguous += 1
            else:
                done.append(elle.Read(path, versions[0]))
        for path, minor, moved in deed.refused:
            if not any(self.sums[path][one] + moved < minor for one in self._versions_seen(path, deed)):
                self.unexplained.append(f"transaction {deed.number} was refused {minor} of {path}, which always had as much then")
        return done

    def _versions_seen(self, path: str, deed: Deed) -> list[int]:
        """Return the versions by which the ledger may have decided: the one before its own, or those of the time."""
        own = [place for place, pk in enumerate(self.orders[path]) if self.writers[pk] == deed.number]
        return own[:1] or [one for one in range(len(self.sums[path])) if self._was_there(path, one, deed)]

    def _was_there(self, path: str, version: int, deed: Deed) -> bool:
        """Tell whether an account may have been at a version at some moment of a transaction."""
        order = self.orders[path]
        began_s = self.deeds[self.writers[order[version - 1]]].began_s if version else 0.0
        ended_s = self.deeds[self.writers[order[version]]].ended_s if version < len(order) else float("inf")
        return began_s <= deed.ended_s and deed.began_s <= ended_s
