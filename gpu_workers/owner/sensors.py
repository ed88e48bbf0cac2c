"""What the machine's sensors say: cards through NVML, battery, programs and disk through psutil; missing sensors read None."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil
import pynvml


@dataclass(frozen=True)
class Card:
    """One NVIDIA card: temperature in °C, power and its cap in watts, memory in bytes."""

    index: int
    name: str
    driver: str = ""
    temperature_c: float | None = None
    power_w: float | None = None
    power_cap_w: float | None = None
    free_bytes: int | None = None
    total_bytes: int | None = None


@dataclass(frozen=True)
class Reading:
    """One look at the machine."""

    cards: tuple[Card, ...] = ()
    is_on_battery: bool = False
    programs: frozenset[str] = frozenset()
    disk_free_bytes: int = 0

    def card(self, allowed: Sequence[int]) -> Card | None:
        """Return the card to work with: the first of those allowed, or of all if none is named; None where there is none."""
        return next((card for card in self.cards if not allowed or card.index in allowed), None)


class Sensors(Protocol):
    """Whatever looks at a machine."""

    def read(self) -> Reading:
        """Look once; a sensor that fails is left out."""
        ...


class MachineSensors:
    """This machine's sensors."""

    def __init__(self, folder: Path, *, wants_programs: bool) -> None:
        self._folder = folder
        # Listing programs takes some 50 ms: only where a limit needs it.
        self._wants_programs = wants_programs

    def read(self) -> Reading:
        """Look once."""
        return Reading(
            cards=cards(),
            is_on_battery=_is_on_battery(),
            programs=_programs() if self._wants_programs else frozenset(),
            disk_free_bytes=psutil.disk_usage(str(self._folder)).free,
        )


def cards() -> tuple[Card, ...]:
    """Return the NVIDIA cards of this machine; none without a driver."""
    with _nvml() as is_there:
        if not is_there:
            return ()
        driver = str(pynvml.nvmlSystemGetDriverVersion())
        return tuple(_card(index, driver) for index in range(pynvml.nvmlDeviceGetCount()))


@contextlib.contextmanager
def _nvml() -> Iterator[bool]:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield False
        return
    try:
        yield True
    finally:
        pynvml.nvmlShutdown()


def _card(index: int, driver: str) -> Card:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    readings: dict[str, float] = {}
    # Laptops and virtual cards lack one sensor or another; the rest still counts.
    with contextlib.suppress(pynvml.NVMLError):
        readings["temperature_c"] = float(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))
    with contextlib.suppress(pynvml.NVMLError):
        readings["power_w"] = pynvml.nvmlDeviceGetPowerUsage(handle) / 1000
    with contextlib.suppress(pynvml.NVMLError):
        readings["power_cap_w"] = pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000
    memory = None
    with contextlib.suppress(pynvml.NVMLError):
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return Card(
        index=index,
        name=str(pynvml.nvmlDeviceGetName(handle)),
        driver=driver,
        temperature_c=readings.get("temperature_c"),
        power_w=readings.get("power_w"),
        power_cap_w=readings.get("power_cap_w"),
        free_bytes=int(memory.free) if memory is not None else None,
        total_bytes=int(memory.total) if memory is not None else None,
    )


def _is_on_battery() -> bool:
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    return battery is not None and battery.power_plugged is False


def _programs() -> frozenset[str]:
    return frozenset(str(process.info["name"]) for process in psutil.process_iter(["name"]) if process.info["name"])
