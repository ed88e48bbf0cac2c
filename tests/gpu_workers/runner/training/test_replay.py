"""What a replay reports, and that it is the same wherever it runs."""

import dataclasses
import itertools
import json
from pathlib import Path

import pytest

from gpu_workers.runner import checkpoints, training
from tests.gpu_workers.runner import bare, small
from tests.gpu_workers.runner.conftest import Trained
from verification.replay import digests, reports, trees


def test_reports_every_checkpoint_under_one_root(small_run: Trained) -> None:
    report = small_run.finished.report
    assert report.leaf_count == 5
    assert report.steps == 8
    assert report.tokens_served == 8 * 4 * 16
    assert report.seed == 5
    assert report.spec_digest == small_run.spec.digest
    assert report.tree_digest == trees.tree_digest(small_run.files)
    assert report.class_text == small.CPU.text
    assert report.sandbox_level == "bwrap-cpu"
    assert reports.Report.from_json(json.loads(report.canonical())) == report
    for index, path in small_run.checkpoints.items():
        tensors = checkpoints.read_file(path, small_run.spec)
        assert digests.leaf(index * 2, tensors).hex() == report.leaves[index]


def test_reports_losses_of_the_tree_as_its_words(small_run: Trained) -> None:
    steps = [step for step, _ in small_run.finished.report.curve]
    assert steps == list(range(1, 9))


def test_measures_movement_outside(small_run: Trained) -> None:
    paths = small_run.finished.checkpoint_paths
    states = [checkpoints.read_file(path, small_run.spec) for path in paths]
    moved = [checkpoints.movement(before, after) for before, after in itertools.pairwise(states)]
    assert tuple(moved) == small_run.finished.report.norms
    assert all(one > 0 for one in moved)


def test_has_the_same_bits_outside_the_sandbox(calibration_run: Trained, tmp_path: Path) -> None:
    there = calibration_run
    place = bare.BarePlace(level="bwrap-cpu")
    here = small.replay(terms=there.spec, tree=there.files, data=there.data, folder=tmp_path, seed=there.seed, place=place)
    assert here.report.root == there.finished.report.root
    assert here.report.norms == there.finished.report.norms


def test_has_other_bits_with_another_seed(small_run: Trained, tmp_path: Path) -> None:
    other = small.replay(terms=small_run.spec, tree=small_run.files, data=small_run.data, folder=tmp_path, seed=6)
    assert other.report.leaves[0] != small_run.finished.report.leaves[0]
    assert other.report.root != small_run.finished.report.root


def test_refuses_a_class_that_the_spec_does_not_name(small_run: Trained, tmp_path: Path) -> None:
    for key in (dataclasses.replace(small.CPU, hardware="NVIDIA H200"), dataclasses.replace(small.CPU, threads=2)):
        with pytest.raises(training.WrongClass):
            small.replay(terms=small_run.spec, tree=small_run.files, data=small_run.data, folder=tmp_path, class_key=key)
    assert list(tmp_path.iterdir()) == []
