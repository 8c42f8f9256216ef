from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

LEFT_OPEN = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
"""Coredis leaves streams of connections open that never came about."""


@pytest.fixture(autouse=True)
def nothing_left_for_others(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test leaves open warns within that test, and not in whichever one comes later."""
    yield
    if request.node.get_closest_marker("filterwarnings"):
        gc.collect()
