"""The `atoms-gpu` command: data on stdout, notes on stderr, exit codes for shells ..."""

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gpu_workers.owner import folder as folders
from gpu_workers.owner import history, machine, printing, program
from tests.gpu_workers.owner import programs, work
from tests.gpu_workers.owner.replay_market import KEY, ReplayMarket, Run

ESCAPES = "\x1b[2J\x1b]0;owned\x07\u202etrain\r\nfake line\u2028\x9b31m"


class Ran(NamedTuple):
    code: int
    out: str
    err: str


class Shell:
    """Runs commands on one folder."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self.folder = folders.Folder(home)
        self._capsys = capsys

    def run(self, *arguments: str) -> Ran:
        try:
            code = program.main(arguments)
        except SystemExit as left:
            code = int(left.code or 0)
        return Ran(code, *self._capsys.readouterr())

    def json(self, *arguments: str) -> Any:
        ran = self.run(*arguments, "--json")
        return [json.loads(line) for line in ran.out.splitlines()]


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("ATOMS_GPU_HOME", str(tmp_path))
    monkeypatch.setenv("ATOMS_API_KEY", KEY)
    return Shell(tmp_path, capsys)


def test_says_that_nothing_runs(shell: Shell) -> None:
    assert shell.run("status") == Ran(1, "not running  Next: atoms-gpu run\n", "")
    assert shell.run("why-idle").out == "not running: No program runs on this folder.\n  changes with  atoms-gpu run\n"
    assert shell.json("status") == [{"is_running": False, "in_hand": 0}]


def test_shows_what_runs_and_why_it_is_idle(shell: Shell) -> None:
    with ReplayMarket() as market, programs.working(programs.setup(market, shell.home, runs=None)):
        programs.until(lambda: "no_demand" in shell.run("why-idle").out, "it is not idle")
        assert shell.run("why-idle").out.startswith("no_demand: No run of this machine's class is open.\n  changes with  ")
        status = shell.run("status")
        assert status.code == 0
        assert status.out.startswith("idle: no_demand  ")
        assert f"  class      {work.CLASS_TEXT}  sandbox bwrap-cpu\n" in status.out
        (found,) = shell.json("status")
        assert found["host"]["class_key"] == work.CLASS_TEXT


def test_a_pause_is_acknowledged_once_nothing_trains(shell: Shell) -> None:
    (shell.home / "hold").touch()
    run = Run()
    with ReplayMarket(run) as market, programs.working(programs.setup(market, shell.home, runs=None)):
        programs.until((shell.home / "held.json").exists, "the trainer did not start")
        held = folders.read(shell.home / "held.json")
        paused = shell.run("pause", "2h")
        assert held is not None
        pids = held["pids"]
        assert isinstance(pids, list)
        assert not any(programs.is_alive(int(str(pid))) for pid in pids)
        assert paused.code == 0
        assert paused.out.startswith("Paused until ")
        assert "it goes on by itself" in paused.out
        assert shell.json("why-idle")[0]["idle"]["code"] == "paused"
        (shell.home / "hold").unlink()
        market.wait_until(lambda: run.state == "FAILED")
        assert shell.run("resume").out == "Resumed.\n"
        assert shell.json("why-idle")[0]["idle"]["code"] != "paused"


def test_wishes_count_from_the_next_start_where_nothing_runs(shell: Shell) -> None:
    assert shell.run("pause").out == "Paused until atoms-gpu resume. No program runs; it counts from the next start.\n"
    assert history.wishes(shell.folder) == machine.Wishes(machine.FOREVER)
    assert shell.run("finish").code == 0
    assert history.wishes(shell.folder) == machine.Wishes(is_finishing=True)
    assert shell.run("resume").code == 0
    assert history.wishes(shell.folder) == machine.Wishes()
    assert shell.run("pause", "soon").code == 2


def test_earnings_list_every_run_and_add_up_as_the_market_does(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [Run(state="DONE"), Run(state="FAILED", reason="forged_root"), Run(state="DONE"), Run(state="REVEALED")]
    with ReplayMarket(*runs) as market:
        monkeypatch.setenv("ATOMS_URL", market.url)
        ran = shell.run("earnings")
        assert (ran.code, ran.err) == (0, "")
        for run in runs:
            assert run.id in ran.out
        assert "failed" in ran.out
        assert "forged_root" in ran.out
        assert ran.out.splitlines()[-4:] == [
            "paid 0.84 USD   pending 0 USD",
            "last  7 days   earned 0.84 USD   pending 0 USD   lost 0 USD",
            "last 30 days   earned 0.84 USD   pending 0 USD   lost 0 USD",
            "estimates of the last 7 days: none to compare yet (n=0)",
        ]
        *listed, last = shell.json("earnings")
        assert sorted(row["id"] for row in listed) == sorted(run.id for run in runs)
        assert last["sums"] == {"USD": {"paid": "0.84", "pending": "0"}}
        assert last["windows"][0] == {"days": 7, "currency": "USD", "earned": "0.84", "pending": "0", "lost": "0"}


def test_earnings_say_when_the_markets_sums_differ(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(state="DONE")
    with ReplayMarket(run) as market:
        monkeypatch.setenv("ATOMS_URL", market.url)
        real = market._listed
        wrong = {"paid": work.PAY | {"amount": "9.99"}, "pending": work.PAY | {"amount": "0.00"}}
        monkeypatch.setattr(market, "_listed", lambda query: real(query) | {"totals": [wrong]})
        ran = shell.run("earnings")
    assert ran.code == 1
    assert "they differ from the runs it lists" in ran.err


def test_appeal_asks_once_and_says_what_came_of_it(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    invalid, valid = Run(state="INVALID", reason="audit_failed"), Run(state="DONE")
    with ReplayMarket(invalid, valid) as market:
        monkeypatch.setenv("ATOMS_URL", market.url)
        assert [shell.run("appeal", invalid.id).code for _ in range(2)] == [0, 0]
        assert invalid.effects["appeal"] == 1
        assert "is open" in shell.run("appeal", invalid.id).out
        invalid.appeal = {"status": "STANDS", "differs_from_checkpoint": 3, "differs_from_step": 60}
        ran = shell.run("appeal", invalid.id)
        assert (ran.code, "from checkpoint 3, step 60 on" in ran.out) == (1, True)
        assert "appeal stands" in shell.run("earnings").out
        invalid.appeal = {"status": "OVERTURNED"}
        assert shell.run("appeal", invalid.id).code == 0
        refused = shell.run("appeal", valid.id)
    assert (refused.code, "not_appealable" in refused.err) == (3, True)
    assert shell.run("appeal", "../replays").code == 2


def test_explain_shows_exactly_what_runs_without_a_control_character(shell: Shell) -> None:
    run = Run(work.params(title=ESCAPES, diff=f"--- a/train.py\n+++ b/train.py\n+x = 1  # {ESCAPES}\n+\ty = 2\n"))
    with ReplayMarket(run) as market:
        programs.work_to_the_end(programs.setup(market, shell.home))
    ran = shell.run("explain", run.id)
    assert ran.code == 0
    assert all(character == "\n" or character.isprintable() for character in ran.out)
    assert "    +x = 1  # [2J]0;ownedtrain" in ran.out
    assert "    + y = 2\n" in ran.out
    for words in ("0.42 USD", "rsb_" + "5" * 32, "seed 7", "60 s, 512 MiB", "bwrap-cpu", "no network", work.sha256(work.TREE)):
        assert words in ran.out
    (record,) = shell.json("explain", run.id)
    assert record["params"]["title"] == ESCAPES
    assert "salt" not in record
    assert shell.run("explain", "rpl_" + "0" * 32).code == 1
    assert shell.run("explain", "../keys").code == 2


def test_forget_leaves_no_file_and_never_loses_finished_work(shell: Shell) -> None:
    run = Run(not_yet=10**6)
    with ReplayMarket(run) as market, programs.working(programs.setup(market, shell.home)):
        programs.until(lambda: programs.stage_of(shell.folder, run.id) is machine.Stage.SEALED, "it was not sealed")
        assert shell.run("forget").code == 2
    refused = shell.run("forget")
    assert (refused.code, refused.out) == (1, "")
    assert "1 finished runs are not handed in yet" in refused.err
    assert shell.folder.run_ids() == [run.id]
    assert shell.run("forget", "--anyway").code == 0
    assert not shell.home.exists()
    assert shell.run("forget").out == "There is nothing to remove.\n"


def test_wrong_limits_and_no_key_are_bad_input(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    (shell.home / "limits.toml").write_text("max_wats = 250\n")
    ran = shell.run("run")
    assert ran.code == 2
    assert f"{shell.home / 'limits.toml'}: 'max_wats' is not a key of the limits file." in ran.err
    (shell.home / "limits.toml").unlink()
    missing = shell.run("run", "--limits", str(shell.home / "other.toml"))
    assert (missing.code, missing.err) == (2, f"atoms-gpu: There is no file {shell.home / 'other.toml'}.\n")
    monkeypatch.delenv("ATOMS_API_KEY")
    ran = shell.run("earnings")
    assert (ran.code, ran.err) == (2, "atoms-gpu: There is no API key.\n  Next: Set ATOMS_API_KEY, or pass api_key=.\n")


def test_a_market_out_of_reach_is_said_with_what_to_do(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    with ReplayMarket() as market:
        monkeypatch.setenv("ATOMS_URL", market.url)
    monkeypatch.setattr("agents_sdk._http.time.sleep", lambda seconds: None)
    ran = shell.run("earnings")
    assert (ran.code, ran.out) == (3, "")
    assert "Next: Check ATOMS_URL and the network" in ran.err


def test_the_state_folder_is_where_the_owner_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert folders.home({"ATOMS_GPU_HOME": "/srv/atoms"}) == Path("/srv/atoms")
    assert folders.home({"XDG_STATE_HOME": "/state"}) == Path("/state/atoms-gpu")
    monkeypatch.setenv("HOME", "/home/owner")
    assert folders.home({}) == Path("/home/owner/.local/state/atoms-gpu")


def test_local_times_name_the_day_only_where_it_is_another() -> None:
    assert len(printing.local_time(time.time())) == 5
    assert printing.local_time(time.time() + 3 * 86_400).count("-") == 2
