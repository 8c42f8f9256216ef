"""Looks from time to time whether providers changed their schemas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import anyio
from attrs import define, evolve, field

from ratesync.clock import Clock
from ratesync.engine.admission import Admission, Entry, Pass
from ratesync.engine.execution import Executor
from ratesync.engine.schema_book import SchemaBook, SchemaKey
from ratesync.engine.schema_record import SchemaRecord, schema_key
from ratesync.engine.wiring import TransformerKey, check_schemas
from ratesync.errors import CostAboveLimit, ProviderError, RateSyncError, StateConflict
from ratesync.model.event import BackendFailed, SchemaUnread
from ratesync.model.inquiry import Inquiry
from ratesync.model.lane import Lane
from ratesync.model.quota import Observation
from ratesync.model.schema import RemoteSchema, SchemaWatch
from ratesync.model.stored import Stored, Write
from ratesync.protocols import DescribesResources, NamesPaths, ProviderClient, StateStore
from ratesync.rules.schema_drift import SchemaJudgement, judge_schema

LOOK_AT_STATE = 30.0
"""Seconds between two looks into the state store, where another worker, or the host, may have changed something."""
CLAIM = 60.0
"""Seconds for which one worker looks and the others do not; and until the next look where one failed."""
_ASK_AGAIN = 1.0
"""Seconds until a permit is asked for again."""
_PATIENCE = 30.0
"""Seconds for which a permit is asked for again and again."""


@define
class SchemaShelf:
    """Where the schemas that are watched are kept, and what they come to."""

    state: StateStore
    watches: Mapping[TransformerKey, SchemaWatch]
    paths: Mapping[TransformerKey, Sequence[str]]
    """What the transformers use."""

    @property
    def keys(self) -> list[SchemaKey]:
        """All that is watched."""
        return [
            (Lane(provider, connection), resource)
            for (provider, resource), watch in self.watches.items()
            for connection in watch.connections
        ]

    def watch(self, key: SchemaKey) -> SchemaWatch:
        """How a resource is watched."""
        return self.watches[key[0].provider, key[1]]

    async def load(self) -> dict[SchemaKey, tuple[Stored, SchemaRecord] | None]:
        """What is kept of each."""
        names = [schema_key(*key) for key in self.keys]
        found: Sequence[Stored | None] = await self.state.load(names) if names else ()
        return {
            key: None if stored is None else (stored, SchemaRecord.decode(stored.value, stored.key))
            for key, stored in zip(self.keys, found, strict=True)
        }

    def judge(self, key: SchemaKey, accepted: RemoteSchema | None, current: RemoteSchema) -> SchemaJudgement:
        """What to do about a schema."""
        lane, resource = key
        return judge_schema(accepted, current, self.paths[lane.provider, resource], self.watch(key).policy)

    async def accept(self, key: SchemaKey) -> SchemaRecord | None:
        """Take a schema as it was described last; None if it never was."""
        while True:
            kept = (await self.load())[key]
            if kept is None:
                return None
            stored, record = kept
            record = evolve(record, accepted=record.current)
            try:
                await self.state.commit([Write(stored.key, record.encode(), stored.revision)])
            except StateConflict:
                continue
            return record


def shelf_of(
    watches: Mapping[TransformerKey, SchemaWatch],
    transformers: Mapping[TransformerKey, object],
    providers: Mapping[str, ProviderClient],
    state: StateStore | None,
) -> SchemaShelf | None:
    """The shelf of an engine; None if nothing is watched.

    :raises ConfigurationError: something cannot be watched.
    """
    check_schemas(watches, transformers, providers, state)
    if not watches or state is None:
        return None
    paths = {key: tuple(each.paths) for key in watches if isinstance(each := transformers[key], NamesPaths)}
    return SchemaShelf(state, dict(watches), paths)


@define
class SchemaWatcher:
    """Keeps the book in step with the shelf, and the shelf with the providers."""

    shelf: SchemaShelf
    executor: Executor
    admission: Admission
    clock: Clock = field(init=False)
    book: SchemaBook = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock, self.book = self.executor.clock, self.executor.schemas

    async def prepare(self) -> None:
        """Take over what is known, before any work is done by it. Failures are reported: the next round tries again."""
        await self._guarded(look=False)

    async def run(self) -> None:
        """Look for ever."""
        pause = min([LOOK_AT_STATE, *(watch.every for watch in self.shelf.watches.values())])
        while True:
            await self._guarded(look=True)
            await anyio.sleep(pause)

    async def _guarded(self, *, look: bool) -> None:
        try:
            for key, kept in (await self.shelf.load()).items():
                record = None if kept is None else kept[1]
                if record is not None:
                    self._note(key, record.accepted, record.current)
                if look and self._is_due(key, record):
                    await self._look(key, kept)
        except RateSyncError as error:
            self.executor.notify(BackendFailed(self.clock.now(), type(error).__name__, LOOK_AT_STATE))

    def _is_due(self, key: SchemaKey, record: SchemaRecord | None) -> bool:
        now = self.clock.now()
        if record is None:
            return True
        is_old = record.looked_at + self.shelf.watch(key).every <= now
        return (is_old or key in self.book.surprised) and record.claimed_until <= now

    def _note(self, key: SchemaKey, accepted: RemoteSchema | None, current: RemoteSchema) -> RemoteSchema:
        """Take note of a schema; what is accepted from now on."""
        judgement = self.shelf.judge(key, accepted, current)
        self.book.write(*key, current, judgement)
        return judgement.accepted

    async def _look(self, key: SchemaKey, kept: tuple[Stored, SchemaRecord] | None) -> None:
        """Read the schema at the provider, if no other worker does it now."""
        name, revision, before = schema_key(*key), 0, None
        if kept is not None:
            before = evolve(kept[1], claimed_until=self.clock.now() + CLAIM)
            claim = Write(name, before.encode(), kept[0].revision)
            try:
                (revision,) = await self.shelf.state.commit([claim])
            except StateConflict:
                return
        current = await self._describe(*key)
        if current is None:
            return
        self.book.surprised.discard(key)
        accepted = self._note(key, None if before is None else before.accepted, current)
        try:
            record = SchemaRecord(accepted, current, self.clock.now())
            await self.shelf.state.commit([Write(name, record.encode(), revision)])
        except StateConflict:
            return  # somebody else looked, or accepted, meanwhile: the next round tells

    async def _describe(self, lane: Lane, resource: str) -> RemoteSchema | None:
        """Ask the provider; None if it could not be asked or did not tell, which is reported."""
        provider = self.executor.providers[lane.provider]
        entered = await self._enter(lane, resource)
        if entered is None or not isinstance(provider, DescribesResources):
            self._unread(lane, resource, "no permit for the call")
            return None
        reason, schema = f"no answer within {self.executor.settings.call_timeout:g} s", None
        try:
            with anyio.move_on_after(self.executor.settings.call_timeout):
                schema = await provider.describe(lane.connection, resource)
        except ProviderError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001  an adapter may raise anything
            reason = f"the adapter raised {type(error).__name__}"
        finally:
            with anyio.CancelScope(shield=True):
                duration = self.clock.now() - entered.admitted_at
                await self.admission.close(entered, Observation(), ok=schema is not None, duration=duration)
        if schema is None:
            self._unread(lane, resource, reason)
        return schema

    def _unread(self, lane: Lane, resource: str, reason: str) -> None:
        self.executor.notify(SchemaUnread(self.clock.now(), lane, resource, reason))

    async def _enter(self, lane: Lane, resource: str) -> Pass | None:
        until = self.clock.now() + _PATIENCE
        while True:
            try:
                answer = await self.admission.enter(Entry(lane, resource, Inquiry.DESCRIPTION, 1, 0))
            except CostAboveLimit:
                return None
            if isinstance(answer, Pass):
                return answer
            if self.clock.now() >= until:
                return None
            await anyio.sleep(_ASK_AGAIN)
