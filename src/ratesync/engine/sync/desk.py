"""Two-way sync as an engine's users see it."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack

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
from ratesync.engine.sync.doubt_book import DoubtBook
from ratesync.engine.sync.gate import Gate
from ratesync.engine.sync.hinting import Hinting
from ratesync.engine.sync.history import list_runs
from ratesync.engine.sync.local_side import LocalSide
from ratesync.engine.sync.overlay import Overlay
from ratesync.engine.sync.pair import Pair
from ratesync.engine.sync.pass_maker import PassMaker, ignore, make_together
from ratesync.engine.sync.provider_records import ProviderRecords
from ratesync.engine.sync.provider_side import ProviderSide
from ratesync.engine.sync.reconciler import Reconciler
from ratesync.engine.sync.recorded import Memory, Recorder
from ratesync.engine.sync.reference_table import ReferenceTable
from ratesync.engine.sync.runner import Runner
from ratesync.engine.sync.side import SyncSide
from ratesync.engine.sync.sync_pass import Pass
from ratesync.engine.sync.turn import LONGEST, Turn
from ratesync.engine.sync.undo import Undo
from ratesync.engine.sync.wake import WakeBoard
from ratesync.engine.sync.webhook import WebhookDesk, WebhookEndpoint
from ratesync.errors import ConfigurationError, UnknownProvider
from ratesync.model.conflict import Loser, Resolution
from ratesync.model.create_in_doubt import CreateInDoubt
from ratesync.model.difference import Side
from ratesync.model.hint import WebhookAnswer
from ratesync.model.open_conflict import Dropped, OpenConflict
from ratesync.model.run import RunKind, SyncRun
from ratesync.model.settings import Settings
from ratesync.model.sync_settings import SyncSettings
from ratesync.model.undone import Undone
from ratesync.protocols import Limiter, ProviderClient, QueueBackend, StateStore
from ratesync.protocols.local import LocalStore
from ratesync.protocols.webhook import Headers
from ratesync.randomness import operation_id
from ratesync.rules.situations import complete


@define
class SyncDesk:
    """Makes passes over bindings. One for each engine."""

    providers: Mapping[str, ProviderClient]
    queue: QueueBackend
    limiter: Limiter
    state: StateStore | None
    quotas: QuotaTable
    settings: Settings
    clock: Clock
    source: random.Random
    notify: Notifier
    _owner: str = field(default="", init=False)
    _health: HealthBoard | None = field(default=None, init=False)
    _memories: dict[str, Memory] = field(factory=dict[str, Memory], init=False)
    _board: WakeBoard = field(factory=WakeBoard, init=False)

    async def sync(self, binding: Binding, *, note: Callable[[Case], None] = ignore) -> SyncRun:
        """One pass: pull from both sides, and bring together what changed. Passes of one binding take turns.

        It ends early if the engine is left.

        :raises ConfigurationError: the engine has no state store.
        :raises UnknownProvider: there is no adapter of that name.
        """
        (run,) = await self.sync_all([binding], note=note)
        return run

    async def sync_all(self, bindings: Sequence[Binding], *, note: Callable[[Case], None] = ignore) -> list[SyncRun]:
        """One pass over each binding, for bindings whose records refer to each other: see ``Binding.references``.

        What others refer to is made before them, and deleted after them, in whatever order the bindings are given.

        :return: the records of the passes, in the order of the bindings.
        :raises ConfigurationError: the engine has no state store, or two of the bindings are the same.
        :raises UnknownProvider: there is no adapter of that name.
        """
        names = [binding.keys_of(binding.resource).prefix for binding in bindings]
        if len(set(names)) < len(names):
            raise ConfigurationError("sync_all: two of the bindings are to the same resource of the same account")
        makers = [self._maker(binding) for binding in bindings]
        runs = [maker.new_run(RunKind.CHANGES) for maker in makers]
        is_done = False
        with ExitStack() as entered:
            for name in names:
                entered.enter_context(self._board.entered(name))
            await make_together(list(zip(makers, runs, strict=True)), self._may_go_on, note)
            is_done = True
        return runs if is_done else [evolve(run, is_stopped=True) for run in runs]

    async def run(self, binding: Binding, *, every: float = 60.0, look: float = 5.0) -> None:
        """Keep a binding alike, pass after pass, until the engine is left or the task is cancelled.

        Both sides are pulled about every ``every`` seconds. A hint wakes it in between, for the records in question: at
        once if it was given to this engine, else within ``look`` seconds. What a pass raises is told to observers
        (:class:`~ratesync.model.event.SyncPutOff`), and the binding is left alone for a while.

        Of the engines that run one binding by one state store, one pulls at a time. If it dies another one takes over
        within three minutes, or three times ``every`` if that is less. A full resync that was broken off is gone on
        with, beside the passes, if nobody else does within three minutes.

        :param every: seconds, give or take a tenth. Default 60.
        :param look: seconds from one look for hints of other processes to the next. Default 5.
        :raises ConfigurationError: the engine has no state store, or a number is not above 0.
        :raises UnknownProvider: there is no adapter of that name.
        """
        if not (every > 0 and look > 0):
            raise ConfigurationError(f"every={every} and look={look} must be above 0")
        maker, resyncer = self._maker(binding), self._maker(binding)  # each with references of its own
        lasts = max(min(3 * every, LONGEST), 4 * look)
        books, retry = maker.recorder.reconciler.books, self.settings.retry
        turn = Turn(books.state, books.keys.turn, self.clock, maker.recorder.reconciler.owner, lasts)
        with self._board.entered(books.keys.prefix) as wake:
            await Runner(
                binding, books, self.queue, turn, wake, self._board, maker.make, resyncer.go_on_with_resync, self.clock,
                self.source, self.notify, retry, every, look,
            ).run()  # fmt: skip

    async def resync(self, binding: Binding, *, sides: Iterable[Side] = tuple(Side)) -> SyncRun:
        """Forget how far the sides were read, and list all their records anew.

        For a side that was restored or changed behind its feed's back, and where you would rather look than trust. What
        differs is brought together; deletes that follow from the listing wait for approval. If it was broken off, even
        by a kill, the next call goes on at the same page, and so does :meth:`run`. Passes go on beside it while it
        lists.

        :param sides: those to list. One that was broken off goes on with its own.
        :return: its record. ``is_stopped`` and ``failed`` tell that there is more to do.
        :raises StateConflict: another engine goes on with it.
        """
        maker = self._maker(binding)
        run = maker.new_run(RunKind.RESYNC)
        with self._board.entered(maker.recorder.reconciler.books.keys.prefix):
            await maker.resync(run, list(sides), self._may_go_on)
        return run

    async def history(self, binding: Binding, *, limit: int = 20, before: int | None = None) -> list[SyncRun]:
        """The passes that did something or failed, newest first.

        :param limit: at most so many.
        :param before: those with a smaller :attr:`~ratesync.model.run.SyncRun.number`: of the page before.
        """
        return await list_runs(self._store(), binding.keys_of(binding.resource), limit=limit, before=before)

    async def plan(self, binding: Binding) -> SyncRun:
        """What a pass would do now, without doing any of it: nothing is written, to no side and to no store.

        Deletes that would be held are told as ``held``, with ``hold_reason``.
        """
        maker = self._maker(binding)
        reconciler = maker.recorder.reconciler
        books = Books(Overlay(reconciler.books.state), reconciler.books.keys)
        looking = evolve(reconciler, books=books, is_dry=True)
        return await Pass(looking, maker.new_run(RunKind.CHANGES), ignore).look()

    async def approve_deletes(self, binding: Binding) -> int:
        """Let the next pass carry out the deletes that are held now; how many they are."""
        count = await Deletions(self._reconciler(binding), _ignore_all).approve()
        self._board.wake(binding.keys_of(binding.resource).prefix)
        return count

    def conflicts(self, binding: Binding) -> AsyncGenerator[OpenConflict]:
        """The conflicts that wait for a person."""
        return ConflictBook(self._books(binding)).conflicts()

    def dropped(self, binding: Binding) -> AsyncGenerator[Dropped]:
        """The values that were dropped, oldest first."""
        return ConflictBook(self._books(binding)).dropped()

    async def resolve(self, binding: Binding, conflict: OpenConflict, resolution: Resolution) -> bool:
        """Decide a conflict: see :meth:`ConflictBook.resolve`."""
        is_open = await ConflictBook(self._books(binding)).resolve(conflict, resolution)
        self._board.wake(binding.keys_of(binding.resource).prefix)
        return is_open

    def doubts(self, binding: Binding) -> AsyncGenerator[CreateInDoubt]:
        """The creates whose answer was lost at a provider that knows none again: they wait for a person."""
        return self._doubt_book(binding).doubts()

    async def settle(self, binding: Binding, doubt: CreateInDoubt, *, record_id: str | None) -> bool:
        """Say what came of a create in doubt: see :meth:`DoubtBook.settle`.

        :param record_id: the record that it made, as you found it at the provider. None: it made none, so that the next
            pass makes one.
        """
        is_settled = await self._doubt_book(binding).settle(doubt, record_id)
        self._board.wake(binding.keys_of(binding.resource).prefix)
        return is_settled

    def _doubt_book(self, binding: Binding) -> DoubtBook:
        reconciler = self._reconciler(binding)
        return DoubtBook(reconciler.pair, reconciler.books)

    async def undo(self, binding: Binding, dropped: Dropped, loser: Loser, *, seen: Undone | None = None) -> Undone:
        """Write a dropped value back, as a new edit of its field: the next pass carries it to the other side.

        Nothing is written if somebody has changed the field since. The answer then tells what it holds.

        :param loser: which of the values that the step dropped.
        :param seen: an earlier answer: overwrite just what that one told.
        """
        undone = await Undo(self._reconciler(binding)).undo(dropped, loser, seen)
        self._board.wake(binding.keys_of(binding.resource).prefix)
        return undone

    async def hint(self, binding: Binding, side: Side, record_ids: Iterable[str]) -> None:
        """Have the next pass look at records, as a webhook or the host asks. Hints may come twice, late or never."""
        self._check_providers(binding)
        await self._hinting().mark(binding.keys_of(binding.resource), side, list(dict.fromkeys(record_ids)))

    async def webhook(
        self, endpoint: WebhookEndpoint, headers: Headers, body: bytes, *, method: str = "POST", url: str = ""
    ) -> WebhookAnswer:
        """Take in a delivery to a webhook; what to answer. Works in every role: whoever runs the binding does the rest.

        What the state store raises comes out: answer 5xx then, and the provider sends it again.

        :param headers: as they came. :param body: the raw bytes.
        :param url: in full, as the provider calls it, where that is signed.
        """
        desk = WebhookDesk(self._hinting(), self.clock, self.notify)
        return await desk.take(endpoint, headers, body, method=method, url=url)

    async def stop(self, grace: float) -> None:
        """End all passes and runs: at the next chunk, or after ``grace`` seconds wherever they are."""
        await self._board.close(self.clock, self.clock.now() + grace)

    async def _may_go_on(self) -> bool:
        return not self._board.is_closing

    def _hinting(self) -> Hinting:
        return Hinting(self._store(), self._board)

    def _store(self) -> StateStore:
        if self.state is None:
            raise ConfigurationError(
                "a sync needs a state store: give backend=, for example MemoryBackend(), or state="
            )
        return self.state

    def _books(self, binding: Binding) -> Books:
        return Books(self._store(), binding.keys_of(binding.resource))

    def _check_providers(self, binding: Binding) -> None:
        for side, records in binding.providers.items():
            if records.provider not in self.providers:
                place = "binding.local.provider" if side is Side.LOCAL else "binding.provider"
                raise UnknownProvider(f"there is no provider {records.provider!r}", path=place)

    def _maker(self, binding: Binding) -> PassMaker:
        reconciler = self._reconciler(binding)
        memory = self._memories.setdefault(reconciler.books.keys.prefix, Memory())
        recorder = Recorder(binding, reconciler, memory, self.notify, self.settings.sync.keep_runs)
        return PassMaker(recorder, self.settings.retry)

    def _reconciler(self, binding: Binding) -> Reconciler:
        self._check_providers(binding)
        books = self._books(binding)
        if not self._owner:
            self._owner = f"sync-{operation_id(self.clock.now(), self.source)}"
        references = ReferenceTable(
            books.state,
            binding.references,
            {each.resource: binding.keys_of(each.resource) for each in binding.references.values()},
        )
        pair = Pair(
            local=self._local_side(binding.local),
            external=self._provider_side(binding.providers[Side.EXTERNAL], Side.EXTERNAL, references),
            resolve=binding.pair_resolve,
            gone=binding.pair_gone,
            guard=binding.guard,
            match_keys=tuple(binding.match_keys),
            references=references,
            direction=binding.direction,
            policy=complete(binding.policy, binding.direction),
            scope=binding.scope,
        )
        return Reconciler(pair, books, self._settings(), self.clock, self.source, self._owner)

    def _local_side(self, local: LocalStore | ProviderRecords) -> SyncSide:
        if isinstance(local, ProviderRecords):  # references have its own ids, so there is nothing to translate
            return self._provider_side(local, Side.LOCAL, ReferenceTable())
        return LocalSide(local)

    def _provider_side(self, records: ProviderRecords, side: Side, references: ReferenceTable) -> ProviderSide:
        return ProviderSide(
            self._gate(self.providers[records.provider], records.priority),
            records.lane,
            records.resource,
            records.mapping,
            side,
            priority=records.priority,
            match_paths=records.match_keys,
            references=references,
        )

    def _settings(self) -> SyncSettings:
        """A step's lease must outlast the longest call."""
        least = self.settings.call_timeout * 1.5
        given = self.settings.sync
        return evolve(given, margin=max(given.margin, least), lease=max(given.lease, 3 * least))

    def _gate(self, provider: ProviderClient, priority: int) -> Gate:
        if self._health is None:
            self._health = HealthBoard(self.settings, self.clock, self.notify)
        executor = Executor({provider.name: provider}, {}, self.settings, self.clock, self.notify)
        return Gate(provider, self.limiter, self.quotas, self._health, executor, self.clock, priority)


def _ignore_all(_cases: object) -> None:
    pass
