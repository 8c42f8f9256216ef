"""Fixtures and settings of the whole suite."""

from __future__ import annotations

import gc
import os

import pytest
from hypothesis import HealthCheck, settings

# How fast a machine is must decide nothing, so there is no deadline and no complaint about slow generation.
settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))

pytest_plugins = ["tests.servers.fixtures"]


def pytest_collection_finish() -> None:
    """Keep the garbage collector from modules and tests, which stay to the end.

    It looked through all of them again and again, which took a third of the time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The event loop on which an async test runs: each runs on both."""
    return str(request.param)
