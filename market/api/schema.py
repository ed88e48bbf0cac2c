"""The OpenAPI description: what drf-spectacular reads from the views, and what every operation has in common."""

from typing import Any

from django.http import HttpRequest
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter
from rest_framework.serializers import Serializer

from market.api import auth, once, problems

KEY_PATTERN = f"^[!-~]{{1,{once.MAX_KEY_LENGTH}}}$"
PROBLEM = "Problem"


class ApiSchema(AutoSchema):
    """Adds what is said once for all views: the Idempotency-Key of every POST, and which keys may call."""

    def get_override_parameters(self) -> list[OpenApiParameter | Serializer[Any] | type[Serializer[Any]]]:
        """Return the parameters that the views do not name themselves."""
        if self.method != "POST":
            return []
        return [
            OpenApiParameter(
                once.HEADER,
                {"type": "string", "pattern": KEY_PATTERN},
                OpenApiParameter.HEADER,
                required=True,
                description="One new value per logical request, the same over its retries.",
            )
        ]

    def get_description(self) -> str:  # type: ignore[override]
        """Return the view's words and the scopes that may call it."""
        scopes = sorted(auth.scopes_of(self.view, self.method))
        who = f"Key scope: {', '.join(scopes)}." if scopes else "No key needed."
        return f"{super().get_description() or ''}\n\n{who}".strip()

    def get_auth(self) -> list[dict[str, list[str]]]:
        """Return the security of the operation: a key, or none where the view is open to everybody."""
        return [{"apiKey": []}] if auth.scopes_of(self.view, self.method) else []


def finish(result: dict[str, Any], generator: object, request: HttpRequest | None, public: bool) -> dict[str, Any]:  # noqa: ARG001
    """Give every operation its problem document, and close the bodies against unknown names (a spectacular hook)."""
    schemas = result["components"]["schemas"]
    schemas[PROBLEM] = _problem()
    for name, schema in schemas.items():
        if name.endswith("Input"):
            schema["additionalProperties"] = False
    for operations in result["paths"].values():
        for operation in operations.values():
            operation["responses"]["default"] = {
                "description": "What went wrong and what to do about it (RFC 9457).",
                "content": {problems.CONTENT_TYPE: {"schema": {"$ref": f"#/components/schemas/{PROBLEM}"}}},
            }
    result["components"]["schemas"] = dict(sorted(schemas.items()))
    return result


def _problem() -> dict[str, object]:
    text = {"type": "string"}
    return {
        "type": "object",
        "description": "An RFC 9457 problem document; the table of all codes is at /v1/errors.",
        "properties": {
            "type": text,
            "title": text,
            "status": {"type": "integer"},
            "code": {"type": "string", "enum": sorted({refusal.code for refusal in problems.every_refusal()})},
            "detail": text,
            "param": text,
            "next_step": text,
            "retryable": {"type": "boolean"},
            "request_id": text,
            "docs_url": text,
            "errors": {"type": "array", "items": {"type": "object", "properties": {"param": text, "detail": text}}},
            "policy_codes": {"type": "array", "items": text},
        },
        "required": ["type", "title", "status", "code", "detail", "param", "next_step", "retryable", "request_id", "docs_url"],
    }
