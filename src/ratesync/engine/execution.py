"""Running the host's and the adapters' code: bounded, and with every way to fail turned into an outcome."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import TypeVar, cast

import anyio
from attrs import Factory, evolve, field, frozen

from ratesync.clock import Clock
from ratesync.engine.notifier import Notifier
from ratesync.engine.recorder import records_requests
from ratesync.engine.schema_book import SchemaBook
from ratesync.engine.wiring import TransformerKey
from ratesync.errors import ProviderError, RateSyncError
from ratesync.model.batch import Batch, Reply
from ratesync.model.event import SlowTransformer, UnexpectedResult
from ratesync.model.lane import Lane
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Applied, Cause, Outcome, Rejected, RetryLater, Unknown
from ratesync.model.settings import Settings
from ratesync.protocols import LooksUp, ProviderClient, Transformer
from ratesync.protocols.preview import recording
from ratesync.protocols.sending import watching
from ratesync.rules.provider_errors import outcome_for_error
from ratesync.rules.result import check_feedback, check_result

T = TypeVar("T")

_WRITES = frozenset({Kind.CREATE, Kind.UPDATE, Kind.UPSERT})


@frozen
class _Failure:
    """An exception of an adapter's that is none of those it may raise."""

    told: str


@frozen
class Executor:
    """Transforms, calls and reads the answers. Never raises what foreign code raised."""

    providers: Mapping[str, ProviderClient]
    transformers: Mapping[TransformerKey, Transformer]
    settings: Settings
    clock: Clock
    notify: Notifier
    schemas: SchemaBook = field(
        default=Factory(lambda self: SchemaBook(self.transformers, self.clock, self.notify), takes_self=True)
    )

    def transform(self, operations: Sequence[Operation]) -> list[Operation | Rejected]:
        """The operations in the provider's terms; a rejection for each that its transformer failed on."""
        first = operations[0]
        transformer = self.schemas.transformer(first.lane, first.resource)
        if transformer is None or first.kind not in _WRITES:
            return list(operations)
        started_at = self.clock.now()
        transformed = [_transform(transformer, operation) for operation in operations]
        now = self.clock.now()
        if now - started_at > self.settings.slow_transform_after and self.notify.active:
            self.notify(SlowTransformer(now, first.lane, first.resource, now - started_at))
        return transformed

    def limit(self) -> anyio.CancelScope:
        """What ends a call: at its deadline, or when it is cancelled. For one call that begins now."""
        return anyio.move_on_after(self.settings.call_timeout)

    async def execute(self, lane: Lane, operations: Sequence[Operation], limit: anyio.CancelScope) -> Reply:
        """Make one call; an outcome for every operation, by id, and what the answer told of quotas."""
        first = operations[0]
        provider = self.providers[lane.provider]
        batch = Batch(lane, first.resource, first.kind, tuple(operations))
        with watching() as sending:
            answer = await self._bounded(provider.execute(batch), limit)
        if isinstance(answer, _Failure):
            if not sending.has_begun and records_requests(provider):
                return Reply(await self._blamed(provider, batch, answer))
            answer = Unknown(answer.told)
        try:
            return Reply(self._read_all(lane, operations, answer), check_feedback(answer))
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001  what an adapter answers may raise anything when looked at
            outcome = Unknown(f"the adapter's answer cannot be read ({type(error).__name__})")
            return Reply(batch.all_as(outcome))

    def _read_all(self, lane: Lane, operations: Sequence[Operation], answer: object) -> dict[str, Outcome]:
        ids = [operation.id or "" for operation in operations]
        if not isinstance(answer, Mapping):
            return dict.fromkeys(ids, check_result(answer))
        answer = cast("Mapping[str, object]", answer)
        if len(answer) > len(ids) or any(identity not in answer for identity in ids):
            self._report_unexpected(lane, answer, ids)
        return {operation.id or "": self._read(operation, answer) for operation in operations}

    async def lookup(self, lane: Lane, operation: Operation, limit: anyio.CancelScope) -> Outcome | None:
        """Find out whether an earlier create was applied; None if it surely was not."""
        provider = self.providers[lane.provider]
        if not isinstance(provider, LooksUp):
            return Unknown("the adapter cannot look operations up")
        answer = await self._bounded(provider.lookup(operation), limit)
        if isinstance(answer, _Failure):
            return Unknown(answer.told)
        return None if answer is None else check_result(answer)

    async def _bounded(self, call: Awaitable[T], limit: anyio.CancelScope) -> T | Outcome | _Failure:
        try:
            with limit:
                return await call
        except ProviderError as error:
            return outcome_for_error(error)
        except (KeyboardInterrupt, GeneratorExit, anyio.get_cancelled_exc_class()):
            raise
        except BaseException as error:  # noqa: BLE001  an adapter may raise anything, SystemExit too
            return _Failure(f"the adapter raised {_describe(error)}")
        return Unknown(f"no answer within {self.settings.call_timeout:g} s")

    async def _blamed(self, provider: ProviderClient, batch: Batch, failure: _Failure) -> dict[str, Outcome]:
        """The outcomes where an adapter failed before it sent anything. Dry runs tell which operations it fails on.

        Those are refused, as it would fail on them again, and the others are for later. If it fails on none by itself,
        all are refused.
        """
        refused = Rejected(f"{failure.told} before anything was sent", code="adapter")
        later = RetryLater("not sent: the adapter failed on another operation of the same call", Cause.NOT_SENT)
        operations = batch.operations
        culprits = {
            operation.id
            for operation in (operations if len(operations) > 1 else ())
            if await self._fails_on(provider, evolve(batch, operations=(operation,)))
        }
        return {each.id or "": later if culprits and each.id not in culprits else refused for each in operations}

    async def _fails_on(self, provider: ProviderClient, batch: Batch) -> bool:
        with recording():
            return isinstance(await self._bounded(provider.execute(batch), self.limit()), _Failure)

    def _report_unexpected(self, lane: Lane, answer: Mapping[str, object], ids: Sequence[str]) -> None:
        extra = tuple(sorted(str(identity) for identity in answer if identity not in set(ids)))
        if extra and self.notify.active:
            self.notify(UnexpectedResult(self.clock.now(), lane, extra))

    def _read(self, operation: Operation, answer: Mapping[str, object]) -> Outcome:
        found = answer.get(operation.id or "")
        if found is None:
            return Unknown("the adapter gave no outcome for this operation")
        outcome = check_result(found)
        if isinstance(outcome, Applied) and outcome.record is not None:
            return self._to_local(operation, outcome)
        return outcome

    def _to_local(self, operation: Operation, outcome: Applied) -> Outcome:
        lane, resource = operation.lane, operation.resource
        transformer = self.schemas.transformer(lane, resource)
        if transformer is None or outcome.record is None:
            return outcome
        self.schemas.look_at_record(lane, resource, outcome.record.fields)
        try:
            fields = transformer.to_local(outcome.record.fields)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001  the host's code may raise anything
            problem = f"raised {_describe(error)} on the record read"
        else:
            if isinstance(fields, Mapping):
                return evolve(outcome, record=evolve(outcome.record, fields=fields))
            problem = f"gave a {type(fields).__name__} for the record read"
        if operation.kind is not Kind.READ:
            return evolve(outcome, record=None)  # it was applied, whatever its answer cannot be turned into
        return Rejected(f"the transformer {problem}", code="transform")


def _transform(transformer: Transformer, operation: Operation) -> Operation | Rejected:
    try:
        fields = transformer.to_external(operation.fields, operation.kind)
        if not isinstance(fields, Mapping):
            return Rejected(f"the transformer gave a {type(fields).__name__}, not a mapping", code="transform")
        return evolve(operation, fields=fields)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001  the host's code may raise anything, SystemExit too
        return Rejected(f"the transformer raised {_describe(error)}", code="transform")


def _describe(error: BaseException) -> str:
    """Name the error; say more only for our own, whose messages hold no values."""
    name = type(error).__name__
    return f"{name}: {error}" if isinstance(error, RateSyncError) else name
