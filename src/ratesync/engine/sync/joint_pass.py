"""Passes over several bindings at once, whose records refer to each other."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from ratesync.engine.sync.sync_pass import Pass
from ratesync.rules.references import parents_first

_MOST_SWEEPS = 4
"""How often all marks are gone through in one pass, as long as that gets some of them done."""
_MOST_WAITING_SWEEPS = 20
"""The same, as long as records wait for others: a tree of records is made level by level."""


@frozen
class JointPass:
    """Carries passes out together: what others refer to is made before them, and deleted after them."""

    passes: Sequence[Pass]

    async def carry_out(self) -> None:
        """Do all of it. What fails for a single record is left for a later pass."""
        ordered = self._ordered()
        for each in ordered:
            await each.pull()
        await self._sweep(ordered)
        if not any(each.run.is_stopped for each in ordered):
            for each in reversed(ordered):
                await each.delete()

    def _ordered(self) -> list[Pass]:
        """Parents first; otherwise as they were given."""
        by_prefix = {each.reconciler.books.keys.prefix: each for each in self.passes}
        parents = {
            prefix: [keys.prefix for keys in each.reconciler.pair.references.keys.values()]
            for prefix, each in by_prefix.items()
        }
        return [by_prefix[prefix] for layer in parents_first(parents) for prefix in layer]

    async def _sweep(self, ordered: Sequence[Pass]) -> None:
        """Go through all marks again and again, as long as that gets some of them done.

        When it does not, records that wait for each other need not any more: the first pass that gets on by that ends
        it, for the others may have their turn now.
        """
        is_stuck = False
        for number in range(_MOST_WAITING_SWEEPS):
            has_moved = False
            for each in ordered:
                has_moved |= await each.sweep(is_stuck=is_stuck and not has_moved)
            if any(each.run.is_stopped for each in ordered):
                return
            is_waiting = any(each.waiting for each in ordered)
            if not any(each.run.left for each in ordered) or (number + 1 >= _MOST_SWEEPS and not is_waiting):
                return
            if not has_moved and (is_stuck or not is_waiting):
                return
            is_stuck = not has_moved
