"""The terms by which a training run is replayed and judged: immutable, hashed, without money."""

import dataclasses
import hashlib
import re
from typing import Literal, cast

from verification.replay import fields, trees

Interface = Literal["trainer/1", "autoresearch/1"]
Role = Literal["train", "validation", "holdout", "asset"]
Precision = Literal["fp32", "bf16"]
SandboxLevel = Literal["bwrap-cpu", "gvisor-gpu", "vm-gpu"]

INTERFACES = ("trainer/1", "autoresearch/1")
ROLES = ("train", "validation", "holdout", "asset")
PRECISIONS = ("fp32", "bf16")
SANDBOX_LEVELS = ("bwrap-cpu", "gvisor-gpu", "vm-gpu")
METRIC = "bits_per_byte"
# A report names every checkpoint, and has to stay under its own limit of bytes.
MAX_SEGMENTS = 1000
MAX_FILES = 64
BYTE_VOCABULARY = 256

HEX = re.compile(r"[0-9a-f]{64}")
HEX_RULE = "give 64 hexadecimal digits in lower case (SHA-256)"
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_NAME_RULE = "give 1 to 64 small letters, digits and _ . - that begin with a letter or digit"
# As `nvidia-smi` and `torch.cuda.get_device_name` write them; no sign that separates the parts of a class key.
HARDWARE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._+()/-]{0,62}[A-Za-z0-9.)])?")
HARDWARE_RULE = "give 1 to 64 letters, digits, spaces and . _ + ( ) / - such as cpu or NVIDIA H100 80GB HBM3"


class MalformedSpec(fields.Malformed):
    """A replay spec is not of the published shape; ``param`` names the field."""


@dataclasses.dataclass(frozen=True)
class DataFile:
    """One file that a run or its evaluation reads.

    "train" and "asset" files enter the training sandbox; "validation" and "holdout" never do, and of "holdout" the public
    knows nothing but this row.
    """

    name: str
    role: Role
    sha256: str
    byte_count: int


@dataclasses.dataclass(frozen=True)
class Spec:
    """What is trained, on what, for how long, and what counts as a gain.

    Units: ``rows`` sequences of ``sequence`` tokens a batch; ``wall_s`` the limit of one run; ``eval_tokens`` scored from the
    start of each evaluation file. ``token_bytes`` names the asset with the byte count of every token; without it a token is
    one byte. ``min_effect``, ``unpaired_sd`` (of one score) and ``paired_sd`` (of a paired difference) are in the metric's unit.
    """

    version: int
    interface: Interface
    base_tree: str
    editable: tuple[str, ...]
    max_tree_bytes: int
    data: tuple[DataFile, ...]
    steps: int
    rows: int
    sequence: int
    checkpoint_every: int
    vocabulary: int
    wall_s: int
    max_parameters: int
    memory_mib: int
    eval_tokens: int
    metric: str
    token_bytes: str | None
    min_effect: float
    unpaired_sd: float
    paired_sd: float
    max_pairs: int
    hardware: tuple[str, ...]
    precision: Precision
    sandbox_level: SandboxLevel
    is_confirmed_on_second_class: bool

    @classmethod
    def from_json(cls, value: object) -> "Spec":
        """Read a spec strictly: every field once, nothing unknown, every number within its range.

        Raises:
            MalformedSpec: with the field and what is allowed.
        """
        read = fields.Fields(value, known=_SPEC_FIELDS, error=MalformedSpec)
        spec = cls(
            version=read.integer("version", 1, 1),
            interface=cast(Interface, read.choice("interface", INTERFACES)),
            base_tree=read.text("base_tree", HEX, HEX_RULE),
            editable=read.texts("editable", 1, 16, trees.PATH, trees.PATH_RULE),
            max_tree_bytes=read.integer("max_tree_bytes", 1, trees.MAX_TREE_BYTES),
            data=tuple(_data_file(one, index) for index, one in enumerate(read.items("data", 3, MAX_FILES))),
            steps=read.integer("steps", 1, 10_000_000),
            rows=read.integer("rows", 1, 1 << 16),
            sequence=read.integer("sequence", 1, 1 << 20),
            checkpoint_every=read.integer("checkpoint_every", 1, 10_000_000),
            vocabulary=read.integer("vocabulary", 2, 1 << 20),
            wall_s=read.integer("wall_s", 1, 7 * 86_400),
            max_parameters=read.integer("max_parameters", 1, 10**12),
            memory_mib=read.integer("memory_mib", 64, 1 << 22),
            eval_tokens=read.integer("eval_tokens", 1, 10**10),
            metric=read.choice("metric", (METRIC,)),
            token_bytes=None if read.is_none("token_bytes") else read.text("token_bytes", _NAME, _NAME_RULE),
            min_effect=read.number("min_effect", 1e-9, 100),
            unpaired_sd=read.number("unpaired_sd", 1e-12, 100),
            paired_sd=read.number("paired_sd", 1e-12, 100),
            max_pairs=read.integer("max_pairs", 2, 32),
            hardware=read.texts("hardware", 1, 16, HARDWARE, HARDWARE_RULE),
            precision=cast(Precision, read.choice("precision", PRECISIONS)),
            sandbox_level=cast(SandboxLevel, read.choice("sandbox_level", SANDBOX_LEVELS)),
            is_confirmed_on_second_class=read.truth("is_confirmed_on_second_class"),
        )
        _agree(spec)
        return spec

    def to_json(self) -> dict[str, object]:
        """Return the spec as plain JSON values; `from_json` gives it back."""
        plain: dict[str, object] = dataclasses.asdict(self)
        return plain | {name: list(getattr(self, name)) for name in ("editable", "hardware")} | {"data": [vars(one) for one in self.data]}

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, in hexadecimal digits."""
        return hashlib.sha256(fields.canonical(self.to_json())).hexdigest()

    @property
    def segments(self) -> int:
        """How many stretches of ``checkpoint_every`` steps a run has; it has one checkpoint more."""
        return self.steps // self.checkpoint_every

    def files(self, role: Role) -> tuple[DataFile, ...]:
        """Return the data files of one role, in the order of the spec."""
        return tuple(one for one in self.data if one.role == role)


_SPEC_FIELDS = frozenset(field.name for field in dataclasses.fields(Spec))
_FILE_FIELDS = frozenset(field.name for field in dataclasses.fields(DataFile))


def _data_file(value: object, index: int) -> DataFile:
    read = fields.Fields(value, known=_FILE_FIELDS, error=MalformedSpec, at=f"data[{index}]")
    return DataFile(
        name=read.text("name", _NAME, _NAME_RULE),
        role=cast(Role, read.choice("role", ROLES)),
        sha256=read.text("sha256", HEX, HEX_RULE),
        byte_count=read.integer("byte_count", 1, 10**13),
    )


def _agree(spec: Spec) -> None:
    """Refuse fields that are allowed one by one and not together."""
    if spec.steps % spec.checkpoint_every or spec.segments > MAX_SEGMENTS:
        raise MalformedSpec("checkpoint_every", f"give a divisor of steps that makes at most {MAX_SEGMENTS} checkpoints")
    for name in ("editable", "hardware"):
        if len({one.lower() for one in getattr(spec, name)}) != len(getattr(spec, name)):
            raise MalformedSpec(name, "name each once")
    if not all(trees.is_path(path) for path in spec.editable):
        raise MalformedSpec("editable", f"a path has at most {trees.MAX_PATH} letters")
    if len({one.name for one in spec.data}) != len(spec.data):
        raise MalformedSpec("data", "name each file once")
    for role in ("train", "validation", "holdout"):
        if not any(one.role == role for one in spec.data):
            raise MalformedSpec("data", f"name at least one {role} file")
    # A public file that is the hold-out, or a training file that is evaluated, would void the score.
    if len({one.sha256 for one in spec.data}) != len(spec.data):
        raise MalformedSpec("data", "no two files may be the same")
    _agree_on_tokens(spec)


def _agree_on_tokens(spec: Spec) -> None:
    if spec.token_bytes is not None:
        if spec.token_bytes not in {one.name for one in spec.files("asset")}:
            raise MalformedSpec("token_bytes", "name a data file of role asset, or give null for one byte a token")
        return
    if spec.vocabulary > BYTE_VOCABULARY:
        raise MalformedSpec("token_bytes", f"a vocabulary above {BYTE_VOCABULARY} needs the asset with each token's byte count")
    for one in spec.files("validation") + spec.files("holdout"):
        if one.byte_count < spec.eval_tokens:
            raise MalformedSpec("eval_tokens", "no evaluation file may be shorter than this")
