import pytest

from gpu_workers.sandbox import limits
from tests.gpu_workers.sandbox import inside


@pytest.mark.parametrize(
    ("name", "value"),
    [("wall_s", 0), ("cpu_s", -1), ("memory_mib", 63), ("processes", 3), ("output_bytes", 0), ("tmp_mib", 0), ("cpus", 0)],
)
def test_refuses_limits_out_of_range(name: str, value: int) -> None:
    with pytest.raises(limits.WrongLimits, match=name):
        inside.limits(**{name: value})


@pytest.mark.parametrize("value", [True, 1.5, float("inf")])
def test_refuses_what_is_no_whole_number(value: int) -> None:
    with pytest.raises(limits.WrongLimits, match="cpu_s"):
        inside.limits(cpu_s=value)
