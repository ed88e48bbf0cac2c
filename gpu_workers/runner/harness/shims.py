"""Modules that karpathy/autoresearch's train.py imports, made by us: its data, its clock and its attention, without network or pickles.

Written from the names that the script uses; none of that repository's code is here.
"""

import builtins
import time
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

# The script's own budget, in its own words; our clock runs at the speed that spends it with the last batch.
TIME_BUDGET_S = 300
# The script does not count its first optimizer steps.
UNTIMED_STEPS = 11


class Feed(Protocol):
    """Where the script's loader gets its rows, and where its run ends."""

    def rows(self, count: int) -> Tensor: ...
    def end(self, model: object) -> float: ...
    def now(self) -> float: ...


class NotHere(Exception):
    """The script asks for something that a replay does not give; the message says what."""


class Tokenizer:
    """The vocabulary's size; text itself is not in the sandbox."""

    vocabulary = 0

    @classmethod
    def from_directory(cls, *_: object, **__: object) -> "Tokenizer":
        """Give the tokenizer of the spec."""
        return cls()

    def get_vocab_size(self) -> int:
        """Give the number of tokens."""
        return self.vocabulary

    def __getattr__(self, name: str) -> object:
        raise NotHere(f"Tokenizer.{name}: a replay gives tokens and no text")


def prepare(feed: Feed, budget: dict[str, int], device: torch.device) -> ModuleType:
    """Make the module `prepare`."""
    module = ModuleType("prepare")

    class SpecTokenizer(Tokenizer):
        vocabulary = budget["vocabulary"]

    def make_dataloader(_tokenizer: object, rows: int, length: int, split: str, **__: object) -> Iterator[tuple[Tensor, Tensor, int]]:
        if split != "train":
            raise NotHere("the validation text is not in the sandbox")
        if budget["sequence"] != length:
            raise NotHere(f"rows have {budget['sequence']} tokens; the script asked for {length}")
        # One pair of buffers for the whole run, as a script made for this loader may count on.
        inputs = torch.empty((rows, length), dtype=torch.int64, device=device)
        targets = torch.empty((rows, length), dtype=torch.int64, device=device)
        while True:
            given = feed.rows(rows)
            inputs.copy_(given[:, :-1])
            targets.copy_(given[:, 1:])
            yield inputs, targets, 1

    def evaluate_bpb(model: object, *_: object, **__: object) -> float:
        return feed.end(model)

    vars(module).update(
        MAX_SEQ_LEN=budget["sequence"],
        TIME_BUDGET=TIME_BUDGET_S,
        VOCAB_SIZE=budget["vocabulary"],
        Tokenizer=SpecTokenizer,
        make_dataloader=make_dataloader,
        evaluate_bpb=evaluate_bpb,
    )
    return module


def kernels() -> ModuleType:
    """Make the module `kernels`, whose only kernel is torch's own attention."""
    module = ModuleType("kernels")
    interface = SimpleNamespace(flash_attn_func=flash_attn_func)
    vars(module).update(get_kernel=lambda *_, **__: SimpleNamespace(flash_attn_interface=interface))
    return module


def flash_attn_func(
    q: Tensor, k: Tensor, v: Tensor, *, softmax_scale: float | None = None, causal: bool = False, window_size: tuple[int, int] = (-1, -1)
) -> Tensor:
    """Attend: q rows x length x heads x width, k and v with as many heads or a divisor; `window_size` counts tokens left and right."""
    length = q.shape[1]
    left, right = window_size
    query, key, value = (one.transpose(1, 2) for one in (q, k, v))
    if key.shape[1] != query.shape[1]:
        key, value = (one.repeat_interleave(query.shape[1] // one.shape[1], 1) for one in (key, value))
    is_plain = causal and (left < 0 or left >= length - 1)
    mask = None if is_plain else _window(length, left, 0 if causal else right, q.device)
    mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=is_plain, scale=softmax_scale)
    return mixed.transpose(1, 2)


def clock(feed: Feed) -> ModuleType:
    """Make the module `time`, in which time passes with the batches alone: one more thing that can't differ between two machines."""
    module = ModuleType("time")
    vars(module).update({name: value for name, value in vars(time).items() if not name.startswith("__")})
    for name in ("time", "perf_counter", "monotonic", "process_time"):
        setattr(module, name, feed.now)
        setattr(module, f"{name}_ns", lambda: int(feed.now() * 1e9))
    return module


def importing(modules: dict[str, ModuleType]) -> dict[str, object]:
    """Give builtins for the script alone, by which these modules are imported in place of others of their names."""
    honest: Callable[..., ModuleType] = builtins.__import__

    def find(
        name: str,
        globals: dict[str, object] | None = None,  # noqa: A002  as the language names it
        locals: dict[str, object] | None = None,  # noqa: A002
        fromlist: tuple[str, ...] = (),
        level: int = 0,
    ) -> ModuleType:
        if level == 0 and name in modules:
            return modules[name]
        return honest(name, globals, locals, fromlist, level)

    return {**vars(builtins), "__import__": find}


def _window(length: int, left: int, right: int, device: torch.device) -> Tensor:
    places = torch.arange(length, device=device)
    behind = places[:, None] - places[None, :]
    allowed = torch.ones((length, length), dtype=torch.bool, device=device)
    if left >= 0:
        allowed &= behind <= left
    if right >= 0:
        allowed &= -behind <= right
    return allowed
