"""The server, and the trusted pool, may be killed at any step of a replay. The campaign, in its smaller form: it ..."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.files import File
from django.db import transaction

from market.escrow import bonds
from tasks.storage import WholeFileStorage
from tests.faults import crashing, pool_killing, research_paths

pytestmark = pytest.mark.django_db(transaction=True)

Plant = Callable[[pytest.MonkeyPatch], None]

# One of each kind of path; the command has them all.
SOME = ("hand in a checkpoint", "hand in an audit that finds a forger", "settle an accepted candidate")


def test_ends_as_without_a_crash_wherever_the_server_ends() -> None:
    with research_paths.without_chance():
        report = crashing.run(seed=1, most_points=2, names=SOME, paths=research_paths.PATHS)
    assert report.violations == []
    assert report.figures["points"] == 2 * len(SOME)


def test_has_another_pool_do_what_a_killed_one_began() -> None:
    report = pool_killing.run(seed=1, most_points=1, kinds=["smoke"])
    assert report.violations == []
    assert report.figures["rows held by the killed"] == 1


def lose_a_bond_after_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    lose = bonds.lose
    monkeypatch.setattr(bonds, "lose", lambda **step: transaction.on_commit(lambda: lose(**step)))


def write_under_the_final_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def save(storage: WholeFileStorage, name: str, content: File) -> str:  # type: ignore[type-arg]
        path, whole = Path(storage.path(name)), content.read()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            for half in (whole[: len(whole) // 2], whole[len(whole) // 2 :]):
                stream.write(half)
                stream.flush()
                os.fsync(stream.fileno())
        return name

    monkeypatch.setattr(WholeFileStorage, "_save", save)


@pytest.mark.broken_books
@pytest.mark.parametrize(
    ("plant", "name"),
    [(write_under_the_final_name, "hand in a data file"), (lose_a_bond_after_the_commit, "settle a rejected candidate")],
)
def test_finds_what_is_planted(plant: Plant, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each does no harm as long as nothing crashes."""
    plant(monkeypatch)
    with research_paths.without_chance():
        report = crashing.run(seed=1, most_points=12, names=[name], paths=research_paths.PATHS)
    assert report.violations
    assert all(" step " in violation for violation in report.violations)
