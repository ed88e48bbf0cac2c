"""Audits of reported runs: the honest pass, and what was forged is named."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from gpu_workers.runner import checkpoints, segments
from gpu_workers.runner.conversation import Place
from gpu_workers.runner.segments import AuditResult
from tests.gpu_workers.runner import small
from tests.gpu_workers.runner.conftest import Trained
from verification.replay import digests
from verification.replay.classes import ClassKey
from verification.replay.digests import Tensor
from verification.replay.reports import Report

State = tuple[Tensor, ...]


def audited(
    run: Trained,
    *,
    report: Report | None = None,
    paths: Mapping[int, Path] | None = None,
    asked: Sequence[int] = (),
    key: ClassKey = small.CPU,
    place: Place = small.PLACE,
) -> AuditResult:
    return segments.audit(
        spec=run.spec,
        files=run.files,
        seed=run.seed,
        data=run.data,
        report=report or run.finished.report,
        checkpoints=run.checkpoints if paths is None else paths,
        segments=asked,
        class_key=key,
        place=place,
    )


def forged(run: Trained, states: Mapping[int, State], folder: Path) -> tuple[Report, dict[int, Path]]:
    """Give a report with other checkpoints in it that is right about all that can be computed from them."""
    every = run.spec.checkpoint_every
    paths = dict(run.checkpoints)
    for index, tensors in states.items():
        paths[index] = folder / f"forged-{index}"
        paths[index].write_bytes(checkpoints.packed(tensors, index * every))
    read = [checkpoints.read_file(paths[index], run.spec) for index in sorted(paths)]
    leaves = [digests.leaf(index * every, tensors) for index, tensors in enumerate(read)]
    norms = [checkpoints.movement(before, after) for before, after in itertools.pairwise(read)]
    report = dataclasses.replace(
        run.finished.report, leaves=tuple(one.hex() for one in leaves), norms=tuple(norms), root=digests.root(leaves).hex()
    )
    return report, paths


def state(run: Trained, index: int) -> State:
    return checkpoints.read_file(run.checkpoints[index], run.spec)


def poked(tensors: State, name: str, by: float) -> State:
    """Move one number of a tensor."""
    changed = []
    for one in tensors:
        if one.name == name:
            numbers = np.frombuffer(one.data, "<f4").copy()
            numbers[0] += by
            one = one._replace(data=numbers.tobytes())
        changed.append(one)
    return tuple(changed)


def test_passes_an_honest_run_exactly(small_run: Trained) -> None:
    result = audited(small_run, asked=[1])
    assert result.is_passed
    assert result.is_same_class
    assert [(one.index, one.code) for one in result.results] == [(None, "exact"), (1, "exact"), (3, "exact")]
    assert result.cpu_s > 0
    assert result.to_json()["is_passed"] is True


def test_passes_an_honest_run_of_another_class_within_the_band(calibration_run: Trained) -> None:
    key = dataclasses.replace(small.CPU, isa="DEFAULT-amd")
    place = Place(level="bwrap-cpu", environment={"ATEN_CPU_CAPABILITY": "default"})
    result = audited(calibration_run, key=key, place=place)
    assert result.is_passed
    assert not result.is_same_class
    assert result.results[-1].code == "within_band"
    assert 0 < result.results[-1].error < 1e-5


def test_needs_no_checkpoint_beyond_those_it_names(small_run: Trained) -> None:
    needed = segments.needed_checkpoints(small_run.spec, [1])
    assert needed == (0, 1, 2, 3, 4)
    assert segments.needed_checkpoints(small_run.spec, []) == (0, 3, 4)
    assert audited(small_run, paths={index: small_run.checkpoints[index] for index in (0, 3, 4)}).is_passed


def test_finds_a_poked_weight_in_the_last_segment(small_run: Trained, tmp_path: Path) -> None:
    report, paths = forged(small_run, {4: poked(state(small_run, 4), "model.head.bias", 1e-6)}, tmp_path)
    result = audited(small_run, report=report, paths=paths)
    assert (result.results[-1].index, result.results[-1].code) == (3, "differs")


def test_finds_a_teleport_across_classes(small_run: Trained, tmp_path: Path) -> None:
    report, paths = forged(small_run, {2: poked(state(small_run, 2), "model.head.bias", 1.0)}, tmp_path)
    result = audited(small_run, report=report, paths=paths, asked=[1], key=dataclasses.replace(small.CPU, isa="AVX2-intel"))
    assert (result.results[-1].index, result.results[-1].code) == (1, "outside_band")


def test_finds_a_start_that_is_not_the_seed_s(small_run: Trained, tmp_path: Path) -> None:
    report, paths = forged(small_run, {0: poked(state(small_run, 0), "model.head.bias", 0.5)}, tmp_path)
    result = audited(small_run, report=report, paths=paths)
    assert [(one.index, one.code) for one in result.results] == [(None, "differs")]


def test_finds_an_optimizer_that_was_touched_between_segments(small_run: Trained, tmp_path: Path) -> None:
    report, paths = forged(small_run, {3: poked(state(small_run, 3), "optimizer.0.state.0.exp_avg", 1.0)}, tmp_path)
    assert audited(small_run, report=report, paths=paths, asked=[2]).results[-1].code == "differs"


def test_finds_a_run_that_did_half_the_steps(small_run: Trained, tmp_path: Path) -> None:
    report, paths = forged(small_run, {index: state(small_run, min(index, 2)) for index in range(5)}, tmp_path)
    assert not audited(small_run, report=report, paths=paths).is_passed


def test_finds_movement_that_is_not_the_checkpoints(small_run: Trained) -> None:
    told = small_run.finished.report
    report = dataclasses.replace(told, norms=(*told.norms[:-1], told.norms[-1] * 1.001))
    result = audited(small_run, report=report)
    assert (result.results[-1].index, result.results[-1].code) == (3, "norm_differs")


def test_finds_a_report_of_another_run(small_run: Trained) -> None:
    told = small_run.finished.report
    for other in (
        dataclasses.replace(told, seed=6),
        dataclasses.replace(told, steps=9),
        dataclasses.replace(told, tokens_served=513),
        dataclasses.replace(told, tree_digest="ab" * 32),
        dataclasses.replace(told, spec_digest="ab" * 32),
    ):
        check_contradiction(audited(small_run, report=other))


def check_contradiction(result: AuditResult) -> None:
    assert [(one.index, one.code) for one in result.results] == [(None, "report_contradicts")]
    assert result.cpu_s == 0


def test_finds_checkpoints_that_are_not_the_committed_ones(small_run: Trained, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(checkpoints.packed(poked(state(small_run, 4), "model.head.bias", 1e-3), 8))
    damaged = tmp_path / "damaged"
    damaged.write_bytes(b"\x80\x04 a pickle")
    for path, code in ((other, "checkpoint_not_committed"), (damaged, "checkpoint_malformed"), (tmp_path / "none", "checkpoint_missing")):
        result = audited(small_run, paths={**small_run.checkpoints, 4: path})
        assert (result.results[-1].index, result.results[-1].code) == (3, code)


def test_names_a_tree_that_can_not_go_on(small_run: Trained, tmp_path: Path) -> None:
    # Committed by its owner, and of a shape that the tree's own optimizer can't take.
    kept = tuple(one for one in state(small_run, 3) if not one.name.startswith("optimizer."))
    report, paths = forged(small_run, {3: kept}, tmp_path)
    result = audited(small_run, report=report, paths=paths)
    assert (result.results[-1].index, result.results[-1].code) == (3, "re_run_failed")


def test_refuses_a_segment_that_is_not_there(small_run: Trained) -> None:
    with pytest.raises(IndexError):
        audited(small_run, asked=[4])
