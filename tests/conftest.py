"""What every test gets."""

import gc
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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long ones first among their like: at the end no worker waits for another's.

    Afterwards pytest-django puts those that empty the database behind those that roll back.
    """
    items.sort(key=lambda item: not {"long", "flow"} & {mark.name for mark in item.iter_markers()})


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What is imported by now stays: looking for garbage in it takes a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 10)
