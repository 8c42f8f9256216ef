# pyright: reportPrivateUsage=false
"""Records that nobody may bring back: a user deleted one half, and nobody had edited the other since the last sync."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field

from ratesync.engine.sync.link_codec import decode_link
from ratesync.memory.state import MemoryStateStore
from ratesync.model.difference import Side
from ratesync.model.link import LinkStatus, RecordLink
from ratesync.model.stored import Stored
from ratesync.rules.sameness import is_same
from tests.sync.sides import Sides
from tests.sync.trial import Versions


@define
class Departed:
    """Takes note only where there is no doubt: nothing is under way, and both sides hold just what is known of them.

    An edit of the other half, whenever it comes, takes that back: it may compete with the delete.
    """

    kind: Sides
    state: MemoryStateStore
    _origins: dict[tuple[Side, str], str] = field(factory=dict[tuple[Side, str], str], init=False)
    """By the half that is left."""

    def leave(self, side: Side, record_id: str) -> None:
        """A user is about to delete a record."""
        link = self._link(side, record_id)
        # A version that changes by itself looks like a record that was made anew behind a delete.
        if link is None or self.kind.crm.trial.versions is Versions.FLAKY or not self._is_settled(link):
            return
        other_id = link.end(side.other).record_id
        assert other_id is not None
        self._origins[side.other, other_id] = _origin(self.kind.records(side)[record_id])

    def write(self, side: Side, record_id: str) -> None:
        """A user makes or edits a record."""
        self._origins.pop((side, record_id), None)

    def revived(self) -> list[str]:
        """Those that are there, all the same."""
        gone = set(self._origins.values())
        there = {side: {_origin(record) for record in self.kind.records(side).values()} for side in Side}
        return [f"revived: {side} {origin}" for side in Side for origin in sorted(gone & there[side])]

    def __len__(self) -> int:
        return len(self._origins)

    def _link(self, side: Side, record_id: str) -> RecordLink | None:
        index = self._load(self.kind.keys.index(side, record_id))
        stored = None if index is None else self._load(self.kind.keys.link(index.value.decode()))
        return None if stored is None else decode_link(stored.value)

    def _load(self, key: str) -> Stored | None:
        return self.state._stored.get(key)

    def _is_settled(self, link: RecordLink) -> bool:
        if link.status is not LinkStatus.ACTIVE or link.intent is not None or link.deferred or link.is_held:
            return False
        return all(self._is_as_known(link, side) for side in Side)

    def _is_as_known(self, link: RecordLink, side: Side) -> bool:
        end = link.end(side)
        record: Any = self.kind.records(side).get(end.record_id or "")
        is_marked = self._load(self.kind.keys.mark(side, end.record_id or "")) is not None
        if record is None or is_marked:
            return False
        # A user may have edited it to what is the same to us, and yet not to the base once that is known in full.
        is_of_version = side is Side.LOCAL or end.version in {None, record.version}
        return is_of_version and is_same(record.fields, _plain(end.base))


def _plain(base: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if base is None else dict(base)


def _origin(record: Any) -> str:
    return str(record.fields.get("origin", "none")).strip().lower()
