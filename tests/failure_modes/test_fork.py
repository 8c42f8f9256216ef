"""Case 15: an engine belongs to the process that started it."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import pytest

from ratesync import (
    Applied,
)
from ratesync.errors import ForkedProcess
from tests.failure_modes.conftest import (
    EngineFactory,
    NotingProvider,
    upsert,
)

pytestmark = pytest.mark.anyio


def is_refused_in_a_fork(call: Callable[[], Coroutine[Any, Any, object]]) -> bool:
    """Whether the call, made in a forked child, raises :class:`ForkedProcess` before it does anything."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            call().send(None)
        except ForkedProcess:
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def not_refused(calls: Mapping[str, Callable[[], Coroutine[Any, Any, object]]]) -> list[str]:
    return [name for name, call in calls.items() if not is_refused_in_a_fork(call)]


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
ignores_threads = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the test runner's


@needs_fork
@ignores_threads
async def test_case_15_a_forked_child_cannot_use_the_engine(
    make_engine: EngineFactory, provider: NotingProvider
) -> None:
    async with make_engine() as engine:
        await engine.pause()
        ticket = await engine.submit(upsert("1", n=1))
        calls: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
            "submit": lambda: engine.submit(upsert("2")),
            "submit_many": lambda: engine.submit_many([upsert("2")]),
            "status": lambda: engine.status(ticket.id),
            "cancel": lambda: engine.cancel(ticket.id),
            "pause": engine.pause,
            "resume": engine.resume,
            "drain": engine.drain,
            "stats": engine.stats,
            "set_weight": lambda: engine.set_weight("fake", "default", 2.0),
            "dead_letters": engine.dead_letters,
            "replay": lambda: engine.replay([ticket.id]),
            "discard": lambda: engine.discard([ticket.id]),
        }
        assert not_refused(calls) == []
        # The parent goes on as if nothing had been.
        await engine.resume()
        assert await ticket.outcome(timeout=60) == Applied("1", "1")
    assert len(provider.asked) == 1


@needs_fork
@ignores_threads
async def test_case_15_a_forked_child_cannot_use_a_ticket(make_engine: EngineFactory) -> None:
    """What it would be told, or take back, is in a copy of the queue that nobody works on."""
    async with make_engine() as engine:
        ticket = await engine.submit(upsert("1", n=1))
        assert not_refused({"outcome": ticket.outcome, "status": ticket.status, "cancel": ticket.cancel}) == []
