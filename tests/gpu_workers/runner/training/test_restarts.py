"""A replay that was killed, stopped or asked for again ends with the bits of one that ran straight through."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from gpu_workers.runner import conversation, folders, training
from tests.gpu_workers.runner import small
from tests.gpu_workers.runner.conftest import Trained


@contextmanager
def replaying(run: Trained, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Start a replay in another process; kill it at the end."""
    data = next(iter(run.data.values())).parent
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.gpu_workers.runner.training.killed", str(data), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def until(child: "subprocess.Popen[str]", word: str) -> None:
    """Let the replay on, step by step, until it says a word."""
    assert child.stdin is not None
    assert child.stdout is not None
    for line in child.stdout:
        if line.strip() == word:
            return
        child.stdin.write("on\n")
        child.stdin.flush()
    raise AssertionError(f"ended with status {child.wait()} before it said {word}")


@pytest.mark.parametrize("step", ["1", "4", "5", "8"])
def test_goes_on_after_a_kill(small_run: Trained, tmp_path: Path, step: str) -> None:
    with replaying(small_run, tmp_path) as child:
        until(child, step)
        # The sandbox's processes, as things that can be waited for.
        below = [os.pidfd_open(one.pid) for one in psutil.Process(child.pid).children(recursive=True)]
        assert below
        child.kill()
    for handle in below:
        # They end with their launcher: the test hangs here if one does not.
        select.select([handle], [], [])
        os.close(handle)
    assert not (tmp_path / folders.REPORT).exists()
    again = small.replay(terms=small_run.spec, tree=small_run.files, data=small_run.data, folder=tmp_path)
    assert again.report.root == small_run.finished.report.root
    assert again.report.norms == small_run.finished.report.norms
    assert again.report.curve == small_run.finished.report.curve
    assert again.report.tokens_served == small_run.finished.report.tokens_served


def test_finishes_without_torch_in_the_launcher(small_run: Trained, tmp_path: Path) -> None:
    with replaying(small_run, tmp_path) as child:
        until(child, "finished")
    assert (tmp_path / folders.REPORT).exists()


def test_gives_a_finished_result_back_without_running(small_run: Trained, tmp_path: Path) -> None:
    first = small.replay(terms=small_run.spec, tree=small_run.files, data=small_run.data, folder=tmp_path)
    # Without the data, nothing could be trained.
    again = small.replay(terms=small_run.spec, tree=small_run.files, data={}, folder=tmp_path)
    assert again == first


def test_stops_when_asked_and_keeps_what_was_done(small_run: Trained, tmp_path: Path) -> None:
    seen: list[int] = []

    def run(place: conversation.Place) -> training.Finished:
        return training.replay(
            spec=small_run.spec,
            files=small_run.files,
            seed=small_run.seed,
            class_key=small.CPU,
            data=small_run.data,
            folder=tmp_path,
            run_id="rpl_test",
            place=place,
            on_progress=lambda progress: seen.append(progress.step),
            should_stop=lambda: bool(seen) and seen[-1] == 4,
        )

    with pytest.raises(conversation.Stopped):
        run(small.PLACE)
    assert seen[-1] == 4
    seen.clear()
    finished = run(small.PLACE)
    # The checkpoint after step 4 was still written.
    assert seen[0] == 5
    assert finished.report.root == small_run.finished.report.root


def test_begins_anew_for_another_seed(small_run: Trained, tmp_path: Path) -> None:
    small.replay(terms=small_run.spec, tree=small_run.files, data=small_run.data, folder=tmp_path, seed=6)
    here = small.replay(terms=small_run.spec, tree=small_run.files, data=small_run.data, folder=tmp_path)
    assert here.report.root == small_run.finished.report.root


def test_begins_anew_when_the_newest_checkpoint_is_damaged(small_run: Trained, tmp_path: Path) -> None:
    with replaying(small_run, tmp_path) as child:
        until(child, "5")
    damaged = folders.checkpoint_path(tmp_path, 2)
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    here = small.replay(terms=small_run.spec, tree=small_run.files, data=small_run.data, folder=tmp_path)
    assert here.report.root == small_run.finished.report.root


def test_has_its_folder_for_itself(small_run: Trained, tmp_path: Path) -> None:
    with folders.held(tmp_path), pytest.raises(folders.Busy):
        small.replay(terms=small_run.spec, tree=small_run.files, data=small_run.data, folder=tmp_path)
