"""A short run of the egress campaign: no connection inside, and canaries that sing when the guard is away."""

import argparse

import pytest

from tests.faults import egress


@pytest.mark.django_db(transaction=True)
def test_no_webhook_leads_inside() -> None:
    report = egress.run(argparse.Namespace(seed=1, rounds=100))
    assert report.violations == []
    assert report.figures["connections inside"] == 0
    assert int(report.figures["fixed cases"]) + int(report.figures["behaviours of servers"]) >= 80


def test_every_door_is_known() -> None:
    """Whoever adds a way out of the market says here where it leads."""
    assert egress.outgoing() == {path: modules for path, (modules, _) in egress.DOORS.items()}


def test_the_search_for_doors_finds_a_new_one(tmp_path: object) -> None:
    path = tmp_path / "new.py"  # type: ignore[operator]
    path.write_text("from urllib import request\nimport http.client as h\nimport django.core.mail\n__import__('requests')\n")
    assert egress._CONNECTS & set(egress._imported(path)) == {"urllib.request", "http.client", "django.core.mail", "requests"}
