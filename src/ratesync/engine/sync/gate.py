"""The way from a sync to a provider: through the same quotas as operations, each call bounded and watched."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
from attrs import define, frozen

from ratesync.clock import Clock, sleep_until
from ratesync.engine.execution import Executor
from ratesync.engine.health import HealthBoard
from ratesync.engine.quotas import QuotaTable
from ratesync.engine.sync.side import Keep, keep_all
from ratesync.errors import CallTimeout, CursorExpired, ProviderError, UnsupportedOperation
from ratesync.model.batch import Capabilities
from ratesync.model.change import ChangePage, RecordPage
from ratesync.model.feedback import NO_FEEDBACK, Feedback
from ratesync.model.inquiry import Inquiry
from ratesync.model.lane import Lane
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Outcome, RetryLater
from ratesync.model.quota import Observation
from ratesync.protocols import FindsRecords, Limiter, ListsRecords, ProviderClient, PullsChanges
from ratesync.rules.circuit import Wait
from ratesync.rules.provider_errors import outcome_for_error
from ratesync.rules.verdict import is_failure, is_throttled

T = TypeVar("T")

_LOOK_AGAIN = 1.0
"""Seconds after which a circuit is asked again that waits for somebody else's probe."""


@define
class _Call:
    """What became of one call."""

    ok: bool = False
    is_made: bool = True
    """False: nothing was sent, so nothing was learnt either, and the permit is free again."""
    throttled: bool = False
    retry_after: float | None = None
    feedback: Feedback = NO_FEEDBACK

    def learn(self, outcomes: Collection[Outcome]) -> None:
        """What the outcomes of its operations say."""
        slowed = [each for each in outcomes if isinstance(each, RetryLater) and is_throttled(each)]
        waits = [each.retry_after for each in slowed if each.retry_after is not None]
        self.ok = not outcomes or not all(map(is_failure, outcomes))
        self.throttled, self.retry_after = bool(slowed), max(waits, default=None)


@frozen
class Gate:
    """Makes a sync's calls to one provider. See :class:`~ratesync.engine.sync.provider_side.Caller`.

    Calls are made directly, not by way of the queue: a sync reads, decides and writes in one go, under the lease of its
    intent, and what must outlive a crash is that intent. They wait in the limiter's line like everybody else.
    """

    provider: ProviderClient
    limiter: Limiter
    quotas: QuotaTable
    health: HealthBoard
    executor: Executor
    clock: Clock
    priority: int = 0

    @property
    def capabilities(self) -> Capabilities:
        """What the provider can do."""
        return self.provider.capabilities

    @asynccontextmanager
    async def _entered(self, lane: Lane, resource: str, kind: Kind | Inquiry, size: int = 1) -> AsyncGenerator[_Call]:
        """Wait for the right to make one call; what became of it is passed on at the end."""
        probe = await self._pass_circuit(lane)
        try:
            demands = self.quotas.demands(lane, resource, kind, size)
            permit = await self.limiter.acquire(demands, priority=self.priority)
        except BaseException:
            self.health.abandon(lane, probe=probe)
            raise
        call, began_at = _Call(), self.clock.now()
        try:
            yield call
        finally:
            if call.is_made:
                self.limiter.done(permit, Observation(call.throttled, call.retry_after, call.feedback))
                self.health.record(lane, ok=call.ok, duration=self.clock.now() - began_at, probe=probe)
            else:
                self.limiter.refund(permit)
                self.health.abandon(lane, probe=probe)

    async def _pass_circuit(self, lane: Lane) -> bool:
        """Wait until the circuit lets a call through; whether it is a probe."""
        while True:
            admitted = self.health.admit(lane)
            if not isinstance(admitted, Wait):
                return admitted.probe
            now = self.clock.now()
            await sleep_until(self.clock, now + _LOOK_AGAIN if admitted.until is None else admitted.until)

    async def execute(
        self, lane: Lane, operations: Sequence[Operation], keep: Keep = keep_all
    ) -> Mapping[str, Outcome]:
        """One call, for operations of one kind on one resource: those that are kept once there is a permit."""
        first = operations[0]
        async with self._entered(lane, first.resource, first.kind, len(operations)) as call:
            call.is_made = False
            kept = await keep([operation.id or "" for operation in operations])
            sent = [operation for operation in operations if operation.id in kept]
            if not sent:
                return {}
            call.is_made = True
            reply = await self.executor.execute(lane, sent, self.executor.limit())
            call.learn(reply.values())
            call.feedback = reply.feedback
            return reply

    async def lookup(self, lane: Lane, operation: Operation) -> Outcome | None:
        """See :meth:`ratesync.protocols.LooksUp.lookup`."""
        async with self._entered(lane, operation.resource, Inquiry.LOOKUP) as call:
            outcome = await self.executor.lookup(lane, operation, self.executor.limit())
            call.learn([] if outcome is None else [outcome])
            return outcome

    async def pull_changes(self, lane: Lane, resource: str, cursor: str | None, limit: int) -> ChangePage:
        """See :meth:`ratesync.protocols.PullsChanges.pull_changes`."""
        provider = self.provider
        if not isinstance(provider, PullsChanges):
            raise UnsupportedOperation(f"provider {provider.name!r} cannot pull changes", path="sync")
        async with self._entered(lane, resource, Inquiry.CHANGES) as call:
            page = await self._read(call, provider.pull_changes(lane.connection, resource, cursor, limit=limit))
            call.feedback = page.feedback
            return page

    async def list_records(self, lane: Lane, resource: str, page: str | None, limit: int) -> RecordPage:
        """See :meth:`ratesync.protocols.ListsRecords.list_records`."""
        provider = self.provider
        if not isinstance(provider, ListsRecords):
            raise UnsupportedOperation(f"provider {provider.name!r} cannot list records", path="sync")
        async with self._entered(lane, resource, Inquiry.LISTING) as call:
            found = await self._read(call, provider.list_records(lane.connection, resource, page, limit=limit))
            call.feedback = found.feedback
            return found

    async def find(self, lane: Lane, resource: str, path: str, values: Sequence[str]) -> RecordPage:
        """See :meth:`ratesync.protocols.FindsRecords.find`."""
        provider = self.provider
        if not isinstance(provider, FindsRecords):
            raise UnsupportedOperation(
                f"provider {provider.name!r} cannot find records: match_keys={{}} of the binding has none matched",
                path="match_keys",
            )
        async with self._entered(lane, resource, Inquiry.FIND) as call:
            found = await self._read(call, provider.find(lane.connection, resource, path, values))
            call.feedback = found.feedback
            return found

    async def _read(self, call: _Call, answer: Awaitable[T]) -> T:
        """An answer within the time for calls."""
        try:
            with anyio.fail_after(self.executor.settings.call_timeout):
                found = await answer
        except TimeoutError:
            raise CallTimeout(f"no answer within {self.executor.settings.call_timeout:g} s") from None
        except CursorExpired:
            call.ok = True
            raise
        except UnsupportedOperation:
            call.is_made = False
            raise
        except ProviderError as error:
            call.learn([outcome_for_error(error)])
            raise
        call.ok = True
        return found
