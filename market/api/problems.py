"""From exception to answer: one table of every refusal the API gives, as RFC 9457 problem documents."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from django.conf import settings
from django.core import exceptions as django_exceptions
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from rest_framework import exceptions, status
from rest_framework.request import Request
from rest_framework.response import Response

from market.accounts import idempotency, keys, media_links
from market.api import parsing
from market.common import money
from tasks import ids

CONTENT_TYPE = "application/problem+json"
PREFIX = "/v1/"


class NoSuchRoute(Exception):
    """There is nothing at this address."""


class WrongScope(Exception):
    """The key's scope does not cover this request."""


class NotAWorker(Exception):
    """The key's user has no worker's profile of its mode."""


class KeyNotTrusted(Exception):
    """The machine behind this lease key may not see sealed originals."""


class BlockedByPolicy(Exception):
    """The market does not publish this bounty; the codes say why."""


class MissingIdempotencyKey(Exception):
    """A POST came without Idempotency-Key."""


class MalformedIdempotencyKey(Exception):
    """The Idempotency-Key is not 1 to 120 visible ASCII characters."""


class BadParameter(ValueError):
    """A parameter of the address or form can't be read; ``param`` names it."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True)
class Refusal:
    """How one exception is answered. ``next_step`` tells a program what to do."""

    status: int
    code: str
    next_step: str
    is_retryable: bool = False
    # Seconds, sent as Retry-After.
    retry_after_s: int | None = None


FIX = "Correct the named parameter and send the request again."
LOOK = "Get the object again and act on what it is now."

TABLE: dict[type[Exception], Refusal] = {
    # Reading the request.
    exceptions.ParseError: Refusal(400, "malformed_body", "Send the body as the schema at /v1/schema describes it."),
    parsing.BodyTooLarge: Refusal(413, "body_too_large", "Send a smaller body."),
    exceptions.ValidationError: Refusal(422, "invalid_parameter", FIX),
    exceptions.UnsupportedMediaType: Refusal(415, "unsupported_media_type", "Send application/json, or multipart/form-data with files."),
    exceptions.MethodNotAllowed: Refusal(405, "method_not_allowed", "Use a method that the Allow header names."),
    exceptions.NotAcceptable: Refusal(406, "not_acceptable", "Accept application/json."),
    BadParameter: Refusal(422, "invalid_parameter", FIX),
    ids.MalformedId: Refusal(404, "not_found", "Check the id; objects of other accounts are not shown."),
    money.MalformedMoney: Refusal(422, "invalid_parameter", FIX),
    MissingIdempotencyKey: Refusal(400, "idempotency_key_missing", "Send an Idempotency-Key header: one new value per logical request."),
    MalformedIdempotencyKey: Refusal(400, "idempotency_key_malformed", "Send 1 to 120 visible ASCII characters, e.g. a UUID."),
    idempotency.KeyReused: Refusal(409, "idempotency_key_reused", "Use a new Idempotency-Key for a new request."),
    idempotency.StillRunning: Refusal(409, "idempotency_key_in_use", "Send the same request again in a second.", True, 1),
    # Who asks.
    exceptions.NotAuthenticated: Refusal(401, "api_key_missing", "Send your API key: Authorization: Bearer test_agent_..."),
    exceptions.AuthenticationFailed: Refusal(401, "api_key_refused", "Use a valid key; this one is unknown or revoked."),
    keys.KeyRefused: Refusal(401, "api_key_refused", "Use a valid key; this one is unknown or revoked."),
    exceptions.PermissionDenied: Refusal(403, "wrong_scope", "Use a key whose scope covers this request."),
    WrongScope: Refusal(403, "wrong_scope", "Use a key whose scope covers this request."),
    NotAWorker: Refusal(403, "not_a_worker", "Open a worker's account on the pages first."),
    KeyNotTrusted: Refusal(403, "lease_key_not_trusted", "Ask the operator to trust this machine; strangers' machines see no photos."),
    media_links.BadLink: Refusal(403, "link_ended", "Get the submission again: it has a fresh link for you."),
    exceptions.Throttled: Refusal(429, "rate_limited", "Wait as long as Retry-After says.", True),
    # What is not there.
    exceptions.NotFound: Refusal(404, "not_found", "Check the id; objects of other accounts are not shown."),
    NoSuchRoute: Refusal(404, "no_such_route", "See the routes at /v1/schema."),
    BlockedByPolicy: Refusal(422, "blocked_by_policy", "Change what the policy codes name; see docs/policy."),
}


def refusal_for(error: Exception) -> Refusal | None:
    """Return how an exception is answered, by the nearest class in `TABLE`; None for one that is a fault of ours."""
    for kind in type(error).__mro__:
        found = TABLE.get(kind)
        if found is not None:
            return found
    return None


def document(
    refusal: Refusal, *, detail: str, request_id: str, param: str = "", more: Mapping[str, object] | None = None
) -> dict[str, object]:
    """Write a problem document; every answer that is not a success looks like this."""
    docs_url = f"{settings.PUBLIC_URL}{PREFIX}errors#{refusal.code}"
    return {
        "type": docs_url,
        "title": refusal.code.replace("_", " ").capitalize(),
        "status": refusal.status,
        "code": refusal.code,
        "detail": detail,
        "param": param,
        "next_step": refusal.next_step,
        "retryable": refusal.is_retryable,
        "request_id": request_id,
        "docs_url": docs_url,
        **(more or {}),
    }


def respond(error: Exception, refusal: Refusal, request: Request | HttpRequest) -> Response:
    """Answer an exception with its problem document."""
    errors = _errors_of(error)
    detail = errors[0]["detail"] if errors else _sentence(str(error))
    more: dict[str, object] = {"errors": errors} if errors else {}
    codes = getattr(error, "codes", None)
    if codes is not None:
        more["policy_codes"] = list(codes)
    body = document(
        refusal,
        detail=detail,
        request_id=request_id_of(request),
        param=errors[0]["param"] if errors else str(getattr(error, "param", "")),
        more=more,
    )
    return Response(body, status=refusal.status, headers=_headers_of(error, refusal), content_type=CONTENT_TYPE)


def handle(error: Exception, context: Mapping[str, object]) -> Response | None:
    """Answer what a view raised (DRF's EXCEPTION_HANDLER); a fault of ours goes on to `handler500`."""
    if isinstance(error, django_exceptions.PermissionDenied):
        error = exceptions.PermissionDenied()
    refusal = refusal_for(error)
    request = context["request"]
    assert isinstance(request, Request)
    return None if refusal is None else respond(error, refusal, request)


def request_id_of(request: Request | HttpRequest) -> str:
    """Return the id that the middleware gave the request; it is also in X-Request-Id."""
    return str(getattr(request, "request_id", ""))


def _sentence(text: str) -> str:
    return text or "The request was refused."


def _errors_of(error: Exception) -> list[dict[str, str]]:
    """List every wrong parameter, as ``{"param", "detail"}``, for exceptions that know more than one."""
    if isinstance(error, exceptions.ValidationError):
        return _flatten(error.detail)
    found = getattr(error, "errors", None)
    if not isinstance(found, list):
        return []
    return [{"param": each.param, "detail": f"{each.param}: {each.message}"} for each in found]


def _flatten(detail: object, path: str = "") -> list[dict[str, str]]:
    if isinstance(detail, dict):
        return [each for name, part in detail.items() for each in _flatten(part, f"{path}.{name}" if path else str(name))]
    if isinstance(detail, list):
        if all(isinstance(part, str) for part in detail):
            name = path.removesuffix(".non_field_errors").removeprefix("non_field_errors")
            return [{"param": name, "detail": f"{name}: {part}" if name else str(part)} for part in detail]
        return [each for place, part in enumerate(detail) if part for each in _flatten(part, f"{path}.{place}")]
    return [{"param": path, "detail": str(detail)}]


def _headers_of(error: Exception, refusal: Refusal) -> dict[str, str]:
    headers = {}
    wait = getattr(error, "wait", None)
    retry_after_s = math.ceil(wait) if isinstance(wait, int | float) else refusal.retry_after_s
    if retry_after_s is not None:
        headers["Retry-After"] = str(max(1, retry_after_s))
    if refusal.status == status.HTTP_401_UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


# -- What Django answers before or beside a view --------------------------------------------------------------------

_BAD_REQUEST = Refusal(400, "malformed_request", "Send a well-formed HTTP request.")
_FORBIDDEN = Refusal(403, "forbidden", "Use a key whose scope covers this request.")
_NOT_FOUND = Refusal(404, "no_such_route", "See the routes at /v1/schema.")
_FAULT = Refusal(
    500, "internal_error", "Send the same request with the same Idempotency-Key again; if it persists, report the request id.", True
)


def _plain(request: HttpRequest, refusal: Refusal, detail: str) -> JsonResponse:
    body = document(refusal, detail=detail, request_id=request_id_of(request))
    return JsonResponse(body, status=refusal.status, content_type=CONTENT_TYPE)


def handle_400(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that Django could not read."""
    if not request.path.startswith(PREFIX):
        return defaults.bad_request(request, exception)
    return _plain(request, _BAD_REQUEST, "The request is malformed.")


def handle_403(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that Django refused."""
    if not request.path.startswith(PREFIX):
        return defaults.permission_denied(request, exception)
    return _plain(request, _FORBIDDEN, "The request was refused.")


def handle_404(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer an address that leads nowhere."""
    if not request.path.startswith(PREFIX):
        return defaults.page_not_found(request, exception)
    return _plain(request, _NOT_FOUND, "There is nothing at this address.")


def handle_500(request: HttpRequest) -> HttpResponse:
    """Answer a fault of ours; what it was stands in the log under the request id."""
    if not request.path.startswith(PREFIX):
        return defaults.server_error(request)
    return _plain(request, _FAULT, "The market failed to handle this request.")
