"""How pages write money, distances and times; a script may write the times again in the phone's own way."""

import datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from market.common.money import Money
from market.policy import countries
from tasks import clock

register = template.Library()

_SIGNS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}


@register.filter
def money(amount: Money) -> str:
    """Write "$10.00", or "10.000000 USDC" where the currency has no sign."""
    sign = _SIGNS.get(amount.currency)
    return f"{sign}{amount.decimal_text()}" if sign else str(amount)


@register.filter
def distance(metres: float | None) -> str:
    """Write a distance as a person says it."""
    if metres is None:
        return ""
    if metres < 1000:
        return f"{max(10, round(metres, -1)):.0f} m"
    return f"{metres / 1000:.1f} km" if metres < 10_000 else f"{metres / 1000:.0f} km"


@register.filter
def duration(seconds: float) -> str:
    """Write a length of time in its largest useful unit."""
    minutes = max(1, round(seconds / 60))
    if minutes < 90:
        return f"{minutes} min"
    hours = round(minutes / 60)
    return f"{hours} h" if hours < 48 else f"{round(hours / 24)} days"


@register.simple_tag
def until(moment: datetime.datetime) -> SafeString:
    """Write how long it is until a moment."""
    left_s = (moment - clock.now()).total_seconds()
    words = f"in {duration(left_s)}" if left_s > 0 else "over"
    return format_html('<time datetime="{}" data-until>{}</time>', moment.isoformat(timespec="seconds"), words)


@register.simple_tag
def at(moment: datetime.datetime) -> SafeString:
    """Write a moment; in UTC where no script puts it into the phone's own time."""
    words = f"{moment:%d %b, %H:%M} UTC"
    return format_html('<time datetime="{}" data-at>{}</time>', moment.isoformat(timespec="seconds"), words)


@register.filter
def country(code: str) -> str:
    """Write a country's English name."""
    return _COUNTRIES.get(code, code)


_COUNTRIES = dict(countries.names())
