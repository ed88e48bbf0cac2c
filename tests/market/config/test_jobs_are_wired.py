"""Names that stand as text only: jobs in the timetable, in the routes and in the modules."""

import re

import pytest
from django.conf import settings

from market.config import brokers
from market.config.celery_app import app


def own_jobs() -> dict[str, object]:
    app.loader.import_default_modules()
    return {name: job for name, job in app.tasks.items() if not name.startswith("celery.")}


def test_every_job_of_the_timetable_exists() -> None:
    assert {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()} <= set(own_jobs())


def test_bells_that_nobody_hears_do_not_pile_up() -> None:
    assert all("expires" in str(entry["options"]) for entry in settings.CELERY_BEAT_SCHEDULE.values())


def test_jobs_have_explicit_short_names() -> None:
    assert all(re.fullmatch(r"[a-z]+\.[a-z_]+", name) for name in own_jobs())


def test_money_has_its_own_queue() -> None:
    queues = {name: app.amqp.router.route({}, name)["queue"].name for name in own_jobs() if name.startswith("payments.")}

    assert queues
    assert set(queues.values()) == {"money"}


def test_takes_no_pickle() -> None:
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_serializer == "json"


def test_a_killed_worker_gives_its_message_back_soon() -> None:
    assert app.conf.task_acks_late
    assert app.conf.task_reject_on_worker_lost
    assert app.conf.worker_prefetch_multiplier == 1
    options = app.conf.broker_transport_options
    assert options["visibility_timeout"] > app.conf.task_time_limit
    assert (options["unacked_restore_interval"], options["unacked_restore_throttle"]) == (1, 1)
    assert options["socket_timeout"]


@pytest.mark.parametrize(
    ("redis_url", "expected"),
    [
        ("redis://user:word@host:6379/3", "redis://user:word@host:6379/3"),
        ("unix://user:word@/run/a/valkey.sock?db=2", "redis+socket://user:word@/run/a/valkey.sock?virtual_host=2"),
        ("unix:///run/a%20b/valkey.sock", "redis+socket:///run/a%20b/valkey.sock?virtual_host=0"),
    ],
)
def test_spells_addresses_for_celery(redis_url: str, expected: str) -> None:
    assert brokers.celery_url(redis_url) == expected


@pytest.mark.parametrize(
    ("redis_url", "expected"),
    [
        ("redis://user:word@host:6379/0", "redis://user:word@host:6379/3"),
        ("rediss://host", "rediss://host/3"),
        ("unix://user:word@/run/a%20b/valkey.sock?db=0", "unix://user:word@/run/a%20b/valkey.sock?db=3"),
    ],
)
def test_names_another_database_of_a_server(redis_url: str, expected: str) -> None:
    assert brokers.with_database(redis_url, 3) == expected
