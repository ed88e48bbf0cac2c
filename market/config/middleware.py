"""What every answer carries: a request id, and a policy that lets pages load nothing but our own."""

import re
import uuid
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'self'",
        # A photograph is shown from memory before it is sent.
        "img-src 'self' blob: data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
PERMISSIONS_POLICY = "camera=(self), geolocation=(self), microphone=(), payment=(), usb=()"
_GIVEN_ID = re.compile(r"req_[0-9a-f]{32}")

GetResponse = Callable[[HttpRequest], HttpResponse]


def request_id(get_response: GetResponse) -> GetResponse:
    """Name each request `req_...`: in the answer's X-Request-Id, in problem documents and in every log line."""

    def handle(request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-Id", "")
        # Only an id of our own form is taken over; a log is no place for strangers' text.
        name = given if _GIVEN_ID.fullmatch(given) else f"req_{uuid.uuid4().hex}"
        request.request_id = name  # type: ignore[attr-defined]
        with structlog.contextvars.bound_contextvars(request_id=name):
            response = get_response(request)
        response.headers["X-Request-Id"] = name
        return response

    return handle


def content_security(get_response: GetResponse) -> GetResponse:
    """Send the strict policy with every answer."""

    def handle(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        response.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        return response

    return handle
