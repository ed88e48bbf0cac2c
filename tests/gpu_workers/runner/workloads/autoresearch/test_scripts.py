"""A script in the shape of autoresearch's train.py, replayed, stopped, audited and scored as it is."""

import dataclasses
import hashlib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from gpu_workers.runner import checkpoints, conversation, evaluation, segments, smoke, training
from gpu_workers.runner.workloads.autoresearch import workload
from tests.gpu_workers.runner import small
from tests.gpu_workers.runner.conftest import Trained
from verification.replay.spec import Spec

SCRIPT = resources.files(__package__).joinpath("small_train.py").read_text("utf-8")
TEXT = b"a gull took the bread and flew to the old pier where two more waited for a share of it "


def script(old: str = "", new: str = "") -> dict[str, str]:
    """Give the script with one passage exchanged."""
    assert old in SCRIPT
    return {"train.py": SCRIPT.replace(old, new) if old else SCRIPT}


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Token files as the export writes them: two bytes a token, 300 in the vocabulary, the last of which is a mark."""
    folder = tmp_path_factory.mktemp("exported")
    for place, name in enumerate(("train.bin", "validation.bin", "holdout.bin")):
        text = (TEXT[place * 11 :] + TEXT[: place * 11]) * 20
        found = np.frombuffer(text, np.uint8).astype("<u2")
        found[:: len(TEXT)] = 299
        (folder / name).write_bytes(found.tobytes())
    counts = np.ones(300, "<u2")
    counts[299] = 0
    (folder / "token_bytes.bin").write_bytes(counts.tobytes())
    return workload.exported(folder)


@pytest.fixture(scope="session")
def terms(exported: Mapping[str, Path]) -> Spec:
    """The workload's own terms, scaled to a CPU."""
    return dataclasses.replace(
        workload.spec(files=script(), paths=exported, hardware=("cpu",)),
        steps=16,
        checkpoint_every=4,
        rows=8,
        sequence=16,
        vocabulary=300,
        wall_s=60,
        max_parameters=20_000,
        memory_mib=1024,
        eval_tokens=680,
        precision="fp32",
        sandbox_level="bwrap-cpu",
    )


@pytest.fixture(scope="session")
def script_run(terms: Spec, exported: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("script-run")
    return Trained(terms, script(), exported, 5, small.replay(terms=terms, tree=script(), data=exported, folder=folder))


def words_of(run: Trained, index: int) -> str:
    tensors = {one.name: one for one in checkpoints.read_file(run.checkpoints[index], run.spec)}
    return tensors["script.words"].data.decode()


def test_runs_to_the_end_of_the_script_s_own_budget(script_run: Trained) -> None:
    report = script_run.finished.report
    assert report.tokens_served == 16 * 8 * 16
    assert [step for step, _ in report.curve] == list(range(1, 17))
    assert all(norm > 0 for norm in report.norms)
    # The script itself said that its time was up, after as many steps as were served.
    assert '"is_ended": true' in words_of(script_run, 4)
    assert '"step": 16' in words_of(script_run, 4)
    assert '"is_ended": false' in words_of(script_run, 3)


def test_learns(script_run: Trained) -> None:
    losses = [loss for _, loss in script_run.finished.report.curve]
    assert losses[-1] < losses[0] - 1


def test_goes_on_from_any_checkpoint_to_the_same_bits(script_run: Trained) -> None:
    result = segments.audit(
        spec=script_run.spec,
        files=script_run.files,
        seed=5,
        data=script_run.data,
        report=script_run.finished.report,
        checkpoints=script_run.checkpoints,
        segments=range(4),
        class_key=small.CPU,
        place=small.PLACE,
    )
    assert [(one.index, one.code) for one in result.results] == [(index, "exact") for index in (None, 0, 1, 2, 3)]


def test_goes_on_after_a_stop(script_run: Trained, tmp_path: Path) -> None:
    seen: list[int] = []

    def run(last: int) -> training.Finished:
        return training.replay(
            spec=script_run.spec,
            files=script_run.files,
            seed=5,
            class_key=small.CPU,
            data=script_run.data,
            folder=tmp_path,
            run_id="rpl_test",
            place=small.PLACE,
            on_progress=lambda progress: seen.append(progress.step),
            should_stop=lambda: seen[-1:] == [last],
        )

    with pytest.raises(conversation.Stopped):
        run(9)
    seen.clear()
    assert run(17).report.root == script_run.finished.report.root
    assert seen[0] == 9


def test_is_scored_by_its_logits_with_marks_left_out(script_run: Trained) -> None:
    run = script_run
    score = evaluation.evaluate(spec=run.spec, files=run.files, seed=5, checkpoint=run.checkpoints[4], data=run.data, place=small.PLACE)
    assert score.is_clean
    assert score.public < 5
    fresh = evaluation.evaluate(spec=run.spec, files=run.files, seed=5, checkpoint=run.checkpoints[0], data=run.data, place=small.PLACE)
    assert score.public < fresh.public - 1


def test_mixes_the_script_s_seed_with_the_verifier_s(script_run: Trained, tmp_path: Path) -> None:
    other = small.replay(terms=script_run.spec, tree=script_run.files, data=script_run.data, folder=tmp_path, seed=6)
    assert other.report.leaves[0] != script_run.finished.report.leaves[0]


def test_passes_the_first_look(terms: Spec, exported: Mapping[str, Path]) -> None:
    result = smoke.smoke(spec=terms, files=script(), place=small.PLACE, data=exported)
    assert result.refusals == ()
    assert result.parameter_count == sum((300 * 16 * 2, 16 * 16, 2 * (16 * 16 + 16 * 8 * 2 + 16 * 16), 2))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("DEVICE_BATCH_SIZE = 4", "DEVICE_BATCH_SIZE = 8"),
        ("TOTAL_BATCH_SIZE = 8 *", "TOTAL_BATCH_SIZE = 4 *"),
        ("TOTAL_BATCH_SIZE = 8 *", "TOTAL_BATCH_SIZE = 16 *"),
    ],
    ids=["no accumulation", "two steps a batch", "a step of two batches"],
)
def test_serves_other_batch_sizes(terms: Spec, exported: Mapping[str, Path], tmp_path: Path, old: str, new: str) -> None:
    told = small.replay(terms=terms, tree=script(old, new), data=exported, folder=tmp_path)
    assert told.report.tokens_served == 16 * 8 * 16


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("TOTAL_BATCH_SIZE = 8 *", "TOTAL_BATCH_SIZE = 24 *", "state_between_steps"),
        ("model = GPT(vocab_size)", "model = None and GPT(vocab_size)", "raised"),
        ('MAX_SEQ_LEN, "train")', 'MAX_SEQ_LEN, "val")', "raised"),
        ("x, y, epoch = next(train_loader)  # prefetch first batch", "evaluate_bpb(model, tokenizer, 1)", "interface_missing"),
        ("train_loss_f > 100", "step == 3", "exited"),
        ("t_start = time.time()", "import prepare; prepare.get_token_bytes()", "raised"),
    ],
    ids=["steps across checkpoints", "no model", "asks for validation", "ends at once", "fails", "reads the byte table"],
)
def test_names_what_a_script_may_not_do(terms: Spec, exported: Mapping[str, Path], tmp_path: Path, old: str, new: str, code: str) -> None:
    with pytest.raises(conversation.RunFailed) as failed:
        small.replay(terms=terms, tree=script(old, new), data=exported, folder=tmp_path)
    assert failed.value.code == code


def test_gains_nothing_by_going_on_beyond_its_budget(
    script_run: Trained, terms: Spec, exported: Mapping[str, Path], tmp_path: Path
) -> None:
    endless = small.replay(
        terms=terms, tree=script("if step > 10 and total_training_time >= TIME_BUDGET:", "if False:"), data=exported, folder=tmp_path
    )
    weights = [
        checkpoints.model_tensors(checkpoints.read_file(paths[-1], terms))
        for paths in (endless.checkpoint_paths, script_run.finished.checkpoint_paths)
    ]
    assert weights[0] == weights[1]


def test_states_terms_over_exported_files(exported: Mapping[str, Path], tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    stated = workload.spec(files=workload.base_files(tmp_path), paths=exported, hardware=("NVIDIA H100 80GB HBM3",))
    assert Spec.from_json(stated.to_json()) == stated
    assert [(one.name, one.role) for one in stated.data] == [
        ("holdout.bin", "holdout"),
        ("token_bytes.bin", "asset"),
        ("train.bin", "train"),
        ("validation.bin", "validation"),
    ]
    assert stated.data[2].sha256 == hashlib.sha256(exported["train.bin"].read_bytes()).hexdigest()


def test_says_what_a_checkout_lacks(tmp_path: Path) -> None:
    with pytest.raises(workload.NotACheckout, match=r"train\.py"):
        workload.base_files(tmp_path)
    with pytest.raises(workload.NotACheckout, match=r"export\.py"):
        workload.exported(tmp_path)
