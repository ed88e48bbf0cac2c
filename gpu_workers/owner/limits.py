"""The owner's limits: one TOML file, read strictly, and what stands in the way of work under it. No sensors here, no clock."""

import datetime
import decimal
import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from gpu_workers.owner import schedule as windows
from gpu_workers.owner import sensors

# After too hot, work begins again only this much cooler: a fan that hunts around the limit would stop and start it.
COOLER_BY_C = 5
_PRICE = re.compile(r"(-?[0-9]{1,9}(?:\.[0-9]{1,6})?) ([A-Z]{3})")
_BOUNTY = re.compile(r"rsb_[0-9a-f]{32}")
_GIB = 1024**3


class MalformedLimits(ValueError):
    """The limits file can't be used; the message names the key, what is wrong and what to write."""


@dataclass(frozen=True)
class Price:
    """An amount of one currency for one unit (an hour, a kWh)."""

    amount: decimal.Decimal
    currency: str

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"


@dataclass(frozen=True)
class Limits:
    """What the machine may do. Every field is a key of the file; None and empty mean: no limit."""

    max_watts: float | None = None
    max_temp_c: float | None = None
    # Work stops when less of the card's memory than this is left for others.
    vram_keep_gib: float = 0.0
    # Work starts only with this much free on the disk of the state folder.
    disk_keep_gib: float = 2.0
    # Which cards may be used, by their number; empty: the first.
    gpus: tuple[int, ...] = ()
    # CPU threads of a training on the CPU.
    threads: int = 1
    on_battery: bool = False
    # Names of programs, as the process list shows them, in any case.
    pause_when: tuple[str, ...] = ()
    schedule: tuple[windows.Window, ...] = ()
    # Research bounties to serve (empty: all) and not to serve, by id.
    serve: frozenset[str] = frozenset()
    refuse: frozenset[str] = frozenset()
    min_pay_per_hour: Price | None = None
    price_per_kwh: Price | None = None
    # What the machine draws at work where no sensor says so.
    assumed_watts: float = 100.0

    def serves(self, bounty_id: str) -> bool:
        """Return whether the owner wants to work for this research bounty."""
        return bounty_id not in self.refuse and (not self.serve or bounty_id in self.serve)


@dataclass(frozen=True)
class Obstacle:
    """One thing in the way of work: a code, what is so, what would change it, and when it ends by itself (epoch seconds), if known.

    One that does not `ends_work` leaves a training that runs alone, and only keeps new ones away.
    """

    code: str
    what: str
    change: str
    until: float | None = field(default=None, compare=False)
    ends_work: bool = True


def parse(text: str) -> Limits:
    """Read a limits file.

    Raises:
        MalformedLimits: not TOML, an unknown key, or a value that is not of its kind.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MalformedLimits(f"The limits file is not TOML: {error}.") from None
    unknown = sorted(set(table) - set(_KEYS))
    if unknown:
        raise MalformedLimits(f"{unknown[0][:40]!r} is not a key of the limits file. Keys are: {', '.join(_KEYS)}.")
    values: dict[str, Any] = {}
    for key, value in table.items():
        values |= _KEYS[key](key, value)
    return Limits(**values)


def obstacles(
    limits: Limits, reading: sensors.Reading, now: datetime.datetime, *, held_up_by: Collection[str] = (), is_working: bool = False
) -> tuple[Obstacle, ...]:
    """Return what stands in the way of work now, the most telling first.

    `now` is local time. `held_up_by` are the codes of the last look: heat that held work up does so until it is `COOLER_BY_C` below its
    limit. `is_working`: our own training runs, so that the card's memory and power in use are (also) its own.
    """
    found = [
        _closed(limits, now),
        _app(limits, reading),
        _battery(limits, reading),
        *_card(limits, reading, held_up_by, is_working=is_working),
        _disk(limits, reading),
    ]
    return tuple(obstacle for obstacle in found if obstacle is not None)


def _closed(limits: Limits, now: datetime.datetime) -> Obstacle | None:
    if not limits.schedule or windows.closes_at(limits.schedule, now) is not None:
        return None
    opens = windows.opens_at(limits.schedule, now)
    when = f"{opens:%A %H:%M}" if opens else "never"
    until = opens.timestamp() if opens else None
    return Obstacle("schedule_closed", "The schedule is closed.", f"It opens {when}; or change [[schedule]].", until)


def _app(limits: Limits, reading: sensors.Reading) -> Obstacle | None:
    running = sorted({name.casefold() for name in limits.pause_when} & {name.casefold() for name in reading.programs})
    if not running:
        return None
    return Obstacle("app_running", f"{running[0]} is running.", f"Close {running[0]}, or take it out of pause_when.")


def _battery(limits: Limits, reading: sensors.Reading) -> Obstacle | None:
    if limits.on_battery or not reading.is_on_battery:
        return None
    return Obstacle("on_battery", "The machine runs on its battery.", "Plug it in, or set on_battery = true.")


def _card(limits: Limits, reading: sensors.Reading, held_up_by: Collection[str], *, is_working: bool) -> list[Obstacle | None]:
    card = reading.card(limits.gpus)
    if card is None:
        missing = limits.gpus and Obstacle(
            "gpu_missing",
            f"None of the cards {list(limits.gpus)} is here.",
            f"Cards here: {[c.index for c in reading.cards]}; correct gpus.",
        )
        return [missing or None]
    return [_heat(limits, card, held_up_by), _power(limits, card), _memory(limits, card, is_working=is_working)]


def _heat(limits: Limits, card: sensors.Card, held_up_by: Collection[str]) -> Obstacle | None:
    if limits.max_temp_c is None or card.temperature_c is None:
        return None
    ceiling = limits.max_temp_c - (COOLER_BY_C if "too_hot" in held_up_by else 0)
    if card.temperature_c <= ceiling:
        return None
    return Obstacle(
        "too_hot", f"Card {card.index} has {card.temperature_c:.0f} °C.", f"Work begins again at {ceiling:.0f} °C; or raise max_temp_c."
    )


def _power(limits: Limits, card: sensors.Card) -> Obstacle | None:
    """A card that is capped at the limit obeys it by itself; one that is not must not draw more."""
    if limits.max_watts is None or (card.power_cap_w is not None and card.power_cap_w <= limits.max_watts):
        return None
    if card.power_w is None or card.power_w <= limits.max_watts:
        return None
    return Obstacle(
        "too_many_watts",
        f"Card {card.index} draws {card.power_w:.0f} W of {limits.max_watts:.0f} W.",
        f"Cap the card once as administrator (nvidia-smi -i {card.index} -pl {limits.max_watts:.0f}): it then works at that power.",
    )


def _memory(limits: Limits, card: sensors.Card, *, is_working: bool) -> Obstacle | None:
    if not limits.vram_keep_gib or card.free_bytes is None:
        return None
    free_gib = card.free_bytes / _GIB
    # While ours runs, what it holds is in use; others need what is kept. Before it starts there must be room for both.
    if free_gib >= limits.vram_keep_gib:
        return None
    who = "the training and others" if is_working else "others"
    return Obstacle(
        "vram_short",
        f"{free_gib:.1f} GiB of card {card.index} are free beside {who}.",
        f"Free some memory of the card, or lower vram_keep_gib ({limits.vram_keep_gib:g}).",
    )


def _disk(limits: Limits, reading: sensors.Reading) -> Obstacle | None:
    free_gib = reading.disk_free_bytes / _GIB
    if free_gib >= limits.disk_keep_gib:
        return None
    return Obstacle(
        "disk_full", f"{free_gib:.1f} GiB are free on the disk.", f"Free some, or lower disk_keep_gib ({limits.disk_keep_gib:g})."
    )


# --- reading of values: each takes the key and the value, and gives fields ---

_Read = Callable[[str, object], Mapping[str, object]]


def _number(lowest: float, highest: float) -> _Read:
    def read(key: str, value: object) -> Mapping[str, object]:
        if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
            raise MalformedLimits(f"{key} must be a number from {lowest:g} to {highest:g}; it is {_shown(value)}.")
        return {key: float(value)}

    return read


def _count(lowest: int, highest: int) -> _Read:
    def read(key: str, value: object) -> Mapping[str, object]:
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise MalformedLimits(f"{key} must be a whole number from {lowest} to {highest}; it is {_shown(value)}.")
        return {key: value}

    return read


def _flag(key: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, bool):
        raise MalformedLimits(f"{key} must be true or false; it is {_shown(value)}.")
    return {key: value}


def _names(key: str, value: object) -> Mapping[str, object]:
    return {key: tuple(_texts(key, value, 'a list of program names, for example ["steam"]'))}


def _cards(key: str, value: object) -> Mapping[str, object]:
    listed = value if isinstance(value, list) else [None]
    if not listed or any(isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 64 for number in listed):
        raise MalformedLimits(f"{key} must be a list of card numbers, for example [0]; it is {_shown(value)}.")
    return {key: tuple(listed)}


def _windows(key: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise MalformedLimits(f"{key} must be written as [[{key}]] tables with start and end.")
    return {key: tuple(_window(key, each) for each in value)}


def _window(key: str, table: Mapping[str, object]) -> windows.Window:
    start, end = table.get("start"), table.get("end")
    unknown = sorted(set(table) - {"days", "start", "end"})
    if unknown or not isinstance(start, str) or not isinstance(end, str):
        wrong = f"{unknown[0][:40]!r} is not a key of it" if unknown else "start or end is missing"
        raise MalformedLimits(f'[[{key}]] {wrong}; write start = "22:00" and end = "07:00", and days = ["mon"] if not every day.')
    days = _texts(f"{key}.days", table["days"], 'a list such as ["mon", "tue"]') if "days" in table else list(windows.DAYS)
    try:
        return windows.window(days, start, end)
    except windows.MalformedWindow as error:
        raise MalformedLimits(f"[[{key}]] {error}") from None


def _causes(key: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, dict) or not set(value) <= {"serve", "refuse"}:
        raise MalformedLimits(f"[{key}] may have the keys serve and refuse; it is {_shown(value)}.")
    chosen = {}
    for name, ids in value.items():
        chosen[name] = frozenset(_texts(f"{key}.{name}", ids, "a list of research bounty ids"))
        wrong = [each for each in chosen[name] if not _BOUNTY.fullmatch(each)]
        if wrong:
            raise MalformedLimits(
                f"{key}.{name}: {wrong[0][:40]!r} is not the id of a research bounty; ids look like rsb_0190... (32 digits)."
            )
    return chosen


def _price(key: str, value: object) -> Mapping[str, object]:
    match = _PRICE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise MalformedLimits(f'{key} must be an amount and a currency, for example "0.32 EUR"; it is {_shown(value)}.')
    return {key: Price(decimal.Decimal(match[1]), match[2])}


def _texts(key: str, value: object, meaning: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) and 0 < len(each) <= 100 for each in value):
        raise MalformedLimits(f"{key} must be {meaning}; it is {_shown(value)}.")
    return list(value)


def _shown(value: object) -> str:
    return repr(value)[:40]


_KEYS: dict[str, _Read] = {
    "max_watts": _number(10, 5_000),
    "max_temp_c": _number(20, 110),
    "vram_keep_gib": _number(0, 1_000),
    "disk_keep_gib": _number(0, 100_000),
    "gpus": _cards,
    "threads": _count(1, 256),
    "on_battery": _flag,
    "pause_when": _names,
    "schedule": _windows,
    "causes": _causes,
    "min_pay_per_hour": _price,
    "price_per_kwh": _price,
    "assumed_watts": _number(1, 5_000),
}
assert set(_KEYS) - {"causes"} == {each.name for each in fields(Limits)} - {"serve", "refuse"}
