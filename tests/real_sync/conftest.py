"""Processes that sync, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.real_sync.life import Syncers


@pytest.fixture(scope="session")
def syncers() -> Iterator[Syncers]:
    """They start when they are needed first."""
    syncers = Syncers()
    yield syncers
    syncers.end()
