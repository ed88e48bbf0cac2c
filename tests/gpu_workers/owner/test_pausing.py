"""A pause, a limit or a finish, said while a training runs ..."""

import time
from pathlib import Path

import pytest

from gpu_workers.owner import folder as folders
from gpu_workers.owner import history, limits, machine, sensors
from tests.gpu_workers.owner import programs
from tests.gpu_workers.owner.replay_market import ReplayMarket, Run


def _held(home: Path) -> list[int]:
    """Wait until the trainer is at half of its steps; return its process and the one below it."""
    programs.until((home / "held.json").exists, "the trainer did not start")
    held = folders.read(home / "held.json")
    assert held is not None
    (home / "held.json").unlink()
    pids = held["pids"]
    assert isinstance(pids, list)
    return [int(str(pid)) for pid in pids]


def test_a_long_pause_kills_the_training_and_gives_it_back_with_its_steps(tmp_path: Path) -> None:
    (tmp_path / "hold").touch()
    run, folder = Run(), folders.Folder(tmp_path)
    with ReplayMarket(run) as market, programs.working(programs.setup(market, tmp_path, runs=None)):
        pids = _held(tmp_path)
        history.keep_wishes(folder, machine.Wishes(time.time() + 7_200))
        # The trainer of the test is deaf to a polite stop, and what runs below it has a session of its own.
        programs.until(lambda: not any(programs.is_alive(pid) for pid in pids), "the training goes on")
        market.wait_until(lambda: run.state == "FAILED")
        (tmp_path / "hold").unlink()
        calls = len(market.calls)
        programs.until(lambda: folder.run_ids() == [], "the run was not forgotten")
        assert "lease" not in market.calls[calls:]
    assert (run.reason, run.steps_done, run.effects) == ("paused", 20, {})


def test_a_short_pause_holds_the_run_and_goes_on_with_it(tmp_path: Path) -> None:
    (tmp_path / "hold").touch()
    run, folder = Run(), folders.Folder(tmp_path)
    with ReplayMarket(run) as market, programs.working(programs.setup(market, tmp_path, runs=None)):
        pids = _held(tmp_path)
        history.keep_wishes(folder, machine.Wishes(time.time() + 60))
        programs.until(lambda: not any(programs.is_alive(pid) for pid in pids), "the training goes on")
        assert run.state == "LEASED"
        (tmp_path / "hold").unlink()
        history.keep_wishes(folder, machine.Wishes())
        market.wait_until(lambda: run.state == "DONE")
    assert (run.hand_outs, run.reason) == (1, "")


def test_a_breached_limit_stops_the_training(tmp_path: Path) -> None:
    (tmp_path / "hold").touch()
    run, eyes = Run(), programs.SimulatedSensors(cards=(sensors.Card(0, "Simulated", temperature_c=60.0),))
    owner = limits.Limits(max_temp_c=80)
    with ReplayMarket(run) as market, programs.working(programs.setup(market, tmp_path, runs=None, sensors=eyes, limits=owner)):
        pids = _held(tmp_path)
        eyes.reading = sensors.Reading(cards=(sensors.Card(0, "Simulated", temperature_c=85.0),), disk_free_bytes=1 << 40)
        programs.until(lambda: not any(programs.is_alive(pid) for pid in pids), "the training goes on")
        status = folders.read(tmp_path / "status.json")
        assert status is not None
        idle = status["idle"]
        assert isinstance(idle, dict)
        assert (idle["code"], idle["what"]) == ("too_hot", "Card 0 has 85 °C.")
        (tmp_path / "hold").unlink()
        eyes.reading = sensors.Reading(cards=(sensors.Card(0, "Simulated", temperature_c=70.0),), disk_free_bytes=1 << 40)
        market.wait_until(lambda: run.state == "DONE")


def test_finish_does_the_run_in_hand_and_takes_nothing_new(tmp_path: Path) -> None:
    (tmp_path / "hold").touch()
    first, second = Run(), Run()
    with ReplayMarket(first, second) as market:
        setup = programs.setup(market, tmp_path, runs=None)
        with programs.working(setup):
            _held(tmp_path)
            history.keep_wishes(setup.folder, machine.Wishes(is_finishing=True))
            (tmp_path / "hold").unlink()
            # It leaves by itself: nobody asks it to.
            programs.until(lambda: not setup.folder.is_running, "it does not leave")
    assert sorted([first.state, second.state]) == ["DONE", "READY"]


def test_a_trainer_that_breaks_down_without_a_word_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "FIRST_BACKOFF_S", 0.05)
    (tmp_path / "crash").touch()
    run = Run()
    with ReplayMarket(run) as market, programs.working(programs.setup(market, tmp_path, runs=None)):
        programs.until(lambda: _trouble(tmp_path) == "The training process ended without a word.", "no trouble was told")
        (tmp_path / "crash").unlink()
        market.wait_until(lambda: run.state == "DONE")
    assert run.hand_outs == 1


def _trouble(home: Path) -> str:
    status = folders.read(home / "status.json")
    idle = status.get("idle") if status else None
    return str(idle.get("what")) if isinstance(idle, dict) else ""
