"""Held funds: place, capture, capture in part, void, expire and raise, against a model of holds and purses."""

import copy
import dataclasses
import datetime
import uuid

from django.db import connection
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from market.common import account_paths
from market.escrow import holds, queries
from market.escrow.models import Hold
from market.ledger import audit, balances
from market.ledger.models import Transfer
from tests.faults.stateful import running
from tests.market import books

Status = Hold.Status

BEGIN = datetime.datetime(2026, 3, 2, 12, tzinfo=datetime.UTC)
CURRENCIES = ("USD", "EUR")
AGENTS = [uuid.UUID(int=number) for number in (1, 2)]
BOUNTIES = [uuid.UUID(int=number) for number in (11, 12, 13)]
WORKER = uuid.UUID(int=21)
EFFECTS = ("set_1", "set_2", "set_3")

_SLOTS = st.lists(st.sampled_from([40, 60, 100]), min_size=1, max_size=3)
_PARTS = st.lists(st.sampled_from([0, 1, 20, 39, 40, 60, 100]), min_size=1, max_size=2)

_ROWS = """
    SELECT bounty_id, kind, slot_number, agent_id, currency, amount_minor, captured_minor, returned_minor, status, created_at, ended_at
    FROM escrow_hold
"""

# A hold by its place: bounty, kind, number.
Place = tuple[uuid.UUID, str, int]
# What each nonzero part of a capture pays, in order.
Paid = tuple[tuple[str, int], ...]


@dataclasses.dataclass
class ModelHold:
    """One hold as it should be."""

    agent_id: uuid.UUID
    currency: str
    placed_minor: int
    amount_minor: int
    created_at: datetime.datetime
    captured_minor: int = 0
    returned_minor: int = 0
    status: str = Status.HELD
    ended_at: datetime.datetime | None = None
    effects: dict[str, Paid] = dataclasses.field(default_factory=dict)

    @property
    def left_minor(self) -> int:
        """What is still held."""
        return self.amount_minor - self.captured_minor - self.returned_minor

    def facts(self) -> tuple[object, ...]:
        """Return what stands in the row."""
        return (
            self.agent_id,
            self.currency,
            self.amount_minor,
            self.captured_minor,
            self.returned_minor,
            self.status,
            self.created_at,
            self.ended_at,
        )


class Model:
    """Holds by their place, and every purse that money goes through."""

    def __init__(self, purses: dict[str, int]) -> None:
        self.holds: dict[Place, ModelHold] = {}
        self.purses = dict(purses)
        self.transfer_count = 0

    def move(self, source: str, destination: str, minor: int) -> None:
        """Move money from purse to purse."""
        self.purses[source] -= minor
        self.purses[destination] = self.purses.get(destination, 0) + minor
        self.transfer_count += 1

    def pay(self, place: Place, effect: str, parts: Paid) -> None:
        """Pay parts out of a hold."""
        hold = self.holds[place]
        for destination, minor in parts:
            self.move(held_path(place[0], hold.currency), destination, minor)
        hold.captured_minor += sum(minor for _, minor in parts)
        hold.effects[effect] = parts

    def end(self, place: Place, status: str, now: datetime.datetime) -> None:
        """End a hold; what is left goes back."""
        hold = self.holds[place]
        if hold.left_minor:
            self.move(held_path(place[0], hold.currency), available(hold.agent_id, hold.currency), hold.left_minor)
        hold.returned_minor, hold.status, hold.ended_at = hold.amount_minor - hold.captured_minor, status, now


def available(agent_id: uuid.UUID, currency: str) -> str:
    """Name what an agent may spend."""
    return account_paths.agent_available(mode="test", agent_id=agent_id, currency=currency)


def held_path(bounty_id: uuid.UUID, currency: str) -> str:
    """Name a bounty's held money."""
    return account_paths.bounty_held(mode="test", bounty_id=bounty_id, currency=currency)


def earned_path(currency: str) -> str:
    """Name what the worker has earned."""
    return account_paths.worker_earned(mode="test", worker_id=WORKER, currency=currency)


def fees_path(currency: str) -> str:
    """Name the platform's fees."""
    return account_paths.platform_fees(mode="test", currency=currency)


class HoldMachine(running.Machine):
    """Three bounties of two agents in two currencies; the caller's holds may be long out of date."""

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGIN
        self.model = Model({available(agent_id, currency): 250 for agent_id in AGENTS for currency in CURRENCIES})
        # The caller's objects as they were when the hold was placed.
        self.stale: dict[Place, Hold] = {}

    @classmethod
    def prepare(cls) -> None:
        for agent_id in AGENTS:
            for currency in CURRENCIES:
                books.fund(available(agent_id, currency), 250)
        cls.transfers_before = Transfer.objects.count()

    transfers_before: int

    @rule(seconds=st.integers(1, 90))
    def wait(self, seconds: int) -> None:
        self.now += datetime.timedelta(seconds=seconds)

    @rule(
        bounty_id=st.sampled_from(BOUNTIES),
        agent_id=st.sampled_from(AGENTS),
        currency=st.sampled_from(CURRENCIES),
        slots=_SLOTS,
        reserve_minor=st.sampled_from([0, 0, 50]),
    )
    def place(self, bounty_id: uuid.UUID, agent_id: uuid.UUID, currency: str, slots: list[int], reserve_minor: int) -> None:
        self._place(bounty_id, agent_id, currency, slots, reserve_minor, subject="bty_test")

    @precondition(lambda self: self.model.holds)
    @rule(which=st.integers(0, 8), change=st.sampled_from(["none", "none", "agent", "currency", "amount", "slot", "reserve", "subject"]))
    def place_again(self, which: int, change: str) -> None:
        """Ask for the holds that are there again, as they were asked for or with one thing changed."""
        bounty_id = list(self.model.holds)[which % len(self.model.holds)][0]
        known = {place: hold for place, hold in self.model.holds.items() if place[0] == bounty_id}
        first = next(iter(known.values()))
        slots = [hold.placed_minor for place, hold in sorted(known.items()) if place[1] == Hold.Kind.SLOT]
        reserve_minor = sum(hold.placed_minor for place, hold in known.items() if place[1] == Hold.Kind.RESERVE)
        self._place(
            bounty_id,
            next(each for each in AGENTS if each != first.agent_id) if change == "agent" else first.agent_id,
            next(each for each in CURRENCIES if each != first.currency) if change == "currency" else first.currency,
            [slots[0] + 1, *slots[1:]] if change == "amount" else [*slots, 40] if change == "slot" else slots,
            50 - reserve_minor if change == "reserve" else reserve_minor,
            subject="bty_other" if change == "subject" else "bty_test",
        )

    @precondition(lambda self: self.model.holds)
    @rule(which=st.integers(0, 8), is_stale=st.booleans(), is_part=st.booleans(), effect=st.sampled_from(EFFECTS), amounts=_PARTS)
    def capture(self, which: int, is_stale: bool, is_part: bool, effect: str, amounts: list[int]) -> None:
        self._capture(which, is_stale, is_part, effect, amounts)

    @precondition(lambda self: self.model.holds)
    @rule(which=st.integers(0, 8), is_stale=st.booleans(), is_part=st.booleans(), effect=st.sampled_from(EFFECTS), over=st.integers(-1, 1))
    def capture_to_the_last_cent(self, which: int, is_stale: bool, is_part: bool, effect: str, over: int) -> None:
        """Ask, twice, for one cent less than is left, all of it, and one more."""
        for _ in range(2):
            _, hold = self._pick(which)
            self._capture(which, is_stale, is_part, effect, [max(0, hold.left_minor + over)])

    @precondition(lambda self: any(hold.effects for hold in self.model.holds.values()))
    @rule(
        which=st.integers(0, 8),
        is_stale=st.booleans(),
        is_part=st.booleans(),
        change=st.sampled_from(["none", "none", "amount", "one more", "one less"]),
    )
    def capture_again(self, which: int, is_stale: bool, is_part: bool, change: str) -> None:
        """Send a capture again, as it was or with other parts under the same effect."""
        paid = [number for number, hold in enumerate(self.model.holds.values()) if hold.effects]
        number = paid[which % len(paid)]
        hold = list(self.model.holds.values())[number]
        effect, parts = list(hold.effects.items())[which % len(hold.effects)]
        amounts = [minor for _, minor in parts]
        if change == "amount":
            amounts[0] += 1
        elif change == "one more":
            amounts.append(1)
        elif change == "one less":
            amounts.pop()
        self._capture(number, is_stale, is_part, effect, amounts or [0])

    @precondition(lambda self: self.model.holds)
    @rule(
        which=st.lists(st.integers(0, 8), min_size=1, max_size=4),
        is_stale=st.booleans(),
        status=st.sampled_from([Status.VOIDED, Status.EXPIRED]),
    )
    def end(self, which: list[int], is_stale: bool, status: str) -> None:
        """End one hold, or some at once, of one bounty or of several."""
        picked = dict(self._pick(each) for each in which)
        rows = [self._row(place, is_stale) for place in picked]
        step = holds.void if status == Status.VOIDED else holds.expire
        are_endable = all(hold.status in (Status.HELD, status) for hold in picked.values())
        self.attempt(lambda: step(unused=rows, now=self.now), refusal=None if are_endable else holds.HoldEnded)
        if not are_endable:
            return
        for place, hold in picked.items():
            if hold.status == Status.HELD:
                self.model.end(place, status, self.now)
        assert {row.status for row in rows} == {status}

    @precondition(lambda self: self.model.holds)
    @rule(which=st.integers(0, 8), is_stale=st.booleans(), by_minor=st.sampled_from([-1, 0, 1, 30, 100]))
    def raise_to(self, which: int, is_stale: bool, by_minor: int) -> None:
        place, hold = self._pick(which)
        self._raise(place, hold, is_stale, hold.amount_minor + by_minor)

    @precondition(lambda self: self.model.holds)
    @rule(which=st.integers(0, 8), is_stale=st.booleans(), over=st.integers(-1, 1))
    def raise_to_the_last_cent(self, which: int, is_stale: bool, over: int) -> None:
        """Raise by one cent less than the agent has, all of it, and one more."""
        place, hold = self._pick(which)
        self._raise(place, hold, is_stale, hold.amount_minor + self.model.purses[available(hold.agent_id, hold.currency)] + over)

    def compare(self) -> None:
        """Compare every hold and every purse."""
        with connection.cursor() as cursor:
            cursor.execute(_ROWS)
            rows = cursor.fetchall()
            cursor.execute("SELECT count(*) FROM ledger_transfer")
            (transfer_count,) = cursor.fetchone()
        assert {row[:3]: row[3:] for row in rows} == {place: hold.facts() for place, hold in self.model.holds.items()}
        assert balances.balances(self.model.purses) == self.model.purses
        assert transfer_count - self.transfers_before == self.model.transfer_count

    @rule()
    def audit(self) -> None:
        assert audit.audit().breaches == ()

    @rule(agent_id=st.sampled_from(AGENTS), bounty_id=st.sampled_from(BOUNTIES))
    def read(self, agent_id: uuid.UUID, bounty_id: uuid.UUID) -> None:
        assert queries.held_for_agent(agent_id) == self._held_of(agent_id)
        own = [hold for place, hold in self.model.holds.items() if place[0] == bounty_id]
        assert queries.totals(bounty_id) == queries.Totals(
            sum(hold.amount_minor for hold in own),
            sum(hold.captured_minor for hold in own),
            sum(hold.returned_minor for hold in own),
            sum(hold.left_minor for hold in own),
        )

    def _held_of(self, agent_id: uuid.UUID) -> dict[str, int]:
        held: dict[str, int] = {}
        for hold in self.model.holds.values():
            if hold.agent_id == agent_id and hold.status == Status.HELD:
                held[hold.currency] = held.get(hold.currency, 0) + hold.left_minor
        return held

    def _pick(self, which: int) -> tuple[Place, ModelHold]:
        return list(self.model.holds.items())[which % len(self.model.holds)]

    def _row(self, place: Place, is_stale: bool) -> Hold:
        if is_stale:
            return copy.copy(self.stale[place])
        return Hold.objects.get(bounty_id=place[0], kind=place[1], slot_number=place[2])

    def _place(
        self, bounty_id: uuid.UUID, agent_id: uuid.UUID, currency: str, slots: list[int], reserve_minor: int, *, subject: str
    ) -> None:
        wanted = {(bounty_id, Hold.Kind.SLOT.value, number): minor for number, minor in enumerate(slots, 1)}
        if reserve_minor:
            wanted[(bounty_id, Hold.Kind.RESERVE.value, 0)] = reserve_minor
        known = {place: hold for place, hold in self.model.holds.items() if place[0] == bounty_id}
        purse = available(agent_id, currency)
        is_known = known and (
            {(place, hold.agent_id, hold.currency, hold.placed_minor) for place, hold in known.items()}
            == {(place, agent_id, currency, minor) for place, minor in wanted.items()}
            and subject == "bty_test"
        )
        refusal: type[Exception] | None = None
        if known and not is_known:
            refusal = holds.PlacedOtherwise
        elif not known and sum(wanted.values()) > self.model.purses[purse]:
            refusal = holds.InsufficientFunds
        if not known:
            subject = "bty_test"
        placed = self.attempt(
            lambda: holds.place(
                bounty_id=bounty_id,
                agent_id=agent_id,
                mode="test",
                currency=currency,
                slot_amounts=slots,
                reserve_minor=reserve_minor,
                subject=subject,
                now=self.now,
            ),
            refusal=refusal,
        )
        if placed is None:
            return
        assert [(hold.bounty_id, hold.kind, hold.slot_number) for hold in placed] == list(wanted)
        if not known:
            self.stale.update({(hold.bounty_id, hold.kind, hold.slot_number): copy.copy(hold) for hold in placed})
            for place, minor in wanted.items():
                self.model.holds[place] = ModelHold(agent_id, currency, minor, minor, self.now)
                self.model.move(purse, held_path(bounty_id, currency), minor)

    def _parts(self, hold: ModelHold, amounts: list[int]) -> tuple[list[holds.Part], Paid]:
        paths = [earned_path(hold.currency), fees_path(hold.currency), earned_path(hold.currency)]
        parts = [holds.Part(path, minor, "reward") for path, minor in zip(paths, amounts, strict=False)]
        return parts, tuple((part.destination_path, part.amount_minor) for part in parts if part.amount_minor)

    def _capture(self, which: int, is_stale: bool, is_part: bool, effect: str, amounts: list[int]) -> None:
        (self._capture_part if is_part else self._capture_all)(which, is_stale, effect, amounts)

    def _capture_all(self, which: int, is_stale: bool, effect: str, amounts: list[int]) -> None:
        place, hold = self._pick(which)
        parts, paid = self._parts(hold, amounts)
        total = sum(minor for _, minor in paid)
        is_moved = False
        refusal: type[Exception] | None = None
        if not paid:
            refusal = ValueError
        elif hold.status == Status.HELD and total > hold.left_minor:
            refusal = holds.NotEnoughHeld
        elif hold.status == Status.HELD and effect in hold.effects:
            refusal = holds.HoldEnded
        elif hold.status == Status.HELD:
            is_moved = True
        elif hold.status != Status.CAPTURED or hold.effects.get(effect) != paid:
            refusal = holds.HoldEnded
        self.attempt(lambda: holds.capture(hold=self._row(place, is_stale), parts=parts, effect=effect, now=self.now), refusal=refusal)
        if is_moved:
            self.model.pay(place, effect, paid)
            self.model.end(place, Status.CAPTURED, self.now)

    def _capture_part(self, which: int, is_stale: bool, effect: str, amounts: list[int]) -> None:
        place, hold = self._pick(which)
        parts, paid = self._parts(hold, amounts)
        total = sum(minor for _, minor in paid)
        is_moved = False
        refusal: type[Exception] | None = None
        if not paid:
            refusal = ValueError
        elif hold.effects.get(effect) == paid:
            pass  # A repeat.
        elif hold.status == Status.HELD and total > hold.left_minor:
            refusal = holds.NotEnoughHeld
        elif hold.status != Status.HELD or effect in hold.effects:
            refusal = holds.HoldEnded
        else:
            is_moved = True
        self.attempt(lambda: holds.capture_part(hold=self._row(place, is_stale), parts=parts, effect=effect, now=self.now), refusal=refusal)
        if is_moved:
            self.model.pay(place, effect, paid)
            if not hold.left_minor:
                hold.status, hold.ended_at = Status.CAPTURED, self.now

    def _raise(self, place: Place, hold: ModelHold, is_stale: bool, amount_minor: int) -> None:
        purse = available(hold.agent_id, hold.currency)
        by_minor = amount_minor - hold.amount_minor
        refusal: type[Exception] | None = None
        if hold.status != Status.HELD:
            refusal = holds.HoldEnded
        elif by_minor < 0:
            refusal = holds.NotRaised
        elif by_minor > self.model.purses[purse]:
            refusal = holds.InsufficientFunds
        self.attempt(lambda: holds.raise_to(hold=self._row(place, is_stale), amount_minor=amount_minor, now=self.now), refusal=refusal)
        if refusal is None and by_minor:
            hold.amount_minor = amount_minor
            self.model.move(purse, held_path(place[0], hold.currency), by_minor)
