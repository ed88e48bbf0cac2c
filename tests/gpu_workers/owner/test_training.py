"""A leased run of the byte-level model, trained by the real runner in the real sandbox ..."""

from pathlib import Path

import pytest

from gpu_workers.owner import children, errands, limits, program, starting
from gpu_workers.runner import checkpoints
from gpu_workers.runner.workloads.byte_lm import workload
from tests.gpu_workers.owner import programs, work
from tests.gpu_workers.owner.replay_market import KEY, ReplayMarket, Run
from verification.replay import digests, reports, trees
from verification.replay.spec import Spec


def market_of(folder: Path, *runs: Run) -> ReplayMarket:
    """Return a market that hands out the calibration of the byte-level model."""
    job = workload.calibration(folder)
    tree = trees.canonical_bytes(job.files)
    for run in runs:
        run.params |= {"spec": job.spec.to_json(), "tree_digest": work.sha256(tree), "seed": job.seed, "bounty": "", "diff": ""}
        run.wanted = (0, job.spec.segments)
    market = ReplayMarket(*runs, class_text=starting.this_machine(limits.Limits()).class_key.text)
    content = job.data["train.bin"].read_bytes()
    market.files = {work.sha256(tree): tree, work.sha256(content): content}
    market.roles = {"tree": work.sha256(tree), "train:train.bin": work.sha256(content)}
    market.is_honest = is_committed
    return market


def is_committed(run: Run, index: int, sent: bytes) -> bool:
    """Whether a checkpoint file is the one that the report committed to."""
    spec, report = Spec.from_json(run.params["spec"]), reports.Report.from_json(run.report)
    leaf = digests.leaf(index * spec.checkpoint_every, checkpoints.read(sent, spec))
    return leaf.hex() == report.leaves[index]


def test_is_handed_in_with_checkpoints_that_its_report_committed_to(tmp_path: Path) -> None:
    run = Run()
    market = market_of(tmp_path / "data", run)
    host = errands.Host(programs.HOST.id, market.class_text, "bwrap-cpu", "desk:1")
    with market:
        programs.work_to_the_end(programs.setup(market, tmp_path / "home", trainer=children.TRAINER, host=host))
    assert (run.state, run.effects["pay"], sorted(run.artefacts)) == ("DONE", 1, [0, 4])
    assert run.report is not None
    assert (run.report["run_id"], run.report["sandbox_level"], run.report["class_text"]) == (run.id, "bwrap-cpu", market.class_text)


def test_a_tree_that_breaks_is_given_back_with_the_published_code(tmp_path: Path) -> None:
    run = Run()
    market = market_of(tmp_path / "data", run)
    tree = trees.canonical_bytes(
        {"train.py": "def build(seed, budget):\n    raise RuntimeError('no')\n\n\ndef logits(model, tokens):\n    return None\n"}
    )
    run.params["tree_digest"] = market.roles["tree"] = work.sha256(tree)
    market.files[work.sha256(tree)] = tree
    host = errands.Host(programs.HOST.id, market.class_text, "bwrap-cpu", "desk:1")
    with market:
        programs.work_to_the_end(programs.setup(market, tmp_path / "home", trainer=children.TRAINER, host=host))
    assert (run.state, run.reason, run.effects) == ("FAILED", "raised", {})


def test_doctor_checks_every_part_and_ends_in_a_paid_calibration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run()
    with market_of(tmp_path / "data", run) as market:
        monkeypatch.setenv("ATOMS_URL", market.url)
        monkeypatch.setenv("ATOMS_API_KEY", KEY)
        monkeypatch.setenv("ATOMS_GPU_HOME", str(tmp_path / "home"))
        code = program.main(["doctor"])
        said, noted = capsys.readouterr()
    names = [line.split()[1] for line in said.splitlines() if line.startswith(("ok ", "FIX"))]
    assert names == ["python", "torch", "gpu", "disk", "sandbox", "class", "determinism", "bandwidth", "clock", "key"]
    assert "FIX" not in said
    assert "two trainings of 40 steps gave the same bits" in said
    assert "expected pay  12.60 to 50.40 USD, middle 25.20 (n=20, machines of this class) per hour" in said
    assert (code, run.state, run.effects["pay"]) == (0, "DONE", 1), noted


def test_doctor_says_what_to_do_about_each_thing_that_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with ReplayMarket() as market:
        pass
    monkeypatch.setenv("ATOMS_URL", market.url)
    monkeypatch.setenv("ATOMS_API_KEY", KEY)
    monkeypatch.setenv("ATOMS_GPU_HOME", str(tmp_path))
    monkeypatch.setattr("agents_sdk._http.time.sleep", lambda seconds: None)
    (tmp_path / "limits.toml").write_text("disk_keep_gib = 100000\n")
    assert program.main(["doctor"]) == 1
    said = capsys.readouterr().out.splitlines()
    broken = [(line.split()[1], said[number + 1].strip()) for number, line in enumerate(said) if line.startswith("FIX")]
    assert broken == [
        ("disk", "-> Free 100000 GiB, or lower disk_keep_gib."),
        ("market", "-> Check ATOMS_URL and that outbound HTTPS is allowed."),
        ("key", "-> Check ATOMS_URL and the network, then try again."),
    ]
