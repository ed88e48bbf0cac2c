"""The class of this machine."""

from pathlib import Path

import pynvml
import pytest
import torch

from gpu_workers.runner import hardware
from verification.replay import classes

AMD = "vendor_id\t: AuthenticAMD\nflags\t\t: fpu fma avx2{more}\n\nprocessor\t: 1\n"


def test_names_the_instructions_that_torch_uses() -> None:
    key = hardware.class_key(precision="fp32", threads=1)
    assert key.isa.split("-")[0] == torch.backends.cpu.get_cpu_capability()
    assert key.torch == torch.__version__
    assert classes.ClassKey.parse(key.text) == key


@pytest.mark.parametrize(
    ("facts", "isa"),
    [
        (AMD.format(more=""), "AVX2-amd"),
        (AMD.format(more=" avx512f avx512vl avx512bw avx512dq"), "AVX512-amd"),
        (AMD.format(more=" avx512f"), "AVX2-amd"),
        ("vendor_id\t: GenuineIntel\nflags\t\t: fpu sse2\n", "DEFAULT-intel"),
        ("CPU implementer\t: 0x41\nFeatures\t: fp asimd sve\n", "SVE-other"),
    ],
)
def test_tells_classes_of_processors_apart(tmp_path: Path, facts: str, isa: str) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(facts)
    assert hardware.class_key(precision="fp32", threads=2, facts=path).isa == isa


def test_names_a_gpu_by_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCudaComputeCapability", lambda _: (9, 0))
    monkeypatch.setattr(pynvml, "nvmlDeviceGetName", lambda _: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(pynvml, "nvmlSystemGetDriverVersion", lambda: "570.86.15")
    key = hardware.class_key(precision="bf16", threads=1, device="cuda")
    assert (key.hardware, key.isa, key.driver) == ("NVIDIA H100 80GB HBM3", "sm_90", "570.86.15")


def test_says_what_to_do_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise pynvml.NVMLError_LibraryNotFound

    monkeypatch.setattr(pynvml, "nvmlInit", absent)
    with pytest.raises(hardware.NoSuchDevice, match="choose the device cpu"):
        hardware.class_key(precision="fp32", threads=1, device="cuda")
