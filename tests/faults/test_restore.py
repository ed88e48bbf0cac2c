"""PostgreSQL's folder may be lost under load, and comes back from its archive. The campaign, in its smaller form: it ..."""

import random
from collections.abc import Iterator

import pytest

from tests.faults import acknowledged, campaign, customers, restore, servers

# A wait that ends with this has met a defect, not a slow machine.
DONE_WITHIN_S = 120.0

Opened = tuple[restore.Place, list[servers.ClientKeys]]


@pytest.fixture(scope="module")
def opened() -> Iterator[Opened]:
    """One market for all tests here; each leaves it whole."""
    with restore.open_place(servers.Options(clients=2)) as place_and_keys:
        yield place_and_keys


def load_of_one(opened: Opened) -> customers.Load:
    """One client, whose workers hold no claims of other tests."""
    place, (*_, keys) = opened
    return customers.Load(place.market.url, [keys], chance=random.Random(1))


def lost(place: restore.Place, load: customers.Load, before: acknowledged.Written) -> list[str]:
    found = acknowledged.differences(place.market, load.finish(), before=before)
    return [line for line in found if line.startswith("acknowledged and lost: ")]


def test_loses_nothing_and_comes_back_to_a_moment(opened: Opened) -> None:
    place, (keys, _) = opened
    report = campaign.Report()
    restore.play(place=place, keys=[keys], rounds=1, seed=1, done_within_s=DONE_WITHIN_S, most_writes=4, report=report)
    assert report.violations == []
    assert report.figures["moments returned to"] == 1


def test_finds_a_piece_of_the_log_that_is_missing(opened: Opened) -> None:
    place, _ = opened
    before, load, archive = acknowledged.written(place.market), load_of_one(opened), restore.Archive(place, 20)
    archive.open()
    archive.back_up()
    archive.end_segment()
    load.start()
    load.wait_for_more(2)
    archive.end_segment()
    load.wait_for_more(1)
    place.market.kill("postgres")
    archive.close()
    *_, with_writes = sorted(path for path in archive.log.iterdir() if path.suffix != ".partial")
    with_writes.unlink()
    restore.restore_all(place, archive, campaign.Report())
    archive.end()
    assert lost(place, load, before)


def test_finds_answers_that_leave_before_the_archive_has_them(opened: Opened) -> None:
    place, _ = opened
    before, load, archive = acknowledged.written(place.market), load_of_one(opened), restore.Archive(place, 30)
    archive.follow()
    archive.back_up()
    archive.freeze()
    load.start()
    load.wait_for_more(3)
    place.market.kill("postgres")
    archive.close()
    restore.restore_all(place, archive, campaign.Report())
    assert lost(place, load, before)


def test_finds_a_changed_byte_of_a_backup(opened: Opened) -> None:
    place, _ = opened
    archive = restore.Archive(place, 40)
    archive.back_up()
    table = max((archive.backup / "base").rglob("*"), key=lambda path: path.stat().st_size)
    with table.open("r+b") as file:
        file.seek(table.stat().st_size // 2)
        [byte] = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    empty = place.folder.for_service("restored-40")
    with pytest.raises(restore.Spoiled, match="checksum mismatch"):
        archive.restore(into=empty)
    assert list(empty.iterdir()) == []
