"""Which machines compute alike: the key within which two honest runs have the same bits."""

import dataclasses
import re
from typing import Literal, cast, get_args

from verification.replay import fields
from verification.replay.spec import HARDWARE, HARDWARE_RULE, Precision, Spec

MAX_TEXT = 500

_PARTS = ("hardware", "torch", "isa", "threads", "precision", "compiled", "driver")
# No sign that separates parts, no space: versions and instruction sets such as 2.13.0+cpu, AVX2, sm_90, 570.86.15.
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+/-]{0,63}")
_VERSION_RULE = "give 1 to 64 letters, digits and . _ + / - that begin with a letter or digit"
_THREADS = re.compile(r"[1-9][0-9]{0,3}")


class MalformedClassKey(fields.Malformed):
    """Text that is no class key; ``param`` names the part."""


@dataclasses.dataclass(frozen=True)
class ClassKey:
    """What the bits of a run depend on (measured on CPUs: build, instruction set, threads, precision and compilation each change them).

    ``hardware`` is the family that a spec names: "cpu" or the GPU's model; ``driver`` is "none" on a CPU.
    """

    hardware: str
    torch: str
    isa: str
    threads: int
    precision: Precision
    is_compiled: bool
    driver: str

    @property
    def text(self) -> str:
        """The key as one line, for example ``hardware=cpu;torch=2.13.0+cpu;isa=AVX2;threads=1;precision=fp32;compiled=no;driver=none``."""
        compiled = "yes" if self.is_compiled else "no"
        values = (self.hardware, self.torch, self.isa, self.threads, self.precision, compiled, self.driver)
        return ";".join(f"{name}={value}" for name, value in zip(_PARTS, values, strict=True))

    @classmethod
    def parse(cls, text: str) -> "ClassKey":
        """Read a line written by `text`; every key has exactly one spelling.

        Raises:
            MalformedClassKey: with the part and what is allowed.
        """
        if not isinstance(text, str) or len(text) > MAX_TEXT:
            raise MalformedClassKey("class_key", f"give at most {MAX_TEXT} letters")
        pairs = [part.partition("=") for part in text.split(";")]
        if [name for name, _, _ in pairs] != list(_PARTS):
            raise MalformedClassKey("class_key", f"give {';'.join(f'{name}=...' for name in _PARTS)}")
        read = fields.Fields({name: value for name, _, value in pairs}, known=_PARTS, error=MalformedClassKey, at="class_key")
        return cls(
            hardware=read.text("hardware", HARDWARE, HARDWARE_RULE),
            torch=read.text("torch", _VERSION, _VERSION_RULE),
            isa=read.text("isa", _VERSION, _VERSION_RULE),
            threads=int(read.text("threads", _THREADS, "give a number from 1 to 9999")),
            precision=cast(Precision, read.choice("precision", get_args(Precision))),
            is_compiled=cast(Literal["yes", "no"], read.choice("compiled", ("yes", "no"))) == "yes",
            driver=read.text("driver", _VERSION, _VERSION_RULE),
        )

    def is_allowed_by(self, spec: Spec) -> bool:
        """Tell whether a run on this class counts for the spec: a family that it names, at its precision."""
        return self.hardware in spec.hardware and self.precision == spec.precision
