"""Who calls: bearer keys, their scopes, and the objects a key acts for."""

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from rest_framework import authentication, exceptions, permissions
from rest_framework.request import Request
from rest_framework.views import APIView

from market.accounts import keys
from market.accounts.models import Agent, ApiKey, User
from market.api import problems
from tasks import clock
from tasks.models import WorkerProfile

AGENT = frozenset({ApiKey.Scope.AGENT})
WORKER = frozenset({ApiKey.Scope.WORKER})
AGENT_OR_WORKER = AGENT | WORKER
LEASE = frozenset({ApiKey.Scope.LEASE_VISION, ApiKey.Scope.LEASE_REPLAY})
# Open to everybody, key or none.
ANYBODY: frozenset[ApiKey.Scope] = frozenset()


class BearerKey(authentication.BaseAuthentication):
    """``Authorization: Bearer <API key>``; the request's ``auth`` is the `ApiKey`."""

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        """Return the key and its user, or None if no key was sent.

        Raises:
            market.accounts.keys.KeyRefused: the key opens nothing.
        """
        word, _, secret = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if not word:
            return None
        if word.lower() != "bearer":
            raise keys.KeyRefused("Only bearer keys are taken.")
        key = keys.authenticate(secret.strip())
        keys.note_use(key=key, now=clock.now())
        return key.user, key

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002
        """Return the challenge of a 401."""
        return "Bearer"


class SessionReader(authentication.BaseAuthentication):
    """Whoever is signed in to the pages, for views that only read: a cookie alone changes nothing here."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        """Return the session's user, if there is one."""
        user = getattr(request._request, "user", None)
        if request.method in permissions.SAFE_METHODS and isinstance(user, User) and user.is_active:
            return user, None
        return None


class HasScope(permissions.BasePermission):
    """Lets a key pass whose scope is among the view's ``scopes``."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Check the key's scope.

        Raises:
            rest_framework.exceptions.NotAuthenticated: a key is needed and none was sent.
            WrongScope: the key has another scope.
        """
        scopes = scopes_of(view, str(request.method))
        if not scopes:
            return True
        if not isinstance(request.auth, ApiKey):
            raise exceptions.NotAuthenticated("No API key was sent.")
        if request.auth.scope not in scopes:
            raise problems.WrongScope(f"A key of scope {request.auth.scope} can't do this; it needs {', '.join(sorted(scopes))}.")
        return True


def scopes_of(view: APIView, method: str) -> frozenset[ApiKey.Scope]:
    """Return the scopes that may call a view with a method; none if it is open to everybody."""
    scopes: frozenset[ApiKey.Scope] = view.scopes  # type: ignore[attr-defined]
    writing: frozenset[ApiKey.Scope] | None = view.writing_scopes  # type: ignore[attr-defined]
    return scopes if writing is None or method in permissions.SAFE_METHODS else writing


def key_of(request: Request) -> ApiKey:
    """Return the key of a request that `HasScope` let pass."""
    assert isinstance(request.auth, ApiKey)
    return request.auth


def agent_of(request: Request) -> Agent:
    """Return the agent that an agent key acts for."""
    agent = key_of(request).agent
    assert agent is not None
    return agent


def worker_of(request: Request) -> WorkerProfile:
    """Return the worker that a worker key acts for.

    Raises:
        NotAWorker: its user has no worker's profile of the key's mode.
    """
    key = key_of(request)
    # Read along with the key, before the body came: a use case reads again what may have changed since and counts for money.
    worker: WorkerProfile | None = getattr(key.user, "worker_profile", None)
    if worker is None or worker.mode != key.mode:
        raise problems.NotAWorker(f"The owner of this key is not a worker in {key.mode} mode.")
    return worker


class SessionInSchema(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describes `SessionReader` in the OpenAPI schema."""

    target_class = "market.api.auth.SessionReader"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:  # noqa: ARG002
        """Return the security scheme."""
        return {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "The session of the pages, for media only."}


class BearerKeyInSchema(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describes `BearerKey` in the OpenAPI schema."""

    target_class = "market.api.auth.BearerKey"
    name = "apiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:  # noqa: ARG002
        """Return the security scheme."""
        return {"type": "http", "scheme": "bearer", "description": "An API key such as test_agent_..."}
