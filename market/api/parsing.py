"""Reading bodies: strict JSON and multipart forms, small, shallow, and free of what databases and terminals choke on."""

import json
from collections.abc import Mapping
from typing import IO, NoReturn

from rest_framework import exceptions, parsers
from rest_framework.request import Request

MAX_JSON_BYTES = 131_072
MAX_FORM_BYTES = 41_000_000
MAX_DEPTH = 16

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]


class BodyTooLarge(Exception):
    """The body is larger than this route takes."""


class JsonBody(parsers.BaseParser):
    """JSON of RFC 8259 without doubts: no doubled names, NaN, NUL, lone surrogates or numbers beyond 64 bits."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,  # noqa: ARG002
        parser_context: Mapping[str, object] | None = None,
    ) -> dict[str, JsonValue]:
        """Read one JSON object.

        Raises:
            BodyTooLarge: more than `MAX_JSON_BYTES`.
            rest_framework.exceptions.ParseError: anything else but a plain JSON object.
        """
        check_length(parser_context, MAX_JSON_BYTES)
        try:
            value = json.loads(
                stream.read().decode("utf-8"),
                object_pairs_hook=_object,
                parse_constant=_refuse_constant,
                parse_int=_whole,
                parse_float=_float,
            )
        except (ValueError, RecursionError) as error:
            # The decoder's own words may quote the body; only ours go out.
            detail = str(error) if isinstance(error, _Doubtful) else "The body is not valid JSON in UTF-8."
            raise exceptions.ParseError(detail) from None
        if not isinstance(value, dict):
            raise exceptions.ParseError("The body must be a JSON object.")
        _check(value)
        return value


class FormBody(parsers.MultiPartParser):
    """A multipart form with files, of a bounded length."""

    def parse(  # type: ignore[override]
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, object] | None = None
    ) -> object:
        """Read a form.

        Raises:
            BodyTooLarge: more than `MAX_FORM_BYTES`.
            rest_framework.exceptions.ParseError: not a form, or its text can't be kept.
        """
        check_length(parser_context, MAX_FORM_BYTES)
        form = super().parse(stream, media_type, dict(parser_context or {}))
        for name, values in form.data.lists():
            for text in (name, *values):
                _check_text(str(text))
        return form


def check_length(parser_context: Mapping[str, object] | None, most: int) -> None:
    """Refuse a body by the length it announces; the server reads no more than that.

    Raises:
        BodyTooLarge: it is more than ``most`` bytes.
    """
    request = (parser_context or {}).get("request")
    length = request.META.get("CONTENT_LENGTH") if isinstance(request, Request) else None
    if length and length.isdigit() and int(length) > most:
        raise BodyTooLarge(f"The body has more than {most} bytes.")


class _Doubtful(ValueError):
    """JSON that two readers could understand differently."""


def _object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Doubtful("A name stands twice in one object.")
    return found


def _refuse_constant(_: str) -> NoReturn:
    raise _Doubtful("NaN and Infinity are not JSON.")


def _whole(digits: str) -> int:
    if len(digits) > 19 or not -(2**63) <= int(digits) < 2**63:
        raise _Doubtful("A whole number is beyond 64 bits.")
    return int(digits)


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise _Doubtful("A number is out of range.")
    return value


def _check(value: JsonValue, depth: int = 1) -> None:
    if depth > MAX_DEPTH:
        raise exceptions.ParseError(f"The body is nested more than {MAX_DEPTH} levels deep.")
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict):
        for name, part in value.items():
            _check_text(name)
            _check(part, depth + 1)
    elif isinstance(value, list):
        for part in value:
            _check(part, depth + 1)


def _check_text(text: str) -> None:
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise exceptions.ParseError("Text must not contain NUL or half of a surrogate pair.")
