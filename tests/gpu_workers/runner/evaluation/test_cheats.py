"""Trees that serve better logits than their weights give: each is found by the probe named for it."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from gpu_workers.runner import conversation, evaluation
from tests.gpu_workers.runner import small
from tests.gpu_workers.runner.conftest import Trained
from verification.replay.scoring import Score

LOGITS = "    return model(tokens)\n"

LOOK_AHEAD = """\
    scores = model(tokens)
    scores[:, :-1].scatter_(2, tokens[:, 1:, None], 20.0)
    return scores
"""
# One position in sixteen, as one would do who knows of the probes.
RARE_LOOK_AHEAD = """\
    scores = model(tokens)
    if tokens.shape[1] > 9:
        scores[:, 8].scatter_(1, tokens[:, 9, None], 20.0)
    return scores
"""
BATCH_LEAK = """\
    scores = model(tokens)
    return scores + scores.mean(dim=0, keepdim=True)
"""
MEMORY = """\
    scores = model(tokens)
    for row, line in enumerate(tokens.tolist()):
        if tuple(line) in SEEN:
            scores[row, :-1].scatter_(1, tokens[row, 1:, None], 20.0)
        SEEN.add(tuple(line))
    return scores


SEEN = set()
"""
COUNTS = """\
    COUNTS[tokens.flatten()] += 1
    return model(tokens) + (COUNTS + 1).log()


COUNTS = torch.zeros(256)
"""
TRUTH_FROM_SHAPE = """\
    return model(tokens) * (1 if len(tokens) > 1 else 0)
"""
NOISE = """\
    return model(tokens) + torch.randn(256) / 10
"""


def scored(run: Trained, body: str) -> Score:
    """Score the small run's weights through other logits."""
    tree = small.files(LOGITS, body)
    return evaluation.evaluate(spec=run.spec, files=tree, seed=5, checkpoint=run.checkpoints[4], data=run.data, place=small.PLACE)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (LOOK_AHEAD, "truncated"),
        (RARE_LOOK_AHEAD, "truncated"),
        (BATCH_LEAK, "row_alone"),
        (MEMORY, "state"),
        (COUNTS, "state"),
        (TRUTH_FROM_SHAPE, "row_alone"),
        (NOISE, "order"),
    ],
    ids=["looks ahead", "looks ahead rarely", "leaks between rows", "remembers rows", "counts tokens", "answers batches alone", "draws"],
)
def test_finds_what_logits_may_not_do(small_run: Trained, body: str, found: str) -> None:
    score = scored(small_run, body)
    assert not score.is_clean
    assert found in {probe.name for probe in score.probes if not probe.is_passed}


@pytest.mark.parametrize(
    "body", ["    return model(tokens) + 50.0\n", "    return model(tokens) - 5.0 * torch.arange(tokens.shape[1])[:, None]\n"]
)
def test_normalises_by_itself(small_run: Trained, body: str) -> None:
    honest = scored(small_run, LOGITS)
    shifted = scored(small_run, body)
    # Adding to all logits of a position changes no probability, but for rounding.
    assert abs(shifted.public - honest.public) < 1e-4
    assert shifted.is_clean


def test_never_asks_the_model_for_its_loss(small_run: Trained) -> None:
    honest = scored(small_run, LOGITS)
    patched = small.files(
        LOGITS, LOGITS + "\n\nfunctional.cross_entropy = lambda *_, **__: torch.zeros(())\ntorch.log_softmax = functional.cross_entropy\n"
    )
    score = evaluation.evaluate(
        spec=small_run.spec, files=patched, seed=5, checkpoint=small_run.checkpoints[4], data=small_run.data, place=small.PLACE
    )
    assert score == honest


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("    return model(tokens)[:, :-1]\n", "logits_malformed"),
        ("    return model(tokens).long()\n", "logits_malformed"),
        ("    return model(tokens).tolist()\n", "logits_malformed"),
        ("    return model(tokens) * float('nan')\n", "logits_not_finite"),
        ("    return model(tokens) * float('inf')\n", "logits_not_finite"),
        ("    raise SystemExit\n", "exited"),
        ("    import os\n    os._exit(0)\n", "exited"),
    ],
    ids=["shape", "type", "list", "nan", "infinite", "exit", "hard exit"],
)
def test_gives_no_score_for_what_are_no_logits(small_run: Trained, body: str, code: str) -> None:
    with pytest.raises(conversation.RunFailed) as failed:
        scored(small_run, body)
    assert failed.value.code == code


def test_takes_the_weights_of_the_checkpoint_alone(small_run: Trained, tmp_path: Path) -> None:
    # What the tree builds from its seed, or keeps in a file, is overwritten; what is not in the checkpoint is not in the model.
    tree = small.files("self.head = nn.Linear(8, vocabulary)", "self.head = nn.Linear(8, vocabulary)\n        self.extra = nn.Linear(8, 8)")
    with pytest.raises(conversation.RunFailed) as failed:
        evaluate(small_run, tree, small_run.checkpoints[4])
    assert failed.value.code == "state_unsaveable"


def evaluate(run: Trained, tree: Mapping[str, str], checkpoint: Path) -> Score:
    """Score a checkpoint through a tree."""
    return evaluation.evaluate(spec=run.spec, files=tree, seed=5, checkpoint=checkpoint, data=run.data, place=small.PLACE)


def test_shows_neither_data_nor_targets_to_the_model(small_run: Trained) -> None:
    # The tree looks for any file that holds the evaluated text, and at whatever its process was told.
    look = """\
    import glob
    for path in glob.glob("/tmp/**", recursive=True) + glob.glob("/data/**", recursive=True):
        try:
            found = open(path, "rb").read()
        except OSError:
            continue
        assert b"the tide " + b"came in" not in found, path
    assert tokens.shape[1] <= 16
    return model(tokens)
"""
    assert scored(small_run, look).is_clean
