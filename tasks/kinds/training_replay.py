"""The terms of a training task as a poster writes them: every wrong field with its path, all at once. Judging reads `replay.spec`.

A document passes here if and only if `verification.replay.spec.Spec` takes it, which stands on owners' machines without pydantic.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

# As `verification.replay` has them; a test compares.
MAX_TREE_BYTES = 1_000_000
MAX_PATH = 200
MAX_SEGMENTS = 1000
BYTE_VOCABULARY = 256

_PATH = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(?:/[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}){0,5}$"
_NAME = r"^[a-z0-9][a-z0-9_.-]{0,63}$"
_HARDWARE = r"^[A-Za-z0-9](?:[A-Za-z0-9 ._+()/-]{0,62}[A-Za-z0-9.)])?$"

_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Name = Annotated[str, Field(pattern=_NAME)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class TrainingFile(_Strict):
    """One data file: "train" and "asset" files go to those who train, "validation" and "holdout" never do."""

    name: _Name
    role: Literal["train", "validation", "holdout", "asset"]
    sha256: _Digest
    byte_count: Annotated[int, Field(ge=1, le=10**13)]


class TrainingTerms(_Strict):
    """What is trained, on what, for how long, and what counts as a gain; units as in `verification.replay.spec.Spec`."""

    version: Annotated[int, Field(ge=1, le=1)]
    interface: Literal["trainer/1", "autoresearch/1"]
    base_tree: _Digest
    editable: Annotated[list[Annotated[str, Field(pattern=_PATH, max_length=MAX_PATH)]], Field(min_length=1, max_length=16)]
    max_tree_bytes: Annotated[int, Field(ge=1, le=MAX_TREE_BYTES)]
    data: Annotated[list[TrainingFile], Field(min_length=3, max_length=64)]
    steps: Annotated[int, Field(ge=1, le=10_000_000)]
    rows: Annotated[int, Field(ge=1, le=1 << 16)]
    sequence: Annotated[int, Field(ge=1, le=1 << 20)]
    checkpoint_every: Annotated[int, Field(ge=1, le=10_000_000)]
    vocabulary: Annotated[int, Field(ge=2, le=1 << 20)]
    wall_s: Annotated[int, Field(ge=1, le=7 * 86_400)]
    max_parameters: Annotated[int, Field(ge=1, le=10**12)]
    memory_mib: Annotated[int, Field(ge=64, le=1 << 22)]
    eval_tokens: Annotated[int, Field(ge=1, le=10**10)]
    metric: Literal["bits_per_byte"]
    token_bytes: _Name | None
    min_effect: Annotated[float, Field(ge=1e-9, le=100)]
    unpaired_sd: Annotated[float, Field(ge=1e-12, le=100)]
    paired_sd: Annotated[float, Field(ge=1e-12, le=100)]
    max_pairs: Annotated[int, Field(ge=2, le=32)]
    hardware: Annotated[list[Annotated[str, Field(pattern=_HARDWARE)]], Field(min_length=1, max_length=16)]
    precision: Literal["fp32", "bf16"]
    sandbox_level: Literal["bwrap-cpu", "gvisor-gpu", "vm-gpu"]
    is_confirmed_on_second_class: bool

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        """Refuse fields that are allowed one by one and not together; the message begins with the one to change."""
        wrong = next(self._disagreements(), None)
        if wrong:
            raise ValueError(": ".join(wrong))
        return self

    def _disagreements(self) -> Iterator[tuple[str, str]]:
        if self.steps % self.checkpoint_every or self.steps // self.checkpoint_every > MAX_SEGMENTS:
            yield "checkpoint_every", f"give a divisor of steps that makes at most {MAX_SEGMENTS} checkpoints"
        if _has_twice([path.lower() for path in self.editable]):
            yield "editable", "name each once"
        if _has_twice([family.lower() for family in self.hardware]):
            yield "hardware", "name each once"
        yield from self._of_data()
        yield from self._of_tokens()

    def _of_data(self) -> Iterator[tuple[str, str]]:
        if _has_twice([file.name for file in self.data]):
            yield "data", "name each file once"
        missing = {"train", "validation", "holdout"} - {file.role for file in self.data}
        if missing:
            yield "data", f"name at least one file of role {' and '.join(sorted(missing))}"
        if _has_twice([file.sha256 for file in self.data]):
            yield "data", "no two files may be the same"

    def _of_tokens(self) -> Iterator[tuple[str, str]]:
        assets = {file.name for file in self.data if file.role == "asset"}
        if self.token_bytes is not None:
            if self.token_bytes not in assets:
                yield "token_bytes", "name a data file of role asset, or give null for one byte a token"
            return
        if self.vocabulary > BYTE_VOCABULARY:
            yield "token_bytes", f"a vocabulary above {BYTE_VOCABULARY} needs the asset with each token's byte count"
        if any(file.byte_count < self.eval_tokens for file in self.data if file.role in ("validation", "holdout")):
            yield "eval_tokens", "no evaluation file may be shorter than this"


class FieldError(NamedTuple):
    """One wrong field: its path, such as ``data[2].sha256``, and what is allowed. None of the sender's words stand in it."""

    path: str
    message: str


def errors_of(document: object) -> list[FieldError]:
    """Return everything that is wrong with a document; nothing, if it is the terms of a training task."""
    if not isinstance(document, Mapping):
        return [FieldError("", "send an object")]
    try:
        TrainingTerms.model_validate(dict(document))
    except ValidationError as invalid:
        return [_field_error(error["loc"], error["msg"]) for error in invalid.errors(include_input=False, include_url=False)]
    return []


def _field_error(location: tuple[int | str, ...], message: str) -> FieldError:
    known = [part for part in location if isinstance(part, int) or part in _FIELDS]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in known).removeprefix(".")
    if len(known) < len(location):
        # An unknown field is named by its sender: only its place is told.
        return FieldError(path, "there are unknown fields")
    words = message.removeprefix("Value error, ")
    if not path and ": " in words:
        path, _, words = words.partition(": ")
    return FieldError(path, words)


def _has_twice(values: list[str]) -> bool:
    return len(set(values)) != len(values)


_FIELDS = frozenset(TrainingTerms.model_fields) | frozenset(TrainingFile.model_fields)
