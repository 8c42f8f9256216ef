"""Which of several engines does what one is enough for: a saving of calls, not a safeguard."""

from __future__ import annotations

from contextlib import suppress

import anyio
from attrs import define

from ratesync.clock import Clock
from ratesync.engine.sync.link_codec import from_bytes, to_bytes
from ratesync.errors import StateConflict
from ratesync.model.stored import Write
from ratesync.protocols import StateStore

LONGEST = 180.0
"""Seconds that a turn lasts at most: what a dead engine had begun waits so long."""
_FAR = 10
_CLOSING_TIME = 1.0
"""Seconds for giving the turn back, when the task is cancelled."""


@define
class Turn:
    """The turn of one engine, such as to pull on and on.

    It is stored with the instant until which it holds, and renewed when half of that time has passed. Clocks that
    disagree, or an engine that hangs, bring two engines to pull at once: that costs calls and nothing else, as each
    commit is refused whose revision is not the latest.
    """

    state: StateStore
    key: str
    """Where it stands."""
    clock: Clock
    owner: str
    lasts: float
    """Seconds."""
    _until: float = 0.0
    _revision: int = 0

    async def take(self, *, by_force: bool = False) -> float | None:
        """Take the turn, or keep it. The instant until which another engine has it; None if it is ours.

        :param by_force: take it from another engine, too.
        """
        now = self.clock.now()
        if self._until - now > self.lasts / 2:
            return None
        (stored,) = await self.state.load([self.key])
        revision = 0 if stored is None else stored.revision
        if stored is not None and not by_force:
            value = from_bytes(stored.value)
            # An instant far ahead was written by a clock that is wrong.
            if value["owner"] != self.owner and now < value["until"] <= now + _FAR * self.lasts:
                self._until = 0.0
                return float(value["until"])
        try:
            written = to_bytes({"owner": self.owner, "until": now + self.lasts})
            (self._revision,) = await self.state.commit([Write(self.key, written, revision)])
        except StateConflict:
            self._until = 0.0
            return now + self.lasts
        self._until = now + self.lasts
        return None

    async def give_back(self) -> None:
        """Let another engine take it at once, if it is ours. Whatever fails then only makes others wait."""
        if self._until:
            self._until = 0.0
            with anyio.move_on_after(_CLOSING_TIME, shield=True), suppress(Exception):
                await self.state.commit([Write(self.key, None, self._revision)])
