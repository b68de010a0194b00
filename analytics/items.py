"""The items of a study that can be analysed, by role or by key, and where their numbers are."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from ema.models import Item, Study
from ema.models.questionnaire import AnalysisRole, Kind

NUMERIC = (Kind.SLIDER, Kind.RATING, Kind.NUMBER, Kind.YES_NO)


@dataclass(frozen=True)
class StudyItem:
    """An item that is a number; `role` is empty where only the answers as sent hold it.

    `minimum` and `maximum` are the widest of all published versions, None where one has no limit.
    """

    name: str
    role: str
    decimals: int
    minimum: int | None
    maximum: int | None
    is_yes_no: bool = False

    @property
    def scale(self) -> int:
        """What divides the integers that are summed."""
        return int(10**self.decimals)

    @property
    def largest(self) -> int | None:
        """The largest size of a stored integer; None without limits."""
        if self.minimum is None or self.maximum is None:
            return None
        return max(abs(self.minimum), abs(self.maximum)) * self.scale


def items_of(study: Study) -> Mapping[str, StudyItem]:
    """Every item of a published version that is a number (yes is 1), roles first."""
    published = Item.objects.filter(
        version__questionnaire__study=study,
        version__published_at__isnull=False,
        kind__in=NUMERIC,
    ).order_by("version", "position")
    same: dict[str, list[Item]] = defaultdict(list)
    for item in published:
        same[item.role or item.key].append(item)
    order = {role: place for place, role in enumerate(AnalysisRole.values)}
    names = sorted(same, key=lambda name: (order.get(name, len(order)), name))
    return {name: _merged(name, same[name]) for name in names}


def _merged(name: str, versions: list[Item]) -> StudyItem:
    limits = [_limits(item) for item in versions]
    low, high = zip(*limits, strict=True)
    return StudyItem(
        name=name,
        role=name if name in AnalysisRole.values else "",
        decimals=max(item.decimals for item in versions),
        minimum=None if None in low else min(low),
        maximum=None if None in high else max(high),
        is_yes_no=all(item.kind == Kind.YES_NO for item in versions),
    )


def _limits(item: Item) -> tuple[int | None, int | None]:
    return (0, 1) if item.kind == Kind.YES_NO else (item.minimum, item.maximum)
