"""Dry runs: what operations would be sent as, found out by the adapters themselves with nothing sent."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, zip_longest
from typing import Any, cast

import anyio
from attrs import frozen

from ratesync.clock import Clock
from ratesync.codec import decode_operation, encode_operation
from ratesync.engine.execution import Executor
from ratesync.engine.intake import mailbox_key
from ratesync.engine.recorder import records_requests
from ratesync.engine.work import most_in_call
from ratesync.errors import ConfigurationError, InvalidOperation, InvalidPayload, ProviderError, RateSyncError
from ratesync.model.batch import Batch, Capabilities
from ratesync.model.lane import Lane
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Applied, Cause, Rejected, RetryLater
from ratesync.model.policy import PayloadLimits
from ratesync.model.preview import Preview, PreviewedRequest, Problem
from ratesync.protocols import ChecksFields, PreviewsRequests, ProviderClient, Transformer
from ratesync.protocols.preview import recording
from ratesync.randomness import operation_id
from ratesync.rules.admissible import check_operation
from ratesync.rules.batching import group
from ratesync.rules.coalescing import Pending, fold_head

_WRITES = frozenset({Kind.CREATE, Kind.UPDATE, Kind.UPSERT})


@frozen
class Step:
    """What is sent for one record at a time: an operation, and those that were given for it."""

    given: tuple[Operation, ...]
    folded: Operation | None
    """None: they cancel each other out."""


@frozen
class Previewer:
    """Says what operations would be sent as. Nothing is queued, no permit is taken."""

    executor: Executor
    capabilities: Mapping[str, Capabilities]
    limits: PayloadLimits
    clock: Clock
    random: random.Random

    async def preview(self, operations: Sequence[Operation]) -> list[Preview]:
        """A preview for each call, and one for each operation that something is wrong with."""
        refused: list[Preview] = []
        lines: dict[tuple[Lane, str], list[tuple[Operation, Operation]]] = {}
        for place, given in enumerate(operations):
            path = f"operations[{place}]" if len(operations) > 1 else "operation"
            problems = tuple(self._problems(given, path))
            if problems:
                refused.append(Preview((given,), (), problems))
            else:
                stored = self._stored(given)
                lines.setdefault((stored.lane, mailbox_key(stored, stored.id or "")), []).append((given, stored))
        self._check_able({lane.provider for lane, _ in lines})
        calls = [await self._call(steps) for steps in self._calls([_fold(line) for line in lines.values()])]
        return refused + calls

    def _problems(self, operation: Operation, path: str) -> Iterator[Problem]:
        try:
            self._check(operation, path)
        except InvalidOperation as error:
            yield from problems_of(error, path)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001  the host's code may raise anything
            yield Problem(f"{path}.fields", "transform", f"the transformer raised {type(error).__name__}")

    def _check(self, operation: Operation, path: str) -> None:
        check_operation(operation, self.capabilities, self.limits, path)
        size, most = len(encode_operation(operation, path=path)), self.limits.max_bytes
        if size > most:
            raise InvalidPayload(f"{size} bytes when encoded, at most {most} are allowed", path=path)
        if operation.kind in _WRITES:
            self._translate(operation, path)

    def _translate(self, operation: Operation, path: str) -> None:
        transformer: Transformer | None = self.executor.transformers.get((operation.provider, operation.resource))
        if isinstance(transformer, ChecksFields):
            transformer.check_at_submit(operation.fields, operation.kind, f"{path}.fields")
        if transformer is not None:
            transformer.to_external(operation.fields, operation.kind)

    def _stored(self, operation: Operation) -> Operation:
        """The operation as a worker would get it from the queue."""
        identity = operation.id or operation_id(self.clock.now(), self.random)
        return decode_operation(encode_operation(operation), operation.lane, identity)

    def _check_able(self, names: Iterable[str]) -> None:
        for name in sorted(names):
            provider = self.executor.providers[name]
            if not isinstance(provider, PreviewsRequests) and not records_requests(provider):
                raise ConfigurationError(
                    f"provider {name!r} cannot show its requests: it must make all calls over a "
                    "ratesync.http.HttpCaller that it holds, or have `async def preview(self, batch)` "
                    "(ratesync.PreviewsRequests)"
                )

    def _calls(self, lines: Sequence[Sequence[Step]]) -> Iterator[list[Step]]:
        """Sort into calls as a worker would: the heads of all mailboxes, then what comes behind them."""
        for heads in zip_longest(*lines):
            steps = [step for step in heads if step is not None]
            yield from ([step] for step in steps if step.folded is None)
            sendable = sorted((step for step in steps if step.folded is not None), key=_lane)
            for _, alike in groupby(sendable, key=_lane):
                yield from group(list(alike), _label, self._most)

    def _most(self, step: Step) -> int:
        return most_in_call(self.capabilities[_lane(step).provider], step.folded)

    async def _call(self, steps: list[Step]) -> Preview:
        given = tuple(operation for step in steps for operation in step.given)
        operations = [step.folded for step in steps if step.folded is not None]
        if not operations:
            return Preview(given)
        ready = self.executor.transform(operations)
        problems = [Problem("operation", "transform", each.reason) for each in ready if isinstance(each, Rejected)]
        sendable = tuple(each for each in ready if isinstance(each, Operation))
        if not sendable:
            return Preview(given, (), tuple(problems))
        first = sendable[0]
        requests, more = await self._ask(Batch(first.lane, first.resource, first.kind, sendable))
        return Preview(given, tuple(requests), (*problems, *more))

    async def _ask(self, batch: Batch) -> tuple[Sequence[PreviewedRequest], Sequence[Problem]]:
        provider = self.executor.providers[batch.lane.provider]
        with anyio.move_on_after(self.executor.settings.call_timeout):
            if isinstance(provider, PreviewsRequests):
                try:
                    return tuple(await provider.preview(batch)), ()
                except ProviderError as error:
                    return (), [Problem("operation", type(error).__name__, str(error))]
            with recording() as requests:
                problems = await _run(provider, batch)
            return requests, [] if requests else problems
        return (), [Problem("operation", "timeout", "the adapter did not come to an end")]


async def _run(provider: ProviderClient, batch: Batch) -> list[Problem]:
    """Let the adapter try; what it says about it, other than that nothing was sent."""
    try:
        answer: object = await provider.execute(batch)
    except RateSyncError as error:
        return [Problem("operation", type(error).__name__, str(error))]
    except Exception as error:  # noqa: BLE001  an adapter may raise anything
        return [Problem("operation", "adapter", f"the adapter raised {type(error).__name__}")]
    outcomes = cast("Mapping[str, Any]", answer).values() if isinstance(answer, Mapping) else ()
    reasons = {
        (type(outcome).__name__, outcome.reason): None
        for outcome in outcomes
        if not isinstance(outcome, Applied)
        and not (isinstance(outcome, RetryLater) and outcome.cause is Cause.NOT_SENT)
        and hasattr(outcome, "reason")
    }
    return [Problem("operation", code, str(reason)) for code, reason in reasons]


def problems_of(error: InvalidOperation, path: str = "operation") -> list[Problem]:
    """Everything that an error says is wrong; field errors each by itself, where a mapping found them."""
    errors: Sequence[Any] = getattr(error, "errors", ())
    if not errors:
        return [Problem(error.path, type(error).__name__, error.problem)]
    place = error.path if error.path.startswith(path) else f"{path}.fields"
    return [Problem(f"{place}.{each.path}", each.code, each.message) for each in errors]


def _fold(line: Sequence[tuple[Operation, Operation]]) -> list[Step]:
    steps: list[Step] = []
    while line:
        step = fold_head([Pending(stored) for _, stored in line])
        steps.append(Step(tuple(given for given, _ in line[: step.count]), step.operation))
        line = line[step.count :]
    return steps


def _lane(step: Step) -> Lane:
    return step.given[0].lane


def _label(step: Step) -> tuple[str, str]:
    operation = step.folded
    return ("", "") if operation is None else (operation.resource, operation.kind)
