"""What each field of an analysis plan asks for, in one line each: pages and commands show it."""

HELP = {
    "title": "one line",
    "predictor": "the item whose within-person slope is the coupling",
    "outcome": "the item that is predicted",
    "phases": "keys of phases; empty: all",
    "adjust_for": "of study_day, weekday, prompt_number, previous_outcome (with lag 1)",
    "lag": "1: the predictor of the prompt before, on the same study day",
    "moderators": 'of {"kind": "site"}, {"kind": "baseline", "item": …, "phase": …}, '
    '{"kind": "moment", "item": …}',
    "doses": "a number for every arm: a trend of the coupling over doses",
    "all_pairs": "also every pair of arms, by Holm",
    "method": "whose standard errors come first: CR2, kenward_roger or satterthwaite",
    "permutation_draws": "of the randomisation test",
    "permutation_seed": "of the randomisation test",
    "missed_after_dropout_counts": "urine tests missed after drop-out count as lapses",
    "residuals": "independent; ar1: AR(1) within the study day; day: with an intercept of each day",
    "quadratic": "also the square of the predictor (about the own mean), by arm",
    "compliance_sensitivity": "the difference also among those who answered at least 50 % and 33 % "
    "of their prompts, and adjusted for compliance",
    "baseline_phase": "a phase's key: arms are compared in how the coupling changed from there on "
    "(difference-in-differences)",
    "design": "parallel, or crossover: arms are sequences, and their treatments are compared",
    "reference_treatment": "in a crossover, the treatment that others are compared with",
    "carryover": "in a crossover, also what the treatment of the period before still does",
}
