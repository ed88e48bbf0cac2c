"""Strict reading of what strangers send: JSON of limited size and depth, and typed fields within ranges. No meaning lives here."""

import json
import math
import re
from collections.abc import Collection, Mapping
from typing import NoReturn

MAX_DEPTH = 12

# An open string ends with the content: without that, every quote of a hostile one would start another search to its end.
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)


class Malformed(ValueError):
    """Something sent is not of its published shape; ``param`` names the field and ``message`` says what is allowed.

    No word of the sender stands in the message: it may be shown to a person or to a model.
    """

    def __init__(self, param: str, message: str) -> None:
        super().__init__(f"{param}: {message}")
        self.param = param
        self.message = message


def canonical(value: object) -> bytes:
    """Write JSON with sorted keys, without spaces, in ASCII and with shortest floats: one value, one spelling.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def parse_json(content: bytes, *, param: str, most_bytes: int, error: type[Malformed]) -> object:
    """Read JSON from a stranger: UTF-8, no repeated keys, no NaN, at most ``MAX_DEPTH`` deep.

    Raises:
        error: the content is none of that, or longer than ``most_bytes``.
    """
    if len(content) > most_bytes:
        raise error(param, f"send at most {most_bytes} bytes")
    if _is_deep(content):
        raise error(param, f"nest at most {MAX_DEPTH} deep")
    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as wrong:
        raise error(param, "send JSON in UTF-8, every key once, every number finite") from wrong


def _is_deep(content: bytes) -> bool:
    depth = 0
    for sign in re.finditer(rb"[\[\]{}]", _STRING.sub(b"", content)):
        depth += 1 if sign.group() in b"[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("a number is not finite")


class Fields:
    """The fields of one object, read one by one; every method raises the given error with the field's name."""

    def __init__(self, value: object, *, known: Collection[str], error: type[Malformed], at: str = "") -> None:
        self._error = error
        self._at = at
        if not isinstance(value, Mapping):
            raise error(at or "?", "send an object")
        missing = sorted(name for name in known if name not in value)
        if missing:
            raise error(self._param(missing[0]), "this field is missing")
        if len(value) != len(known):
            raise error(at or "?", f"there are unknown fields; the known ones are {', '.join(sorted(known))}")
        self._values = value

    def refuse(self, name: str, message: str) -> NoReturn:
        """Raise the error for a field."""
        raise self._error(self._param(name), message)

    def integer(self, name: str, low: int, high: int) -> int:
        """Return a whole number from ``low`` to ``high``."""
        value = self._values[name]
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.refuse(name, f"give a whole number from {low} to {high}")
        return value

    def number(self, name: str, low: float, high: float) -> float:
        """Return a finite number from ``low`` to ``high`` as a float."""
        return number(self._values[name], low, high, param=self._param(name), error=self._error)

    def truth(self, name: str) -> bool:
        """Return true or false."""
        value = self._values[name]
        if not isinstance(value, bool):
            self.refuse(name, "give true or false")
        return value

    def text(self, name: str, pattern: re.Pattern[str], message: str) -> str:
        """Return text that matches the pattern from end to end."""
        return text(self._values[name], pattern, message, param=self._param(name), error=self._error)

    def choice(self, name: str, options: Collection[str]) -> str:
        """Return one of a few words."""
        value = self._values[name]
        if not isinstance(value, str) or value not in options:
            self.refuse(name, f"give one of {', '.join(sorted(options))}")
        return value

    def items(self, name: str, least: int, most: int) -> list[object]:
        """Return a list of ``least`` to ``most`` things."""
        value = self._values[name]
        if not isinstance(value, list | tuple) or not least <= len(value) <= most:
            self.refuse(name, f"give a list of {least} to {most}")
        return list(value)

    def texts(self, name: str, least: int, most: int, pattern: re.Pattern[str], message: str) -> tuple[str, ...]:
        """Return a list of texts that all match the pattern."""
        return tuple(
            text(value, pattern, message, param=f"{self._param(name)}[{index}]", error=self._error)
            for index, value in enumerate(self.items(name, least, most))
        )

    def numbers(self, name: str, least: int, most: int, low: float, high: float) -> tuple[float, ...]:
        """Return a list of finite numbers from ``low`` to ``high``."""
        return tuple(
            number(value, low, high, param=f"{self._param(name)}[{index}]", error=self._error)
            for index, value in enumerate(self.items(name, least, most))
        )

    def is_none(self, name: str) -> bool:
        """Tell whether an optional field is null."""
        return self._values[name] is None

    def _param(self, name: str) -> str:
        return f"{self._at}.{name}" if self._at else name


def number(value: object, low: float, high: float, *, param: str, error: type[Malformed]) -> float:
    """Return a finite number from ``low`` to ``high`` as a float; whole numbers count, true and false do not."""
    # Compared before it is converted: a whole number may be larger than any float.
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise error(param, f"give a finite number from {low:g} to {high:g}")
    converted = float(value)
    # One spelling of zero, so that equal values have one digest.
    return converted if converted and math.isfinite(converted) else 0.0


def text(value: object, pattern: re.Pattern[str], message: str, *, param: str, error: type[Malformed]) -> str:
    """Return text that matches the pattern from end to end."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise error(param, message)
    return value
