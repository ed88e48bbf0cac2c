"""Checkpoints as bytes from a stranger's process: read under limits, never by unpickling, checked, written down for good."""

import math
import os
import re
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import safetensors

from gpu_workers.runner.harness import packing
from verification.replay import digests
from verification.replay.digests import Tensor
from verification.replay.spec import Spec

MOST_HEADER_BYTES = 4 << 20
MOST_TENSORS = 20_000
_NAME = re.compile(r"(model|optimizer\.\d{1,3}|rng|script)\.[ -~]{1,250}")


class BadCheckpoint(Exception):
    """Bytes that are no checkpoint of this run; `code` is a published word."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def most_bytes(spec: Spec) -> int:
    """Limit the size of a checkpoint: 24 bytes a parameter (weights and two moments, each in float64) and 4 MiB."""
    return 24 * spec.max_parameters + (4 << 20)


def read(content: bytes, spec: Spec) -> tuple[Tensor, ...]:
    """Read a checkpoint's tensors, in the order of their names.

    Raises:
        BadCheckpoint: `state_too_large`, `state_malformed`, `state_unknown_name`, `too_many_parameters`.
    """
    if len(content) > most_bytes(spec):
        raise BadCheckpoint("state_too_large", f"a checkpoint of this run has at most {most_bytes(spec)} bytes, not {len(content)}")
    # The library would take 100 MB of header and as many objects.
    if len(content) < 8 or struct.unpack_from("<Q", content)[0] > MOST_HEADER_BYTES:
        raise BadCheckpoint("state_malformed", "no safetensors header of an allowed size")
    try:
        found = safetensors.deserialize(content)  # type: ignore[no-untyped-call]
        tensors = tuple(Tensor(name, one["dtype"], tuple(one["shape"]), bytes(one["data"])) for name, one in sorted(found))
        digests.by_name(tensors)
    except (safetensors.SafetensorError, digests.MalformedTensors) as malformed:
        raise BadCheckpoint("state_malformed", str(malformed)[:500]) from None
    _check_names(tensors)
    if parameter_count(tensors) > spec.max_parameters:
        raise BadCheckpoint("too_many_parameters", f"{parameter_count(tensors)} parameters, allowed are {spec.max_parameters}")
    return tensors


def read_file(path: Path, spec: Spec) -> tuple[Tensor, ...]:
    """Read a checkpoint's file; one larger than any checkpoint of the run is refused unread.

    Raises:
        BadCheckpoint: as `read`.
    """
    size = path.stat().st_size
    if size > most_bytes(spec):
        raise BadCheckpoint("state_too_large", f"a checkpoint of this run has at most {most_bytes(spec)} bytes, not {size}")
    return read(path.read_bytes(), spec)


def model_tensors(tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """Keep the weights and buffers of the model alone."""
    return tuple(one for one in tensors if one.name.startswith(digests.MODEL_PREFIX))


def parameter_count(tensors: Iterable[Tensor]) -> int:
    """Count the elements of all "model." tensors; buffers and tied copies count like the rest."""
    return sum(math.prod(one.shape) for one in model_tensors(tensors))


def require_same_model(first: Sequence[Tensor], later: Sequence[Tensor]) -> None:
    """Refuse a model whose tensors changed their names, types or shapes during the run.

    Raises:
        BadCheckpoint: `state_changed_shape`.
    """
    if [one[:3] for one in model_tensors(first)] != [one[:3] for one in model_tensors(later)]:
        raise BadCheckpoint("state_changed_shape", "the model's tensors changed their names, types or shapes while training")


def movement(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """Give the L2 norm of the change of the model's weights.

    Raises:
        BadCheckpoint: `weights_not_finite`, `state_changed_shape`.
    """
    require_same_model(before, after)
    try:
        return digests.movement(model_tensors(before), model_tensors(after))
    except digests.NotFinite as diverged:
        raise BadCheckpoint("weights_not_finite", str(diverged)) from None


def packed(tensors: Iterable[Tensor], step: int) -> bytes:
    """Write tensors as one safetensors file: the same tensors give the same bytes."""
    return packing.pack(tensors, {"step": str(step)})


def write_durably(path: Path, content: bytes) -> None:
    """Write a file that is whole or absent, also after a power cut."""
    unfinished = path.with_name(f"{path.name}.part")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _check_names(tensors: Sequence[Tensor]) -> None:
    if len(tensors) > MOST_TENSORS:
        raise BadCheckpoint("state_malformed", f"more than {MOST_TENSORS} tensors")
    for one in tensors:
        if not _NAME.fullmatch(one.name):
            raise BadCheckpoint("state_unknown_name", "a tensor is named neither model., optimizer.<number>., rng. nor script.")
    if not model_tensors(tensors):
        raise BadCheckpoint("state_malformed", "the model has no tensors")
