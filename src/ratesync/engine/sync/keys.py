"""Where a binding's state stands in a state store."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from attrs import frozen

from ratesync.model.difference import Side

_LETTERS = {Side.LOCAL: "l", Side.EXTERNAL: "x"}
_SIDES = {letter: side for side, letter in _LETTERS.items()}
_LAST_NUMBER = 10**12 - 1
_LONGEST_KEY = 512


@frozen
class Keys:
    """The keys of one binding. They all begin with its name, so that bindings share a store."""

    prefix: str

    @classmethod
    def of(cls, *parts: str) -> Keys:
        """The keys of the binding with this name, in parts of any text."""
        return cls(_prefix("sync", parts))

    @classmethod
    def between(cls, *parts: str) -> Keys:
        """The same for a binding of two providers. None of :meth:`of` begins so, whatever its parts are."""
        return cls(_prefix("sync-between", parts))

    def can_hold(self, record_id: str) -> bool:
        """Whether a record's id can stand in a key: see :class:`~ratesync.protocols.state.StateStore`."""
        try:
            record_id.encode()
        except UnicodeEncodeError:
            return False
        longest = len(self.ignored(Side.LOCAL, record_id))  # no key of a record is longer
        return record_id != "" and longest <= _LONGEST_KEY and "\0" not in record_id

    def link(self, link_id: str) -> str:
        """A link."""
        return f"{self.prefix}link/{link_id}"

    @property
    def links(self) -> str:
        """The prefix of all links."""
        return f"{self.prefix}link/"

    def index(self, side: Side, record_id: str) -> str:
        """Which link a record belongs to."""
        return f"{self.indexes}{_LETTERS[side]}/{record_id}"

    @property
    def indexes(self) -> str:
        """The prefix of what tells which links records belong to."""
        return f"{self.prefix}of/"

    def indexed(self, key: str) -> tuple[Side, str]:
        """The record whose link a key tells."""
        return _record(key[len(self.indexes) :])

    def mark(self, side: Side, record_id: str) -> str:
        """A record is to be looked at."""
        return f"{self.prefix}mark/{_LETTERS[side]}/{record_id}"

    @property
    def marks(self) -> str:
        """The prefix of all marks."""
        return f"{self.prefix}mark/"

    def marked(self, key: str) -> tuple[Side, str]:
        """The record that a mark's key is about."""
        return _record(key[len(self.marks) :])

    def creation(self, side: Side, link_id: str) -> str:
        """A record is being made on a side, under an id that is not known yet."""
        return f"{self.creations(side)}{link_id}"

    def creations(self, side: Side) -> str:
        """The prefix of all creations on a side."""
        return f"{self.prefix}create/{_LETTERS[side]}/"

    def held(self, link_id: str) -> str:
        """A delete that waits."""
        return f"{self.all_held}{link_id}"

    @property
    def all_held(self) -> str:
        """The prefix of all deletes that wait."""
        return f"{self.prefix}held/"

    def lost(self, op_id: str) -> str:
        """What a step dropped."""
        return f"{self.all_lost}{op_id}"

    @property
    def all_lost(self) -> str:
        """The prefix of all that steps dropped, oldest first."""
        return f"{self.prefix}lost/"

    def conflict(self, link_id: str, name: str) -> str:
        """An open conflict."""
        return f"{self.conflicts}{link_id}/{name}"

    @property
    def conflicts(self) -> str:
        """The prefix of all open conflicts."""
        return f"{self.prefix}conflict/"

    def cursor(self, side: Side) -> str:
        """How far a side's feed was read."""
        return f"{self.prefix}cursor/{_LETTERS[side]}"

    @property
    def cursors(self) -> str:
        """The prefix of both cursors."""
        return f"{self.prefix}cursor/"

    def run(self, number: int) -> str:
        """The record of a pass. Newer ones come first."""
        return f"{self.runs}{_LAST_NUMBER - number:012d}"

    @property
    def runs(self) -> str:
        """The prefix of all records of passes."""
        return f"{self.prefix}run/"

    @property
    def run_count(self) -> str:
        """How many passes were stored, and which is the oldest that is kept."""
        return f"{self.prefix}runs"

    @property
    def hinted(self) -> str:
        """Written with each hint: its revision tells other engines that there are new ones."""
        return f"{self.prefix}hinted"

    @property
    def turn(self) -> str:
        """Which engine pulls on and on."""
        return f"{self.prefix}turn"

    @property
    def resync(self) -> str:
        """How far a full resync has come."""
        return f"{self.prefix}resync"

    @property
    def resync_turn(self) -> str:
        """Which engine makes the resync."""
        return f"{self.turn}/resync"

    def seen(self, side: Side, record_id: str) -> str:
        """A full resync has come by a record."""
        return f"{self.all_seen(side)}{record_id}"

    def all_seen(self, side: Side) -> str:
        """The prefix of all records that a full resync has come by."""
        return f"{self.prefix}seen/{_LETTERS[side]}/"

    def ignored(self, side: Side, record_id: str) -> str:
        """A record without a link that the policy leaves alone."""
        return f"{self.all_ignored(side)}{record_id}"

    def all_ignored(self, side: Side) -> str:
        """The prefix of all records of a side that the policy leaves alone."""
        return f"{self.prefix}ignored/{_LETTERS[side]}/"


def _record(place: str) -> tuple[Side, str]:
    letter, _, record_id = place.partition("/")
    return _SIDES[letter], record_id


def _prefix(head: str, parts: Iterable[str]) -> str:
    return "/".join([head, *(quote(part, safe="") for part in parts), ""])
