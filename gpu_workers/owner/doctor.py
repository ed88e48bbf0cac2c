"""Whether this machine can earn: each check one line, ok or with what to do about it. Takes less than a minute."""

import datetime
import email.utils
import importlib.metadata
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from agents_sdk import errors, leases
from gpu_workers.owner import errands, limits, sensors, starting
from gpu_workers.owner import folder as folders
from gpu_workers.runner import checkpoints, conversation, hardware, training
from gpu_workers.runner.workloads.byte_lm import workload
from gpu_workers.sandbox import levels

MOST_SKEW_S = 5.0
SLOWEST_BYTES_S = 32_000
_GIB = 1024**3


@dataclass(frozen=True)
class Line:
    """One finding; `fix` says what to do where it is not ok."""

    name: str
    is_ok: bool
    text: str
    fix: str = ""


@dataclass
class Visit:
    """What the checks find out for each other."""

    folder: folders.Folder
    limits: limits.Limits
    client: leases.LeaseClient
    url: str
    machine: starting.Machine | None = None
    host: errands.Host | None = None
    demand: leases.Demand | None = None


def lines(visit: Visit) -> Iterator[Line]:
    """Run all checks, one after the other, and yield their findings as they come."""
    for check in CHECKS:
        yield from check(visit)


def _python(_: Visit) -> Iterator[Line]:
    is_new = sys.version_info >= (3, 11)
    yield Line("python", is_new, platform.python_version(), "" if is_new else "Install Python 3.11 or later.")
    try:
        yield Line("torch", True, importlib.metadata.version("torch"))
    except importlib.metadata.PackageNotFoundError:
        yield Line("torch", False, "not installed", "pip install torch, in the build that fits your card (or the CPU build).")


def _cards(visit: Visit) -> Iterator[Line]:
    found = sensors.cards()
    if not found:
        yield Line("gpu", True, "no NVIDIA card: this machine serves the class cpu")
        return
    for card in found:
        memory = f", {card.total_bytes / _GIB:.0f} GiB" if card.total_bytes else ""
        use = "" if not visit.limits.gpus or card.index in visit.limits.gpus else " (not used: see gpus)"
        yield Line("gpu", True, f"{card.index}: {card.name}{memory}, driver {card.driver}{use}")
    build = importlib.metadata.version("torch") if _is_installed("torch") else ""
    if build.endswith("+cpu"):
        yield Line("cuda", False, f"torch {build} can't use the card", "Install a CUDA build of torch; until then the class is cpu.")


def _disk(visit: Visit) -> Iterator[Line]:
    visit.folder.make()
    free_gib = shutil.disk_usage(visit.folder.path).free / _GIB
    is_ok = free_gib >= visit.limits.disk_keep_gib
    yield Line(
        "disk", is_ok, f"{free_gib:.1f} GiB free", "" if is_ok else f"Free {visit.limits.disk_keep_gib:g} GiB, or lower disk_keep_gib."
    )


def _sandbox(visit: Visit) -> Iterator[Line]:
    found = levels.detect()
    counted = "" if found.cgroup != "none" else "; no control groups: memory is limited process by process"
    is_ok = found.reached != "none"
    yield Line("sandbox", is_ok, f"level {found.reached}{counted}", "" if is_ok else found.available["bwrap-cpu"])
    if is_ok and found.available["gvisor-gpu"] and sensors.cards():
        yield Line("sandbox", False, "the card can't be lent to strangers' code", found.available["gvisor-gpu"])
    try:
        visit.machine = starting.this_machine(visit.limits)
    except (starting.NoSandbox, hardware.NoSuchDevice) as error:
        yield Line("class", False, "unknown", str(error))
    else:
        yield Line("class", True, visit.machine.class_key.text)


def _determinism(visit: Visit) -> Iterator[Line]:
    """Train the calibration twice and compare every bit."""
    if visit.machine is None:
        return
    with tempfile.TemporaryDirectory(prefix="atoms-doctor-") as name:
        job = workload.calibration(Path(name) / "data")
        place = conversation.Place(level="bwrap-cpu", threads=visit.limits.threads)
        began = time.monotonic()
        try:
            roots = {_trained(job, Path(name) / str(number), place) for number in range(2)}
        except (conversation.RunFailed, checkpoints.BadCheckpoint) as error:
            yield Line("training", False, str(error), "The market's own code failed here: check torch and the free memory.")
            return
        took_s = (time.monotonic() - began) / 2
    is_same = len(roots) == 1
    text = f"two trainings of {job.spec.steps} steps gave the same bits" if is_same else "two equal trainings gave different bits"
    fix = "" if is_same else "Check the memory, undo overclocking: results that differ are not paid."
    yield Line("determinism", is_same, f"{text}, {took_s:.1f} s each", fix)


def _trained(job: workload.Calibration, folder: Path, place: conversation.Place) -> str:
    finished = training.replay(
        spec=job.spec,
        files=job.files,
        seed=job.seed,
        class_key=hardware.class_key(precision="fp32", threads=place.threads),
        data=job.data,
        folder=folder,
        run_id="doctor",
        place=place,
    )
    return finished.report.root


def _market(visit: Visit) -> Iterator[Line]:
    try:
        with httpx.Client(timeout=10) as client:
            began = time.monotonic()
            answer = client.get(f"{visit.url}/v1/schema")
            took_s = time.monotonic() - began
    except httpx.HTTPError as error:
        yield Line("market", False, f"{visit.url}: {type(error).__name__}", "Check ATOMS_URL and that outbound HTTPS is allowed.")
        return
    rate = len(answer.content) / max(took_s, 1e-6)
    is_fast = rate >= SLOWEST_BYTES_S or len(answer.content) < SLOWEST_BYTES_S
    yield Line(
        "bandwidth",
        is_fast,
        f"{rate * 8 / 1e6:.1f} Mbit/s from {visit.url}",
        "" if is_fast else "Uploads would take longer than trainings.",
    )
    yield _clock(answer.headers.get("date", ""))


def _clock(text: str) -> Line:
    try:
        theirs = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return Line("clock", True, "the market did not say the time")
    skew_s = abs((datetime.datetime.now(datetime.UTC) - theirs).total_seconds())
    is_ok = skew_s <= MOST_SKEW_S
    return Line("clock", is_ok, f"{skew_s:.0f} s from the market's", "" if is_ok else "Set the clock: timedatectl set-ntp true.")


def _registration(visit: Visit) -> Iterator[Line]:
    if visit.machine is None:
        return
    try:
        visit.host, registered = starting.register(visit.client, visit.folder, visit.machine)
        visit.demand = visit.client.demand(visit.host.class_key)
    except errors.AtomsError as error:
        yield Line("key and host", False, error.message, error.next_step or "Check ATOMS_API_KEY: it needs the scope lease:replay.")
        return
    is_ok = registered.status != "SUSPENDED"
    fix = "" if is_ok else "Ask the operator of the market why this machine is suspended."
    yield Line("key and host", is_ok, f"{registered.id} {registered.status}, {registered.valid_count} valid results in a row", fix)


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


CHECKS: tuple[Callable[[Visit], Iterator[Line]], ...] = (_python, _cards, _disk, _sandbox, _determinism, _market, _registration)
