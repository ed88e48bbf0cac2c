"""A trusted machine leases vision runs, fetches their files, hands in readings; fenced, bound to key, token and lease."""

import base64
import datetime
from typing import Any

import numpy as np
import pytest
from django.utils import timezone

from market.accounts import keys
from market.accounts.models import Agent, ApiKey, User
from tasks import evidence
from tasks.models import Task, WorkerProfile
from tests import photographs, stories
from tests.market.api.caller import Answer, Caller
from verification import vision_runs
from verification.models import Case, VisionRun

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(agent: Agent, worker: WorkerProfile) -> VisionRun:
    """A vision run about a real photograph."""
    submission = stories.submit(stories.claim(stories.post_photo_bounty(agent), worker), file=evidence.take_in(photographs.jpeg()))
    case = Case.objects.get(submission=submission)
    VisionRun.objects.filter(case=case).delete()
    Case.objects.update(stage=Case.Stage.VISION)
    vision_runs.ask(case=case, files=list(submission.evidence.all()), phrases=["a cup"])
    return VisionRun.objects.get()


def take(machine: Caller, **more: object) -> list[Any]:
    items: list[Any] = machine.post("leases", {"kind": "vision", "limit": 8, "holder": "gpu-1", **more}).ok()["items"]
    return items


def readings() -> dict[str, object]:
    vector = np.zeros(16, dtype="<f2")
    vector[0] = 1
    return {"labels": [{"index": 5, "probability": 0.9}], "phrase_scores": [0.5], "descriptor": base64.b64encode(vector.tobytes()).decode()}


def complete(machine: Caller, item: Any, **more: object) -> Answer:
    body = {"token": item["token"], "readings": readings(), "model_hash": "0" * 64, "preprocessing": "v1", **more}
    return machine.post(f"leases/{item['id']}/complete", body)


def test_leases_fetches_and_completes(run: VisionRun, as_machine: Caller) -> None:
    (item,) = take(as_machine)
    assert item["id"] == str(run)
    assert item["params"] == {"phrases": ["a cup"]}
    (file,) = item["inputs"]
    fetched = as_machine.get(file["url"])
    assert fetched.body == photographs.jpeg()
    assert fetched.response.headers["Cache-Control"] == "no-store, private"
    assert fetched.response.headers["X-Content-Type-Options"] == "nosniff"
    assert fetched.response.headers["Content-Disposition"].startswith("attachment")
    assert complete(as_machine, item).ok()["status"] == "DONE"
    assert complete(as_machine, item).ok()["status"] == "DONE"
    run.refresh_from_db()
    assert run.readings is not None
    assert run.lease_state == "DONE"


def test_answers_at_once_when_there_is_nothing(as_machine: Caller) -> None:
    assert as_machine.post("leases", {"kind": "vision", "holder": "gpu-1"}).ok() == {"object": "lease", "items": [], "retry_after_s": 1.0}


def test_gives_the_same_lease_to_the_same_request(run: VisionRun, as_machine: Caller) -> None:
    body = {"kind": "vision", "holder": "gpu-1"}
    first = as_machine.post("leases", body, key="one")
    again = as_machine.post("leases", body, key="one")
    assert first.body == again.body
    assert len(first.body["items"]) == 1
    assert take(as_machine) == []


def test_fences_an_old_holder_off(run: VisionRun, as_machine: Caller) -> None:
    (old,) = take(as_machine)
    VisionRun.objects.update(lease_until=timezone.now() - datetime.timedelta(seconds=1))
    VisionRun.objects.filter(pk=run.pk).sweep(max_attempts=4)
    VisionRun.objects.update(available_at=timezone.now())
    (new,) = take(as_machine)
    assert new["token"] == old["token"] + 1
    as_machine.get(old["inputs"][0]["url"]).refused(404, "lease_ended")
    complete(as_machine, old).refused(409, "stale_lease")
    as_machine.post(f"leases/{run}/heartbeat", {"token": old["token"]}).refused(409, "stale_lease")
    as_machine.post(f"leases/{run}/fail", {"token": old["token"], "reason": "late"}).refused(409, "stale_lease")
    complete(as_machine, new).ok()


def test_keeps_and_gives_back(run: VisionRun, as_machine: Caller) -> None:
    (item,) = take(as_machine)
    assert as_machine.post(f"leases/{run}/heartbeat", {"token": item["token"], "lease_s": 300}).ok()["status"] == "LEASED"
    assert as_machine.post(f"leases/{run}/fail", {"token": item["token"], "reason": "out of memory"}).ok()["status"] == "GIVEN_BACK"
    run.refresh_from_db()
    assert run.lease_state == "READY"


def test_ends_the_address_with_the_lease(run: VisionRun, as_machine: Caller) -> None:
    (item,) = take(as_machine)
    url = item["inputs"][0]["url"]
    VisionRun.objects.update(lease_until=timezone.now() - datetime.timedelta(seconds=1))
    as_machine.get(url).refused(404, "lease_ended")


def test_binds_the_address_to_the_key(run: VisionRun, as_machine: Caller, as_agent: Caller) -> None:
    (item,) = take(as_machine)
    url = item["inputs"][0]["url"]
    other = keys.issue(user=User.objects.create_user("op2"), agent=None, mode="test", scope="lease:vision", name="x", is_trusted=True)[1]
    Caller(other).get(url).refused(404, "lease_ended")
    as_agent.get(url).refused(403, "wrong_scope")
    Caller().get(url).refused(401, "api_key_missing")
    for place in range(0, len(url) - 40, 7):
        changed = url[: 40 + place] + ("A" if url[40 + place] != "A" else "B") + url[41 + place :]
        assert as_machine.get(changed).status in (404, 422)
    keys.revoke(key=ApiKey.objects.get(secret_sha256=keys.digest(as_machine.secret)), now=timezone.now())
    as_machine.get(url).refused(401, "api_key_refused")


def test_shows_strangers_machines_nothing(run: VisionRun) -> None:
    stranger = Caller(keys.issue(user=User.objects.create_user("s"), agent=None, mode="test", scope="lease:vision", name="x")[1])
    stranger.post("leases", {"kind": "vision", "holder": "gpu"}).refused(403, "lease_key_not_trusted")
    replay = Caller(keys.issue(user=User.objects.create_user("r"), agent=None, mode="test", scope="lease:replay", name="x")[1])
    replay.post("leases", {"kind": "vision", "holder": "gpu"}).refused(403, "wrong_scope")


def test_keeps_live_photos_from_test_keys(run: VisionRun, as_machine: Caller) -> None:
    Task.objects.update(mode="live")
    assert take(as_machine) == []


@pytest.mark.parametrize(
    "change",
    [
        {"phrase_scores": []},
        {"phrase_scores": [0.1, 0.2]},
        {"phrase_scores": ["0.1"]},
        {"descriptor": "AAAA"},
        {"descriptor": "?"},
        {"labels": [{"index": -1, "probability": 0.5}]},
        {"verdict": "ACCEPTED"},
    ],
)
def test_refuses_malformed_readings(run: VisionRun, as_machine: Caller, change: dict[str, object]) -> None:
    (item,) = take(as_machine)
    complete(as_machine, item, readings={**readings(), **change}).refused(422, "malformed_readings")
    run.refresh_from_db()
    assert run.lease_state == "LEASED"


@pytest.mark.parametrize(
    "change", [{"limit": 0}, {"limit": 65}, {"limit": "1"}, {"kind": "gpu"}, {"holder": ""}, {"holder": "a\nb"}, {"lease_s": 10**9}]
)
def test_refuses_odd_requests(as_machine: Caller, change: dict[str, object]) -> None:
    as_machine.post("leases", {"kind": "vision", "holder": "gpu-1", **change}).refused(422, "invalid_parameter")
