"""What a plan asks of each participant: the means and sites that moderate a coupling."""

from collections.abc import Sequence

import numpy as np

from analytics.gram import Gram
from analytics.plan import Plan
from analytics.plan_fields import BASELINE, SITE
from analytics.plan_sums import baseline_means
from analytics.summing import Floats
from analytics.trial import ComparisonImpossible
from ema.models import Participant, Study


def traits_of(study: Study, plan: Plan, gram: Gram) -> tuple[dict[str, dict[str, Floats]], Gram]:
    """Numbers of participants by moderator, and the sums of those who have all of them."""
    baselines = {
        each.name: baseline_means(study, each.item, each.phase)
        for each in plan.moderators
        if each.kind == BASELINE
    }
    have = [code for code in gram.participants if all(code in own for own in baselines.values())]
    if not have:
        raise ComparisonImpossible(f"No participant has all of {', '.join(baselines)}.")
    gram = gram.select(have)
    found: dict[str, dict[str, Floats]] = {}
    for name, own in baselines.items():
        values = np.array([own[str(code)] for code in have])
        found[name] = {name: values - values.mean()}
    if any(each.kind == SITE for each in plan.moderators):
        found["site"] = _sites(study, [str(code) for code in have])
    return found, gram


def _sites(study: Study, codes: Sequence[str]) -> dict[str, Floats]:
    """A column for every site but the first."""
    rows = Participant.objects.filter(study=study).values_list("code", "site__code")
    site_of = dict(rows)
    of = np.array([site_of[code] for code in codes])
    first, *others = sorted(set(of.tolist()))
    if not others:
        raise ComparisonImpossible(
            f"Everybody with answers is of site {first}, so site cannot moderate anything."
        )
    return {f"site[{site}]": (of == site).astype(np.float64) for site in others}
