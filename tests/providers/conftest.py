"""Fixtures of the tests of adapters."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One event loop: adapters have none of their own, as ``test_loops.py`` checks.

    What depends on the loop is in :mod:`ratesync.http`, whose tests run on both. ``test_rest_reading.py`` and
    ``test_kinto_engine.py`` do so too, from an engine down to the socket.
    """
    return "asyncio"
