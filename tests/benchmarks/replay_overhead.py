"""What a verified replay costs beside the bare training, and what an audit of its segments finds, on the byte-level model.

Run: `python -m tests.benchmarks.replay_overhead [--runs 3] [--segments 10] [--seeds 8] [--json PATH]`. Ways alternate, so that other
work on the machine touches all; CPU seconds count, medians are told. About four minutes of CPU with the defaults.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpu_workers.runner import conversation, evaluation, hardware, segments, smoke, training
from gpu_workers.runner.workloads.byte_lm import corpus, workload
from gpu_workers.runner.workloads.byte_lm.base_tree.train import Trainer
from tests.benchmarks.replays import forging, local
from tests.gpu_workers.runner import bare
from verification.replay.spec import Spec

SEED = 1
BARE = bare.BarePlace(level="bwrap-cpu")
SANDBOXED = conversation.Place(level="bwrap-cpu")
# Settings that make another class of this machine: place, and what changes in its key.
OTHER_CLASSES: dict[str, tuple[conversation.Place, dict[str, Any]]] = {
    "2 threads": (conversation.Place(level="bwrap-cpu", threads=2), {"threads": 2}),
    "ATEN_CPU_CAPABILITY=default": (
        conversation.Place(level="bwrap-cpu", environment={"ATEN_CPU_CAPABILITY": "default"}),
        {"isa": "DEFAULT-other"},
    ),
    "MKL_CBWR=COMPATIBLE": (conversation.Place(level="bwrap-cpu", environment={"MKL_CBWR": "COMPATIBLE"}), {"isa": "COMPATIBLE-other"}),
}


def replayed(spec: Spec, data: Mapping[str, Path], folder: Path, place: conversation.Place) -> tuple[training.Finished, float]:
    """Replay the base tree; give the result and the launcher's own CPU seconds."""
    began = time.process_time()
    finished = training.replay(
        spec=spec,
        files=workload.base_files(),
        seed=SEED,
        class_key=hardware.class_key(precision="fp32", threads=1),
        data=data,
        folder=folder,
        run_id="rpl_bench",
        place=place,
    )
    return finished, time.process_time() - began


def start_cpu_s(spec: Spec, data: Mapping[str, Path]) -> float:
    """Give the CPU seconds of a bare harness that loads torch and the tree and does nothing."""
    with conversation.opened(spec=spec, place=BARE, files=workload.base_files(), seed=SEED, data=data, wall_s=60) as talk:
        return talk.end().cpu_s


def overhead(spec: Spec, data: Mapping[str, Path], folder: Path, runs: int) -> dict[str, float | int | str]:
    """Measure runs bare and sandboxed, and the parts of what verification adds."""
    plain, start, bare_s, sandboxed_s, launcher_s, hashing_s, checking_s = ([] for _ in range(7))  # type: ignore[var-annotated]
    roots = set()
    # The first of each fills caches, here and in the kernel.
    for number in range(runs + 1):
        outside, _ = replayed(spec, data, folder / f"bare-{number}", BARE)
        inside, launcher = replayed(spec, data, folder / f"sandboxed-{number}", SANDBOXED)
        hashing, checking = local.state_cpu_s(spec, inside.checkpoint_paths)
        roots |= {outside.report.root, inside.report.root}
        alone, began = local.plain_cpu_s(spec, data, SEED), start_cpu_s(spec, data)
        if number:
            for kept, taken in (
                (plain, alone),
                (start, began),
                (bare_s, outside.report.cpu_s),
                (sandboxed_s, inside.report.cpu_s),
                (launcher_s, launcher),
                (hashing_s, hashing),
                (checking_s, checking),
            ):
                kept.append(taken)
    trained = statistics.median(plain)
    added = statistics.median(
        inside + launcher - began - alone for inside, launcher, began, alone in zip(sandboxed_s, launcher_s, start, plain, strict=True)
    )
    return {
        "runs": runs,
        "roots": len(roots),
        "training CPU s": trained,
        "start of torch CPU s": statistics.median(start),
        "harness bare CPU s": statistics.median(bare_s),
        "harness sandboxed CPU s": statistics.median(sandboxed_s),
        "launcher CPU s": statistics.median(launcher_s),
        "hashing, share of training": statistics.median(hashing_s) / trained,
        "reading, checking and packing states, share of training": statistics.median(checking_s) / trained,
        "sandbox, share of training": statistics.median(
            (inside - outside) / trained for inside, outside in zip(sandboxed_s, bare_s, strict=True)
        ),
        "all that verification adds, share of training": added / trained,
    }


def trusted(spec: Spec, data: Mapping[str, Path], checkpoint: Path) -> dict[str, float]:
    """Measure what the trusted pool computes: a score with its probes, and the first look; CPU seconds, starts of torch included."""
    scored = evaluation.measure(spec=spec, files=workload.base_files(), seed=SEED, checkpoint=checkpoint, data=data, place=SANDBOXED)
    looked = smoke.smoke(spec=spec, files=workload.base_files(), place=SANDBOXED)
    return {"evaluation CPU s": scored.cpu_s, "evaluation starts": 2.0, "smoke CPU s": looked.cpu_s, "smoke starts": 3.0}


def honest(spec: Spec, data: Mapping[str, Path], run: training.Finished, audited: list[int]) -> dict[str, dict[str, float | int]]:
    """Audit an honest run on its own class and on others; count false alarms and give the largest error."""
    own = hardware.class_key(precision="fp32", threads=1)
    found: dict[str, dict[str, float | int]] = {}
    for name, (place, changes) in {"same class": (SANDBOXED, {}), **OTHER_CLASSES}.items():
        result = segments.audit(
            spec=spec,
            files=workload.base_files(),
            seed=SEED,
            data=data,
            report=run.report,
            checkpoints=dict(enumerate(run.checkpoint_paths)),
            segments=audited,
            class_key=replace(own, **changes),
            place=place,
        )
        results = result.results
        found[name] = {
            "n": len(results),
            "false alarms": sum(not one.is_passed for one in results),
            "bitwise equal": sum(one.code == "exact" for one in results),
            "largest error": max(one.error for one in results),
        }
    return found


def faster(trainer: Trainer) -> None:
    """An honest small improvement: learning rate times 1.3."""
    before = trainer.learning_rate
    trainer.learning_rate = lambda step: before(step) * 1.3  # type: ignore[method-assign]


def spread(spec: Spec, data: Mapping[str, Path], seeds: int) -> dict[str, float | int]:
    """Train the base and an edit with shared seeds: standard deviations of a score and of a paired difference, in bits per byte."""
    pairs = [(local.score(spec, data, seed), local.score(spec, data, seed, faster)) for seed in range(100, 100 + seeds)]
    bases = [base for base, _ in pairs]
    gains = [base - edited for base, edited in pairs]
    return {
        "seeds": seeds,
        "score": statistics.fmean(bases),
        "sd of a score": statistics.stdev(bases),
        "gain of learning rate x1.3": statistics.fmean(gains),
        "sd of a paired difference": statistics.stdev(gains),
    }


def measure(*, runs: int, audited: int, seeds: int, steps: int = workload.STEPS) -> dict[str, object]:
    """Measure everything on runs of `steps` steps in ten segments."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = corpus.write(folder / "data")
        spec = workload.spec(paths=data, steps=steps, checkpoint_every=steps // 10)
        figures: dict[str, object] = {
            "class": hardware.class_key(precision="fp32", threads=1).text,
            "steps": steps,
            "overhead": overhead(spec, data, folder, runs),
        }
        run, _ = replayed(spec, data, folder / "sandboxed-0", SANDBOXED)
        indices = list(range(spec.segments))[-audited:]
        figures["trusted"] = trusted(spec, data, run.checkpoint_paths[-1])
        figures["forged segments"] = forging.measure(forging.Honest.read(spec, data, SEED, run.checkpoint_paths), indices)
        figures["honest segments"] = honest(spec, data, run, indices)
        figures["spread"] = spread(spec, data, seeds)
        return figures


def main() -> None:
    """Print the figures and, with `--json`, write them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=3, help="runs of each way (default 3)")
    parser.add_argument("--segments", type=int, default=10, help="audited and forged segments of each kind, at most 10 (default 10)")
    parser.add_argument("--seeds", type=int, default=8, help="pairs of runs for the spread (default 8)")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    options = parser.parse_args()
    figures = json.dumps(measure(runs=options.runs, audited=options.segments, seeds=options.seeds), indent=1)
    print(figures)
    if options.json:
        options.json.write_text(figures + "\n", "utf-8")


if __name__ == "__main__":
    main()
