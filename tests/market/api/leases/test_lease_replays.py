"""A GPU owner leases a training, fetches its files, seals, reveals, hands in; fenced, bound to key, token and lease, safe to repeat."""

import datetime
import hashlib
from typing import Any

import pytest
from django.utils import timezone

from market.accounts import keys
from market.accounts.models import Agent, ApiKey, User
from market.bounties.research import paying, sweeping
from market.bounties.research.models import ResearchBounty
from tasks import clock
from tests import people
from tests.faults import research_calls
from tests.market.api.caller import Answer, Caller
from tests.market.bounties.research import scene
from tests.verification.research import scenes
from verification.replay import reports
from verification.research.models import Artefact, Host, Run

pytestmark = pytest.mark.django_db
HOST = {"name": "garage", "class_key": scenes.CLASS, "sandbox_level": "bwrap-cpu", "facts": {"cores": 8}}
FILE = "application/octet-stream"


@pytest.fixture
def owner(db: None) -> User:
    return people.open_user("gpu-owner")


@pytest.fixture
def as_owner(owner: User) -> Caller:
    return Caller(research_calls.owner_key(owner)[1])


@pytest.fixture
def host(as_owner: Caller) -> str:
    """A registered machine, whose first training waits for it."""
    return str(as_owner.post("hosts", HOST).ok()["id"])


def take(caller: Caller, host: str, **more: object) -> list[Any]:
    items: list[Any] = caller.post("leases", {"kind": "replay", "holder": "box", "host_id": host, **more}).ok()["items"]
    return items


def run_of(item: Any) -> Run:
    return Run.objects.select_related("tree").get(pk=item["id"].removeprefix("rpl_"))


def seal(caller: Caller, item: Any, written: str | None = None) -> Answer:
    body = {"token": item["token"], "seal": written or reports.seal(scenes.report_of(run_of(item)), scenes.SALT)}
    return caller.post(f"leases/{item['id']}/seal", body)


def reveal(caller: Caller, item: Any, **report: object) -> Answer:
    body = {"token": item["token"], "report": {**scenes.report_of(run_of(item)).to_json(), **report}, "salt": scenes.SALT}
    return caller.post(f"leases/{item['id']}/complete", body)


def upload(caller: Caller, item: Any, index: int, content: bytes) -> Answer:
    return caller.post_raw(f"leases/{item['id']}/artefacts?token={item['token']}&index={index}", content, content_type=FILE)


def test_goes_all_the_way(host: str, as_owner: Caller) -> None:
    assert as_owner.get("hosts").ok()["data"][0]["status"] == "CALIBRATING"
    (item,) = take(as_owner, host)
    assert (item["kind"], item["params"]["diff"], item["params"]["bounty"]) == ("replay", "", "")
    assert item["params"]["pay"] == {"amount": "0.05", "currency": "USD"}
    assert set(item["params"]) == {"spec", "tree_digest", "seed", "class_key", "pay", "bounty", "title", "diff"}
    assert sorted(file["role"].partition(":")[0] for file in item["inputs"]) == ["train", "tree"]
    for file in item["inputs"]:
        fetched = as_owner.get(file["url"])
        assert hashlib.sha256(fetched.body).hexdigest() == file["sha256"]
        assert fetched.response.headers["Cache-Control"] == "no-store, private"
    beat = {"token": item["token"], "lease_s": 300, "progress": {"step": 40, "steps": 200}}
    assert as_owner.post(f"leases/{item['id']}/heartbeat", beat).ok()["status"] == "LEASED"
    assert as_owner.get(f"replays/{item['id']}").ok()["steps_done"] == 40
    sealed = seal(as_owner, item).ok()
    assert (sealed["status"], sealed["is_reveal_due"]) == ("SEALED", True)
    assert seal(as_owner, item).ok() == sealed
    revealed = reveal(as_owner, item).ok()
    assert revealed["status"] == "REVEALED"
    assert {0, 4, 5} <= set(revealed["wanted_checkpoints"])
    as_owner.post(f"leases/{item['id']}/finish", {"token": item["token"]}).refused(409, "checkpoints_missing")
    for index in revealed["wanted_checkpoints"]:
        kept = upload(as_owner, item, index, f"checkpoint {index}".encode()).ok(201)
        assert kept["sha256"] == hashlib.sha256(f"checkpoint {index}".encode()).hexdigest()
    assert as_owner.post(f"leases/{item['id']}/finish", {"token": item["token"]}).ok()["status"] == "DONE"
    scenes.work_pool()
    paying.pay_calibrations_due(now=clock.now())
    mine = as_owner.get("replays").ok()
    (row,) = mine["data"]
    assert (row["status"], row["money_status"], row["reason"]) == ("VALID", "PENDING", "valid")
    assert mine["totals"] == [{"paid": {"amount": "0.00", "currency": "USD"}, "pending": {"amount": "0.05", "currency": "USD"}}]
    assert as_owner.get("hosts").ok()["data"][0]["status"] == "READY"


def begin(agent: Agent) -> ResearchBounty:
    """Let every machine that is there be calibrated, and a candidate of a new bounty begin its replays."""
    Run.objects.all().delete()
    Host.objects.update(calibrated_at=clock.now(), valid_count=50)
    bounty = research_calls.bounty(agent)
    scenes.begin(bounty.task, edited=scene.edit())
    return bounty


def test_gives_the_diff_of_a_candidate(as_owner: Caller, host: str, agent: Agent) -> None:
    bounty = begin(agent)
    assert as_owner.get("demand", class_key=scenes.CLASS).ok()["pay_p50"] == {"amount": "0.50", "currency": "USD"}
    items = take(as_owner, host, limit=8)
    diffs = {item["params"]["diff"] for item in items}
    assert any("-LEARNING_RATE = 0.01" in diff and "+LEARNING_RATE = 0.02" in diff for diff in diffs)
    for item in items:
        assert (item["params"]["bounty"], item["params"]["title"]) == (str(bounty), bounty.task.title)
        assert not {"validation", "holdout"} & {file["role"].partition(":")[0] for file in item["inputs"]}


def test_waits_for_the_others_of_its_round(as_owner: Caller, host: str, agent: Agent) -> None:
    other_owner = people.open_user("gpu-owner")
    as_other = Caller(research_calls.owner_key(other_owner)[1])
    other_host = str(as_other.post("hosts", HOST).ok()["id"])
    begin(agent)
    (mine,), (theirs,) = take(as_owner, host), take(as_other, other_host)
    waiting = seal(as_owner, mine).ok()
    assert (waiting["is_reveal_due"], waiting["retry_after_s"] > 0) == (False, True)
    early = reveal(as_owner, mine)
    assert early.refused(409, "reveal_too_early")["retryable"]
    assert early.response.headers["Retry-After"] == "2"
    seal(as_other, theirs).ok()
    assert seal(as_owner, mine).ok()["is_reveal_due"]
    reveal(as_owner, mine).ok()


def test_fences_an_old_holder_off(host: str, as_owner: Caller) -> None:
    (old,) = take(as_owner, host)
    Run.objects.update(lease_until=timezone.now() - datetime.timedelta(seconds=1))
    Run.objects.sweep(max_attempts=9)
    Run.objects.update(available_at=timezone.now())
    (new,) = take(as_owner, host)
    assert new["token"] == old["token"] + 1
    as_owner.get(old["inputs"][0]["url"]).refused(404, "lease_ended")
    seal(as_owner, old).refused(409, "stale_lease")
    for action, more in (("heartbeat", {}), ("fail", {"reason": "late"}), ("finish", {})):
        as_owner.post(f"leases/{old['id']}/{action}", {"token": old["token"], **more}).refused(409, "stale_lease")
    seal(as_owner, new).ok()
    reveal(as_owner, old).refused(409, "stale_lease")
    reveal(as_owner, new).ok()
    upload(as_owner, old, 0, b"x").refused(409, "stale_lease")
    assert Artefact.objects.count() == 0


def test_binds_everything_to_the_key(host: str, owner: User, as_owner: Caller) -> None:
    (item,) = take(as_owner, host)
    url = item["inputs"][0]["url"]
    for other in (owner, people.open_user("other")):
        # Not even another key of the same owner.
        as_other = Caller(research_calls.owner_key(other)[1])
        as_other.get(url).refused(404, "lease_ended")
        seal(as_other, item).refused(404, "not_found")
        upload(as_other, item, 0, b"x").refused(404, "not_found")
    Caller(research_calls.owner_key(people.open_user("other"))[1]).get(f"replays/{item['id']}").refused(404, "not_found")
    Run.objects.update(lease_until=timezone.now() - datetime.timedelta(seconds=1))
    as_owner.get(url).refused(404, "lease_ended")
    for place in range(0, len(url) - 40, 11):
        changed = url[: 40 + place] + ("A" if url[40 + place] != "A" else "B") + url[41 + place :]
        assert as_owner.get(changed).status == 404


def test_gives_hold_out_data_to_the_trusted_pool_alone(as_owner: Caller) -> None:
    candidate = scenes.submit(scenes.post())
    scenes.advance(candidate)
    as_owner.post("leases", {"kind": "trusted", "holder": "pool"}).refused(403, "lease_key_not_trusted")
    as_pool = Caller(research_calls.owner_key(people.open_user("pool"), is_trusted=True)[1])
    (smoke,) = as_pool.post("leases", {"kind": "trusted", "holder": "pool"}).ok()["items"]
    assert (smoke["kind"], smoke["id"][:4]) == ("smoke", "job_")
    as_owner.post(f"leases/{smoke['id']}/complete", {"token": smoke["token"], "readings": {}}).refused(403, "lease_key_not_trusted")
    as_pool.post(f"leases/{smoke['id']}/heartbeat", {"token": smoke["token"]}).ok()
    as_pool.post(f"leases/{smoke['id']}/complete", {"token": smoke["token"], "readings": {"is_passed": 1}}).refused(
        422, "malformed_readings"
    )
    done = {"token": smoke["token"], "readings": {"is_passed": True, "codes": []}}
    assert as_pool.post(f"leases/{smoke['id']}/complete", done).ok()["status"] == "DONE"
    assert as_pool.post(f"leases/{smoke['id']}/complete", done).ok()["status"] == "DONE"


def test_takes_an_address_away_with_the_trust(as_owner: Caller, host: str) -> None:
    (item,) = take(as_owner, host)
    seal(as_owner, item).ok()
    for index in reveal(as_owner, item).ok()["wanted_checkpoints"]:
        upload(as_owner, item, index, f"checkpoint {index}".encode()).ok(201)
    as_owner.post(f"leases/{item['id']}/finish", {"token": item["token"]}).ok()
    key, secret = research_calls.owner_key(people.open_user("pool"), is_trusted=True)
    as_pool = Caller(secret)
    jobs = as_pool.post("leases", {"kind": "trusted", "holder": "pool", "limit": 8}).ok()["items"]
    evaluation = next(job for job in jobs if job["kind"] == "evaluate")
    files = {file["role"].partition(":")[0]: file for file in evaluation["inputs"]}
    assert {"tree", "checkpoint", "validation", "holdout"} <= set(files)
    for file in files.values():
        assert hashlib.sha256(as_pool.get(file["url"]).body).hexdigest() == file["sha256"]
    as_owner.get(files["holdout"]["url"]).refused(404, "lease_ended")
    ApiKey.objects.filter(pk=key.pk).update(is_trusted=False)
    as_pool.get(files["holdout"]["url"]).refused(404, "lease_ended")


def test_gives_back(host: str, as_owner: Caller) -> None:
    (item,) = take(as_owner, host)
    given = {"token": item["token"], "reason": "Too hot!", "steps_done": 60}
    assert as_owner.post(f"leases/{item['id']}/fail", given).ok()["status"] == "GIVEN_BACK"
    assert run_of(item).stage == Run.Stage.OPEN


def test_takes_only_what_was_asked_for(host: str, as_owner: Caller) -> None:
    (item,) = take(as_owner, host)
    upload(as_owner, item, 0, b"x").refused(422, "checkpoint_not_wanted")
    reveal(as_owner, item).refused(409, "not_sealed")
    seal(as_owner, item).ok()
    seal(as_owner, item, "0" * 64).refused(409, "sealed_otherwise")
    assert reveal(as_owner, item, wall_s=13.0).refused(422, "invalid_parameter")["param"] == "report"
    assert reveal(as_owner, item, seed=1).refused(422, "invalid_parameter")["param"] == "seed"
    reveal(as_owner, item).ok()
    upload(as_owner, item, 0, b"one").ok(201)
    upload(as_owner, item, 0, b"one").ok(201)
    upload(as_owner, item, 0, b"two").refused(409, "other_checkpoint")
    upload(as_owner, item, 0, b"").refused(400, "malformed_body")
    as_owner.post_raw(f"leases/{item['id']}/artefacts?token=x&index=0", b"x", content_type=FILE).refused(422, "invalid_parameter")
    as_owner.post_raw(f"leases/{item['id']}/artefacts", b"x", content_type=FILE).refused(422, "invalid_parameter")


def test_gives_the_same_lease_to_the_same_request(host: str, as_owner: Caller) -> None:
    body = {"kind": "replay", "holder": "box", "host_id": host}
    first = as_owner.post("leases", body, key="one")
    assert as_owner.post("leases", body, key="one").body == first.body
    assert len(first.body["items"]) == 1
    assert take(as_owner, host) == []


def test_registers_a_machine_once(as_owner: Caller, host: str) -> None:
    assert as_owner.post("hosts", {**HOST, "facts": {"cores": 16}}).ok()["id"] == host
    assert as_owner.post("hosts", {**HOST, "name": "cellar"}).ok()["id"] != host
    assert len(as_owner.get("hosts", limit=1).ok()["data"]) == 1


@pytest.mark.parametrize(
    ("change", "param"),
    [({"class_key": "gpu"}, "hardware"), ({"sandbox_level": "none"}, "sandbox_level"), ({"facts": {"a": [1]}}, ""), ({"name": ""}, "name")],
)
def test_refuses_odd_machines(as_owner: Caller, change: dict[str, object], param: str) -> None:
    as_owner.post("hosts", {**HOST, **change}).refused(422, "invalid_parameter")
    assert Host.objects.count() == 0


def test_needs_a_machine_of_ones_own(host: str, as_owner: Caller) -> None:
    as_other = Caller(research_calls.owner_key(people.open_user("other"))[1])
    as_other.post("leases", {"kind": "replay", "holder": "box", "host_id": host}).refused(404, "not_found")
    as_owner.post("leases", {"kind": "replay", "holder": "box"}).refused(422, "invalid_parameter")
    other_class = {"kind": "replay", "holder": "box", "host_id": host, "class_key": scenes.SECOND_CLASS}
    as_owner.post("leases", other_class).refused(422, "invalid_parameter")
    Host.objects.update(is_suspended=True)
    as_owner.post("leases", {"kind": "replay", "holder": "box", "host_id": host}).refused(403, "host_suspended")


def test_says_what_is_asked_for(as_owner: Caller, host: str) -> None:
    assert as_owner.get("demand", class_key=scenes.CLASS).ok() == {
        "object": "demand",
        "open_runs": 0,
        "pay_p50": None,
        "seconds_p50": None,
        "n": 0,
    }
    as_owner.get("demand", class_key="gpu").refused(422, "invalid_parameter")
    as_owner.get("demand").refused(422, "invalid_parameter")


def test_keeps_machines_of_one_kind_from_the_work_of_the_other(as_machine: Caller, as_owner: Caller, host: str) -> None:
    as_machine.post("leases", {"kind": "replay", "holder": "box", "host_id": host}).refused(403, "wrong_scope")
    as_owner.post("leases", {"kind": "vision", "holder": "box"}).refused(403, "wrong_scope")
    (item,) = take(as_owner, host)
    as_machine.post(f"leases/{item['id']}/heartbeat", {"token": item["token"]}).refused(403, "wrong_scope")
    as_machine.get(item["inputs"][0]["url"]).refused(404, "lease_ended")
    revoked = ApiKey.objects.get(secret_sha256=keys.digest(as_owner.secret))
    keys.revoke(key=revoked, now=timezone.now())
    as_owner.get(item["inputs"][0]["url"]).refused(401, "api_key_refused")


def test_appeals_a_training_that_was_found_invalid(host: str, as_owner: Caller) -> None:
    (item,) = take(as_owner, host)
    as_owner.post(f"replays/{item['id']}/appeal").refused(409, "not_appealable")
    run = run_of(item)
    forged = scenes.leaves_of(run, forged_from=3, flavour="no work")
    scenes.train(run, forged)
    scenes.work_pool()
    shown = as_owner.get(f"replays/{item['id']}").ok()
    assert (shown["status"], shown["appeal"]) == ("INVALID", None)
    assert shown["appeal_until"] > shown["judged_at"]
    stranger = Caller(research_calls.owner_key(people.open_user("stranger"))[1])
    stranger.post(f"replays/{item['id']}/appeal").refused(404, "not_found")
    first = as_owner.post(f"replays/{item['id']}/appeal").ok()["appeal"]
    assert (first["status"], first["decided_at"], first["differs_from_step"]) == ("OPEN", None, None)
    assert as_owner.post(f"replays/{item['id']}/appeal").ok()["appeal"] == first
    scenes.work_pool()
    sweeping.sweep(now=clock.now())
    row = as_owner.get("replays").ok()["data"][0]
    assert row["lost"] == {"amount": "0.00", "currency": "USD"}
    found = row["appeal"]
    assert (found["status"], found["differs_from_checkpoint"], found["differs_from_step"]) == ("STANDS", 3, 120)
    assert Run.objects.filter(kind=Run.Kind.APPEAL).count() == 1
