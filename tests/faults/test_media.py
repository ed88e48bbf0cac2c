"""A short run of the media campaign: every kind of file once, a place in every carrier, every way in which a link ends."""

import pytest

from tests.faults import campaign, located_photos, media, photo_links
from tests.faults.hostile_files import bombs, located

# They take seconds each: the command runs them all.
_LONG = ("49 megapixels", "48 megapixels", "scans", "million")
_LONG_BUT_TOLD = ("webp 48 megapixels", "png 49 megapixels, 16 bit grey", "jpeg ten million fill bytes")


def test_hostile_files_cost_little_and_leave_nothing() -> None:
    report = campaign.Report()
    kinds = [kind for kind in bombs.KINDS if kind in _LONG_BUT_TOLD or not any(word in kind for word in _LONG)]
    assert len(kinds) >= 100
    media.take_hostile_files(report, seed=1, kinds=kinds, drawn=16)
    assert report.violations == []


def test_a_costly_decoder_is_seen() -> None:
    report = campaign.Report()
    media.see_controls(report)
    assert report.violations == []


@pytest.mark.django_db(transaction=True)
def test_no_place_is_served() -> None:
    report = campaign.Report()
    located_photos.serve(report, seed=1, count=len(located.CARRIERS))
    assert report.violations == []
    assert report.figures["places served"] == 0
    assert report.figures["originals to trusted leases"] == len(located.CARRIERS)


@pytest.mark.django_db(transaction=True)
def test_a_served_place_is_seen() -> None:
    report = campaign.Report()
    located_photos.see_controls(report, seed=1, served=located_photos.AT_ONCE)
    assert report.violations == []


@pytest.mark.django_db(transaction=True)
def test_links_end() -> None:
    report = campaign.Report()
    photo_links.try_all(report, seed=1, turned=10)
    assert report.violations == []
