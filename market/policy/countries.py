"""Which countries may hold a task, be a worker's residence or receive a payout: a versioned table, deny by default."""

import json
from pathlib import Path
from typing import Final, Literal, TypedDict

from market.policy import decisions

Purpose = Literal["task", "residence", "payout"]


class _Denial(TypedDict):
    code: str
    source: str


class _Entry(TypedDict, total=False):
    name: str
    denied: dict[str, _Denial]
    iso_3166_2: str


class _Table(TypedDict):
    version: str
    purposes: list[str]
    countries: dict[str, _Entry]


_TABLE: Final[_Table] = json.loads((Path(__file__).parent / "data" / "countries.json").read_text(encoding="utf-8"))
VERSION: Final = _TABLE["version"]


def decide(country: str | None, purpose: Purpose) -> decisions.Decision:
    """Decide on a country for one purpose.

    Args:
        country: what `places.country_at` returned or a worker declared; None (sea, no polygon) is denied.
        purpose: "task", "residence" or "payout".

    Returns:
        A refusal with "country_unknown", or with the table's code ("embargoed", "conflict_zone").
    """
    if purpose not in _TABLE["purposes"]:
        raise ValueError(f"{purpose!r} is not a purpose; use one of {', '.join(_TABLE['purposes'])}.")
    entry = _TABLE["countries"].get(country) if country else None
    if entry is None:
        return decisions.decide(codes={"country_unknown"}, version=VERSION)
    denial = entry.get("denied", {}).get(purpose)
    return decisions.decide(codes={denial["code"]} if denial else set(), version=VERSION)


def names() -> list[tuple[str, str]]:
    """Return every listed code with its English name, in the order of the names."""
    return sorted(((code, entry["name"]) for code, entry in _TABLE["countries"].items()), key=lambda pair: pair[1])
