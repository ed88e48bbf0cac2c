"""The GPU worker's settings, and what it must not need."""

import subprocess
import sys

import pytest

from gpu_workers import environment

COMPLETE = {"ATOMS_URL": "https://market.example", "ATOMS_LEASE_KEY": "test_lease_x", "ATOMS_GPU_REDIS_URL": "redis://127.0.0.1:1/0"}


def test_reads_the_three_required_variables() -> None:
    settings = environment.read(COMPLETE)
    assert (settings.market_url, settings.lease_key) == ("https://market.example", "test_lease_x")
    assert settings.poll_s == 5.0


@pytest.mark.parametrize("name", sorted(COMPLETE))
def test_names_a_missing_variable(name: str) -> None:
    with pytest.raises(environment.EnvironmentIncomplete, match=name):
        environment.read({key: value for key, value in COMPLETE.items() if key != name})


@pytest.mark.parametrize("value", ["0", "-1", "soon", "nan", "1e9"])
def test_refuses_an_impossible_interval(value: str) -> None:
    with pytest.raises(environment.EnvironmentIncomplete, match="ATOMS_GPU_POLL_S"):
        environment.read({**COMPLETE, "ATOMS_GPU_POLL_S": value})


def imported_by(module: str) -> set[str]:
    program = f"import sys, {module}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PATH": "/usr/bin:/bin", **COMPLETE}, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_jobs_import_neither_server_nor_torch() -> None:
    """Torch is loaded with the model, so that a worker answers its doorbell while weights are read."""
    modules = imported_by("gpu_workers.jobs")
    packages = {name.partition(".")[0] for name in modules}
    assert not packages & {"django", "rest_framework", "psycopg", "market", "tasks", "torch", "transformers"}
    assert server_modules(modules) == set()


def server_modules(modules: set[str]) -> set[str]:
    """Return what was imported of `verification` beside the replay protocol, which owners and judge share."""
    of_ours = {name for name in modules if name.startswith("verification.")}
    return {name for name in of_ours if name != "verification.replay" and not name.startswith("verification.replay.")}


def test_celery_app_configures_no_django_and_opens_no_database() -> None:
    """Kombu itself imports a helper of Django where Django happens to be installed; settings and database stay out."""
    modules = imported_by("gpu_workers.celery_app")
    assert not modules & {"django.conf", "django.db", "django.apps", "market", "tasks", "torch"}
    assert server_modules(modules) == set()


def test_says_what_to_set_when_started_without_a_broker() -> None:
    variables = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", "import gpu_workers.celery_app"], env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Set ATOMS_GPU_REDIS_URL" in done.stderr
