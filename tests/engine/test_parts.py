"""The exchangeable parts of an engine: which are taken, and when they are opened and closed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from ratesync.clock import Clock
from ratesync.engine.parts import Parts
from ratesync.errors import ConfigurationError
from ratesync.memory import MemoryBackend, MemoryLimiter, MemoryQueue, MemoryStateStore
from ratesync.sqlite import SqliteBackend
from tests.engine.conftest import EngineFactory


class EmptyQueue(MemoryQueue):
    """A queue that can be counted, and is therefore false while it is empty."""

    def __len__(self) -> int:
        return 0


def test_a_backend_gives_every_part(backend: MemoryBackend) -> None:
    parts = Parts.of(backend, queue=None, limiter=None, state=None)
    assert parts == Parts(backend.queue, backend.limiter, backend.state)
    assert parts.all() == [backend.queue, backend.limiter, backend.state]


@pytest.mark.parametrize("name", ["queue", "limiter", "state"])
def test_a_part_given_by_itself_replaces_the_backends(name: str, backend: MemoryBackend, clock: Clock) -> None:
    others: dict[str, Any] = {
        "queue": MemoryQueue(clock=clock),
        "limiter": MemoryLimiter(clock=clock, cold_start=False),
        "state": MemoryStateStore(),
    }
    given = {part: own if part == name else None for part, own in others.items()}
    parts = Parts.of(backend, **given)
    for part, own in others.items():
        assert getattr(parts, part) is (own if part == name else getattr(backend, part))


def test_a_queue_that_is_false_because_it_is_empty_is_taken_all_the_same(backend: MemoryBackend) -> None:
    queue = EmptyQueue()
    assert Parts.of(backend, queue=queue, limiter=None, state=None).queue is queue


def test_parts_can_do_without_a_backend_and_without_state(backend: MemoryBackend) -> None:
    parts = Parts.of(None, queue=backend.queue, limiter=backend.limiter, state=None)
    assert parts.state is None
    assert parts.all() == [backend.queue, backend.limiter]


@pytest.mark.parametrize("missing", ["queue", "limiter"])
def test_a_missing_part_is_named(missing: str, backend: MemoryBackend) -> None:
    given: dict[str, Any] = {"queue": backend.queue, "limiter": backend.limiter, "state": None} | {missing: None}
    with pytest.raises(ConfigurationError, match=f"no {missing}: give backend=.* or {missing}="):
        Parts.of(None, **given)


def test_a_backend_without_a_limiter_takes_that_of_the_engine(tmp_path: Path) -> None:
    backend, limiter = SqliteBackend(tmp_path / "sync.db"), MemoryLimiter()
    assert Parts.of(backend, queue=None, limiter=limiter, state=None) == Parts(backend.queue, limiter, backend.state)
    with pytest.raises(ConfigurationError, match="no limiter: the backend has none; give limiter="):
        Parts.of(backend, queue=None, limiter=None, state=None)


def test_a_backend_that_is_none_is_named() -> None:
    with pytest.raises(ConfigurationError, match="no queue"):
        Parts.of(object(), queue=None, limiter=None, state=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["queue", "limiter", "state"])
def test_a_part_that_does_not_keep_its_protocol_is_named(name: str, backend: MemoryBackend) -> None:
    given: dict[str, Any] = {"queue": None, "limiter": None, "state": None} | {name: object()}
    with pytest.raises(ConfigurationError, match=f"{name} 'object' does not keep .* open is missing"):
        Parts.of(backend, **given)


Notes = list[str]


def noting(notes: Notes, backend: MemoryBackend, **failing: str) -> dict[str, Any]:
    """The backend's parts, noting when they are opened and closed. ``failing``: by part, "open" or "close"."""

    def note(part: str, what: str, call: Callable[[], Any]) -> Callable[[], Any]:
        async def noted() -> None:
            notes.append(f"{what} {part}")
            if failing.get(part) == what:
                raise ConnectionError(f"{part} does not {what}")
            await call()

        return noted

    parts = {"queue": backend.queue, "limiter": backend.limiter, "state": backend.state}
    for name, part in parts.items():
        for what in ("open", "close"):
            setattr(part, what, note(name, what, getattr(part, what)))
    return {"backend": None, **parts}


@pytest.mark.anyio
async def test_parts_are_closed_in_reverse_order(make_engine: EngineFactory, backend: MemoryBackend) -> None:
    notes: Notes = []
    async with make_engine(**noting(notes, backend)):
        assert notes == ["open queue", "open limiter", "open state"]
        notes.clear()
    assert notes == ["close state", "close limiter", "close queue"]


@pytest.mark.anyio
@pytest.mark.parametrize("role", ["full", "submit", "work"])
async def test_what_was_opened_is_closed_if_another_part_does_not_open(
    make_engine: EngineFactory, backend: MemoryBackend, role: str
) -> None:
    notes: Notes = []
    with pytest.raises(ConnectionError, match="state does not open"):
        async with make_engine(**noting(notes, backend, state="open"), role=role):
            pytest.fail("the engine must not start")
    assert notes == ["open queue", "open limiter", "open state", "close limiter", "close queue"]


@pytest.mark.anyio
async def test_a_part_that_does_not_close_keeps_no_other_from_closing(
    make_engine: EngineFactory, backend: MemoryBackend
) -> None:
    notes: Notes = []
    with pytest.raises(ConnectionError, match="limiter does not close"):
        async with make_engine(**noting(notes, backend, limiter="close")):
            notes.clear()
    assert notes == ["close state", "close limiter", "close queue"]


@pytest.mark.anyio
async def test_parts_are_closed_in_peace_when_the_block_is_cancelled(
    make_engine: EngineFactory, backend: MemoryBackend
) -> None:
    notes: Notes = []
    parts = noting(notes, backend)
    close = parts["queue"].close

    async def close_slowly() -> None:
        await anyio.lowlevel.checkpoint()
        await close()
        notes.append("queue is closed")

    parts["queue"].close = close_slowly
    with anyio.CancelScope() as scope:
        async with make_engine(**parts):
            scope.cancel()
            await anyio.sleep_forever()
    assert notes[-1] == "queue is closed"
