"""The sensors ..."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pynvml
import pytest

from gpu_workers.owner import sensors


class SimulatedDriver:
    """NVML with two cards; what is listed in `missing` answers as a laptop's missing sensor does."""

    def __init__(self, missing: tuple[str, ...] = ()) -> None:
        self.missing, self.open = missing, 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answers: dict[str, Any] = {
            "nvmlSystemGetDriverVersion": lambda: "570.86.15",
            "nvmlDeviceGetCount": lambda: 2,
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetName": lambda handle: "NVIDIA Simulated",
            "nvmlDeviceGetTemperature": lambda handle, kind: 61 + handle,
            "nvmlDeviceGetPowerUsage": lambda handle: 250_500,
            "nvmlDeviceGetEnforcedPowerLimit": lambda handle: 300_000,
            "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(free=7, total=24),
        }
        for name, answer in answers.items():
            monkeypatch.setattr(pynvml, name, self._failing if name in self.missing else answer)
        monkeypatch.setattr(pynvml, "nvmlInit", self._init)
        monkeypatch.setattr(pynvml, "nvmlShutdown", self._shutdown)

    def _failing(self, *_: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def _init(self) -> None:
        self.open += 1

    def _shutdown(self) -> None:
        self.open -= 1


def test_read_every_card(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = SimulatedDriver()
    driver.install(monkeypatch)
    first, second = sensors.cards()
    assert first == sensors.Card(0, "NVIDIA Simulated", "570.86.15", 61.0, 250.5, 300.0, 7, 24)
    assert second.temperature_c == 62.0
    assert driver.open == 0


def test_leave_out_what_a_card_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    SimulatedDriver(("nvmlDeviceGetPowerUsage", "nvmlDeviceGetMemoryInfo")).install(monkeypatch)
    card = sensors.cards()[0]
    assert (card.power_w, card.free_bytes, card.temperature_c) == (None, None, 61.0)


def test_find_no_card_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", missing)
    assert sensors.cards() == ()


@pytest.mark.parametrize(("allowed", "index"), [((), 0), ((1,), 1), ((1, 0), 0), ((5,), None)])
def test_choose_the_first_card_that_is_allowed(allowed: tuple[int, ...], index: int | None) -> None:
    seen = sensors.Reading(cards=(sensors.Card(0, "a"), sensors.Card(1, "b")))
    chosen = seen.card(allowed)
    assert (chosen.index if chosen else None) == index


@pytest.mark.parametrize(
    ("battery", "is_on"), [(None, False), (SimpleNamespace(power_plugged=True), False), (SimpleNamespace(power_plugged=False), True)]
)
def test_read_the_battery(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, battery: object, is_on: bool) -> None:
    monkeypatch.setattr(psutil, "sensors_battery", lambda: battery)
    assert sensors.MachineSensors(tmp_path, wants_programs=False).read().is_on_battery is is_on


def test_list_programs_only_where_they_matter(tmp_path: Path) -> None:
    assert sensors.MachineSensors(tmp_path, wants_programs=False).read().programs == frozenset()
    seen = sensors.MachineSensors(tmp_path, wants_programs=True).read()
    assert any(name.startswith(("python", "pytest")) for name in seen.programs)
    assert seen.disk_free_bytes > 0
