"""The first look at a stranger's tree."""

from collections.abc import Mapping

import pytest

from gpu_workers.runner import smoke
from tests.gpu_workers.runner import small
from tests.gpu_workers.runner.conftest import Trained

BUILD = "    return Trainer(budget)\n"
STEP = "        return loss.item()\n"
LOGITS = "    return model(tokens)\n"


def looked_at(run: Trained, tree: Mapping[str, str]) -> smoke.SmokeResult:
    return smoke.smoke(spec=run.spec, files=tree, place=small.PLACE)


def test_passes_an_honest_tree_without_any_data(small_run: Trained) -> None:
    result = looked_at(small_run, small_run.files)
    assert result.refusals == ()
    assert result.is_passed
    assert result.parameter_count == 256 * 8 + 8 * 256 + 256
    assert result.steps == 2
    assert result.peak_memory_bytes > 0
    assert result.to_json()["is_passed"] is True


def test_passes_the_byte_level_model(calibration_run: Trained) -> None:
    result = looked_at(calibration_run, calibration_run.files)
    assert result.is_passed
    assert result.parameter_count == 135_808


@pytest.mark.parametrize(
    ("tree", "code"),
    [
        (small.files("def logits", "def other"), "interface_missing"),
        (small.files(BUILD, "    raise OSError\n"), "raised"),
        (small.files("nn.Embedding(vocabulary, 8)", "nn.Embedding(vocabulary * 4, 8)"), "too_many_parameters"),
        (small.files(STEP, "        self.model.head.bias.data[0] = float('inf')\n        return 0.0\n"), "weights_not_finite"),
        (small.files(STEP, "        self.model.head.bias.data.add_(id(object()) % 97)\n        import os\n"
                     "        self.model.head.bias.data.add_(os.getpid() + int.from_bytes(os.urandom(2), 'big'))\n"), "split_run_differs"),
        (small.files(STEP, "        self.count = getattr(self, 'count', 0) + 1\n"
                     "        self.model.head.bias.data.add_(self.count)\n"), "split_run_differs"),
        (small.files(LOGITS, "    return model(tokens.flip(1)).flip(1) + model(tokens).roll(-1, 1)\n"), "probe_truncated"),
        (small.files(LOGITS, "    return model(tokens) + model(tokens).mean(0)\n"), "probe_row_alone"),
        (small.files(LOGITS, "    return model(tokens)[:1]\n"), "logits_malformed"),
        (small.files(LOGITS, "    return model(tokens) / 0\n"), "logits_not_finite"),
    ],
    ids=["interface", "raises", "parameters", "infinite", "entropy", "hidden state", "look-ahead", "batch leak", "shape", "no numbers"],
)  # fmt: skip
def test_refuses_with_a_code_to_act_on(small_run: Trained, tree: Mapping[str, str], code: str) -> None:
    result = looked_at(small_run, tree)
    assert not result.is_passed
    assert code in {one.code for one in result.refusals}
    assert all(one.detail for one in result.refusals)


def test_refuses_a_seed_of_the_tree_s_own(small_run: Trained) -> None:
    (refusal,) = looked_at(small_run, small.files(BUILD, "    torch.manual_seed(42)\n    return Trainer(budget)\n")).refusals
    assert refusal.code == "seed_ignored"


def test_passes_tables_that_no_seed_changes(small_run: Trained) -> None:
    tree = small.files(
        BUILD, "    one = Trainer(budget)\n    one.model.register_buffer('waves', torch.arange(300.0).sin())\n    return one\n"
    )
    assert looked_at(small_run, tree).is_passed


def test_names_the_tensors_that_differ(small_run: Trained) -> None:
    tree = small.files(STEP, "        self.count = getattr(self, 'count', 0) + 1\n        self.model.head.bias.data.add_(self.count)\n")
    (refusal,) = looked_at(small_run, tree).refusals
    assert "model.head.bias" in refusal.detail
    assert "keep all that training remembers" in refusal.detail
