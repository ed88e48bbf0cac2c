"""Reading bodies: strict JSON and multipart forms, small, shallow, and free of what databases and terminals choke on."""

import hashlib
import json
import re
import tempfile
from collections.abc import Mapping
from types import TracebackType
from typing import IO, NoReturn, Self

from rest_framework import exceptions, parsers
from rest_framework.request import Request

from verification.replay import reports, trees

MAX_JSON_BYTES = 131_072
# The text of a tree with its escapes, and what stands around it.
MAX_TREE_BODY_BYTES = trees.MAX_CANONICAL_BYTES + MAX_JSON_BYTES
MAX_REPORT_BODY_BYTES = reports.MAX_REPORT_BYTES + MAX_JSON_BYTES
MAX_FORM_BYTES = 41_000_000
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 16
FILE_TYPE = "application/octet-stream"
_CHUNK_BYTES = 1 << 20
_UNKEPT = re.compile("[\x00\ud800-\udfff]")

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]


class BodyTooLarge(Exception):
    """The body is larger than this route takes."""


class JsonBody(parsers.BaseParser):
    """JSON of RFC 8259 without doubts: no doubled names, NaN, NUL, lone surrogates or numbers beyond 64 bits."""

    media_type = "application/json"
    max_bytes = MAX_JSON_BYTES

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,  # noqa: ARG002
        parser_context: Mapping[str, object] | None = None,
    ) -> dict[str, JsonValue]:
        """Read one JSON object.

        Raises:
            BodyTooLarge: more than ``max_bytes``.
            rest_framework.exceptions.ParseError: anything else but a plain JSON object.
        """
        check_length(parser_context, self.max_bytes)
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


class TreeBody(JsonBody):
    """JSON that may hold a tree of source files."""

    max_bytes = MAX_TREE_BODY_BYTES


class ReportBody(JsonBody):
    """JSON that may hold the report of a run."""

    max_bytes = MAX_REPORT_BODY_BYTES


class SentFile:
    """A body that is one file, on the disk until it is closed; ``digest`` is its SHA-256."""

    def __init__(self, content: IO[bytes], digest: bytes) -> None:
        self.content = content
        self.digest = digest

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.content.close()


class FileBody(parsers.BaseParser):
    """Bytes as they are, written to the disk as they come: many are sent at once."""

    media_type = FILE_TYPE

    def parse(  # type: ignore[override]
        self,
        stream: IO[bytes],
        media_type: str | None = None,  # noqa: ARG002
        parser_context: Mapping[str, object] | None = None,
    ) -> SentFile:
        """Read a file of at most `MAX_FILE_BYTES`. Whoever asks for it closes it.

        Raises:
            BodyTooLarge: it is larger.
        """
        check_length(parser_context, MAX_FILE_BYTES)
        digest, content = hashlib.sha256(), tempfile.TemporaryFile()  # noqa: SIM115 - it outlives this call
        try:
            while chunk := stream.read(_CHUNK_BYTES):
                if content.tell() + len(chunk) > MAX_FILE_BYTES:
                    raise BodyTooLarge(f"The body has more than {MAX_FILE_BYTES} bytes.")
                digest.update(chunk)
                content.write(chunk)
            content.seek(0)
        except BaseException:
            content.close()
            raise
        return SentFile(content, digest.digest())


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
    if _UNKEPT.search(text):
        raise exceptions.ParseError("Text must not contain NUL or half of a surrogate pair.")
