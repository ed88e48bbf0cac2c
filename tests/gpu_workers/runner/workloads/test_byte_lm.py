"""The byte-level workload."""

import subprocess
import sys
from pathlib import Path

from gpu_workers.runner import evaluation
from gpu_workers.runner.workloads.byte_lm import corpus, workload
from tests.gpu_workers.runner import small
from tests.gpu_workers.runner.conftest import Trained
from verification.replay import gate, trees
from verification.replay.spec import Spec


def test_builds_the_same_files_again(tmp_path: Path) -> None:
    first, again = corpus.write(tmp_path / "first"), corpus.write(tmp_path / "again")
    assert workload.manifest(first) == workload.manifest(again)
    assert [(one.name, one.role) for one in workload.manifest(first)] == [
        ("holdout.bin", "holdout"),
        ("train.bin", "train"),
        ("validation.bin", "validation"),
    ]


def test_puts_no_passage_into_two_files() -> None:
    texts = {role: b" ".join(text.split()) for role, text in corpus.texts().items()}
    assert len(texts["train"]) > 150_000
    for role, other in (("validation", "train"), ("holdout", "train"), ("validation", "holdout")):
        assert len(texts[role]) > 20_000
        passages = {texts[other][at : at + 100] for at in range(len(texts[other]) - 100)}
        shared = sum(texts[role][at : at + 100] in passages for at in range(0, len(texts[role]) - 100, 10))
        # What is left are lines of examples and of tables.
        assert shared < len(texts[role]) / 10 * 0.02


def test_states_its_terms(tmp_path: Path) -> None:
    spec = workload.spec(paths=corpus.write(tmp_path))
    assert Spec.from_json(spec.to_json()) == spec
    assert spec.base_tree == trees.tree_digest(workload.base_files())
    assert spec.segments == 10
    edited = workload.base_files()["train.py"].replace("LEARNING_RATE = 1e-3", "LEARNING_RATE = 2e-3")
    assert gate.refusals(spec, workload.base_files(), {"train.py": edited}) == []


def test_calibrates_any_machine(calibration_run: Trained, tmp_path: Path) -> None:
    job = workload.calibration(tmp_path / "data")
    assert job.spec.digest == calibration_run.spec.digest
    again = small.replay(terms=job.spec, tree=job.files, data=job.data, folder=tmp_path / "run", seed=job.seed)
    assert again.report.root == calibration_run.finished.report.root
    score = evaluation.evaluate(
        spec=job.spec, files=job.files, seed=job.seed, checkpoint=again.checkpoint_paths[-1], data=job.data, place=small.PLACE
    )
    assert job.lowest_bits < score.public < job.highest_bits
    assert score.is_clean


def test_can_be_read_without_torch() -> None:
    # Who posts a bounty or doctors a machine reads the workload in a process that must not load strangers' libraries.
    code = "import sys; from gpu_workers.runner.workloads.byte_lm import workload; workload.base_files(); print('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
