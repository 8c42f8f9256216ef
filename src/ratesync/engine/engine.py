"""The engine as its users see it."""

from __future__ import annotations

import random as random_module
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Self

import anyio
from anyio import AsyncContextManagerMixin

from ratesync.clock import Clock, SystemClock
from ratesync.engine.dead_letters import DeadLetterBox
from ratesync.engine.execution import Executor
from ratesync.engine.intake import Intake
from ratesync.engine.notifier import Notifier
from ratesync.engine.parts import Backend, Openable, Parts
from ratesync.engine.preview import Previewer
from ratesync.engine.quotas import QuotaKey, Quotas, QuotaTable
from ratesync.engine.schema_watcher import shelf_of
from ratesync.engine.ticket import Ticket, TicketDesk
from ratesync.engine.wiring import (
    TransformerKey,
    check_observers,
    check_providers,
    check_quotas,
    check_transformers,
)
from ratesync.engine.worker import Worker
from ratesync.errors import ConfigurationError, EngineClosed, UnknownProvider
from ratesync.model.event import SchemaDrifted
from ratesync.model.lane import Lane, Selector
from ratesync.model.operation import Operation
from ratesync.model.preview import Preview
from ratesync.model.quota import Quota, QuotaState
from ratesync.model.schema import SchemaWatch
from ratesync.model.settings import Role, Settings
from ratesync.model.status import DeadLetter, OperationStatus
from ratesync.model.work import CancelResult, QueueStats
from ratesync.protocols import (
    Charges,
    ChecksFields,
    Limiter,
    Observer,
    ProviderClient,
    QueueBackend,
    StateStore,
    Transformer,
)
from ratesync.randomness import system_random

if TYPE_CHECKING:
    from ratesync.engine.sync.binding import Binding
    from ratesync.engine.sync.desk import SyncDesk
    from ratesync.model.run import SyncRun


class SyncEngine(AsyncContextManagerMixin):
    """Accepts operations and carries them out, as fast as quotas allow, without losing one.

    Use it as ``async with SyncEngine(...) as engine``. Inside, :meth:`submit` accepts operations; unless its role is
    ``submit``, the engine works on them in the background. Leaving stops claiming, lets calls under way finish for
    ``settings.grace`` seconds, then breaks them off and gives their work back to the queue. If the block is cancelled,
    there is no grace. What the block raises comes out as it is.

    An engine belongs to one event loop and one process, and is entered once.
    """

    _syncs: SyncDesk | None = None

    def __init__(
        self,
        *,
        providers: Iterable[ProviderClient],
        backend: Backend | None = None,
        queue: QueueBackend | None = None,
        limiter: Limiter | None = None,
        state: StateStore | None = None,
        quotas: Quotas | None = None,
        transformers: Mapping[TransformerKey, Transformer] | None = None,
        schemas: Mapping[TransformerKey, SchemaWatch] | None = None,
        observers: Sequence[Observer] = (),
        role: Role | str = Role.FULL,
        settings: Settings | None = None,
        clock: Clock | None = None,
        random: random_module.Random | None = None,
    ) -> None:
        """Put an engine together; nothing is started yet.

        :param providers: adapters, one for each provider that operations may name.
        :param backend: queue, limiter and state store in one; each can also be given, or replaced, by itself. Of a
            backend without a limiter, such as a file, it must be.
        :param quotas: by provider name, or by (provider, connection) for a single connection.
        :param transformers: by (provider, resource); without one, fields go out as they are. One that has
            ``check_at_submit`` (:class:`~ratesync.protocols.ChecksFields`) checks fields at submit too.
        :param schemas: by (provider, resource), whose schemas to watch: :class:`~ratesync.SchemaWatch`. The provider
            must describe its resources, and the transformer name the fields that it uses, as a mapping does.
        :param observers: callables that are told every event.
        :param role: ``full`` (default), ``submit`` or ``work``.
        :param settings: everything with a number; see :class:`~ratesync.Settings`.
        :param clock: where time comes from; for tests.
        :param random: where jitter and ids come from; for tests.
        :raises ConfigurationError: a part is missing, unknown or does not keep its protocol.
        """
        self._parts = Parts.of(backend, queue=queue, limiter=limiter, state=state)
        self._providers = check_providers(providers)
        declared: dict[QuotaKey, Sequence[Quota]] = {}
        declared.update((quotas or {}).items())
        self._transformers = dict(transformers or {})
        check_quotas(declared, self._providers)
        check_transformers(self._transformers, self._providers)
        self._schemas = shelf_of(schemas or {}, self._transformers, self._providers, self._parts.state)
        check_observers(observers)
        try:
            self._role = Role(role)
        except ValueError:
            raise ConfigurationError(f"role {role!r}: must be one of {[str(known) for known in Role]}") from None
        self._settings = settings or Settings()
        self._clock = clock or SystemClock()
        self._random = random or system_random()
        self._notify = Notifier(observers)
        self._capabilities = {name: provider.capabilities for name, provider in self._providers.items()}
        charges = {name: provider for name, provider in self._providers.items() if isinstance(provider, Charges)}
        self._quotas = QuotaTable(declared, self._capabilities, charges)
        self._tickets = TicketDesk(self._parts.queue, self._clock, works=self._role is not Role.SUBMIT)
        checks = {key: each for key, each in self._transformers.items() if isinstance(each, ChecksFields)}
        self._intake = Intake(
            self._parts.queue,
            self._capabilities,
            self._settings.limits,
            self._clock,
            self._random,
            self._notify,
            checks,
        )
        self._dead_letters = DeadLetterBox(self._parts.queue)
        self._running = self._entered = False

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        if self._entered:
            raise EngineClosed("an engine is entered once: make a new one")
        self._entered = True
        async with AsyncExitStack() as stack:
            for part in self._parts.all():
                await part.open()
                stack.push_async_callback(_close, part)
            self._tickets.open()
            self._running = True
            try:
                if self._role is Role.SUBMIT:
                    async with self._syncing():
                        yield self
                else:
                    async with self._working(), self._syncing():
                        yield self
            finally:
                self._running = False

    @asynccontextmanager
    async def _working(self) -> AsyncGenerator[None]:
        worker = Worker(
            parts=self._parts,
            providers=self._providers,
            capabilities=self._capabilities,
            quotas=self._quotas,
            transformers=self._transformers,
            schemas=self._schemas,
            tickets=self._tickets,
            settings=self._settings,
            clock=self._clock,
            source=self._random,
            notify=self._notify,
        )
        raised: BaseException | None = None
        await worker.prepare()
        try:
            async with anyio.create_task_group() as tasks:
                worker.start(tasks)
                try:
                    yield
                except BaseException as error:  # noqa: BLE001  raised again below
                    # Kept until the group is left, or the group would wrap it.
                    raised = error
                grace = 0.0 if isinstance(raised, anyio.get_cancelled_exc_class()) else self._settings.grace
                await worker.stop(grace)
                tasks.cancel_scope.cancel()
        finally:
            await worker.give_back()
        if raised is not None:
            raise raised

    @asynccontextmanager
    async def _syncing(self) -> AsyncGenerator[None]:
        grace = self._settings.grace
        try:
            yield
        except anyio.get_cancelled_exc_class():
            grace = 0.0
            raise
        finally:
            if self._syncs is not None:
                # Shielded, as passes are ended whatever the block is left by. They are tasks of the host's.
                with anyio.CancelScope(shield=True):
                    await self._syncs.stop(grace)

    def _check_open(self) -> None:
        if not self._running:
            raise EngineClosed("the engine is not running: use it inside `async with SyncEngine(...) as engine`")
        self._tickets.check_process()

    def _check_accepts(self) -> None:
        self._check_open()
        if self._role is Role.WORK:
            raise EngineClosed("this engine only works (role 'work'): submit through one of role 'full' or 'submit'")

    async def submit(self, operation: Operation, *, wait: float | None = None) -> Ticket:
        """Accept one operation. When this returns, it will be carried out, as far as the queue's durability reaches.

        :param wait: seconds to wait for room if the queue is full; None: not at all.
        :raises InvalidOperation: the operation is wrong; the message says where.
        :raises QueueFull: there is no room.
        :raises EnqueueUncertain: the backend did not answer; submitting the same id again is safe.
        :raises EngineClosed: the engine is not running.
        """
        self._check_accepts()
        (received,) = await self._intake.submit([operation], wait=wait)
        return self._tickets.issue(received)

    async def submit_many(self, operations: Iterable[Operation], *, wait: float | None = None) -> list[Ticket]:
        """Accept all operations or none; a ticket for each in order. Raises as :meth:`submit`."""
        self._check_accepts()
        received = await self._intake.submit(list(operations), wait=wait)
        return [self._tickets.issue(answer) for answer in received]

    async def preview(self, operations: Operation | Iterable[Operation]) -> list[Preview]:
        """Show what operations would be sent as, secrets masked. Nothing is sent, queued or counted.

        They are checked, folded, translated and sorted into calls as a worker would if they were all that is there. It
        works in every role, and before the engine is entered.

        :return: one for each call; and before them one for each operation that something is wrong with.
        :raises ConfigurationError: an adapter makes calls by other means than :class:`ratesync.http.HttpCaller`, and
            has no :class:`~ratesync.protocols.PreviewsRequests`.
        """
        given = [operations] if isinstance(operations, Operation) else list(operations)
        executor = Executor(self._providers, self._transformers, self._settings, self._clock, self._notify)
        previewer = Previewer(executor, self._capabilities, self._settings.limits, self._clock, self._random)
        return await previewer.preview(given)

    async def status(self, operation_id: str) -> OperationStatus:
        """Where an operation stands.

        :raises OperationNotFound: it was discarded, or finished longer ago than results are kept.
        """
        self._check_open()
        return await self._tickets.status(operation_id)

    async def cancel(self, operation_id: str) -> CancelResult:
        """Take an operation back if it is not being carried out yet; see :class:`~ratesync.CancelResult`."""
        self._check_open()
        return await self._tickets.cancel(operation_id)

    async def pause(self, provider: str | None = None, connection: str | None = None) -> None:
        """Stop claiming work of one lane, of a provider or of all, on every worker; calls under way finish."""
        await self._parts.queue.pause(self._select(provider, connection))

    async def resume(self, provider: str | None = None, connection: str | None = None) -> None:
        """Undo pauses of what is selected, wider ones excepted."""
        await self._parts.queue.resume(self._select(provider, connection))

    async def drain(
        self,
        provider: str | None = None,
        connection: str | None = None,
        *,
        timeout: float | None = None,
    ) -> bool:
        """Wait until nothing of what is selected is pending, scheduled operations included; False after ``timeout``."""
        selector = self._select(provider, connection)
        until = None if timeout is None else self._clock.now() + timeout
        return await self._parts.queue.drained(selector, until)

    async def stats(self, provider: str | None = None, connection: str | None = None) -> QueueStats:
        """Count what is selected, by state."""
        return await self._parts.queue.stats(self._select(provider, connection))

    async def quotas(
        self, provider: str, connection: str = "default", resource: str | None = None
    ) -> Sequence[QuotaState]:
        """How the quotas stand that apply to calls of a connection: used, limit, next free instant, holds, waiting.

        :param resource: with those that apply to this resource only. None: only those that apply to every resource.
        :raises UnknownProvider: there is no adapter of that name.
        """
        self._check_open()
        if provider not in self._providers:
            raise UnknownProvider(f"there is no provider {provider!r}", path="provider")
        return await self._parts.limiter.snapshot(self._quotas.listed(Lane(provider, connection), resource))

    async def schema_drift(self) -> list[SchemaDrifted]:
        """Where watched schemas differ from those accepted, and what that stops or leaves out.

        :raises CorruptItem: what is kept of one cannot be read.
        """
        self._check_open()
        now, found = self._clock.now(), list[SchemaDrifted]()
        for key, kept in ({} if self._schemas is None else await self._schemas.load()).items():
            if kept is None or self._schemas is None:
                continue
            judged = self._schemas.judge(key, kept[1].accepted, kept[1].current)
            if judged.drift:
                found.append(SchemaDrifted(now, *key, judged.drift, judged.decision.stops, judged.decision.left_out))
        return found

    async def accept_schema(self, provider: str, resource: str, connection: str = "default") -> None:
        """Take a watched schema as the provider described it last: what it stopped goes on, and nothing is left out.

        Workers learn of it within half a minute, and operations that rest within a minute after that.

        :raises ConfigurationError: it is not watched, or was not described yet.
        """
        self._check_open()
        key = (Lane(provider, connection), resource)
        if self._schemas is None or key not in self._schemas.keys:
            raise ConfigurationError(f"the schema of {provider}/{connection} {resource!r} is not watched: see schemas=")
        if await self._schemas.accept(key) is None:
            raise ConfigurationError(f"the schema of {provider}/{connection} {resource!r} has not been described yet")

    async def set_weight(self, provider: str, connection: str, weight: float) -> None:
        """Give a lane ``weight`` times the share of work of an ordinary lane when there is more than can be done."""
        self._check_open()
        if not weight > 0:
            raise ConfigurationError(f"weight must be above 0: {weight}")
        await self._parts.queue.set_weight(Lane(provider, connection), weight)

    async def dead_letters(
        self, provider: str | None = None, connection: str | None = None, *, after: str | None = None, limit: int = 100
    ) -> list[DeadLetter]:
        """Dead letters in the order in which they died, at most ``limit``, from behind the id ``after``."""
        return await self._dead_letters.list(self._select(provider, connection), after=after, limit=limit)

    async def replay(self, ids: Sequence[str]) -> list[bool]:
        """Queue dead letters again, with a fresh count of attempts; False for each id that is no dead letter."""
        self._check_open()
        return list(await self._parts.queue.replay(ids))

    async def discard(self, ids: Sequence[str]) -> list[bool]:
        """Forget dead letters for good; False for each id that is no dead letter."""
        self._check_open()
        return list(await self._parts.queue.discard(ids))

    async def sync(self, binding: Binding) -> SyncRun:
        """Bring both sides of a binding together, once: see :meth:`SyncDesk.sync`. :attr:`syncs` does the rest."""
        return await self.syncs.sync(binding)

    @property
    def syncs(self) -> SyncDesk:
        """Two-way syncs: :meth:`SyncDesk.run`, :meth:`SyncDesk.plan` and more.

        :raises EngineClosed: the engine is not running.
        """
        self._check_open()
        from ratesync.engine.sync.desk import SyncDesk  # 2 MB that most workers never need

        if self._syncs is None:
            parts, settings = self._parts, self._settings
            self._syncs = SyncDesk(
                self._providers,
                parts.queue,
                parts.limiter,
                parts.state,
                self._quotas,
                settings,
                self._clock,
                self._random,
                self._notify,
            )
        return self._syncs

    def _select(self, provider: str | None, connection: str | None) -> Selector:
        self._check_open()
        return Selector(provider, connection)


async def _close(part: Openable) -> None:
    with anyio.CancelScope(shield=True):
        await part.close()
