"""The owner's program against a real HTTP server ..."""

from pathlib import Path
from typing import Any

import pytest

from gpu_workers.owner import folder as folders
from gpu_workers.owner import history, limits, machine
from tests.gpu_workers.owner import programs, work
from tests.gpu_workers.owner.replay_market import ReplayMarket, Run

PAID_ONCE = {"seal": 1, "reveal": 1, "artefact 0": 1, "artefact 2": 1, "pay": 1}


def test_takes_a_run_from_lease_to_pay(tmp_path: Path) -> None:
    run = Run(not_yet=2)
    with ReplayMarket(run) as market:
        programs.work_to_the_end(programs.setup(market, tmp_path))
    assert (run.state, run.effects, run.hand_outs) == ("DONE", PAID_ONCE, 1)
    assert run.report is not None
    assert run.report["run_id"] == run.id
    assert market.calls.count("seal") == 3
    word = history.of_run(folders.Folder(tmp_path), run.id)
    assert word is not None
    assert (word["outcome"], word["seconds"]) == ("handed_in", 60.0)
    assert list(tmp_path.glob("runs/*")) == []


def test_uploads_only_what_is_asked_for(tmp_path: Path) -> None:
    run = Run(wanted=(4,))
    with ReplayMarket(run) as market:
        programs.work_to_the_end(programs.setup(market, tmp_path))
    assert set(run.artefacts) == {4}


def test_works_on_while_sealed_reports_wait(tmp_path: Path) -> None:
    slow, quick = Run(not_yet=10**6), Run()
    with ReplayMarket(slow, quick) as market, programs.working(programs.setup(market, tmp_path, runs=None)):
        market.wait_until(lambda: quick.state == "DONE")
    assert slow.state == "SEALED"
    assert programs.stage_of(folders.Folder(tmp_path), slow.id) is machine.Stage.SEALED


def test_a_market_that_is_down_for_a_while_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "FIRST_BACKOFF_S", 0.05)
    run = Run()
    steps = ["lease", "seal", "complete", "artefacts", "finish"]
    tried = list[str]()

    def go_down(when: str, step: str, run_id: str) -> None:
        if when == "before" and step in steps:
            tried.append(step)
            # Each step is lost twice: the request, then the answer.
            market.is_down = tried.count(step) == 1

    with ReplayMarket(run) as market:
        market.notice, market.lost_answers = go_down, list(steps)
        programs.work_to_the_end(programs.setup(market, tmp_path))
    assert (run.effects, run.hand_outs) == (PAID_ONCE, 1)
    assert min(tried.count(step) for step in steps) >= 3


def test_a_run_that_went_to_another_is_dropped_and_stopped(tmp_path: Path) -> None:
    (tmp_path / "hold").touch()
    run = Run()
    with ReplayMarket(run) as market, programs.working(programs.setup(market, tmp_path, runs=None)):
        programs.until((tmp_path / "held.json").exists, "the trainer did not start")
        held = folders.read(tmp_path / "held.json")
        with market.lock:
            run.token += 1
            run.state = "LEASED"
        # The lease is kept alive every two minutes; here the next beat comes with the next start.
    assert held is not None
    programs.until(lambda: not any(programs.is_alive(pid) for pid in _pids(held)), "the trainer lives on")
    with programs.working(programs.setup(market_again := ReplayMarket(run), tmp_path, runs=None)), market_again:
        programs.until(lambda: (tmp_path / "ended" / f"{run.id}.json").exists(), "the run was not dropped")
    word = history.of_run(folders.Folder(tmp_path), run.id)
    assert word is not None
    assert word["outcome"] == "stale"
    assert run.effects == {}


def test_broken_inputs_are_given_back(tmp_path: Path) -> None:
    broken = {
        "malformed_spec": Run(work.params(spec={"version": 2})),
        "broken_inputs": Run(work.params(tree_digest="0" * 64)),
        "malformed_params": Run(work.params(pay=None)),
    }
    for reason, run in broken.items():
        with ReplayMarket(run) as market:
            programs.work_to_the_end(programs.setup(market, tmp_path))
        assert (run.state, run.reason, run.steps_done, run.effects) == ("FAILED", reason, 0, {})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"limits": limits.Limits(refuse=frozenset({"rsb_" + "5" * 32}))}, "not_served"),
        ({"limits": limits.Limits(serve=frozenset({"rsb_" + "6" * 32}))}, "not_served"),
    ],
)
def test_causes_that_the_owner_does_not_serve_are_given_back(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    run = Run()
    with ReplayMarket(run) as market:
        programs.work_to_the_end(programs.setup(market, tmp_path, **changes))
    assert (run.state, run.reason) == ("FAILED", reason)


def test_a_spec_that_wants_a_stronger_sandbox_is_given_back(tmp_path: Path) -> None:
    run = Run(work.params(spec=work.SPEC | {"sandbox_level": "gvisor-gpu"}))
    with ReplayMarket(run) as market:
        programs.work_to_the_end(programs.setup(market, tmp_path))
    assert (run.state, run.reason) == ("FAILED", "sandbox_level")


def test_two_programs_never_share_a_folder(tmp_path: Path) -> None:
    folder = folders.Folder(tmp_path)
    with folder.locked():
        assert folder.is_running
        with pytest.raises(folders.AlreadyRunning, match="runs already"), folders.Folder(tmp_path).locked():
            pass
    assert not folder.is_running


def _pids(held: folders.JsonObject) -> list[int]:
    pids = held["pids"]
    assert isinstance(pids, list)
    return [pid for pid in pids if isinstance(pid, int)]
