"""Two-way sync as an engine's users see it."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack

import anyio
from attrs import define, evolve, field

from ratesync.clock import Clock
from ratesync.engine.execution import Executor
from ratesync.engine.health import HealthBoard
from ratesync.engine.notifier import Notifier
from ratesync.engine.quotas import QuotaTable
from ratesync.engine.sync.binding import Binding
from ratesync.engine.sync.books import Books
from ratesync.engine.sync.case import Case
from ratesync.engine.sync.conflict_book import ConflictBook
from ratesync.engine.sync.deletions import Deletions
from ratesync.engine.sync.gate import Gate
from ratesync.engine.sync.joint_pass import JointPass
from ratesync.engine.sync.keys import Keys
from ratesync.engine.sync.link_codec import encode_mark
from ratesync.engine.sync.local_side import LocalSide
from ratesync.engine.sync.overlay import Overlay
from ratesync.engine.sync.pair import Pair, SyncSettings
from ratesync.engine.sync.provider_side import ProviderSide
from ratesync.engine.sync.reconciler import Reconciler
from ratesync.engine.sync.reference_table import ReferenceTable
from ratesync.engine.sync.sync_pass import Pass
from ratesync.engine.sync.undo import Undo
from ratesync.errors import ConfigurationError, UnknownProvider
from ratesync.model.conflict import Loser, Resolution
from ratesync.model.difference import Side
from ratesync.model.mark import Mark
from ratesync.model.open_conflict import Dropped, OpenConflict
from ratesync.model.run import SyncRun
from ratesync.model.settings import Settings
from ratesync.model.stored import Write
from ratesync.model.undone import Undone
from ratesync.protocols import Limiter, ProviderClient, StateStore
from ratesync.randomness import operation_id
from ratesync.rules.situations import complete


@define
class SyncDesk:
    """Makes passes over bindings. One for each engine."""

    providers: Mapping[str, ProviderClient]
    limiter: Limiter
    state: StateStore | None
    quotas: QuotaTable
    settings: Settings
    clock: Clock
    source: random.Random
    notify: Notifier
    sync_settings: SyncSettings = field(factory=SyncSettings)
    _owner: str = field(default="", init=False)
    _health: HealthBoard | None = field(default=None, init=False)
    _locks: dict[str, anyio.Lock] = field(factory=dict[str, anyio.Lock], init=False)

    async def sync(self, binding: Binding, *, note: Callable[[Case], None] | None = None) -> SyncRun:
        """One pass: pull from both sides, and bring together what changed. Passes of one binding take turns.

        :raises ConfigurationError: the engine has no state store.
        :raises UnknownProvider: there is no adapter of that name.
        """
        (run,) = await self.sync_all([binding], note=note)
        return run

    async def sync_all(
        self, bindings: Sequence[Binding], *, note: Callable[[Case], None] | None = None
    ) -> list[SyncRun]:
        """One pass over each binding, for bindings whose records refer to each other: see ``Binding.references``.

        What others refer to is made before them, and deleted after them, in whatever order the bindings are given.

        :return: the records of the passes, in the order of the bindings.
        :raises ConfigurationError: the engine has no state store.
        :raises UnknownProvider: there is no adapter of that name.
        """
        names = [_keys(binding, binding.resource).prefix for binding in bindings]
        if len(set(names)) < len(names):
            raise ConfigurationError("sync_all: two of the bindings are to the same resource of the same account")
        passes = [Pass(self._reconciler(binding), self._new_run(), note or _ignore) for binding in bindings]
        async with AsyncExitStack() as stack:
            for prefix in sorted(names):  # in one order, so that nobody waits for one who waits for him
                await stack.enter_async_context(self._locks.setdefault(prefix, anyio.Lock()))
            await JointPass(passes).carry_out()
        for each in passes:
            each.run.finished_at = self.clock.now()
        return [each.run for each in passes]

    async def plan(self, binding: Binding) -> SyncRun:
        """What a pass would do now, without doing any of it: nothing is written, to no side and to no store."""
        reconciler = self._reconciler(binding)
        books = Books(Overlay(reconciler.books.state), reconciler.books.keys)
        looking = evolve(reconciler, books=books, is_dry=True)
        return await Pass(looking, self._new_run(), _ignore).look()

    async def approve_deletes(self, binding: Binding) -> int:
        """Let the next pass carry out the deletes that are held now; how many they are."""
        return await Deletions(self._reconciler(binding), _ignore_all).approve()

    def conflicts(self, binding: Binding) -> AsyncGenerator[OpenConflict]:
        """The conflicts that wait for a person."""
        return ConflictBook(self._reconciler(binding).books).conflicts()

    def dropped(self, binding: Binding) -> AsyncGenerator[Dropped]:
        """The values that were dropped, oldest first."""
        return ConflictBook(self._reconciler(binding).books).dropped()

    async def resolve(self, binding: Binding, conflict: OpenConflict, resolution: Resolution) -> bool:
        """Decide a conflict: see :meth:`ConflictBook.resolve`."""
        return await ConflictBook(self._reconciler(binding).books).resolve(conflict, resolution)

    async def undo(self, binding: Binding, dropped: Dropped, loser: Loser, *, seen: Undone | None = None) -> Undone:
        """Write a dropped value back, as a new edit of its field: the next pass carries it to the other side.

        Nothing is written if somebody has changed the field since. The answer then tells what it holds.

        :param loser: which of the values that the step dropped.
        :param seen: an earlier answer: overwrite just what that one told.
        """
        return await Undo(self._reconciler(binding)).undo(dropped, loser, seen)

    async def hint(self, binding: Binding, side: Side, record_ids: Iterable[str]) -> None:
        """Have the next pass look at records, as a webhook or the host asks. Hints may come twice, late or never."""
        books = self._reconciler(binding).books
        marks = [Mark(side, record_id) for record_id in dict.fromkeys(record_ids)]
        await books.state.commit([Write(books.keys.mark(side, mark.record_id), encode_mark(mark)) for mark in marks])

    def _new_run(self) -> SyncRun:
        now = self.clock.now()
        return SyncRun(operation_id(now, self.source), now)

    def _reconciler(self, binding: Binding) -> Reconciler:
        provider = self.providers.get(binding.provider)
        if provider is None:
            raise UnknownProvider(f"there is no provider {binding.provider!r}", path="binding.provider")
        if self.state is None:
            raise ConfigurationError(
                "a sync needs a state store: give backend=, for example MemoryBackend(), or state="
            )
        if not self._owner:
            self._owner = f"sync-{operation_id(self.clock.now(), self.source)}"
        references = ReferenceTable(
            self.state,
            binding.references,
            {each.resource: _keys(binding, each.resource) for each in binding.references.values()},
        )
        side = ProviderSide(
            self._gate(provider, binding.priority),
            binding.lane,
            binding.resource,
            binding.mapping,
            priority=binding.priority,
            match_paths=binding.match_keys,
            references=references,
        )
        pair = Pair(
            local=LocalSide(binding.local),
            external=side,
            resolve=binding.pair_resolve,
            gone=binding.pair_gone,
            guard=binding.guard,
            match_keys=tuple(binding.match_keys),
            references=references,
            direction=binding.direction,
            policy=complete(binding.policy, binding.direction),
            scope=binding.scope,
        )
        keys = _keys(binding, binding.resource)
        settings = self._settings()
        return Reconciler(pair, Books(self.state, keys), settings, self.clock, self.source, self._owner)

    def _settings(self) -> SyncSettings:
        """A step's lease must outlast the longest call."""
        least = self.settings.call_timeout * 1.5
        given = self.sync_settings
        return evolve(given, margin=max(given.margin, least), lease=max(given.lease, 3 * least))

    def _gate(self, provider: ProviderClient, priority: int) -> Gate:
        if self._health is None:
            self._health = HealthBoard(self.settings, self.clock, self.notify)
        executor = Executor({provider.name: provider}, {}, self.settings, self.clock, self.notify)
        return Gate(provider, self.limiter, self.quotas, self._health, executor, self.clock, priority)


def _keys(binding: Binding, resource: str) -> Keys:
    """Where the state of the binding to a resource of the same account stands."""
    return Keys.of(binding.provider, binding.connection, resource)


def _ignore(_case: Case) -> None:
    pass


def _ignore_all(_cases: object) -> None:
    pass
