"""A side of a sync as the reconciler sees it, be it the host's own store or a provider."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from attrs import field, frozen

from ratesync.model.change import ChangePage, RecordPage
from ratesync.model.difference import Side, View
from ratesync.model.held import Held
from ratesync.model.intent import Fate
from ratesync.model.operation import Fields
from ratesync.model.outcome import Outcome
from ratesync.model.policy import PayloadLimits
from ratesync.rules.payload import check_fields

_STORABLE = PayloadLimits(max_bytes=2**31, max_depth=200)


@frozen
class Trouble:
    """A record could not be read, or not be understood."""

    reason: str
    passes: bool = True
    """It may be well later by itself. False: only a change of the record, or of the mapping, helps."""
    retry_after: float | None = None
    """Seconds, where the side asked for them."""


def checked(view: View) -> View:
    """The view, which can be stored.

    :raises InvalidPayload: it is not JSON; the message tells where, and no value.
    """
    check_fields(view, _STORABLE, "view")
    return view


@frozen
class Found:
    """What a search has come to."""

    held: Sequence[Held]
    refused: AbstractSet[str] = frozenset()
    """Values that cannot be searched for, not even alone."""


@frozen
class Make:
    """A record is to be made."""

    op_id: str
    view: View = field(repr=False)
    record_id: str | None = None
    """The id that it is to have; None: the side chooses."""


@frozen
class Change:
    """Fields of a record are to be changed. Others stay."""

    op_id: str
    held: Held
    """What was read. Where the side can, it refuses if the record has changed since."""
    patch: View = field(repr=False)


@frozen
class Remove:
    """A record is to go."""

    op_id: str
    held: Held


Order = Make | Change | Remove

Keep = Callable[[Collection[str]], Awaitable[Collection[str]]]
"""Is asked when a call may go out, after all waits: which of the steps with these ids may still be carried out."""

Tell = Callable[[str, Outcome], None]
"""Is told the outcome of a step as soon as it is known: who is broken off later knows it, too."""


async def keep_all(op_ids: Collection[str]) -> Collection[str]:
    """All of them may."""
    return op_ids


class SyncSide(Protocol):
    """One side."""

    @property
    def side(self) -> Side:
        """Which one."""
        ...

    @property
    def deletes_by_listing(self) -> bool:
        """Its feed names no deleted records: what is missing from a whole listing is gone."""
        ...

    @property
    def may_lag(self) -> bool:
        """It may answer as of a moment ago, from a replica: then it may still show a record that was deleted."""
        ...

    def view(self, fields: Fields) -> View:
        """The view of a record. Raises what the mapping raises, and InvalidPayload if that gives what is not JSON."""
        ...

    async def learn(self, records: Iterable[Fields]) -> None:
        """Find out about all that records refer to, so that their views can be told."""
        ...

    def places(self, name: str) -> Sequence[str]:
        """Where a field of the view stands in a record, as the record's ``field_times`` name it."""
        ...

    def as_stored(self, held: Held | None, patch: View) -> View:
        """The patch as the mapping would bring it back; of a new record (``held`` None), all that it would have."""
        ...

    def new_id(self, op_id: str) -> str | None:
        """The id for a record that this step makes, where we choose it."""
        ...

    async def changes(self, cursor: str | None, limit: int) -> ChangePage:
        """See :meth:`ratesync.protocols.PullsChanges.pull_changes`."""
        ...

    async def listing(self, page: str | None, limit: int) -> RecordPage:
        """See :meth:`ratesync.protocols.ListsRecords.list_records`."""
        ...

    async def read(self, record_ids: Iterable[str]) -> Mapping[str, Held | Trouble]:
        """Those of the records that exist, and those of which that is not known."""
        ...

    async def find(self, name: str, texts: Sequence[str]) -> Found:
        """Records that have one of the values in a field, numbers as they are written; and maybe others.

        At least those are found whose value is written just so: the side may compare exactly, or be more generous.
        """
        ...

    async def write(self, orders: Sequence[Order], tell: Tell, keep: Keep = keep_all) -> None:
        """Carry out orders that are kept, in as few calls as can be, and tell what each came to."""
        ...

    async def make_sure(
        self, order: Make, age: float, *, begun_ago: float, is_wanted: bool, keep: Keep = keep_all
    ) -> Outcome | Fate:
        """Find a record that may have been made, or make it now if that can make no second one.

        :param age: seconds since it was made, if it was; less than 0 while it may be being made.
        :param begun_ago: seconds since the step was begun: it was sent no earlier.
        :param is_wanted: False: do not make it, if that can be helped.
        """
        ...
