"""Where a request comes from is what our own proxies say, or else the peer."""

import pytest
from django.test import RequestFactory
from pytest_django import Settings

from market.accounts import networks


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, "9.9.9.9", "10.0.0.1"),
        (1, "9.9.9.9", "9.9.9.9"),
        (1, "6.6.6.6, 9.9.9.9", "9.9.9.9"),
        (2, "6.6.6.6, 9.9.9.9, 10.0.0.7", "9.9.9.9"),
        (2, "9.9.9.9", "10.0.0.1"),
        (1, "", "10.0.0.1"),
        (1, " , ", "10.0.0.1"),
    ],
)
def test_believes_our_proxies_alone(settings: Settings, proxies: int, forwarded: str, expected: str) -> None:
    settings.TRUSTED_PROXIES = proxies
    request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR=forwarded)
    assert networks.address_of(request) == expected


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("9.9.9.9", "9.9.9.9"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("x", "unknown"),
        ("", "unknown"),
    ],
)
def test_counts_an_ipv6_subnet_as_one(settings: Settings, address: str, network: str) -> None:
    settings.TRUSTED_PROXIES = 0
    assert networks.network_of(RequestFactory().get("/", REMOTE_ADDR=address)) == network
