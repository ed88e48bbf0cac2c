"""What every view has: its scopes, and helpers to read addresses and pages."""

import uuid
from collections.abc import Sequence
from typing import TypeVar

from django.db.models import Model, Q, QuerySet
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from market.accounts.models import ApiKey
from market.api import auth, fields, parsing, problems
from market.api.schema import ApiSchema
from tasks import ids

DEFAULT_LIMIT = 20
MAX_LIMIT = 100

Row = TypeVar("Row", bound=Model)


class ApiView(APIView):
    """A view that names who may call it."""

    authentication_classes: Sequence[type[BaseAuthentication]] = (auth.BearerKey,)
    permission_classes = (auth.HasScope,)
    parser_classes: Sequence[type[BaseParser]] = (parsing.JsonBody,)
    schema = ApiSchema()
    http_method_names = ["get", "head", "post", "delete"]
    scopes: frozenset[ApiKey.Scope] = auth.AGENT
    # Of methods that change something, where they are others than those that may read.
    writing_scopes: frozenset[ApiKey.Scope] | None = None
    # Its POSTs move money or keep somebody's right to it: under overload they have threads of their own.
    is_vital = False


def find(rows: QuerySet[Row], prefix: str, text: str) -> Row:
    """Return the row of a prefixed id from those the caller may see.

    Raises:
        NotYours: it is not among them; whether it exists elsewhere is not said.
        tasks.ids.MalformedId: not an id of this kind.
    """
    row = rows.filter(pk=ids.decode(prefix, text)).first()
    if row is None:
        raise problems.NotYours(f"There is no {text} among your objects.")
    return row


def limit_of(request: Request) -> int:
    """Read ``limit``, 1 to 100.

    Raises:
        BadParameter: it is something else.
    """
    text = request.query_params.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MAX_LIMIT):
        raise problems.BadParameter("limit", f"limit is a whole number from 1 to {MAX_LIMIT}.")
    return int(text)


def page(request: Request, rows: QuerySet[Row], prefix: str, *, by_time: bool = False) -> tuple[list[Row], str]:
    """Return one page, the newest first, and the cursor of the next one ("" on the last).

    The cursor is the last row's id, so a page never shifts by what is added meanwhile. ``by_time`` is for rows whose
    ids are not in order of time.

    Raises:
        BadParameter: ``limit`` or ``cursor`` can't be read.
    """
    limit, last_id = limit_of(request), cursor_of(request, prefix)
    if last_id is not None:
        rows = rows.filter(_after(rows, last_id, by_time=by_time))
    found = list(rows.order_by(*(["-created_at", "-pk"] if by_time else ["-pk"]))[: limit + 1])
    return found[:limit], ids.encode(prefix, found[limit - 1].pk) if len(found) > limit else ""


def cursor_of(request: Request, prefix: str) -> uuid.UUID | None:
    """Read ``cursor``, the id of the last row of the page before; None on the first page.

    Raises:
        BadParameter: it is not an id of this kind.
    """
    cursor = request.query_params.get("cursor", "")
    if not cursor:
        return None
    try:
        return ids.decode(prefix, cursor)
    except ids.MalformedId:
        raise foreign_cursor() from None


def foreign_cursor() -> problems.BadParameter:
    """Return what a cursor is refused with that no page gave."""
    return problems.BadParameter("cursor", "cursor is not one that this list gave.")


def _after(rows: QuerySet[Row], last_id: uuid.UUID, *, by_time: bool) -> Q:
    if not by_time:
        return Q(pk__lt=last_id)
    last = rows.filter(pk=last_id).values_list("created_at", flat=True).first()
    if last is None:
        raise foreign_cursor()
    return Q(created_at__lt=last) | Q(created_at=last, pk__lt=last_id)


def listed(serializer: type[serializers.Serializer[object]], data: list[dict[str, object]], next_cursor: str) -> Response:
    """Answer with a list."""
    rows = [fields.shown(serializer, row) for row in data]
    return Response({"object": "list", "data": rows, "has_more": bool(next_cursor), "next_cursor": next_cursor})
