"""A run as the market describes it, with its files, and what any honest training of it gives. Small: nothing here needs torch."""

import hashlib
import json
from typing import Any

from verification.replay import digests, reports, trees
from verification.replay.spec import Spec

STEPS, CHECKPOINTS = 40, 4
PAY = {"amount": "0.42", "currency": "USD"}
CLASS_TEXT = "hardware=cpu;torch=2.13.0+cpu;isa=AVX2;threads=1;precision=fp32;compiled=no;driver=none"
TREE = trees.canonical_bytes({"train.py": "def build(seed, budget):\n    return None\n"})
TEXT = b"All happy families are alike. " * 40


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


FILES = {sha256(TREE): TREE, sha256(TEXT): TEXT}
ROLES = {"tree": sha256(TREE), "train:text": sha256(TEXT)}
SPEC = {
    "version": 1,
    "interface": "trainer/1",
    "base_tree": sha256(TREE),
    "editable": ["train.py"],
    "max_tree_bytes": 100_000,
    "data": [
        {"name": "text", "role": "train", "sha256": sha256(TEXT), "byte_count": len(TEXT)},
        {"name": "public", "role": "validation", "sha256": "1" * 64, "byte_count": 4096},
        {"name": "secret", "role": "holdout", "sha256": "2" * 64, "byte_count": 4096},
    ],
    "steps": STEPS,
    "rows": 2,
    "sequence": 16,
    "checkpoint_every": STEPS // CHECKPOINTS,
    "vocabulary": 256,
    "wall_s": 60,
    "max_parameters": 1_000_000,
    "memory_mib": 512,
    "eval_tokens": 256,
    "metric": "bits_per_byte",
    "token_bytes": None,
    "min_effect": 0.01,
    "unpaired_sd": 0.02,
    "paired_sd": 0.005,
    "max_pairs": 8,
    "hardware": ["cpu"],
    "precision": "fp32",
    "sandbox_level": "bwrap-cpu",
    "is_confirmed_on_second_class": False,
}


def params(**changes: Any) -> dict[str, Any]:
    return {
        "spec": SPEC,
        "tree_digest": sha256(TREE),
        "seed": 7,
        "class_key": "",
        "pay": PAY,
        "bounty": "rsb_" + "5" * 32,
        "title": "A faster optimizer",
        "diff": "--- a/train.py\n+++ b/train.py\n@@ -1 +1 @@\n-pass\n+x = 1\n",
    } | changes


def checkpoint(seed: int, index: int) -> bytes:
    """What training makes of this seed after `index` segments."""
    return hashlib.sha256(f"{seed} {index}".encode()).digest() * 32


def report(run_id: str, seed: int, spec: dict[str, Any]) -> dict[str, Any]:
    """What an honest trainer reports."""
    leaves = [hashlib.sha256(checkpoint(seed, index)).digest() for index in range(CHECKPOINTS + 1)]
    found = reports.Report(
        run_id=run_id,
        spec_digest=Spec.from_json(spec).digest,
        tree_digest=sha256(TREE),
        seed=seed,
        class_text=CLASS_TEXT,
        root=digests.root(leaves).hex(),
        leaf_count=len(leaves),
        leaves=tuple(leaf.hex() for leaf in leaves),
        norms=(0.5,) * CHECKPOINTS,
        tokens_served=STEPS * 34,
        steps=STEPS,
        wall_s=60.0,
        cpu_s=50.0,
        peak_memory_bytes=1 << 28,
        sandbox_level="bwrap-cpu",
        runner_version="1",
        curve=((0, 5.5), (STEPS, 3.1)),
    )
    made = json.loads(found.canonical())
    assert isinstance(made, dict)
    return made
