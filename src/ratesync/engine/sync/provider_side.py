"""A provider's resource as a side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from attrs import field, frozen

from ratesync.engine.sync.calls import call_for_each
from ratesync.engine.sync.reference_table import ReferenceTable
from ratesync.engine.sync.side import Change, Found, Keep, Make, Order, Tell, Trouble, checked, keep_all
from ratesync.errors import InvalidPayload, UnsupportedOperation
from ratesync.model.batch import Capabilities, ConditionalWrite, CreateIdentity, DeleteFeed, NullMeaning
from ratesync.model.change import ChangePage, RecordPage
from ratesync.model.difference import Side, View
from ratesync.model.held import Held
from ratesync.model.intent import Fate
from ratesync.model.lane import Lane
from ratesync.model.operation import Fields, Kind, Operation
from ratesync.model.outcome import GONE_CODES, Applied, Conflict, Outcome, Rejected, RetryLater, Unknown
from ratesync.model.record import Record
from ratesync.protocols.lens import Lens
from ratesync.rules.link_end import patched
from ratesync.rules.merge_patch import diff, first_emptied

_NOT_SENT = "transform"
"""Code of the refusal of an order that the mapping failed on."""


class Caller(Protocol):
    """Makes calls to a provider: bounded, admitted by its quotas and its circuit, with failures as outcomes.

    Reading calls raise a :class:`~ratesync.errors.ProviderError`.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What the provider can do."""
        ...

    async def execute(
        self, lane: Lane, operations: Sequence[Operation], keep: Keep = keep_all
    ) -> Mapping[str, Outcome]:
        """One call, for operations of one kind on one resource: at most as many as its kind allows.

        :param keep: says at the last moment which of them may go out. The others have no outcome.
        """
        ...

    async def lookup(self, lane: Lane, operation: Operation) -> Outcome | None:
        """See :meth:`ratesync.protocols.LooksUp.lookup`."""
        ...

    async def pull_changes(self, lane: Lane, resource: str, cursor: str | None, limit: int) -> ChangePage:
        """See :meth:`ratesync.protocols.PullsChanges.pull_changes`."""
        ...

    async def list_records(self, lane: Lane, resource: str, page: str | None, limit: int) -> RecordPage:
        """See :meth:`ratesync.protocols.ListsRecords.list_records`."""
        ...

    async def find(self, lane: Lane, resource: str, path: str, values: Sequence[str]) -> RecordPage:
        """See :meth:`ratesync.protocols.FindsRecords.find`."""
        ...


class PlainLens:
    """The lens of a record whose fields are its view."""

    def get(self, record: Fields) -> View:
        """The fields."""
        return dict(record)

    def put(self, record: Fields, view: View) -> Fields:
        """The view."""
        return dict(view)

    def create(self, view: View) -> Fields:
        """The view."""
        return dict(view)


@frozen
class ProviderSide:
    """Speaks to one resource of a connection, in as few calls as its batches allow."""

    caller: Caller
    lane: Lane
    resource: str
    lens: Lens = field(factory=PlainLens)
    side: Side = Side.EXTERNAL
    priority: int = 0
    match_paths: Mapping[str, str] = field(factory=dict[str, str])
    """Where the view's match keys stand in a record. Default: where the mapping has them."""
    references: ReferenceTable = field(factory=ReferenceTable)
    may_lag: bool = True

    @property
    def deletes_by_listing(self) -> bool:
        """By the adapter's word."""
        return self.caller.capabilities.deletes is DeleteFeed.LISTING

    def view(self, fields: Fields) -> View:
        """The view of a record; raises what the mapping raises, and InvalidPayload if that gives what is not JSON."""
        return checked(self.references.as_view(self.lens.get(fields)))

    async def learn(self, records: Iterable[Fields]) -> None:
        """Forget what earlier ones refer to, and find out about these."""
        self.references.forget()
        await self._learn(records)

    async def _learn(self, records: Iterable[Fields]) -> None:
        if self.references.references:
            await self.references.learn_raw(filter(None, map(self._raw, records)))

    def _raw(self, fields: Fields) -> View | None:
        try:
            return self.lens.get(fields)
        except Exception:  # noqa: BLE001  a mapping of the host's may raise anything: it will again, where it is told
            return None

    def places(self, name: str) -> Sequence[str]:
        """As the mapping tells them."""
        places: Mapping[str, Sequence[str]] = getattr(self.lens, "places", {})
        return places.get(name, (name,))

    def _place(self, name: str) -> str:
        """The one place that the mapping tells; else the name itself."""
        places = self.places(name)
        return places[0] if len(places) == 1 else name

    def as_stored(self, held: Held | None, patch: View) -> View:
        """The patch as the mapping would bring it back."""
        if held is None:
            return self.view(self._new(patched({}, patch)))
        brought = self.view(self._put(held, patch))
        return {name: brought.get(name, value) for name, value in patch.items()}

    def _put(self, held: Held, patch: View) -> Fields:
        return self.lens.put(held.record.fields, self.references.as_sent(patched(held.view, patch)))

    def _new(self, view: View) -> Fields:
        return self.lens.create(self.references.as_sent(view))

    def new_id(self, op_id: str) -> str | None:
        """The step's own id, where the provider lets us choose."""
        return op_id if self.caller.capabilities.create_identity is CreateIdentity.CLIENT_ID else None

    async def changes(self, cursor: str | None, limit: int) -> ChangePage:
        """The provider's feed."""
        return await self.caller.pull_changes(self.lane, self.resource, cursor, limit)

    async def listing(self, page: str | None, limit: int) -> RecordPage:
        """The provider's listing."""
        return await self.caller.list_records(self.lane, self.resource, page, limit)

    async def read(self, record_ids: Iterable[str]) -> Mapping[str, Held | Trouble]:
        """Those of the records that exist, and those of which that is not known."""
        operations = [self._operation(Kind.READ, record_id, record_id) for record_id in dict.fromkeys(record_ids)]
        outcomes: dict[str, Outcome] = {}
        await self._execute(operations, outcomes.__setitem__)
        records = [outcome.record for outcome in outcomes.values() if isinstance(outcome, Applied)]
        await self._learn(record.fields for record in records if record is not None)
        found: dict[str, Held | Trouble] = {}
        for record_id, outcome in outcomes.items():
            read = self._read(outcome)
            if read is not None:
                found[record_id] = read
        return found

    def _read(self, outcome: Outcome) -> Held | Trouble | None:
        match outcome:
            case Applied(record=Record() as record):
                return self._hold(record)
            case Applied():
                return Trouble("the adapter read a record and gave none", passes=False)
            case Rejected(code=code) if code in GONE_CODES:
                return None
            case RetryLater(reason, _, retry_after):
                return Trouble(reason, retry_after=retry_after)
            case Rejected(reason) | Unknown(reason) | Conflict(reason):
                return Trouble(reason, passes=not isinstance(outcome, Rejected))

    def _hold(self, record: Record) -> Held | Trouble:
        try:
            return Held(record, self.view(record.fields))
        except InvalidPayload as error:
            return Trouble(str(error), passes=False)
        except Exception as error:  # noqa: BLE001  a mapping of the host's may raise anything
            return Trouble(f"the mapping raised {type(error).__name__} on the record", passes=False)

    async def find(self, name: str, texts: Sequence[str]) -> Found:
        """Records that have one of the values, as the provider compares."""
        path = self.match_paths.get(name) or self._place(name)
        records: dict[str, Record] = {}
        refused: set[str] = set()
        await self._find(path, texts, records, refused)
        await self._learn(record.fields for record in records.values())
        held = [held for record in records.values() if isinstance(held := self._hold(record), Held)]
        return Found(held, refused)

    async def _find(self, path: str, texts: Sequence[str], records: dict[str, Record], refused: set[str]) -> None:
        """In so many calls as it takes: how many values go together depends on the provider, and on the values."""
        try:
            page = await self.caller.find(self.lane, self.resource, path, texts)
        except UnsupportedOperation as error:
            if error.path != "values":
                raise
        else:
            records |= {record.record_id: record for record in page.records}
            return
        if len(texts) == 1:
            refused.update(texts)
            return
        half = len(texts) // 2
        await self._find(path, texts[:half], records, refused)
        await self._find(path, texts[half:], records, refused)

    async def write(self, orders: Sequence[Order], tell: Tell, keep: Keep = keep_all) -> None:
        """Carry orders out, each kind in batches."""
        operations: list[Operation] = []
        for order in orders:
            try:
                operation = self._ordered(order)
            except InvalidPayload as error:
                tell(order.op_id, Rejected(str(error), code=_NOT_SENT))
                continue
            except Exception as error:  # noqa: BLE001  a mapping of the host's may raise anything
                tell(order.op_id, Rejected(f"the mapping raised {type(error).__name__}", code=_NOT_SENT))
                continue
            if operation is None and isinstance(order, Change):  # it means the same there already
                held = order.held
                tell(order.op_id, Applied(held.record.record_id, held.version, held.record))
            elif operation is not None:
                operations.append(operation)
        await self._execute(operations, tell, keep)

    def _ordered(self, order: Order) -> Operation | None:
        if isinstance(order, Make):
            return self._make(order)
        record, is_strong = order.held.record, self.caller.capabilities.conditional_write is ConditionalWrite.STRONG
        version = order.held.version if is_strong else None
        if isinstance(order, Change):
            fields = diff(record.fields, self._put(order.held, order.patch))
            if not fields:
                return None
            self._check_emptied(record.fields, fields)
            return self._operation(Kind.UPDATE, order.op_id, record.record_id, fields, version)
        return self._operation(Kind.DELETE, order.op_id, record.record_id, None, version)

    def _check_emptied(self, held: Fields, patch: Fields) -> None:
        """Rather than write what would come to nothing, and take it for done."""
        if self.caller.capabilities.nulls is NullMeaning.IGNORE and (path := first_emptied(held, patch)) is not None:
            raise InvalidPayload("the provider cannot empty the field: it leaves what is written as null", path=path)

    def _make(self, order: Make) -> Operation:
        return self._operation(Kind.CREATE, order.op_id, order.record_id, self._new(order.view))

    def _operation(
        self, kind: Kind, op_id: str, record_id: str | None, fields: Fields | None = None, version: str | None = None
    ) -> Operation:
        return Operation(
            provider=self.lane.provider,
            connection=self.lane.connection,
            resource=self.resource,
            kind=kind,
            record_id=record_id,
            fields=fields or {},
            id=op_id,
            # Both sides may be one account, and a step may write to both.
            idempotency_key=op_id if self.side is Side.EXTERNAL else f"{op_id}-local",
            if_version=version,
            priority=self.priority,
        )

    async def _execute(self, operations: Sequence[Operation], tell: Tell, keep: Keep = keep_all) -> None:
        """Calls for operations of any kinds, each with its ``id``."""
        able = self.caller.capabilities
        parts: list[Sequence[Operation]] = []
        for kind in dict.fromkeys(operation.kind for operation in operations):
            chosen = [operation for operation in operations if operation.kind is kind]
            most = able.most(kind)
            parts += [chosen[start : start + most] for start in range(0, len(chosen), most)]

        async def call(part: Sequence[Operation]) -> None:
            for op_id, outcome in (await self.caller.execute(self.lane, part, keep)).items():
                tell(op_id, outcome)

        await call_for_each(call, parts, able.concurrency)

    async def make_sure(
        self, order: Make, age: float, *, begun_ago: float, is_wanted: bool, keep: Keep = keep_all
    ) -> Outcome | Fate:
        """Find the record by what identifies a create at this provider, or make it."""
        identity = self.caller.capabilities.create_identity
        if identity is CreateIdentity.NONE:
            return Fate.CANNOT_TELL
        if identity is CreateIdentity.CLIENT_ID and order.record_id is not None:
            return await self._make_by_id(order, order.record_id, keep, is_wanted=is_wanted)
        if identity is CreateIdentity.LOOKUP:
            if age < self.caller.capabilities.lookup_after:
                return Fate.IN_DOUBT
            return await self._look_up(order)
        key_lasts = self.caller.capabilities.key_lasts
        if identity is CreateIdentity.IDEMPOTENCY_KEY and key_lasts is not None and begun_ago >= key_lasts:
            return Fate.CANNOT_TELL
        return await self._make_again(order, keep)

    async def _look_up(self, order: Make) -> Outcome | Fate:
        try:
            operation = self._make(order)
        except Exception:  # noqa: BLE001  a mapping of the host's may raise anything
            return Fate.IN_DOUBT
        found = await self.caller.lookup(self.lane, operation)
        if found is None:  # made anew, it is a new creation, with a wait of its own should its answer be lost
            return Fate.NOT_MADE
        if isinstance(found, Conflict):  # asked again it would say the same
            return Fate.CANNOT_TELL
        return found if isinstance(found, Applied) else Fate.IN_DOUBT

    async def _make_again(self, order: Make, keep: Keep) -> Outcome | Fate:
        """Make the record, where an earlier attempt may have: as long as nothing is sent, that is not known."""
        outcomes: dict[str, Outcome] = {}
        await self.write([order], outcomes.__setitem__, keep)
        outcome = outcomes.get(order.op_id)
        if outcome is None or (isinstance(outcome, Rejected) and outcome.code == _NOT_SENT):
            return Fate.IN_DOUBT
        return outcome

    async def _make_by_id(self, order: Make, record_id: str, keep: Keep, *, is_wanted: bool) -> Outcome | Fate:
        found = (await self.read([record_id])).get(record_id)
        if found is None and not is_wanted:  # one look that finds nothing proves nothing: sent again, it would be found
            found = (await self.read([record_id])).get(record_id)
        if isinstance(found, Trouble):
            return Fate.IN_DOUBT
        if found is not None:
            return Applied(record_id)
        if not is_wanted:
            return Fate.NOT_MADE
        outcome = await self._make_again(order, keep)
        return Applied(record_id) if isinstance(outcome, Conflict) else outcome
