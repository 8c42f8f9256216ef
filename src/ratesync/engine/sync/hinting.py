"""Leaving marks for others to look at, and waking who looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from ratesync.engine.sync.keys import Keys
from ratesync.engine.sync.link_codec import to_bytes
from ratesync.engine.sync.saving import mark_write
from ratesync.engine.sync.wake import WakeBoard
from ratesync.model.difference import Side
from ratesync.model.mark import Mark
from ratesync.model.stored import Write
from ratesync.protocols import StateStore

_AT_ONCE = 500
"""Marks in one commit."""
_BELL = to_bytes({})

Place = tuple[Keys, Side]
"""One side of a binding."""


@frozen
class Hinting:
    """Marks records of bindings, which need not run in this process."""

    state: StateStore
    board: WakeBoard

    async def mark(self, keys: Keys, side: Side, record_ids: Sequence[str], *, along: Sequence[Write] = ()) -> None:
        """Mark records. With each commit the binding's bell is rung, which other processes look at.

        :param along: what is to be written in the last commit, too.
        """
        for start in range(0, len(record_ids), _AT_ONCE):
            some = record_ids[start : start + _AT_ONCE]
            marks = [mark_write(Mark(side, record_id), keys) for record_id in some]
            is_last = start + _AT_ONCE >= len(record_ids)
            revisions = await self.state.commit([*(along if is_last else ()), Write(keys.hinted, _BELL), *marks])
            self.board.wake(keys.prefix, revisions[len(along) if is_last else 0])

    async def mark_all(self, places: Mapping[Place, Sequence[str]], along: Write) -> None:
        """Mark records of several bindings; a value is written with the last of them."""
        last = len(places) - 1
        for number, ((keys, side), record_ids) in enumerate(places.items()):
            await self.mark(keys, side, record_ids, along=[along] if number == last else ())
