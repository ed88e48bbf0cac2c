"""Pages in the API's description: the parameters of every list, and the envelope around its rows."""

from drf_spectacular.utils import OpenApiParameter, inline_serializer
from rest_framework import serializers

from market.api import base, fields


def page_parameters(prefix: str) -> list[OpenApiParameter]:
    """Return ``limit`` and ``cursor`` of a list of objects with this id prefix."""
    return [
        OpenApiParameter("limit", {"type": "integer", "minimum": 1, "maximum": base.MAX_LIMIT, "default": base.DEFAULT_LIMIT}),
        OpenApiParameter(
            "cursor", {"type": "string", "pattern": f"^{prefix}_[0-9a-f]{{32}}$"}, description="next_cursor of the page before."
        ),
    ]


def list_of(name: str, row: type[serializers.BaseSerializer[object]]) -> serializers.Serializer[object]:
    """Return the envelope of a list; ``next_cursor`` is empty on the last page."""
    return inline_serializer(
        f"{name}List",
        {
            "object": fields.object_field("list"),
            "data": row(many=True),
            "has_more": serializers.BooleanField(),
            "next_cursor": serializers.CharField(allow_blank=True),
        },
    )
