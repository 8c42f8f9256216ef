"""Engines in virtual time, on both event loops."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Literal

import pytest

from ratesync import Settings, SyncEngine
from ratesync.memory import MemoryBackend
from ratesync.testing.fake_provider import FakeProvider
from ratesync.testing.virtual_time import VirtualClock, virtual_backend_options

EngineFactory = Callable[..., SyncEngine]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    backend: Literal["asyncio", "trio"] = request.param
    return virtual_backend_options(backend)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def backend(clock: VirtualClock) -> MemoryBackend:
    return MemoryBackend(clock=clock)


@pytest.fixture
def provider(clock: VirtualClock) -> FakeProvider:
    return FakeProvider(clock=clock)


@pytest.fixture
def make_engine(clock: VirtualClock, backend: MemoryBackend, provider: FakeProvider) -> EngineFactory:
    """An engine of the other fixtures' parts; keyword arguments replace or add some."""

    def make(**options: Any) -> SyncEngine:
        parts: dict[str, Any] = {
            "backend": backend,
            "providers": [provider],
            "clock": clock,
            "random": random.Random(0),
            "settings": Settings(),
        }
        return SyncEngine(**(parts | options))

    return make
