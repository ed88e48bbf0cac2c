"""A program that is killed at any moment of a replay loses nothing and repeats nothing ..."""

import os
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest

from gpu_workers.owner import errands, shell
from gpu_workers.owner import folder as folders
from tests.gpu_workers.owner import programs
from tests.gpu_workers.owner.replay_market import ReplayMarket, Run

PAID_ONCE = Counter({"seal": 1, "reveal": 1, "artefact 0": 1, "artefact 2": 1, "pay": 1})
# What the market sees of one replay, in order; a look at a sealed report is a seal.
STEPS = ["lease", "heartbeat", "seal", "complete", "artefacts", "finish"]
# What the folder has written of it: the question, the run, its tree, its text, and its stages; see `programs.Writes`.
WRITES = 17


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A market in the same process may be asked more often."""
    monkeypatch.setattr(errands, "LEAST_LOOK_S", 0.05)
    monkeypatch.setattr(shell, "TICK_S", 0.02)


def _work(market: ReplayMarket, home: Path, writes: programs.Writes | None = None) -> None:
    # With a run in hand no other is wanted: asking for one would only take time.
    runs = 0 if folders.Folder(home).run_ids() else 1
    if writes is not None:
        writes.install()
    programs.work_to_the_end(programs.setup(market, home, runs=runs))
    if writes is not None:
        (home / "count").write_text(str(writes.count))


def test_every_write_of_a_replay_is_known(tmp_path: Path) -> None:
    with ReplayMarket(Run(not_yet=1)) as market:
        assert programs.wait(programs.fork(lambda: _work(market, tmp_path, programs.Writes()))) == 0
    assert int((tmp_path / "count").read_text()) == WRITES


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("number", range(WRITES))
def test_a_kill_at_a_write(tmp_path: Path, number: int, is_after: bool) -> None:
    run = Run(not_yet=1)
    with ReplayMarket(run) as market:
        writes = programs.Writes(kill_at=number, is_after=is_after)
        assert programs.wait(programs.fork(lambda: _work(market, tmp_path, writes))) == -signal.SIGKILL
        _finished_by_another_start(market, run, tmp_path)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_a_request(tmp_path: Path, step: str, when: str) -> None:
    run, killed, ready = Run(not_yet=1), list[int](), threading.Event()

    def kill(now: str, asked: str, run_id: str) -> None:
        ready.wait(programs.PATIENCE_S)
        if (now, asked) == (when, step) and not killed[1:]:
            killed.append(0)
            os.kill(killed[0], signal.SIGKILL)

    with ReplayMarket(run) as market:
        market.notice = kill
        killed.append(programs.fork(lambda: _work(market, tmp_path)))
        ready.set()
        assert programs.wait(killed[0]) == -signal.SIGKILL
        market.notice = lambda now, asked, run_id: None
        _finished_by_another_start(market, run, tmp_path)


def test_a_kill_in_the_middle_of_training_leaves_no_process_behind(tmp_path: Path) -> None:
    run = Run()
    (tmp_path / "hold").touch()
    with ReplayMarket(run) as market:
        pid = programs.fork(lambda: _work(market, tmp_path))
        programs.until((tmp_path / "held.json").exists, "the trainer did not start")
        os.kill(pid, signal.SIGKILL)
        assert programs.wait(pid) == -signal.SIGKILL
        held = folders.read(tmp_path / "held.json")
        assert held is not None
        trainer = held["pids"]
        assert isinstance(trainer, list)
        programs.until(lambda: not programs.is_alive(int(str(trainer[0]))), "the trainer lives on")
        os.kill(int(str(trainer[1])), signal.SIGKILL)
        (tmp_path / "hold").unlink()
        _finished_by_another_start(market, run, tmp_path)


@pytest.mark.parametrize("number", range(2, WRITES, 4))
def test_kills_one_after_the_other_come_to_the_same_end(tmp_path: Path, number: int) -> None:
    run = Run(not_yet=1)
    with ReplayMarket(run) as market:
        for _ in range(4):
            # A later life gets further by what it does not write again, until it ends by itself.
            writes = programs.Writes(kill_at=number)
            if programs.wait(programs.fork(lambda counted=writes: _work(market, tmp_path, counted))) == 0:  # type: ignore[misc]
                break
        _finished_by_another_start(market, run, tmp_path)


def _finished_by_another_start(market: ReplayMarket, run: Run, home: Path) -> None:
    """Start again, and see that the replay is paid once, from one hand-out, with one seal, and leaves nothing behind."""
    if run.state == "READY" or run.state == "LEASED" or (home / "runs").exists():
        assert programs.wait(programs.fork(lambda: _work(market, home))) == 0
    assert (run.state, run.effects, run.hand_outs, len(run.seals)) == ("DONE", PAID_ONCE, 1, 1)
    assert folders.Folder(home).run_ids() == []
    assert (home / "ended" / f"{run.id}.json").exists()
