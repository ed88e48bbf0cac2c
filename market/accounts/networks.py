"""Where a request comes from, as far as the proxies in front of us can be believed."""

import ipaddress

from django.conf import settings
from django.http import HttpRequest


def address_of(request: HttpRequest) -> str:
    """Return the address of the caller: the entry of X-Forwarded-For that our own outermost proxy wrote, else the peer's."""
    peer = str(request.META.get("REMOTE_ADDR", ""))
    if settings.TRUSTED_PROXIES < 1:
        return peer
    # Everything left of what our proxies added was written by the caller and may be a lie.
    entries = [entry.strip() for entry in str(request.META.get("HTTP_X_FORWARDED_FOR", "")).split(",") if entry.strip()]
    return entries[-settings.TRUSTED_PROXIES] if len(entries) >= settings.TRUSTED_PROXIES else peer


def network_of(request: HttpRequest) -> str:
    """Return the network to count a caller under: the IPv4 address, or the /64 of an IPv6 one."""
    text = address_of(request)
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
