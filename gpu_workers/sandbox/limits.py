"""How much of the machine one sandbox may use."""

from dataclasses import dataclass

MIB = 1 << 20
# What a language model's training needs and a fork bomb exceeds at once; threads count too.
DEFAULT_PROCESSES = 64
# A sandbox opens its own source, a few libraries at a time and its inputs.
OPEN_FILES = 256


class WrongLimits(ValueError):
    """A limit is out of its range; the message names it."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most that one sandbox may use; whatever goes beyond is stopped, never slowed down without a word.

    Attributes:
        wall_s: seconds from the start to the kill, by our clock.
        cpu_s: CPU seconds of all its processes together.
        memory_mib: anonymous memory and files in /tmp together where cgroups are writable, else memory per process and, looked at
            a few times a second, of all processes together.
        processes: processes and threads at one time.
        output_bytes: bytes on standard output, and as many again on standard error.
        tmp_mib: size of the one writable folder, /tmp.
        cpus: CPUs' worth of time it may use at once; BLAS and OpenMP are told the same number of threads.
    """

    wall_s: int
    cpu_s: int
    memory_mib: int
    processes: int = DEFAULT_PROCESSES
    output_bytes: int = 64 * MIB
    tmp_mib: int = 256
    cpus: int = 1

    def __post_init__(self) -> None:
        for name, least, most in (
            ("wall_s", 1, 7 * 86_400),
            ("cpu_s", 1, 64 * 7 * 86_400),
            ("memory_mib", 64, 4 * 1024 * 1024),
            ("processes", 4, 4096),
            ("output_bytes", 1, 1 << 40),
            ("tmp_mib", 1, 1024 * 1024),
            ("cpus", 1, 1024),
        ):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise WrongLimits(f"{name} must be a whole number from {least} to {most}, not {value!r}")
