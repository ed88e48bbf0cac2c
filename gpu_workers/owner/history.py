"""What the folder remembers besides runs in hand: the owner's wishes, and the last word about each run that ended."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import cast

from pydantic import JsonValue

from gpu_workers.owner import folder as folders
from gpu_workers.owner import machine, money

# Of the runs that ended, the estimate is made from so many.
_MOST_EXPERIENCES = 200


def wishes(folder: folders.Folder) -> machine.Wishes:
    """Return what the owner last asked for."""
    found = folders.read(folder.path / "wishes.json")
    if found is None:
        return machine.Wishes()
    until = found.get("paused_until")
    return machine.Wishes(machine.FOREVER if until == "forever" else _number(until), found.get("is_finishing") is True)


def wishes_json(asked: machine.Wishes) -> folders.JsonObject:
    """Return wishes as they are kept."""
    until: JsonValue = "forever" if asked.paused_until == machine.FOREVER else asked.paused_until
    return {"paused_until": until, "is_finishing": asked.is_finishing}


def keep_wishes(folder: folders.Folder, asked: machine.Wishes) -> None:
    """Write the owner's wishes; a running program reads them within `shell.TICK_S`."""
    folder.make()
    folders.write(folder.path / "wishes.json", wishes_json(asked))


def last_word(folder: folders.Folder, record: folders.JsonObject, *, outcome: str, now: float) -> folders.JsonObject:
    """Return what is remembered of a run that ended: enough for `explain` and for estimates, without its files."""
    result = folders.read(folder.run_folder(str(record["id"])) / "result.json")
    report = result["report"] if result is not None else None
    seconds = report.get("wall_s") if isinstance(report, dict) else None
    return {**record, "outcome": outcome, "seconds": seconds, "ended_at": now}


def ended(folder: folders.Folder) -> list[folders.JsonObject]:
    """Return the last words, by run id."""
    found = (folders.read(path) for path in sorted(folder.path.glob("ended/rpl_*.json")))
    return [word for word in found if word is not None]


def of_run(folder: folders.Folder, run_id: str) -> folders.JsonObject | None:
    """Return the record of a run in hand, or the last word about one that ended; None if neither is here."""
    return folders.read(folder.run_folder(run_id) / "run.json") or folders.read(folder.path / "ended" / f"{run_id}.json")


def experiences(folder: folders.Folder) -> list[money.Experience]:
    """Return what the handed-in runs paid and took, the oldest first."""
    handed_in = [word for word in ended(folder) if word.get("outcome") == "handed_in"]
    handed_in.sort(key=lambda word: _number(word.get("ended_at")))
    made = [_experience(word) for word in handed_in[-_MOST_EXPERIENCES:]]
    return [each for each in made if each is not None]


def _experience(word: Mapping[str, JsonValue]) -> money.Experience | None:
    params = word.get("params")
    pay = params.get("pay") if isinstance(params, dict) else None
    seconds = _number(word.get("seconds"))
    amount = _decimal(pay.get("amount")) if isinstance(pay, dict) else None
    if amount is None or not seconds:
        return None
    currency = str(cast("Mapping[str, JsonValue]", pay)["currency"])
    return money.Experience(amount, currency, seconds, _decimal(word.get("expected_per_hour")), _number(word.get("ended_at")))


def _number(value: JsonValue) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def _decimal(value: JsonValue) -> Decimal | None:
    try:
        found = Decimal(value) if isinstance(value, str) else None
    except InvalidOperation:
        return None
    return found if found is not None and found.is_finite() else None
