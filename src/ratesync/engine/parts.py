"""The exchangeable parts of an engine."""

from __future__ import annotations

import math
from typing import Protocol, Self

from attrs import frozen

from ratesync.engine.wiring import check_plugin
from ratesync.errors import ConfigurationError
from ratesync.protocols import Limiter, QueueBackend, StateStore


class Openable(Protocol):
    """What must be opened before and closed after use."""

    async def open(self) -> None:
        """Get ready."""
        ...

    async def close(self) -> None:
        """Let go."""
        ...


class Backend(Protocol):
    """Queue, limiter and state store that belong together."""

    @property
    def queue(self) -> QueueBackend:
        """Where operations wait."""
        ...

    @property
    def limiter(self) -> Limiter | None:
        """Who grants permits; None where the engine is given one."""
        ...

    @property
    def state(self) -> StateStore:
        """Where small values are kept."""
        ...


@frozen
class Parts:
    """The parts in use, checked."""

    queue: QueueBackend
    limiter: Limiter
    state: StateStore | None

    @classmethod
    def of(
        cls,
        backend: Backend | None,
        *,
        queue: QueueBackend | None,
        limiter: Limiter | None,
        state: StateStore | None,
    ) -> Self:
        """Take each part that is given, and the rest from the backend.

        :raises ConfigurationError: queue or limiter is missing, or a part does not keep its protocol.
        """
        queue = getattr(backend, "queue", None) if queue is None else queue
        limiter = getattr(backend, "limiter", None) if limiter is None else limiter
        state = getattr(backend, "state", None) if state is None else state
        if queue is None or limiter is None:
            missing = "queue" if queue is None else "limiter"
            how = "give backend=, for example MemoryBackend(), or" if backend is None else "the backend has none; give"
            raise ConfigurationError(f"no {missing}: {how} {missing}=")
        check_plugin(queue, QueueBackend, "queue")
        check_plugin(limiter, Limiter, "limiter")
        if not (isinstance(queue.lease_seconds, int | float) and 0 < queue.lease_seconds < math.inf):
            raise ConfigurationError(f"queue {type(queue).__name__!r}: lease_seconds must be a number above 0")
        if state is not None:
            check_plugin(state, StateStore, "state")
        return cls(queue, limiter, state)

    def all(self) -> list[Openable]:
        """The parts in the order in which they are opened."""
        parts: list[Openable] = [self.queue, self.limiter]
        return parts if self.state is None else [*parts, self.state]
