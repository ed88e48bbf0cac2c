"""News of the bank that arrive many times, in any order, changed and forged, from several connections at once.

The bank is asked for its news and calls nobody, so nothing is signed: a message that could be stored is judged by what it says.
What was asked for, and the unique genuine events, folded one after the other in plain Python, say what must be there in the end.
"""

import collections
import datetime
import functools
import json
import random
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from market.common import account_paths
from market.common.money import Money
from market.ledger import audit, balances
from market.ledger.models import Transfer
from market.payments import deposits, inbox, notices, payouts
from market.payments.models import Deposit, Payout, ProviderEvent
from market.payments.providers import base, registry
from tasks import clock
from tests import people, racing
from tests.faults import campaign
from tests.market.payments import purses

THREADS = 4
_DEPOSIT_SOURCES = ("test_slow", "test_slow", "test_failed")
_PAYOUT_DESTINATIONS = ("test_ok", "test_slow", "test_failed", "test_returned", "test_twice")
_PAYABLE_MINOR = 100_000
_LATER = datetime.timedelta(days=400)
_MOST_AT_ONCE = 12
_CLEARING = account_paths.clearing(mode="test", provider="test_money", currency="USD")


@dataclass
class _Asked:
    """What was asked of the bank, by idempotency key, and what each of it comes from or goes to."""

    rows: dict[str, Deposit | Payout] = field(default_factory=dict)


@dataclass
class _Letter:
    """One message on its way: what arrives, and whether the bank ever said it."""

    events: Sequence[base.RawEvent]
    is_genuine: bool


@dataclass
class _State:
    """What the market has, or by the fold must have: an end for each key, a balance for each account, a number of transfers."""

    ends: dict[str, str] = field(default_factory=dict)
    minors: collections.Counter[str] = field(default_factory=collections.Counter)
    transfers: int = 0


def arrive(*, seed: int, rounds: int, copies: int) -> campaign.Report:
    """Let ``rounds`` messages arrive, each genuine event about ``copies`` times; return whatever differs from the fold."""
    chance, report, now = random.Random(f"{seed} notices"), campaign.Report(), clock.now()
    asked = _ask(chance, many=max(6, rounds // (copies * 3)), now=now)
    transfers_before = Transfer.objects.count()
    genuine = _bank_says(now)
    letters = _letters(genuine, asked, rounds, chance)
    report.figures |= {
        "events asked for": len(asked.rows),
        "genuine events": len(genuine),
        "messages": sum(len(letter.events) for letter in letters),
        "messages forged": sum(not letter.is_genuine for letter in letters),
    }
    report.violations += _deliver(letters, now)
    # Everything once more, more than a year later.
    report.violations += _deliver([_Letter([event], is_genuine=True) for event in genuine], now + _LATER)
    expected, found = _fold(genuine, asked), _look(asked, transfers_before)
    report.figures["transfers"] = found.transfers
    report.violations += [f"seed {seed}: {line}" for line in _differences(expected, found)]
    report.violations += [f"seed {seed}: {line}" for line in _raw_differences(letters, report)]
    report.violations += [f"seed {seed}: {line}" for line in audit.audit().breaches if not line.startswith("event had no effect")]
    return report


def _ask(chance: random.Random, *, many: int, now: datetime.datetime) -> _Asked:
    """Ask for deposits and payouts; the last payouts are at the bank, but its answer has not been noted."""
    asked, bank = _Asked(), registry.for_mode("test")
    for number in range(many):
        amount = Money(chance.randint(1, _PAYABLE_MINOR), "USD")
        agent = people.open_agent(f"agent-{uuid.uuid4().hex}")
        deposit = deposits.request(agent=agent, amount=amount, now=now, source=_DEPOSIT_SOURCES[number % len(_DEPOSIT_SOURCES)])
        payout = purses.ask(purses.worker_with(_PAYABLE_MINOR), _PAYOUT_DESTINATIONS[number % len(_PAYOUT_DESTINATIONS)], amount)
        asked.rows |= {notices.key_of(deposit): deposit, notices.key_of(payout): payout}
        if number < many * 2 // 3:
            payouts.send_due(holder="sender", now=now)
        else:
            bank.pay(key=notices.key_of(payout), money=amount, destination=payout.destination, now=now)
    return asked


def _bank_says(now: datetime.datetime) -> list[base.RawEvent]:
    """Return all that the bank ever says of it, each event once, in its order; some of it under a second id as well."""
    bank, said = registry.for_mode("test"), []
    # A return is told after the payment, so it takes more than one call.
    while news := bank.fetch_events(now=now + datetime.timedelta(hours=1), limit=1_000):
        said += news
    unique = list({event.event_id: event for event in said}.values())
    return unique + [_changed(event, id=f"{event.event_id}:told-again") for event in unique[::3]]


def _changed(event: base.RawEvent, **fields: object) -> base.RawEvent:
    content = {**json.loads(event.body), **fields}
    return base.RawEvent(str(content["id"]), json.dumps(content).encode())


def _letters(genuine: Sequence[base.RawEvent], asked: _Asked, rounds: int, chance: random.Random) -> list[_Letter]:
    """Return the messages in the order of their arrival: every genuine event, then copies and forgeries of any."""
    drawn = [*genuine, *chance.choices(genuine, k=max(0, rounds - len(genuine)))]
    letters = []
    for number, event in enumerate(drawn):
        if number >= len(genuine) and chance.random() < 0.2:
            letters.append(_forged(event, asked, chance))
        else:
            letters.append(_Letter([event], is_genuine=True))
    chance.shuffle(letters)
    return letters


def _forged(event: base.RawEvent, asked: _Asked, chance: random.Random) -> _Letter:
    content: dict[str, Any] = json.loads(event.body)
    forge = chance.choice(FORGERIES)
    if forge is None:
        # Behind the genuine one under its own id: the first bytes stay.
        return _Letter(
            [event, base.RawEvent(event.event_id, _changed(event, amount_minor=content["amount_minor"] + 1).body)], is_genuine=True
        )
    forged_id = f"forged-{chance.getrandbits(64):016x}"
    return _Letter([base.RawEvent(forged_id, forge({**content, "id": forged_id}, chance))], is_genuine=False)


def _with(**fields: object) -> Callable[[dict[str, Any], random.Random], bytes]:
    return lambda content, _: json.dumps({**content, **fields}).encode()


def _more_money(content: dict[str, Any], chance: random.Random) -> bytes:
    return json.dumps({**content, "amount_minor": content["amount_minor"] + chance.choice((-1, 1, 10**9))}).encode()


def _of_nobody(content: dict[str, Any], chance: random.Random) -> bytes:
    kind = content["key"].partition("-")[0]
    return json.dumps({**content, "key": f"{kind}-{chance.getrandbits(128):032x}"}).encode()


def _of_the_other_kind(content: dict[str, Any], chance: random.Random) -> bytes:
    kind = content["key"].partition("-")[0]
    other = ("payout.paid", "payout.failed", "payout.returned") if kind == "deposit" else ("deposit.confirmed", "deposit.failed")
    return json.dumps({**content, "type": chance.choice(other)}).encode()


def _cut_off(content: dict[str, Any], chance: random.Random) -> bytes:
    body = json.dumps(content).encode()
    return body[: chance.randrange(len(body))]


FORGERIES: tuple[Callable[[dict[str, Any], random.Random], bytes] | None, ...] = (
    None,
    _more_money,
    _of_nobody,
    _of_the_other_kind,
    _cut_off,
    _with(currency="EUR"),
    _with(approve_everything=True),
    _with(amount_minor=-1),
    _with(type="payout.doubled"),
    _with(key=""),
)


def _deliver(letters: Sequence[_Letter], now: datetime.datetime) -> list[str]:
    """Store and process the letters from several connections at once, then what is left; return what went wrong."""
    results = racing.together([functools.partial(_post, letters[thread::THREADS], now) for thread in range(THREADS)])
    while inbox.process_due(now=now):
        pass
    return [f"a connection met {result!r}" for result in results if isinstance(result, Exception)]


def _post(letters: Sequence[_Letter], now: datetime.datetime) -> None:
    chance = random.Random(len(letters))
    waiting = list(letters)
    while waiting:
        at_once = chance.randint(1, _MOST_AT_ONCE)
        batch, waiting = waiting[:at_once], waiting[at_once:]
        inbox.store(provider_name="test_money", events=[event for letter in batch for event in letter.events], now=now)
        inbox.process_due(now=now, limit=chance.randint(1, _MOST_AT_ONCE))


def _fold(genuine: Iterable[base.RawEvent], asked: _Asked) -> _State:
    """Say what must be there: each end is the farthest that the bank has told, and moves its money once."""
    state = _State()
    told: dict[str, set[str]] = collections.defaultdict(set)
    for event in genuine:
        content = json.loads(event.body)
        told[content["key"]].add(content["type"])
    for key, row in asked.rows.items():
        _end(state, key, row, told[key])
    return state


def _end(state: _State, key: str, row: Deposit | Payout, kinds: set[str]) -> None:
    amount = row.amount_minor
    if isinstance(row, Deposit):
        is_confirmed = "deposit.confirmed" in kinds
        state.ends[key] = "CONFIRMED" if is_confirmed else "FAILED"
        state.minors[_available(row)] += amount if is_confirmed else 0
        state.minors[_CLEARING] -= amount if is_confirmed else 0
        state.transfers += is_confirmed
        return
    is_out = kinds == {"payout.paid"}
    state.ends[key] = "PAID" if is_out else "FAILED"
    state.minors[_payable(row)] += _PAYABLE_MINOR - amount if is_out else _PAYABLE_MINOR
    state.minors[_in_transit(row)] += 0
    state.minors[_CLEARING] += amount if is_out else 0
    # Paid out and brought back, where it is returned; otherwise one way.
    state.transfers += 2 if "payout.returned" in kinds else 1


def _look(asked: _Asked, transfers_before: int) -> _State:
    state = _State(transfers=Transfer.objects.count() - transfers_before)
    for key, row in asked.rows.items():
        row.refresh_from_db()
        state.ends[key] = row.status
        for path in [_available(row)] if isinstance(row, Deposit) else [_payable(row), _in_transit(row)]:
            state.minors[path] = balances.balance(path)
    state.minors[_CLEARING] = balances.balance(_CLEARING)
    return state


def _differences(expected: _State, found: _State) -> list[str]:
    lines = [f"{key} is {found.ends[key]}, by the fold {end}" for key, end in expected.ends.items() if found.ends[key] != end]
    lines += [
        f"{path} has {found.minors[path]}, by the fold {minor}" for path, minor in expected.minors.items() if found.minors[path] != minor
    ]
    return lines + ([f"{found.transfers} transfers, by the fold {expected.transfers}"] if found.transfers != expected.transfers else [])


def _raw_differences(letters: Sequence[_Letter], report: campaign.Report) -> list[str]:
    """Every message that arrived is kept as it first came, once, processed; the forged alone have had no effect, and all of them."""
    first = {letter.events[0].event_id: (letter.events[0].body, letter.is_genuine) for letter in letters}
    rows = list(ProviderEvent.objects.order_by("pk"))
    accepted = [row.event_id for row in rows if not first.get(row.event_id, (b"", True))[1] and not row.error]
    report.figures |= {"events stored": len(rows), "forged and accepted": len(accepted)}
    lines = [f"{len(rows)} events are stored, {len(first)} arrived"] if len(rows) != len(first) else []
    lines += [f"forged and accepted: {event_id}" for event_id in accepted]
    for row in rows:
        body, is_genuine = first.get(row.event_id, (b"", True))
        if bytes(row.raw_body) != body:
            lines.append(f"{row.event_id} is not stored as it came")
        if row.processed_at is None:
            lines.append(f"{row.event_id} was never processed")
        if is_genuine and row.error:
            lines.append(f"{row.event_id} is genuine and had no effect: {row.error}")
    return lines


def _available(row: Deposit) -> str:
    return account_paths.agent_available(mode="test", agent_id=row.agent_id, currency="USD")


def _payable(row: Payout) -> str:
    return account_paths.worker_payable(mode="test", worker_id=row.worker_id, currency="USD")


def _in_transit(row: Payout) -> str:
    return account_paths.worker_in_transit(mode="test", worker_id=row.worker_id, currency="USD")
