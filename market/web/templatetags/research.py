"""How research pages write figures, amounts and strangers' words."""

from django import template
from django.utils import formats

from market.common.money import Money
from market.web import axes
from market.web.templatetags import pages

register = template.Library()


@register.filter
def figure(value: float, digits: int = 3) -> str:
    """Write a measured figure with so many significant digits, as the reader's language does."""
    return axes.number(value, digits=digits)


@register.filter
def whole(value: int) -> str:
    """Write a count with its thousands apart."""
    return formats.number_format(value, force_grouping=True)


@register.filter
def plain(text: str, most: int) -> str:
    """Write a stranger's words as one line of at most so many letters."""
    return axes.clean(text, most)


@register.simple_tag
def amount(minor: int, currency: str) -> str:
    """Write an amount of minor units."""
    return pages.money(Money(minor, currency))
