"""The host's own store as a side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from ratesync.engine.sync.side import Change, Found, Keep, Make, Order, Tell, Trouble, checked, keep_all
from ratesync.errors import InvalidPayload, PagingBroken
from ratesync.model.change import ChangePage, RecordPage
from ratesync.model.difference import Side, View
from ratesync.model.held import Held
from ratesync.model.intent import Fate
from ratesync.model.operation import Fields
from ratesync.model.outcome import Outcome
from ratesync.model.record import Record
from ratesync.protocols.local import LocalStore
from ratesync.rules.link_end import patched
from ratesync.rules.match_value import number_in


@frozen
class LocalSide:
    """Passes everything on: a local record is its own view."""

    store: LocalStore
    side: Side = Side.LOCAL
    deletes_by_listing: bool = False
    may_lag: bool = False

    def view(self, fields: Fields) -> View:
        """The fields as they are."""
        return checked(fields)

    async def learn(self, records: Iterable[Fields]) -> None:
        """Nothing to do: a view has the ids of this side."""

    def places(self, name: str) -> Sequence[str]:
        """A field stands where the view has it."""
        return (name,)

    def as_stored(self, held: Held | None, patch: View) -> View:
        """As it is: what the store makes of it is told by its answer."""
        return patch if held is not None else patched({}, patch)

    def new_id(self, op_id: str) -> str | None:
        """None: the store chooses, once for each ``op_id``."""
        return None

    async def changes(self, cursor: str | None, limit: int) -> ChangePage:
        """The store's feed."""
        return await self.store.changes(cursor, limit=limit)

    async def listing(self, page: str | None, limit: int) -> RecordPage:
        """Never asked: the store's feed lists all records from the beginning."""
        raise PagingBroken("a local store is listed by its feed", fault="position", page=1)

    async def read(self, record_ids: Iterable[str]) -> Mapping[str, Held | Trouble]:
        """Those of the records that exist."""
        found = await self.store.read(list(record_ids))
        return {record_id: self._hold(record) for record_id, record in found.items()}

    def _hold(self, record: Record) -> Held | Trouble:
        try:
            return Held(record, self.view(record.fields))
        except InvalidPayload as error:
            return Trouble(str(error), passes=False)

    async def find(self, name: str, texts: Sequence[str]) -> Found:
        """Records that have one of the values, as a text or as a number."""
        numbers = [number for number in map(number_in, texts) if number is not None]
        found = map(self._hold, await self.store.find(name, [*texts, *numbers]))
        return Found([held for held in found if isinstance(held, Held)])

    async def write(self, orders: Sequence[Order], tell: Tell, keep: Keep = keep_all) -> None:
        """One after the other: each is a transaction of the host's."""
        for order in orders:
            if await keep([order.op_id]):
                tell(order.op_id, await self._write(order))

    async def _write(self, order: Order) -> Outcome:
        store = self.store
        if isinstance(order, Make):
            return await store.apply(None, order.view, if_version=None, op_id=order.op_id)
        record, version = order.held.record, order.held.version
        if isinstance(order, Change):
            return await store.apply(record.record_id, order.patch, if_version=version, op_id=order.op_id)
        return await store.delete(record.record_id, if_version=version, op_id=order.op_id)

    async def make_sure(
        self, order: Make, age: float, *, begun_ago: float, is_wanted: bool, keep: Keep = keep_all
    ) -> Outcome | Fate:
        """The store makes a record once for each ``op_id``, so it can be asked again."""
        return await self._write(order) if await keep([order.op_id]) else Fate.IN_DOUBT
