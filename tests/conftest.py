"""What every test gets."""

import uuid

import pytest
from django.core.cache import cache


@pytest.fixture(autouse=True)
def _own_rate_limits() -> None:
    """Attempts of one test are not held against the next."""
    cache.key_prefix = uuid.uuid4().hex
