"""Interface "trainer/1": a tree whose `train.py` has `build(seed, budget)` and `logits(model, tokens)`."""

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from . import frames, settings, states


class Unusable(Exception):
    """The tree does not keep to its interface; `code` is a published word."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class Trainer(states.Trainer, Protocol):
    """What `build` returns."""

    def step(self, tokens: Tensor, step: int) -> object:
        """Learn from one batch."""


class Program:
    """One stranger's tree, imported, built and asked."""

    def __init__(self, seed: int, budget: dict[str, int]) -> None:
        """Import and build.

        Raises:
            Unusable: `interface_missing`, `trainer_malformed`.
        """
        settings.seed(seed)
        self._module = importlib.import_module("train")
        for name in ("build", "logits"):
            if not callable(getattr(self._module, name, None)):
                raise Unusable("interface_missing", f"train.py has no function {name}")
        # Again: what an import draws must not move what `build` draws, or a refactor would change the weights.
        settings.seed(seed)
        self.trainer = _checked(self._module.build(seed, dict(budget)))
        self._vocabulary = budget["vocabulary"]
        self._width = budget["sequence"] + 1
        self._rows = budget["rows"]

    def restore(self, content: bytes) -> None:
        """Put a checkpoint in."""
        states.restore(self.trainer, content)

    def restore_model(self, content: bytes) -> None:
        """Put the weights of a checkpoint in, for evaluation."""
        states.restore_model(self.trainer.model, states.unpack(content))
        self.trainer.model.eval()

    def step(self, step: int, tokens: bytes) -> float | None:
        """Train on one batch; return what the tree says its loss is."""
        batch = torch.frombuffer(bytearray(tokens), dtype=torch.int64).reshape(self._rows, self._width)
        said = self.trainer.step(batch.to(device_of(self.trainer.model)), step)
        if isinstance(said, Tensor) and said.numel() == 1:
            said = said.item()
        return float(said) if isinstance(said, int | float) else None

    def state(self, step: int) -> bytes:
        """Write a checkpoint."""
        return states.capture(self.trainer, step)

    def logits(self, content: bytes) -> bytes:
        """Score each next token: float32, rows x length x vocabulary.

        Raises:
            Unusable: `logits_malformed`.
        """
        with torch.no_grad():
            return logits_of(
                functools.partial(self._module.logits, self.trainer.model), content, self._vocabulary, device_of(self.trainer.model)
            )


def logits_of(function: Callable[[Tensor], object], content: bytes, vocabulary: int, device: torch.device) -> bytes:
    """Score each next token by a stranger's function: float32, rows x length x vocabulary.

    Raises:
        Unusable: `logits_malformed`.
    """
    rows, length = frames.LOGITS_SHAPE.unpack_from(content)
    tokens = torch.frombuffer(bytearray(content[frames.LOGITS_SHAPE.size :]), dtype=torch.int64).reshape(rows, length)
    scores = function(tokens.to(device))
    expected = (rows, length, vocabulary)
    if not isinstance(scores, Tensor) or tuple(scores.shape) != expected or not scores.is_floating_point():
        raise Unusable("logits_malformed", f"logits must be a float tensor of shape {expected}")
    return scores.detach().float().cpu().contiguous().numpy().tobytes()


def device_of(model: nn.Module) -> torch.device:
    """Give where a model's weights are."""
    for parameter in model.parameters():
        return parameter.device
    return torch.device("cpu")


def _checked(trainer: object) -> Trainer:
    if not isinstance(getattr(trainer, "model", None), nn.Module):
        raise Unusable("trainer_malformed", "build() must return a trainer whose .model is a torch.nn.Module")
    optimizers = getattr(trainer, "optimizers", None)
    if not isinstance(optimizers, list) or not all(isinstance(one, torch.optim.Optimizer) for one in optimizers):
        raise Unusable("trainer_malformed", "the trainer's .optimizers must be a list of torch.optim.Optimizer")
    step = getattr(trainer, "step", None)
    if not callable(step) or not _takes_two(step):
        raise Unusable("trainer_malformed", "the trainer must have a method step(tokens, step)")
    return cast(Trainer, trainer)


def _takes_two(function: object) -> bool:
    try:
        inspect.signature(function).bind(None, 0)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True
