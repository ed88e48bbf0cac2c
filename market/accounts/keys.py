"""API keys: bearer secrets of 256 random bits, of which only the SHA-256 is kept."""

import datetime
import hashlib
import re
import secrets

from django.db import transaction
from django.db.models import Q

from market.accounts.models import Agent, ApiKey, User
from tasks.models import Mode

# How exactly ``last_used_at`` is kept: one write an hour, not one a request.
USE_IS_NOTED_EVERY = datetime.timedelta(hours=1)

_WORDS = {
    ApiKey.Scope.AGENT: "agent",
    ApiKey.Scope.WORKER: "worker",
    ApiKey.Scope.LEASE_VISION: "vision",
    ApiKey.Scope.LEASE_REPLAY: "replay",
}
_SCOPES = {word: scope for scope, word in _WORDS.items()}
# Whom a key acts for is read along with it.
_ACTS_FOR = {ApiKey.Scope.AGENT: "agent", ApiKey.Scope.WORKER: "user__worker_profile"}
_SECRET = re.compile(r"(test|live)_(agent|worker|vision|replay)_[A-Za-z0-9_-]{43}")


class KeyRefused(Exception):
    """The secret opens nothing: unknown, revoked, or its owner is barred. The message does not say which."""


class MisfitKey(ValueError):
    """A key was asked for whose parts do not go together; the message says which."""


def issue(
    *,
    user: User,
    agent: Agent | None,
    mode: str,
    scope: str,
    name: str,
    limit_currency: str = "USD",
    limit_per_bounty_minor: int | None = None,
    limit_per_day_minor: int | None = None,
    is_trusted: bool = False,
) -> tuple[ApiKey, str]:
    """Make a key and return it with its secret, which is shown this once and never kept.

    Raises:
        MisfitKey: an agent key without an agent, or with one of another owner or mode.
    """
    if scope == ApiKey.Scope.AGENT:
        if agent is None:
            raise MisfitKey("An agent key needs its agent.")
        if agent.owner_id != user.pk or agent.mode != mode:
            raise MisfitKey(f"{agent} belongs to another owner or mode than the key asked for.")
    elif agent is not None:
        raise MisfitKey(f"A {scope} key has no agent.")
    secret = f"{Mode(mode).value}_{_WORDS[ApiKey.Scope(scope)]}_{secrets.token_urlsafe(32)}"
    key = ApiKey.objects.create(
        user=user,
        agent=agent,
        mode=mode,
        scope=scope,
        name=name,
        visible_prefix=secret[:16],
        secret_sha256=digest(secret),
        is_trusted=is_trusted,
        limit_currency=limit_currency,
        limit_per_bounty_minor=limit_per_bounty_minor,
        limit_per_day_minor=limit_per_day_minor,
    )
    return key, secret


def digest(secret: str) -> str:
    """Return the SHA-256 of a secret, in hexadecimal digits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def scope_named_by(secret: str) -> ApiKey.Scope | None:
    """Return the scope that a secret names; None if it can't be one of ours. Whether it opens anything is not said."""
    found = _SECRET.fullmatch(secret)
    return _SCOPES[found[2]] if found else None


def authenticate(secret: str) -> ApiKey:
    """Find the key of a secret.

    The look-up is by SHA-256 in an index, so its timing tells nothing of how much of a guess was right.

    Raises:
        KeyRefused: not a secret of ours, revoked, or its owner or agent is barred.
    """
    scope = scope_named_by(secret)
    if scope is None:
        raise KeyRefused("This API key is not valid.")
    key = (
        ApiKey.objects.select_related("user", _ACTS_FOR.get(scope, "agent"))
        .filter(secret_sha256=digest(secret), revoked_at=None, user__is_active=True)
        .exclude(agent__is_suspended=True)
        .first()
    )
    if key is None:
        raise KeyRefused("This API key is not valid.")
    return key


def note_use(*, key: ApiKey, now: datetime.datetime) -> None:
    """Keep roughly when a key was last used; at most one write an hour, and none while somebody works on the row."""
    if key.last_used_at is None or now - key.last_used_at > USE_IS_NOTED_EVERY:
        # A spend holds this row until it commits: whoever calls with the same key meanwhile must not wait for it here.
        with transaction.atomic():
            free = ApiKey.objects.filter(pk=key.pk).select_for_update(skip_locked=True, no_key=True).values("pk")
            ApiKey.objects.filter(Q(last_used_at=None) | Q(last_used_at__lt=now - USE_IS_NOTED_EVERY), pk__in=free).update(last_used_at=now)


def revoke(*, key: ApiKey, now: datetime.datetime) -> None:
    """End a key for good; the second time changes nothing."""
    ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=now)
