"""Which of the engines that run a binding pulls: a saving of calls, not a safeguard."""

from __future__ import annotations

from contextlib import suppress

from attrs import define

from ratesync.clock import Clock
from ratesync.engine.sync.keys import Keys
from ratesync.engine.sync.link_codec import from_bytes, to_bytes
from ratesync.errors import StateConflict
from ratesync.model.stored import Write
from ratesync.protocols import StateStore

LONGEST = 180.0
"""Seconds that a turn lasts at most: a dead engine's hints of other processes wait so long."""
_FAR = 10


@define
class Turn:
    """The turn of one engine at one binding.

    It is stored with the instant until which it holds, and renewed when half of that time has passed. Clocks that
    disagree, or an engine that hangs, bring two engines to pull at once: that costs calls and nothing else, as each
    commit is refused whose revision is not the latest.
    """

    state: StateStore
    keys: Keys
    clock: Clock
    owner: str
    lasts: float
    """Seconds."""
    _until: float = 0.0
    _revision: int = 0

    async def take(self) -> float | None:
        """Take the turn, or keep it. The instant until which another engine has it; None if it is ours."""
        now = self.clock.now()
        if self._until - now > self.lasts / 2:
            return None
        (stored,) = await self.state.load([self.keys.turn])
        revision = 0 if stored is None else stored.revision
        if stored is not None:
            value = from_bytes(stored.value)
            # An instant far ahead was written by a clock that is wrong.
            if value["owner"] != self.owner and now < value["until"] <= now + _FAR * self.lasts:
                self._until = 0.0
                return float(value["until"])
        try:
            written = to_bytes({"owner": self.owner, "until": now + self.lasts})
            (self._revision,) = await self.state.commit([Write(self.keys.turn, written, revision)])
        except StateConflict:
            self._until = 0.0
            return now + self.lasts
        self._until = now + self.lasts
        return None

    async def give_back(self) -> None:
        """Let another engine take it at once, if it is ours."""
        if self._until:
            self._until = 0.0
            with suppress(StateConflict):
                await self.state.commit([Write(self.keys.turn, None, self._revision)])
