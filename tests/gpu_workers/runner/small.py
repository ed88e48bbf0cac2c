"""A tree that trains in milliseconds, its spec and its files: what tests of the runner's edges need of a training."""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path

from gpu_workers.runner import conversation, hardware, training
from gpu_workers.runner.workloads.byte_lm import workload
from verification.replay import classes, trees
from verification.replay.spec import DataFile, Spec

PLACE = conversation.Place(level="bwrap-cpu")
CPU = hardware.class_key(precision="fp32", threads=1)

TREE = """\
import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class Pairs(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.table = nn.Embedding(vocabulary, 8)
        self.head = nn.Linear(8, vocabulary)

    def forward(self, tokens):
        return self.head(self.table(tokens))


class Trainer:
    def __init__(self, budget):
        self.model = Pairs(budget["vocabulary"])
        self.optimizers = [torch.optim.AdamW(self.model.parameters(), lr=1e-2)]

    def step(self, tokens, step):
        # A little of each generator, so that a state without one of them shows.
        noise = torch.rand(()).item() + np.random.rand() + random.random() + np.random.standard_normal()
        scores = self.model(tokens[:, :-1])
        loss = functional.cross_entropy(scores.flatten(0, 1), tokens[:, 1:].flatten())
        self.optimizers[0].zero_grad()
        (loss * (1 + noise / 100)).backward()
        self.optimizers[0].step()
        return loss.item()


def build(seed, budget):
    return Trainer(budget)


def logits(model, tokens):
    return model(tokens)
"""


def files(old: str = "", new: str = "") -> dict[str, str]:
    """Give the small tree, with one passage exchanged."""
    assert old in TREE
    return {"train.py": TREE.replace(old, new) if old else TREE}


def write_data(folder: Path) -> dict[str, Path]:
    """Write three short texts of English sentences over small letters."""
    folder.mkdir(parents=True, exist_ok=True)
    words = b"the tide came in slowly and the boats rose with it while children counted gulls along the wall "
    paths = {}
    for place, name in enumerate(("train.bin", "validation.bin", "holdout.bin")):
        paths[name] = folder / name
        paths[name].write_bytes((words[place * 7 :] + words[: place * 7]) * 12)
    return paths


def spec(paths: Mapping[str, Path], **changes: object) -> Spec:
    """Give terms for the small tree: 8 steps, a checkpoint every 2."""
    data = tuple(
        DataFile(name, workload.ROLE_BY_NAME[name], hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
        for name, path in sorted(paths.items())
    )
    terms = dataclasses.replace(
        workload.spec(paths=paths),
        base_tree=trees.tree_digest(files()),
        data=data,
        steps=8,
        rows=4,
        sequence=16,
        checkpoint_every=2,
        wall_s=60,
        max_parameters=5000,
        memory_mib=1024,
        eval_tokens=680,
    )
    return dataclasses.replace(terms, **changes)  # type: ignore[arg-type]


def replay(
    *,
    terms: Spec,
    tree: Mapping[str, str],
    data: Mapping[str, Path],
    folder: Path,
    seed: int = 5,
    place: conversation.Place = PLACE,
    class_key: classes.ClassKey = CPU,
) -> training.Finished:
    """Replay with the words that most tests share."""
    return training.replay(spec=terms, files=tree, seed=seed, class_key=class_key, data=data, folder=folder, run_id="rpl_test", place=place)
