"""Where a visitor looks for tasks: typed or measured, kept coarsely in a cookie of his own, never in an address or a log."""

import dataclasses
import re
import unicodedata

from django.http import HttpRequest, HttpResponse

COOKIE = "place"
_KEPT_S = 12 * 3600
# About 100 m: enough to sort a list by.
_DECIMALS = 3
_NUMBER = r"[+-]?\d{1,3}(?:\.\d{1,12})?"
_PAIR = re.compile(rf"(?<![\w.])({_NUMBER})\s*°?\s*([NS]?)\s*[,;/ ]\s*({_NUMBER})\s*°?\s*([EW]?)(?![\d.])")


class NoPlace(ValueError):
    """The text holds no latitude and longitude."""


@dataclasses.dataclass(frozen=True, slots=True)
class Position:
    """Degrees, WGS 84."""

    latitude: float
    longitude: float


def read(text: str) -> Position:
    """Read "52.52, 13.405", "52.52 N 13.405 E", a geo: address or a map's link; digits of any script.

    Raises:
        NoPlace: nothing in it is a place on earth.
    """
    plain = "".join(_plain_digit(c) for c in unicodedata.normalize("NFKC", text[:500]).upper())
    found = _PAIR.search(plain)
    if found is None:
        raise NoPlace("Write latitude and longitude, such as 52.520, 13.405.")
    latitude = float(found[1]) * (-1 if found[2] == "S" else 1)
    longitude = float(found[3]) * (-1 if found[4] == "W" else 1)
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise NoPlace("A latitude goes from -90 to 90 and a longitude from -180 to 180.")
    return Position(latitude, longitude)


def kept(request: HttpRequest) -> Position | None:
    """Return the position that the visitor's cookie holds, if it is one."""
    try:
        return read(request.COOKIES.get(COOKIE, ""))
    except NoPlace:
        return None


def keep(response: HttpResponse, position: Position, *, is_secure: bool) -> None:
    """Keep a position, coarsely, in the visitor's own cookie."""
    value = f"{position.latitude:.{_DECIMALS}f},{position.longitude:.{_DECIMALS}f}"
    response.set_cookie(COOKIE, value, max_age=_KEPT_S, httponly=True, samesite="Lax", secure=is_secure)


def forget(response: HttpResponse) -> None:
    """Forget the position."""
    response.delete_cookie(COOKIE, samesite="Lax")


def _plain_digit(character: str) -> str:
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    return {"\u066b": ".", "\u060c": ",", "\u2212": "-"}.get(character, character)
