"""A secret opens exactly its own key, as long as key, owner and agent are in good standing."""

import re
import string

import pytest
from django.db import IntegrityError
from django.utils import timezone

from market.accounts import keys
from market.accounts.models import Agent, ApiKey, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner() -> User:
    return User.objects.create_user("owner")


@pytest.fixture
def agent(owner: User) -> Agent:
    return Agent.objects.create(owner=owner, name="Bakery watcher", mode="test")


def issue(owner: User, agent: Agent) -> tuple[ApiKey, str]:
    return keys.issue(user=owner, agent=agent, mode="test", scope="agent", name="first")


def test_finds_key_by_secret(owner: User, agent: Agent) -> None:
    key, secret = issue(owner, agent)
    assert re.fullmatch(r"test_agent_[A-Za-z0-9_-]{43}", secret)
    assert keys.authenticate(secret) == key


@pytest.mark.parametrize(("scope", "word"), [("worker", "worker"), ("lease:vision", "vision"), ("lease:replay", "replay")])
def test_names_scope_in_secret(owner: User, scope: str, word: str) -> None:
    key, secret = keys.issue(user=owner, agent=None, mode="live", scope=scope, name="x")
    assert secret.startswith(f"live_{word}_")
    assert keys.authenticate(secret) == key


def test_keeps_no_secret(owner: User, agent: Agent) -> None:
    key, secret = issue(owner, agent)
    kept = " ".join(str(value) for value in ApiKey.objects.filter(pk=key.pk).values().get().values())
    assert secret not in kept
    assert secret[16:] not in kept


def test_refuses_every_changed_character(owner: User, agent: Agent) -> None:
    _, secret = issue(owner, agent)
    alphabet = string.ascii_letters + string.digits + "-_"
    for place in range(len(secret)):
        other = alphabet[(alphabet.index(secret[place]) + 1) % len(alphabet)]
        with pytest.raises(keys.KeyRefused):
            keys.authenticate(secret[:place] + other + secret[place + 1 :])


@pytest.mark.parametrize("text", ["", "test_agent_", "x" * 10_000, "test_agent_" + "\x00" * 43, "test_agent_" + "é" * 43, "' OR 1=1 --"])
def test_refuses_hostile_text(text: str) -> None:
    with pytest.raises(keys.KeyRefused):
        keys.authenticate(text)


def test_refuses_revoked_key(owner: User, agent: Agent) -> None:
    key, secret = issue(owner, agent)
    keys.revoke(key=key, now=timezone.now())
    with pytest.raises(keys.KeyRefused):
        keys.authenticate(secret)


def test_keeps_first_time_of_revocation(owner: User, agent: Agent) -> None:
    key, _ = issue(owner, agent)
    first = timezone.now()
    keys.revoke(key=key, now=first)
    keys.revoke(key=key, now=timezone.now())
    key.refresh_from_db()
    assert key.revoked_at == first


def test_refuses_key_of_inactive_owner(owner: User, agent: Agent) -> None:
    _, secret = issue(owner, agent)
    User.objects.update(is_active=False)
    with pytest.raises(keys.KeyRefused):
        keys.authenticate(secret)


def test_refuses_key_of_suspended_agent(owner: User, agent: Agent) -> None:
    _, secret = issue(owner, agent)
    Agent.objects.update(is_suspended=True)
    with pytest.raises(keys.KeyRefused):
        keys.authenticate(secret)


def test_refuses_agent_of_another_owner_or_mode(owner: User, agent: Agent) -> None:
    stranger = User.objects.create_user("stranger")
    with pytest.raises(keys.MisfitKey):
        keys.issue(user=stranger, agent=agent, mode="test", scope="agent", name="x")
    with pytest.raises(keys.MisfitKey):
        keys.issue(user=owner, agent=agent, mode="live", scope="agent", name="x")
    with pytest.raises(keys.MisfitKey):
        keys.issue(user=owner, agent=None, mode="test", scope="agent", name="x")
    with pytest.raises(keys.MisfitKey):
        keys.issue(user=owner, agent=agent, mode="test", scope="worker", name="x")
    assert not ApiKey.objects.exists()


def test_trusts_lease_keys_only(owner: User) -> None:
    with pytest.raises(IntegrityError):
        keys.issue(user=owner, agent=None, mode="test", scope="worker", name="x", is_trusted=True)
