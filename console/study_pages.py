"""The pages of this package that every study has, and who may open them."""

from ema.pages import StudyPage

PAGES: list[StudyPage] = []
