"""How numbers of a comparison are written on a page."""

from collections.abc import Sequence

from django import template

from analytics.figures import signed

register = template.Library()


@register.filter
def figure(value: float | None) -> str:
    """Three decimals with a true minus sign; a dash where there is no number."""
    return "–" if value is None else signed(value)


@register.filter
def interval(ends: Sequence[float] | None) -> str:
    return "–" if ends is None else f"{signed(ends[0])} to {signed(ends[1])}"
