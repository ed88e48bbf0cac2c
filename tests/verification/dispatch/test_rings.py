"""Doorbells over the real broker: they ring after the commit, and silence harms nothing."""

import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.db import transaction
from redis import Redis

from tests.verification import scenes
from tests.verification.research import scenes as research_scenes
from verification import dispatch


@pytest.fixture
def broker() -> Iterator[Redis]:
    client = Redis.from_url(settings.REDIS_URL)
    yield client
    client.close()


def bells(client: Redis, queue: str, prefix: str = "") -> list[tuple[str, dict[str, object]]]:
    """Take all messages of a queue: which job, with which keywords."""
    found = []
    while isinstance(raw := client.lpop(f"{prefix}{queue}"), bytes):
        message = json.loads(raw)
        body = json.loads(base64.b64decode(message["body"]))
        found.append((message["headers"]["task"], body[1]))
    return found


@pytest.mark.django_db(transaction=True)
def test_rings_for_a_new_case_and_for_its_run(broker: Redis) -> None:
    bells(broker, "default")
    gpu = str(settings.GPU_BROKER_TRANSPORT_OPTIONS["global_keyprefix"])
    bells(broker, "gpu", gpu)
    submission = scenes.hand_in()
    assert ("verification.advance", {"submission_id": str(submission.pk)}) in bells(broker, "default")
    scenes.advance(submission)
    assert bells(broker, "gpu", gpu) == [("gpu.work_vision", {})]


@pytest.mark.django_db(transaction=True)
def test_rings_for_a_candidate_its_smoke_run_and_its_replays(broker: Redis) -> None:
    gpu = str(settings.GPU_BROKER_TRANSPORT_OPTIONS["global_keyprefix"])
    research_scenes.open_host()
    candidate = research_scenes.submit(research_scenes.post())
    for queue, prefix in (("default", ""), ("gpu", gpu)):
        bells(broker, queue, prefix)
    dispatch.nudge_research()
    assert bells(broker, "default") == [("research.advance", {})]
    research_scenes.advance(candidate)
    assert bells(broker, "gpu", gpu) == [("gpu.work_replay", {})]
    research_scenes.work_pool()
    bells(broker, "gpu", gpu)
    research_scenes.advance(candidate)
    # For each side of the first pair.
    assert bells(broker, "gpu", gpu) == [("gpu.work_replay", {})] * 2
    bells(broker, "money")
    dispatch.nudge_research_verdicts()
    assert bells(broker, "money") == [("bounties.sweep_research", {})]


@pytest.mark.django_db(transaction=True)
def test_does_not_ring_for_what_was_rolled_back(broker: Redis) -> None:
    bells(broker, "default")
    with transaction.atomic():
        dispatch.nudge_verdicts()
        transaction.set_rollback(True)
    assert bells(broker, "default") == []


_RING = """
import django, logging, sys
django.setup()
from django.db import transaction
transaction.on_commit = lambda ring, robust: ring()
from verification import dispatch
import uuid
logging.getLogger("tasks.bells").addHandler(logging.StreamHandler(sys.stdout))
for _ in range(10):
    dispatch.nudge_advance(uuid.UUID(int=1)), dispatch.nudge_verdicts(), dispatch.ring_vision()
"""


def ring_thirty_times(broker_url: str) -> list[str]:
    """Ring in a process of its own, because Celery keeps its connections for good; return what it logged."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "market.config.settings",
        "REDIS_URL": broker_url,
        "ATOMS_GPU_REDIS_URL": broker_url,
    }
    rung = subprocess.run([sys.executable, "-c", _RING], env=environment, capture_output=True, text=True, timeout=120, check=True)
    return rung.stdout.splitlines()


def test_does_no_harm_when_the_broker_is_away() -> None:
    said = ring_thirty_times("redis://127.0.0.1:1/0")
    assert set(said) == {"doorbell not heard"}
    assert 2 <= len(said) < 30, "each of the two bells rests after it went unheard"


def test_does_not_wait_for_a_hanging_broker_at_every_bell() -> None:
    """It accepts connections and never says a word: a few attempts find that out, not thirty."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        said = ring_thirty_times(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        silent.setblocking(False)
        connected = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                silent.accept()[0].close()
                connected += 1
    assert set(said) == {"doorbell not heard"}
    assert 2 <= len(said) < 30
    assert 2 <= connected < 30
