"""The escape suite: everything in `probes` tried as a stranger's program, and shown to be able to succeed."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gpu_workers.sandbox.escapes import baits, probes


@pytest.fixture(scope="module")
def laid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[baits.Baits]:
    folder = tmp_path_factory.mktemp("baits")
    # Who compares outside has no rights: the way to the baits must be open to everyone.
    for parent in (folder, *folder.parents):
        if parent.owner() == Path("/proc/self").owner() and len(parent.parts) > 2:
            parent.chmod(parent.stat().st_mode | 0o755)
    with baits.laid_out(folder) as laid:
        yield laid


@pytest.fixture(scope="module")
def inside(laid: baits.Baits) -> baits.Outcomes:
    return laid.inside(baits.known_probes())


@pytest.fixture(scope="module")
def outside(laid: baits.Baits) -> baits.Outcomes:
    return laid.outside(probe for probe in baits.known_probes() if probe.is_harmless)


@pytest.mark.parametrize("probe", baits.known_probes(), ids=lambda probe: probe.name)
def test_stops(probe: probes.Probe, inside: baits.Outcomes) -> None:
    outcome, detail = inside[probe.name]
    assert outcome == probe.expects, f"{probe.name}: {outcome}, {detail}"
    if outcome == "killed":
        assert detail == "SIGSYS"


@pytest.mark.parametrize("probe", [probe for probe in baits.known_probes() if probe.reaches_outside], ids=lambda probe: probe.name)
def test_would_succeed_without_the_sandbox(probe: probes.Probe, outside: baits.Outcomes) -> None:
    outcome, detail = outside[probe.name]
    assert outcome == "reached", f"{probe.name}: {outcome}, {detail}"


def test_counts_its_probes(inside: baits.Outcomes) -> None:
    names = [probe.name for probe in baits.known_probes()]
    assert len(names) == len(set(names)) == len(inside)
    assert len(names) >= 60


def test_a_fair_share_of_probes_can_succeed(outside: baits.Outcomes) -> None:
    reached = [name for name, (outcome, _) in outside.items() if outcome == "reached"]
    assert len(reached) >= 60, f"{len(reached)} of {len(outside)} harmless probes succeed without the sandbox"


def test_leaves_the_bound_file_as_it_was(laid: baits.Baits, inside: baits.Outcomes) -> None:
    assert laid.bound_file.read_text("utf-8") == "nothing"
    assert os.environ["ATOMS_BAIT"] == laid.secret
