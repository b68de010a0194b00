"""In which languages participants may read."""

from ema.models import QuestionnaireVersion, Study


def languages_of(study: Study) -> list[str]:
    """Those of the questionnaires that phases ask, in their order, then those of the texts."""
    asked = QuestionnaireVersion.objects.filter(phases__study=study).order_by("phases__position")
    known = [language for version in asked for language in version.languages]
    return list(dict.fromkeys([*known, *study.contact, *study.instructions]))
