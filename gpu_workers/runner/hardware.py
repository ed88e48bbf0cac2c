"""What class of machine this is, told without importing torch."""

import importlib.metadata
from pathlib import Path
from typing import Literal

import pynvml

from verification.replay.classes import ClassKey
from verification.replay.spec import Precision

Device = Literal["cpu", "cuda"]
CPU_FACTS = Path("/proc/cpuinfo")
# What torch's own dispatcher asks the processor for (aten/src/ATen/native/DispatchStub.cpp and cpuinfo).
AVX512 = frozenset({"avx512f", "avx512vl", "avx512bw", "avx512dq", "fma"})
AVX2 = frozenset({"avx2", "fma"})
# MKL and oneDNN choose by the maker as well.
MAKERS = {"AuthenticAMD": "amd", "GenuineIntel": "intel"}


class NoSuchDevice(Exception):
    """This machine lacks the device, or its driver; the message says what to do."""


def class_key(*, precision: Precision, threads: int, device: Device = "cpu", index: int = 0, facts: Path = CPU_FACTS) -> ClassKey:
    """Give the class of this machine.

    Raises:
        NoSuchDevice: torch is not installed, or there is no such GPU.
    """
    try:
        torch = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        raise NoSuchDevice("torch is not installed: install the build that fits this machine") from None
    hardware, isa, driver = ("cpu", _isa(facts.read_text("utf-8", "replace")), "none") if device == "cpu" else _gpu(index)
    return ClassKey(hardware=hardware, torch=torch, isa=isa, threads=threads, precision=precision, is_compiled=False, driver=driver)


def _isa(facts: str) -> str:
    """Name the instruction set that torch will use, and who made the processor."""
    found = dict(line.split(":", 1) for line in facts.split("\n\n")[0].splitlines() if ":" in line)
    lines = {name.strip(): value.strip() for name, value in found.items()}
    # ARM spells them "Features".
    flags = set(lines.get("flags", lines.get("Features", "")).split())
    maker = MAKERS.get(lines.get("vendor_id", ""), "other")
    if flags >= AVX512:
        return f"AVX512-{maker}"
    if flags >= AVX2:
        return f"AVX2-{maker}"
    return f"SVE-{maker}" if "sve" in flags else f"DEFAULT-{maker}"


def _gpu(index: int) -> tuple[str, str, str]:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as missing:
        raise NoSuchDevice(f"no NVIDIA driver answers ({missing}): install it, or choose the device cpu") from None
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
        return str(pynvml.nvmlDeviceGetName(handle)), f"sm_{major}{minor}", str(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError as missing:
        raise NoSuchDevice(f"GPU {index} does not answer ({missing}): give the number of one that does") from None
    finally:
        pynvml.nvmlShutdown()
