"""The accounts and keys of a local market over several starts."""

import json
import stat
from pathlib import Path

import pytest
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command

from market.accounts import keys
from market.accounts.models import Agent, ApiKey, User
from market.config import local_people
from market.config.environment import ENVIRONMENT
from market.payments import queries
from tasks import clock

pytestmark = pytest.mark.django_db


def test_makes_an_operator_a_funded_agent_a_worker_and_a_gpu_host(tmp_path: Path) -> None:
    made = local_people.ensure(keys_file=tmp_path / "keys.json")

    operator = authenticate(username="operator", password=made["operator_password"])
    assert isinstance(operator, User)
    assert operator.is_superuser
    agent = keys.authenticate(made["agent_key"]).agent
    assert agent is not None
    assert queries.agent_balance(agent) == {"USD": 100_000}
    assert keys.authenticate(made["worker_key"]).scope == ApiKey.Scope.WORKER
    lease_key = keys.authenticate(made["lease_key"])
    assert (lease_key.scope, lease_key.is_trusted) == (ApiKey.Scope.LEASE_VISION, True)


def test_makes_everybody_a_research_bounty_needs(tmp_path: Path) -> None:
    made = local_people.ensure(keys_file=tmp_path / "keys.json")

    pool = keys.authenticate(made["replay_key"])
    assert (pool.scope, pool.is_trusted) == (ApiKey.Scope.LEASE_REPLAY, True)
    owners = [keys.authenticate(made["first_owner_key"]), keys.authenticate(made["second_owner_key"])]
    assert [(key.scope, key.is_trusted) for key in owners] == [(ApiKey.Scope.LEASE_REPLAY, False)] * 2
    claimant = keys.authenticate(made["claimant_key"]).agent
    assert claimant is not None
    assert queries.agent_balance(claimant) == {"USD": 100_000}
    poster = keys.authenticate(made["agent_key"])
    assert len({key.user_id for key in (poster, keys.authenticate(made["claimant_key"]), pool, *owners)}) == 5


def test_the_second_start_finds_all_of_it(tmp_path: Path) -> None:
    first = local_people.ensure(keys_file=tmp_path / "keys.json")
    counts = (User.objects.count(), Agent.objects.count(), ApiKey.objects.count())

    assert local_people.ensure(keys_file=tmp_path / "keys.json") == first

    assert (User.objects.count(), Agent.objects.count(), ApiKey.objects.count()) == counts
    agent = keys.authenticate(first["agent_key"]).agent
    assert agent is not None
    assert queries.agent_balance(agent) == {"USD": 100_000}


def test_keeps_the_secrets_to_their_owner(tmp_path: Path) -> None:
    local_people.ensure(keys_file=tmp_path / "keys.json")
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("text", [None, "", "{half", "[]", '{"agent_key": 7}', '{"agent_key": "test_agent_gone"}'])
def test_issues_new_keys_for_a_lost_or_broken_file(tmp_path: Path, text: str | None) -> None:
    first = local_people.ensure(keys_file=tmp_path / "keys.json")
    (tmp_path / "keys.json").unlink() if text is None else (tmp_path / "keys.json").write_text(text)

    second = local_people.ensure(keys_file=tmp_path / "keys.json")

    assert second["agent_key"] != first["agent_key"]
    assert keys.authenticate(second["agent_key"]).agent == keys.authenticate(first["agent_key"]).agent
    assert json.loads((tmp_path / "keys.json").read_text()) == second


def test_replaces_a_revoked_key(tmp_path: Path) -> None:
    first = local_people.ensure(keys_file=tmp_path / "keys.json")
    keys.revoke(key=keys.authenticate(first["worker_key"]), now=clock.now())

    second = local_people.ensure(keys_file=tmp_path / "keys.json")

    assert second["worker_key"] != first["worker_key"]
    assert second["agent_key"] == first["agent_key"]


def test_does_not_run_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ENVIRONMENT, "atoms_env", "production")
    with pytest.raises(CommandError, match="production"):
        call_command("bootstrap_local")
    assert not User.objects.exists()
