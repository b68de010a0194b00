"""Who is in which arm of a comparison."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Trial:
    """Who is in which arm, and of which stratum; no arms where there is nothing to compare."""

    arms: tuple[str, ...]
    reference: str | None = None
    arm_of: Mapping[str, str] | None = None
    stratum_of: Mapping[str, str] | None = None
    empty: tuple[str, ...] = ()

    @property
    def groups(self) -> list[str | None]:
        """The arms as the report lists them; one nameless group without."""
        if self.reference is None:
            return [None]
        others: list[str | None] = [arm for arm in self.arms if arm != self.reference]
        return [self.reference, *others]

    def members(self, arm: str | None, codes: Iterable[str]) -> list[str]:
        of = self.arm_of
        return [code for code in codes if arm is None or (of is not None and of.get(code) == arm)]
