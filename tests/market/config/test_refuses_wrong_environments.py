"""What the system checks say to half-set and wrong environments."""

import base64
import os
import subprocess
import sys

import pytest

from market.config import checks
from market.config.environment import ROOT, Environment

GOOD = {
    "atoms_env": "production",
    "database_url": "postgresql://market:secret@database.example/atoms",
    "redis_url": "rediss://market:secret@broker.example/0",
    "atoms_gpu_redis_url": "rediss://gpu:other@broker.example/0",
    "atoms_secret_key": "q7Jx-2mVn0Zk5rT8wYb3cF6hL9pD1sG4aE_uXoMiQvRtBzWyKj",
    "atoms_receipt_seed": base64.b64encode(bytes(range(32))).decode(),
    "atoms_public_url": "https://market.example",
    "atoms_allowed_hosts": "market.example",
    "atoms_media_dir": "/srv/atoms/media",
}

OLD_KEY = base64.urlsafe_b64encode(bytes(range(32))).rstrip(b"=").decode()


def ids_for(**changes: object) -> list[str | None]:
    return [fault.id for fault in checks.faults_of(Environment.model_validate({**GOOD, **changes}))]


def test_accepts_a_whole_production_environment() -> None:
    assert ids_for() == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"atoms_secret_key": ""}, "market.E002"),
        ({"atoms_secret_key": "short"}, "market.E002"),
        ({"atoms_secret_key": "a" * 60}, "market.E002"),
        ({"atoms_receipt_seed": ""}, "market.E003"),
        ({"atoms_receipt_seed": "not base64!"}, "market.E003"),
        ({"atoms_receipt_seed": base64.b64encode(b"31 bytes are one byte too few..").decode()}, "market.E003"),
        ({"database_url": ""}, "market.E004"),
        ({"database_url": "sqlite:///market.db"}, "market.E004"),
        ({"redis_url": ""}, "market.E005"),
        ({"redis_url": "amqp://broker.example"}, "market.E005"),
        ({"atoms_gpu_redis_url": ""}, "market.E005"),
        ({"atoms_gpu_redis_url": GOOD["redis_url"]}, "market.E006"),
        ({"atoms_public_url": "http://market.example"}, "market.E007"),
        ({"atoms_public_url": "https://market.example/under/a/path"}, "market.E007"),
        ({"atoms_allowed_hosts": "*"}, "market.E008"),
        ({"atoms_allowed_hosts": "other.example"}, "market.E008"),
        ({"atoms_media_dir": "media"}, "market.E009"),
        ({"atoms_media_dir": None}, "market.E010"),
        ({"atoms_trusted_proxies": -1}, "market.E011"),
        ({"atoms_receipt_old_keys": "c2hvcnQ"}, "market.E012"),
        ({"atoms_receipt_old_keys": f"{OLD_KEY}, not base64!"}, "market.E012"),
        ({"database_url": "postgresql://market:secret@database.example/test_atoms"}, "market.E013"),
        ({"database_url": "postgresql://market:secret@database.example/test%5Fatoms?sslmode=require"}, "market.E013"),
    ],
)
def test_names_the_fault(changes: dict[str, object], expected: str) -> None:
    assert ids_for(**changes) == [expected]


def test_a_local_market_needs_nothing() -> None:
    assert list(checks.faults_of(Environment.model_construct())) == []


def test_a_subdomain_may_be_allowed_by_its_parent() -> None:
    assert ids_for(atoms_public_url="https://eu.market.example", atoms_allowed_hosts=".market.example") == []


def test_takes_the_keys_that_signed_before() -> None:
    assert ids_for(atoms_receipt_old_keys=f"{OLD_KEY}, {OLD_KEY}") == []


def test_only_production_needs_a_database_with_a_name_of_its_own() -> None:
    changes = {"atoms_env": "test", "database_url": "postgresql://market@database.example/test_atoms"}
    assert list(checks.faults_of(Environment.model_validate(changes))) == []


def test_every_fault_says_what_to_set() -> None:
    faults = list(checks.faults_of(Environment.model_construct(atoms_env="production")))

    assert len(faults) >= 7
    assert all(fault.hint for fault in faults)
    assert all(any(name.upper() in f"{fault.msg} {fault.hint}" for name in Environment.model_fields) for fault in faults)


def start(code: str, **changes: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run([sys.executable, "-c", code], env={**kept, **changes}, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_web_server_with_wrong_settings_does_not_start() -> None:
    done = start("import market.config.wsgi", ATOMS_ENV="production", ATOMS_PUBLIC_URL="http://market.example")

    assert done.returncode != 0
    assert "(market.E002) ATOMS_SECRET_KEY is missing" in done.stderr
    assert "(market.E007)" in done.stderr


def test_a_value_of_the_wrong_kind_is_named() -> None:
    done = start("import market.config.settings", ATOMS_ENV="test", ATOMS_TRUSTED_PROXIES="many")

    assert done.returncode != 0
    assert "(market.E001) ATOMS_TRUSTED_PROXIES='many'" in done.stderr
