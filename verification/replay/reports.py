"""What an owner reports of one run, and the seal that commits to it before it may be read. Whether it is true, audits tell."""

import dataclasses
import hashlib
import hmac
import re
import secrets
from typing import cast

from verification.replay import classes, digests, fields
from verification.replay.spec import HEX, HEX_RULE, MAX_SEGMENTS, SANDBOX_LEVELS, SandboxLevel

MAX_REPORT_BYTES = 256 * 1024
MAX_CURVE = 200

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_RUN_ID_RULE = "give the run's id: 1 to 64 letters, digits, _ and -"
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,39}")
_VERSION_RULE = "give 1 to 40 letters, digits and . + _ -"
_SALT = re.compile(r"[0-9a-f]{32,128}")


class MalformedReport(fields.Malformed):
    """A report is not of the published shape; ``param`` names the field."""


@dataclasses.dataclass(frozen=True)
class Report:
    """One training run as its owner tells it.

    ``leaves`` are the digests of checkpoints 0 (after the build) to the last, in hexadecimal; ``norms`` the movement of the
    weights in each segment between them; ``curve`` the losses that the stranger's code printed, (step, loss): never judged.
    """

    run_id: str
    spec_digest: str
    tree_digest: str
    seed: int
    class_text: str
    root: str
    leaf_count: int
    leaves: tuple[str, ...]
    norms: tuple[float, ...]
    tokens_served: int
    steps: int
    wall_s: float
    cpu_s: float
    peak_memory_bytes: int
    sandbox_level: SandboxLevel
    runner_version: str
    curve: tuple[tuple[int, float], ...]

    @classmethod
    def from_json(cls, value: object) -> "Report":
        """Read a report strictly; its root must be the one over its leaves.

        Raises:
            MalformedReport: with the field and what is allowed.
        """
        read = fields.Fields(value, known=_REPORT_FIELDS, error=MalformedReport)
        report = cls(
            run_id=read.text("run_id", _RUN_ID, _RUN_ID_RULE),
            spec_digest=read.text("spec_digest", HEX, HEX_RULE),
            tree_digest=read.text("tree_digest", HEX, HEX_RULE),
            seed=read.integer("seed", 0, (1 << 63) - 1),
            class_text=_class_text(read),
            root=read.text("root", HEX, HEX_RULE),
            leaf_count=read.integer("leaf_count", 2, MAX_SEGMENTS + 1),
            leaves=read.texts("leaves", 2, MAX_SEGMENTS + 1, HEX, HEX_RULE),
            norms=read.numbers("norms", 1, MAX_SEGMENTS, 0, 1e30),
            tokens_served=read.integer("tokens_served", 0, 10**15),
            steps=read.integer("steps", 1, 10_000_000),
            wall_s=read.number("wall_s", 0, 1e8),
            cpu_s=read.number("cpu_s", 0, 1e10),
            peak_memory_bytes=read.integer("peak_memory_bytes", 0, 1 << 50),
            sandbox_level=cast(SandboxLevel, read.choice("sandbox_level", SANDBOX_LEVELS)),
            runner_version=read.text("runner_version", _VERSION, _VERSION_RULE),
            curve=tuple(_point(one, index) for index, one in enumerate(read.items("curve", 0, MAX_CURVE))),
        )
        _agree(report)
        return report

    @classmethod
    def parse(cls, content: bytes) -> "Report":
        """Read a report from bytes of at most `MAX_REPORT_BYTES`.

        Raises:
            MalformedReport
        """
        return cls.from_json(fields.parse_json(content, param="report", most_bytes=MAX_REPORT_BYTES, error=MalformedReport))

    def to_json(self) -> dict[str, object]:
        """Return the report as plain JSON values; `from_json` gives it back."""
        plain: dict[str, object] = dataclasses.asdict(self)
        return plain | {"leaves": list(self.leaves), "norms": list(self.norms), "curve": [list(one) for one in self.curve]}

    def canonical(self) -> bytes:
        """Return the bytes that a seal is made over."""
        return fields.canonical(self.to_json())


def new_salt() -> str:
    """Return 32 random bytes in hexadecimal, to hide a report under its seal."""
    return secrets.token_hex(32)


def seal(report: Report, salt: str) -> str:
    """Return the SHA-256 that commits to a report without showing it, in hexadecimal digits.

    Raises:
        MalformedReport: the salt is not 32 to 128 hexadecimal digits.
    """
    fields.text(salt, _SALT, "give 32 to 128 hexadecimal digits in lower case", param="salt", error=MalformedReport)
    content = report.canonical()
    written = salt.encode("ascii")
    return hashlib.sha256(b"atoms.replay.seal.1" + len(written).to_bytes(8, "big") + written + content).hexdigest()


def is_sealed_by(seal_hex: str, report: Report, salt: str) -> bool:
    """Tell whether a seal was made over this report with this salt.

    Raises:
        MalformedReport: the salt is not 32 to 128 hexadecimal digits.
    """
    return hmac.compare_digest(seal(report, salt).encode("ascii"), seal_hex.encode("utf-8", "replace"))


_REPORT_FIELDS = frozenset(field.name for field in dataclasses.fields(Report))


def _class_text(read: fields.Fields) -> str:
    given = read.text("class_text", re.compile(r"[ -~]+"), "give one line of ASCII")
    try:
        return classes.ClassKey.parse(given).text
    except classes.MalformedClassKey as wrong:
        raise MalformedReport("class_text", str(wrong)) from wrong


def _point(value: object, index: int) -> tuple[int, float]:
    at = f"curve[{index}]"
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise MalformedReport(at, "give a step and a loss")
    step, loss = value
    if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step <= 10_000_000:
        raise MalformedReport(at, "give a step from 0 to 10000000")
    return step, fields.number(loss, -1e9, 1e9, param=at, error=MalformedReport)


def _agree(report: Report) -> None:
    """Refuse fields that contradict each other."""
    if len(report.leaves) != report.leaf_count:
        raise MalformedReport("leaves", "give one digest a checkpoint")
    if len(report.norms) != report.leaf_count - 1:
        raise MalformedReport("norms", "give one movement a segment: one fewer than leaves")
    if digests.root([bytes.fromhex(one) for one in report.leaves]).hex() != report.root:
        raise MalformedReport("root", "give the root over the leaves")
    places = [step for step, _ in report.curve]
    if places != sorted(set(places)) or (places and places[-1] > report.steps):
        raise MalformedReport("curve", "give rising steps within the run")
    if len(report.canonical()) > MAX_REPORT_BYTES:
        raise MalformedReport("report", f"send at most {MAX_REPORT_BYTES} bytes")
