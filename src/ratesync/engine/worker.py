"""The working half of an engine: wires the parts together and starts and stops them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING

import anyio

from ratesync.clock import Clock, timeout_at
from ratesync.engine.admission import Admission
from ratesync.engine.call import Desk
from ratesync.engine.dispatcher import Dispatcher
from ratesync.engine.execution import Executor
from ratesync.engine.health import HealthBoard
from ratesync.engine.heartbeat import Heartbeat
from ratesync.engine.notifier import Notifier
from ratesync.engine.outage import Outage
from ratesync.engine.parts import Parts
from ratesync.engine.quotas import QuotaTable
from ratesync.engine.schema_watcher import SchemaShelf, SchemaWatcher
from ratesync.engine.settlement import Settler
from ratesync.engine.ticket import TicketDesk
from ratesync.engine.wiring import TransformerKey
from ratesync.engine.work import Planner
from ratesync.model.batch import Capabilities
from ratesync.model.settings import Settings
from ratesync.protocols import ProviderClient, Transformer
from ratesync.randomness import operation_id

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

_CLOSING_TIME = 1.0
"""Seconds for settling what is left after the grace, should the backend fail or hang."""


class Worker:
    """Claims, calls and settles in the background."""

    def __init__(
        self,
        *,
        parts: Parts,
        providers: Mapping[str, ProviderClient],
        capabilities: Mapping[str, Capabilities],
        quotas: QuotaTable,
        transformers: Mapping[TransformerKey, Transformer],
        schemas: SchemaShelf | None,
        tickets: TicketDesk,
        settings: Settings,
        clock: Clock,
        source: random.Random,
        notify: Notifier,
    ) -> None:
        queue = parts.queue
        name = f"worker-{operation_id(clock.now(), source)}"
        health = HealthBoard(settings, clock, notify)
        admission = Admission(
            queue=queue,
            limiter=parts.limiter,
            quotas=quotas,
            health=health,
            outage=Outage(settings.retry, source),
            clock=clock,
            notify=notify,
        )
        self._settler = Settler(
            queue=queue,
            worker=name,
            health=health,
            tickets=tickets,
            settings=settings,
            clock=clock,
            random=source,
            notify=notify,
            pause=queue.lease_seconds / 3,
        )
        executor = Executor(providers, transformers, settings, clock, notify)
        self._watcher = None if schemas is None else SchemaWatcher(schemas, executor, admission)
        desk = Desk(queue, admission, executor, self._settler, health, clock, notify)
        planner = Planner(capabilities, settings.retry)
        self._dispatcher = Dispatcher(desk=desk, planner=planner, worker=name, settings=settings, source=source)
        self._heartbeat = Heartbeat(
            queue=queue, worker=name, dispatcher=self._dispatcher, settings=settings, clock=clock, notify=notify
        )
        self._clock = clock
        self._claiming = anyio.CancelScope()

    async def prepare(self) -> None:
        """Learn what must be known before work begins."""
        if self._watcher is not None:
            await self._watcher.prepare()

    def start(self, tasks: TaskGroup) -> None:
        """Begin to work, in the given task group."""
        if self._watcher is not None:
            tasks.start_soon(self._watcher.run, name="ratesync schemas")
        tasks.start_soon(self._claim, tasks, name="ratesync dispatcher")
        tasks.start_soon(self._heartbeat.run, name="ratesync heartbeat")

    async def _claim(self, tasks: TaskGroup) -> None:
        with self._claiming:
            await self._dispatcher.run(tasks)

    async def stop(self, grace: float) -> None:
        """Stop claiming and wait up to ``grace`` seconds for calls to finish.

        Cancel the task group after it, then call :meth:`give_back`.
        """
        self._claiming.cancel()
        ends_at = self._clock.now() + grace
        self._settler.closes_at = ends_at + _CLOSING_TIME
        await self._dispatcher.give_back_waiting()
        if grace > 0:
            with timeout_at(self._clock, ends_at):
                await self._dispatcher.idle()

    async def give_back(self) -> None:
        """Give back the leases of calls that were not settled."""
        with anyio.CancelScope(shield=True):
            await self._dispatcher.give_back()
