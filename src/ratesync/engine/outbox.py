"""The way from calls to the queue: calls that end at about the same time are settled together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import anyio

from ratesync.engine.call import Call
from ratesync.engine.settlement import Settler

_MOST_SETTLEMENTS = 500
"""About how many leases one settling has at most, so that it neither blocks the event loop nor a shared backend."""


class Outbox:
    """Settles calls that have come to their end, all that are there in one go.

    Alone, each call would pay for a round trip of its own.
    """

    def __init__(self, settler: Settler, done: Callable[[Call], None]) -> None:
        self._settler = settler
        self._done = done
        self._calls: deque[Call] = deque()
        self._filled = anyio.Event()

    def put(self, call: Call) -> None:
        """Take a call in to be settled; ``done`` is told when it is."""
        self._calls.append(call)
        self._filled.set()

    async def run(self) -> None:
        """Settle until cancelled. What is still here then is left to whom holds the calls."""
        while True:
            await self._filled.wait()
            self._filled = anyio.Event()
            while self._calls:
                await self._settle(self._take())

    def _take(self) -> list[Call]:
        taken: list[Call] = []
        count = 0
        while self._calls and count < _MOST_SETTLEMENTS:
            taken.append(self._calls.popleft())
            count += taken[-1].size
        return taken

    async def _settle(self, calls: list[Call]) -> None:
        await self._settler.settle([(call.lane, call.settlements) for call in calls])
        for call in calls:
            call.is_settled = True
            self._done(call)
