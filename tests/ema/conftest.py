"""What many tests of the core begin with: a study that runs, and a phone in it.

Imports wait for the fixtures: pytest reads this file before Django is set up.
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ema.models import Study
    from ema.tokens import Admission


@pytest.fixture
def study(db: None) -> "Study":
    from tests import trial

    return trial.make_study()


@pytest.fixture
def phone(study: "Study") -> "Admission":
    """Of a participant who enrolled three days ago."""
    from tests.ema.uploading import new_phone

    return new_phone(study, "S1-001")
