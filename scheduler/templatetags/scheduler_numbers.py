"""Counts as pages write them."""

from django import template

from scheduler.wording import share_of

register = template.Library()


@register.filter
def thousands(count: int) -> str:
    return f"{count:,}"


@register.filter
def share(count: int, whole: int) -> str:
    """A count with its share: `1,204 (45.1 %)`."""
    return f"{count:,} ({share_of(count, whole)})"
