"""What every test gets."""

import uuid

import pytest
from django.core.cache import cache
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


@pytest.fixture(autouse=True)
def _own_rate_limits() -> None:
    """Attempts of one test are not held against the next."""
    cache.key_prefix = uuid.uuid4().hex
