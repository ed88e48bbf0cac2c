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
CLAIMANT = "claimant"
GPU_OWNERS = ("gpu-owner-1", "gpu-owner-2")
FIRST_DEPOSIT = Money(100_000, "USD")


class LocalKeys(TypedDict):
    """What `keys.json` holds: secrets of which the database knows digests alone."""

    operator_password: str
    agent_key: str
    worker_key: str
    lease_key: str
    # The trusted pool's; an agent that submits commits; and two GPU owners who know nothing of each other.
    replay_key: str
    claimant_key: str
    first_owner_key: str
    second_owner_key: str


def ensure(*, keys_file: Path) -> LocalKeys:
    """Make what is missing: an operator, two funded test agents, a worker, a GPU host and two GPU owners, with their keys.

    Secrets that the file has and the database still knows stay as they are; others are issued anew, so that a lost file or a
    lost database mends itself.
    """
    kept = credentials.read_strings(keys_file)
    poster, claimant = _ensure_agent(AGENT_OWNER, "first agent"), _ensure_agent(CLAIMANT, "claimant")
    made: LocalKeys = {
        "operator_password": _ensure_operator(kept.get("operator_password", "")),
        "agent_key": _ensure_key(kept.get("agent_key", ""), user=poster.owner, scope=ApiKey.Scope.AGENT, agent=poster),
        "worker_key": _ensure_key(kept.get("worker_key", ""), user=_ensure_worker(WORKER), scope=ApiKey.Scope.WORKER),
        "lease_key": _ensure_key(kept.get("lease_key", ""), user=_user(GPU_HOST), scope=ApiKey.Scope.LEASE_VISION, is_trusted=True),
        "replay_key": _ensure_key(kept.get("replay_key", ""), user=_user(GPU_HOST), scope=ApiKey.Scope.LEASE_REPLAY, is_trusted=True),
        "claimant_key": _ensure_key(kept.get("claimant_key", ""), user=claimant.owner, scope=ApiKey.Scope.AGENT, agent=claimant),
        "first_owner_key": _ensure_owner_key(kept.get("first_owner_key", ""), GPU_OWNERS[0]),
        "second_owner_key": _ensure_owner_key(kept.get("second_owner_key", ""), GPU_OWNERS[1]),
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


def _ensure_agent(username: str, name: str) -> Agent:
    agent, _ = Agent.objects.get_or_create(owner=_user(username), name=name, mode=Mode.TEST)
    # The same request id each time: one deposit, however often the market starts.
    deposits.request(agent=agent, amount=FIRST_DEPOSIT, now=clock.now(), request_id=uuid.uuid5(agent.pk, "first deposit"))
    return agent


def _ensure_owner_key(secret: str, username: str) -> str:
    return _ensure_key(secret, user=_ensure_worker(username), scope=ApiKey.Scope.LEASE_REPLAY)


def _ensure_worker(username: str) -> User:
    user = _user(username)
    WorkerProfile.objects.get_or_create(user=user, defaults={"mode": Mode.TEST, "country": "DE"})
    return user


def _ensure_key(secret: str, *, user: User, scope: str, agent: Agent | None = None, is_trusted: bool = False) -> str:
    try:
        if keys.authenticate(secret).user_id == user.pk:
            return secret
    except keys.KeyRefused:
        pass
    return keys.issue(user=user, agent=agent, mode=Mode.TEST, scope=scope, name="made by the first start", is_trusted=is_trusted)[1]
