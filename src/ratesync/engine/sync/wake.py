"""Waking syncs that run in this process, when there is a hint for them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import anyio
from attrs import define, field

from ratesync.clock import Clock, timeout_at

_CLOSING_TIME = 5.0
"""Seconds for what was cancelled to come to its end. Code of the host's may shield itself, and hang."""


@define(eq=False)
class Wake:
    """Remembers that there is a hint until somebody takes it."""

    is_set: bool = False
    revision: int = 0
    """Of the latest hint that this process knows of: it is not found once more in the state store."""
    _event: anyio.Event = field(factory=anyio.Event, init=False)

    def set(self, revision: int = 0) -> None:
        """There is a hint."""
        self.is_set = True
        self.revision = max(self.revision, revision)
        self._event.set()

    def take(self) -> bool:
        """Whether there was one since the last time."""
        was, self.is_set = self.is_set, False
        return was

    async def wait(self, clock: Clock, until: float) -> None:
        """Wait for the next hint, at most until an instant. One that nobody has taken yet does not count."""
        self._event = anyio.Event()
        with timeout_at(clock, until):
            await self._event.wait()


@define
class WakeBoard:
    """Who runs which binding in this process, by the prefix of its keys."""

    _running: dict[str, list[Wake]] = field(factory=dict[str, list[Wake]], init=False)
    _scopes: set[anyio.CancelScope] = field(factory=set[anyio.CancelScope], init=False)
    _all_gone: anyio.Event = field(factory=anyio.Event, init=False)
    is_closing: bool = False
    """The engine is being left: passes end at the next chunk, and no new one begins."""

    def wake(self, prefix: str, revision: int = 0) -> None:
        """There is a hint for a binding."""
        for wake in self._running.get(prefix, ()):
            wake.set(revision)

    @contextmanager
    def entered(self, prefix: str) -> Generator[Wake]:
        """What wakes a binding that runs in this block."""
        wake, scope = Wake(), anyio.CancelScope()
        self._running.setdefault(prefix, []).append(wake)
        self._scopes.add(scope)
        try:
            with scope:
                yield wake
        finally:
            self._scopes.discard(scope)
            wakes = self._running[prefix]
            wakes.remove(wake)
            if not wakes:
                del self._running[prefix]
            if not self._running:
                self._all_gone.set()

    async def close(self, clock: Clock, until: float) -> None:
        """Have all that runs end: gently until an instant, then by cancelling it."""
        self.is_closing = True
        for prefix in self._running:
            self.wake(prefix)
        with timeout_at(clock, until):
            await self._wait_until_all_are_gone()
        for scope in self._scopes:
            scope.cancel()
        with anyio.move_on_after(_CLOSING_TIME):
            await self._wait_until_all_are_gone()

    async def _wait_until_all_are_gone(self) -> None:
        while self._running:
            self._all_gone = anyio.Event()
            await self._all_gone.wait()
