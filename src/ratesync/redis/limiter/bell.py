"""Hears from the server, between two exchanges, that somebody wants permits or that some came free."""

from __future__ import annotations

import anyio
from attrs import define, field

from ratesync.clock import Clock
from ratesync.redis.limiter.root import QuotaRoot
from ratesync.redis.server.link import Links

SLICE = 5.0
"""Seconds for which one command waits at the server."""

PAUSE = 1.0
"""Seconds until it is listened again, should that fail. Meanwhile it is asked from time to time, as without a bell."""


@define(eq=False)
class Bell:
    """Listens for one provider, on a connection of its own, while there may be something to hear."""

    root: QuotaRoot
    clock: Clock
    timeout: float
    """Seconds by which an answer may be late."""
    newest: str = field(default="0-0", init=False)
    """The last entry that was heard."""
    _wanted: anyio.Event = field(factory=anyio.Event, init=False)

    def look(self) -> None:
        """Begin to listen if there may be something to hear."""
        if self.root.may_hear:
            self._wanted.set()

    async def run(self, links: Links) -> None:
        """Listen for ever."""
        while True:
            await self._wanted.wait()
            while self.root.is_busy:
                await self._turn(links)
            links.close()
            self._wanted = anyio.Event()

    async def _turn(self, links: Links) -> None:
        root, link = self.root, links.current
        try:
            with anyio.fail_after(SLICE + self.timeout):
                async with link.use() as session:
                    entries = await session.new_entries(root.names.bell(root.member.holder), self.newest, SLICE)
        except Exception:  # noqa: BLE001  whatever it fails with: permits are asked for all the same, only later
            links.replace(link)
            self.newest = "0-0"  # a server that lost its data may count from before
            await anyio.sleep(PAUSE)
            return
        for name, (_, key) in entries:
            self.newest = str(name, "ascii")
            root.hear(str(key, "utf-8"), self.clock.now())
