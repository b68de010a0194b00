"""statsmodels' fit of the rows in a file, for any Python that has it: `mixedlm.py FILE REPEATS`.

Prints seconds of processor time.
"""

import sys
import time

import numpy as np
from statsmodels.regression.mixed_linear_model import (  # type: ignore[import-not-found]
    MixedLM,
)

person, arm, stress, craving = np.fromfile(sys.argv[1]).reshape(4, -1)
who = person.astype(int)
means = np.bincount(who, stress) / np.bincount(who)
within, between, y = stress - means[who], means[who] - means.mean(), craving - craving.mean()
within, between, y = (each / np.sqrt(np.mean(each**2)) for each in (within, between, y))
one = np.ones_like(arm)
fixed = np.column_stack([one, within, arm, between, within * arm])
own = np.column_stack([one, within])
for _ in range(int(sys.argv[2])):
    began = time.process_time()
    MixedLM(y, fixed, who, own).fit(reml=True)
    print(time.process_time() - began, flush=True)
