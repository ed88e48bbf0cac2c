"""The people and keys a local market starts with, made once and found again on every later start."""

import secrets
import uuid
from pathlib import Path
from typing import TypedDict

from market.accounts import keys
from market.accounts.models import Agent, ApiKey, User
from market.common.money import Money
from market.config.supervisor import credentials
from market.payments import deposits
from tasks import clock
from tasks.models import Mode, WorkerProfile

OPERATOR = "operator"
AGENT_OWNER = "agent-owner"
WORKER = "simulated-worker"
GPU_HOST = "gpu-host"
FIRST_DEPOSIT = Money(100_000, "USD")


class LocalKeys(TypedDict):
    """What `keys.json` holds: secrets of which the database knows digests alone."""

    operator_password: str
    agent_key: str
    worker_key: str
    lease_key: str


def ensure(*, keys_file: Path) -> LocalKeys:
    """Make what is missing: an operator, a funded test agent, a worker and a GPU host, with their keys.

    Secrets that the file has and the database still knows stay as they are; others are issued anew, so that a lost file or a
    lost database mends itself.
    """
    kept = credentials.read_strings(keys_file)
    made: LocalKeys = {
        "operator_password": _ensure_operator(kept.get("operator_password", "")),
        "agent_key": _ensure_key(kept.get("agent_key", ""), user=_user(AGENT_OWNER), scope=ApiKey.Scope.AGENT, agent=_ensure_agent()),
        "worker_key": _ensure_key(kept.get("worker_key", ""), user=_ensure_worker(), scope=ApiKey.Scope.WORKER),
        "lease_key": _ensure_key(kept.get("lease_key", ""), user=_user(GPU_HOST), scope=ApiKey.Scope.LEASE_VISION, is_trusted=True),
    }
    credentials.write_private(keys_file, credentials.as_text(made))
    return made


def _user(username: str) -> User:
    user, is_new = User.objects.get_or_create(username=username)
    if is_new:
        user.set_unusable_password()
        user.save(update_fields=["password"])
    return user


def _ensure_operator(password: str) -> str:
    user, _ = User.objects.get_or_create(username=OPERATOR, defaults={"is_staff": True, "is_superuser": True})
    if not password or not user.check_password(password):
        password = secrets.token_urlsafe(12)
        user.set_password(password)
        user.save(update_fields=["password"])
    return password


def _ensure_agent() -> Agent:
    agent, _ = Agent.objects.get_or_create(owner=_user(AGENT_OWNER), name="first agent", mode=Mode.TEST)
    # The same request id each time: one deposit, however often the market starts.
    deposits.request(agent=agent, amount=FIRST_DEPOSIT, now=clock.now(), request_id=uuid.uuid5(agent.pk, "first deposit"))
    return agent


def _ensure_worker() -> User:
    user = _user(WORKER)
    WorkerProfile.objects.get_or_create(user=user, defaults={"mode": Mode.TEST, "country": "DE"})
    return user


def _ensure_key(secret: str, *, user: User, scope: str, agent: Agent | None = None, is_trusted: bool = False) -> str:
    try:
        if keys.authenticate(secret).user_id == user.pk:
            return secret
    except keys.KeyRefused:
        pass
    return keys.issue(user=user, agent=agent, mode=Mode.TEST, scope=scope, name="made by the first start", is_trusted=is_trusted)[1]
