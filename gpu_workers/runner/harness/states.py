"""A trainer's whole state as tensors, and back: model, optimizers, random generators, step.

Numbers and words of an optimizer (learning rates, flags) go into one JSON text per optimizer, `optimizer.<i>.structure`, where they
are compared exactly; its tensors keep their own names.
"""

import json
import random
from collections.abc import Mapping
from typing import Protocol

import numpy as np
import safetensors
import torch
from torch import Tensor, nn

from . import packing

NAME_BY_DTYPE = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
DTYPE_BY_NAME = {name: dtype for dtype, name in NAME_BY_DTYPE.items()}


class Unsaveable(Exception):
    """Something in the trainer's state is neither a tensor nor a plain value; the message says what."""


class Trainer(Protocol):
    """What `build` returns, as far as its state goes."""

    model: nn.Module
    optimizers: list[torch.optim.Optimizer]


def capture(trainer: Trainer, step: int, more: Mapping[str, Tensor] | None = None) -> bytes:
    """Write the state after `step` steps, and `more` that belongs to it, as one safetensors file.

    Raises:
        Unsaveable: a tensor type or a value that can't be written.
    """
    tensors: dict[str, Tensor] = {}
    for name, value in trainer.model.state_dict().items():
        if not isinstance(value, Tensor):
            raise Unsaveable(f"model.{name} is no tensor")
        tensors[f"model.{name}"] = value
    for index, optimizer in enumerate(trainer.optimizers):
        tensors.update(_optimizer_tensors(optimizer, f"optimizer.{index}"))
    tensors.update(_generator_tensors())
    tensors.update(more or {})
    return packing.pack([_raw(name, value) for name, value in tensors.items()], {"step": str(step)})


def restore(trainer: Trainer, content: bytes) -> None:
    """Put a captured state into a newly built trainer.

    Raises:
        Unsaveable: the state does not fit this trainer.
    """
    tensors = unpack(content)
    restore_model(trainer.model, tensors)
    for index, optimizer in enumerate(trainer.optimizers):
        _restore_optimizer(optimizer, tensors, f"optimizer.{index}")
    _restore_generators(tensors)


def restore_model(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put the "model." tensors into a model.

    Raises:
        Unsaveable: names or shapes differ.
    """
    try:
        model.load_state_dict({name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")})
    except RuntimeError as misfit:
        raise Unsaveable(str(misfit)[:500]) from None


def unpack(content: bytes) -> dict[str, Tensor]:
    """Read a safetensors file into tensors."""
    return {name: _tensor(one["dtype"], one["shape"], one["data"]) for name, one in safetensors.deserialize(content)}  # type: ignore[no-untyped-call]


def _tensor(dtype: str, shape: list[int], data: bytearray) -> Tensor:
    if not data:
        return torch.empty(shape, dtype=DTYPE_BY_NAME[dtype])
    return torch.frombuffer(data, dtype=DTYPE_BY_NAME[dtype]).reshape(shape)


def _raw(name: str, value: Tensor) -> packing.RawTensor:
    if value.dtype not in NAME_BY_DTYPE or value.layout != torch.strided:
        raise Unsaveable(f"{name} has type {value.dtype}, {value.layout}")
    flat = value.detach().cpu().contiguous().reshape(-1)
    return name, NAME_BY_DTYPE[value.dtype], tuple(value.shape), flat.view(torch.uint8).numpy().tobytes()


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _optimizer_tensors(optimizer: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    parameters = _parameters(optimizer)
    if len(optimizer.state) > sum(parameter in optimizer.state for parameter in parameters):
        raise Unsaveable(f"{prefix} keeps state for something that is no parameter of its groups")
    groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    structure = {
        "groups": [_take_apart(group, f"{prefix}.groups.{index}", tensors) for index, group in enumerate(groups)],
        "state": [
            [index, _take_apart(dict(optimizer.state[parameter]), f"{prefix}.state.{index}", tensors)]
            for index, parameter in enumerate(parameters)
            if parameter in optimizer.state
        ],
    }
    words = json.dumps(structure, separators=(",", ":"), sort_keys=True).encode()
    tensors[f"{prefix}.structure"] = torch.frombuffer(bytearray(words), dtype=torch.uint8)
    return tensors


def _take_apart(value: object, path: str, tensors: dict[str, Tensor]) -> object:
    """Replace tensors by their names; keep plain values, containers as pairs of a word and their parts."""
    if isinstance(value, Tensor):
        tensors[path] = value
        return ["tensor", path, value.device.type]
    if value is None or type(value) in (bool, int, float, str):
        return ["value", value]
    if isinstance(value, dict):
        return ["dict", [[str(key), _take_apart(one, f"{path}.{key}", tensors)] for key, one in value.items()]]
    if isinstance(value, list | tuple):
        parts = [_take_apart(one, f"{path}.{index}", tensors) for index, one in enumerate(value)]
        return ["tuple" if isinstance(value, tuple) else "list", parts]
    raise Unsaveable(f"{path} is a {type(value).__name__}: keep tensors, numbers, words, lists and dicts")


def _put_together(found: list[object], tensors: dict[str, Tensor]) -> object:
    kind, content = found[0], found[1]
    if kind == "tensor":
        return tensors[str(content)].clone().to(str(found[2]))
    if kind == "value":
        return content
    parts = list(content)  # type: ignore[call-overload]
    if kind == "dict":
        return {key: _put_together(one, tensors) for key, one in parts}
    whole = [_put_together(one, tensors) for one in parts]
    return tuple(whole) if kind == "tuple" else whole


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], prefix: str) -> None:
    # Not `load_state_dict`: it casts moments to their parameter's type, and a restored run would then differ from a straight one.
    try:
        structure = json.loads(tensors[f"{prefix}.structure"].numpy().tobytes())
        for group, found in zip(optimizer.param_groups, structure["groups"], strict=True):
            group.update(dict(_put_together(found, tensors)))  # type: ignore[call-overload]
        parameters = _parameters(optimizer)
        optimizer.state.clear()
        for index, found in structure["state"]:
            optimizer.state[parameters[index]] = _put_together(found, tensors)
    except (KeyError, IndexError, TypeError, ValueError) as misfit:
        raise Unsaveable(f"{prefix} does not fit: {misfit!r}"[:500]) from None


def _generator_tensors() -> dict[str, Tensor]:
    _, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    numpy_state = np.asarray(keys, "<u4").tobytes() + np.array([position, has_gauss], "<i8").tobytes() + np.array([gauss], "<f8").tobytes()
    _, words, next_gauss = random.getstate()
    python_state = np.array(words, "<u4").tobytes() + json.dumps(next_gauss).encode()
    tensors = {
        "rng.torch": torch.get_rng_state(),
        "rng.numpy": torch.frombuffer(bytearray(numpy_state), dtype=torch.uint8),
        "rng.python": torch.frombuffer(bytearray(python_state), dtype=torch.uint8),
    }
    if torch.cuda.is_available():
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    return tensors


def _restore_generators(tensors: dict[str, Tensor]) -> None:
    torch.set_rng_state(tensors["rng.torch"].clone())
    content = tensors["rng.numpy"].numpy().tobytes()
    position, has_gauss = np.frombuffer(content[-24:-8], "<i8")
    keys = np.frombuffer(content[:-24], "<u4")
    np.random.set_state(("MT19937", keys, int(position), int(has_gauss), float(np.frombuffer(content[-8:], "<f8")[0])))
    content = tensors["rng.python"].numpy().tobytes()
    # 624 words of the generator and its position.
    words = tuple(int(word) for word in np.frombuffer(content[: 625 * 4], "<u4"))
    random.setstate((3, words, json.loads(content[625 * 4 :])))
    if "rng.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["rng.cuda"].clone())
