"""What is looked at whenever a server is met: whose data it has, how it keeps them."""

from __future__ import annotations

import logging
from random import Random
from typing import Any

from attrs import define, field

from ratesync.model.work import Durability
from ratesync.redis.errors import NewerLayout
from ratesync.redis.server.durability import Settings, given, warnings_for
from ratesync.redis.server.lua import Script
from ratesync.redis.server.session import Session

LAYOUT = 1
"""The layout of the keys that this version writes and understands."""

_CONFIG = ("appendonly", "appendfsync", "maxmemory-policy")
_log = logging.getLogger("ratesync")


@define(eq=False)
class Greeting:
    """Greets a server on each new client."""

    prefix: str
    name: str
    """Of the server, for messages."""
    declared: Durability | None
    random: Random
    """For the names of new data."""
    durability: Durability = field(default=Durability.PROCESS, init=False)
    epoch: str | None = field(default=None, init=False)
    """The name of the data. Another one: the server has lost them, or is another server."""
    losses: int = field(default=0, init=False)
    """How often the data were found to be gone."""
    _told: set[str] = field(factory=set[str], init=False)

    @property
    def marker(self) -> str:
        """The key that tells layout and epoch."""
        return f"{self.prefix}:layout"

    async def greet(self, session: Session) -> None:
        """Find out whether the server can be used.

        :raises NewerLayout: a newer version of ratesync wrote its data.
        """
        if self.epoch is not None and session.is_cluster:
            return  # one node that is away must not keep us from the others
        script = Script.load("server", "layout")
        proposed = f"{self.random.getrandbits(64):016x}"
        answer: Any = await session.evaluate(script, [self.marker], [LAYOUT, proposed], None)
        layout, epoch = int(answer[0]), str(answer[1], "utf-8")
        if layout > LAYOUT:
            raise NewerLayout(
                f"{self.name}: the data under {self.prefix!r} have layout {layout}, and this version of ratesync knows "
                f"{LAYOUT}. Upgrade ratesync in this process; nothing was changed."
            )
        if self.epoch not in {None, epoch}:
            self.losses += 1
            _log.warning(
                "%s: this Redis has lost its data, or another one took its place. What was queued there is gone; work "
                "goes on with what is there now.",
                self.name,
            )
        first = self.epoch != epoch
        self.epoch = epoch
        if first:
            await self._look(session)

    async def _look(self, session: Session) -> None:
        settings = Settings.of(await session.config(_CONFIG))
        self.durability = given(settings, self.declared)
        for warning in warnings_for(self.name, settings, self.declared):
            if warning not in self._told:
                self._told.add(warning)
                _log.warning("%s", warning)
