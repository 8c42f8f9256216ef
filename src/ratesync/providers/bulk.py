"""Sending a batch as one call, and reading the row that answers each operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from ratesync.errors import InvalidOperation, ProviderError
from ratesync.http.payload import encode_json
from ratesync.http.response import Response
from ratesync.model.operation import Operation
from ratesync.model.outcome import Applied, Outcome, Rejected, Unknown
from ratesync.rules.matching import match_rows
from ratesync.rules.paging import items_at
from ratesync.rules.provider_errors import outcome_for_error


@frozen
class Sent:
    """What goes out in one call."""

    operations: tuple[Operation, ...]
    """Those that are sent."""
    keys: Mapping[str, str | None]
    """By operation id, the key of the row that is expected back."""
    content: bytes = field(repr=False)
    refused: Mapping[str, Outcome]
    """The outcomes of those that are not sent, by operation id."""

    def all_as(self, outcome: Outcome) -> dict[str, Outcome]:
        """The outcomes of all operations, if what was sent came to one and the same."""
        return {**self.refused, **dict.fromkeys((operation.id or "" for operation in self.operations), outcome)}


@frozen(kw_only=True)
class Bulk:
    """How an API takes many operations in one call. Rows are matched by key, never by position alone.

    What its functions raise about one operation or one row is that operation's alone: the others are sent and read.
    """

    target: str
    """The path."""
    build: Callable[[Operation], Any]
    """What is sent for an operation. It may raise InvalidOperation."""
    wrap: Callable[[Sequence[Any]], Any]
    """The body around all that is sent."""
    key: Callable[[Operation, Any], str | None]
    """What is expected back of an operation, such as its record id; it may look at what was built."""
    key_of_row: Callable[[Any], str | None]
    """The same of a row of the answer; None where it has none."""
    read: Callable[[Operation, Any, Response], Outcome]
    """The outcome that a row tells. The third is the whole answer: what is secret in it is not for reasons."""
    doubt: Callable[[Sequence[Any]], str | None] | None = None
    """Looking at all rows, why no row's success can be believed, or None where it can. Default: it always can."""
    rows_path: str | None = None
    """Where the answer has its rows: a dotted path, or None if it is their list."""
    method: str = "POST"
    headers: Mapping[str, str] = field(factory=dict[str, str], repr=False)

    def prepare(self, operations: Sequence[Operation]) -> Sent:
        """What to send. What cannot be sent is rejected by itself."""
        built: list[tuple[Operation, Any]] = []
        refused: dict[str, Outcome] = {}
        for operation in operations:
            try:
                built.append((operation, self.build(operation)))
            except InvalidOperation as error:
                refused[operation.id or ""] = _rejected(error)
        try:
            content = self._encode(built)
        except InvalidOperation:
            built, unsendable = _sendable(built)
            refused |= unsendable
            content = self._encode(built)
        keys = {operation.id or "": self.key(operation, row) for operation, row in built}
        return Sent(tuple(operation for operation, _ in built), keys, content, refused)

    def outcomes(self, sent: Sent, response: Response, whole: Outcome) -> dict[str, Outcome]:
        """The outcomes of all operations.

        :param whole: what the answer's status says of the call as a whole.
        """
        if isinstance(whole, Applied):
            try:
                return dict(sent.refused) | self._matched(sent, response)
            except ProviderError as error:
                whole = outcome_for_error(error)
        return sent.all_as(whole)

    def _encode(self, built: Sequence[tuple[Operation, Any]]) -> bytes:
        return encode_json(self.wrap([row for _, row in built]))

    def _matched(self, sent: Sent, response: Response) -> dict[str, Outcome]:
        rows = items_at(response.json(), self.rows_path)
        outcomes = match_rows(
            sent.operations,
            rows,
            key_of_operation=lambda operation: sent.keys[operation.id or ""],
            key_of_row=self._key_of_row,
            read=lambda operation, row: self._read(operation, row, response),
        )
        doubt = None if self.doubt is None else self.doubt(rows)
        if doubt is None:
            return outcomes
        return {
            identity: Unknown(doubt) if isinstance(outcome, Applied) else outcome
            for identity, outcome in outcomes.items()
        }

    def _key_of_row(self, row: Any) -> str | None:
        try:
            key = self.key_of_row(row)
        except Exception:  # noqa: BLE001  a row of any form may come; one without a key is nobody's
            return None
        return key if isinstance(key, str) else None

    def _read(self, operation: Operation, row: Any, response: Response) -> Outcome:
        try:
            return self.read(operation, row, response)
        except ProviderError as error:
            return outcome_for_error(error)
        except Exception as error:  # noqa: BLE001  a row of any form may come, and its text may be private
            return Unknown(f"the provider's row for this operation cannot be read ({type(error).__name__})")


def _sendable(built: Sequence[tuple[Operation, Any]]) -> tuple[list[tuple[Operation, Any]], dict[str, Outcome]]:
    """Those that can be written as JSON, and the rejections of the others."""
    kept: list[tuple[Operation, Any]] = []
    refused: dict[str, Outcome] = {}
    for operation, row in built:
        try:
            encode_json(row)
            kept.append((operation, row))
        except InvalidOperation as error:
            refused[operation.id or ""] = _rejected(error)
    return kept, refused


def _rejected(error: InvalidOperation) -> Rejected:
    return Rejected(str(error), code=type(error).__name__)
