"""Bulk calls that take rows of one kind, said in data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import field, frozen
from attrs.validators import ge

from ratesync.errors import InvalidResponse, UnsupportedOperation
from ratesync.http.caller import checked_method
from ratesync.http.headers import Headers
from ratesync.http.payload import encode_json
from ratesync.http.response import STATUSES, Response
from ratesync.model.operation import Fields, Operation
from ratesync.model.outcome import Outcome
from ratesync.providers.bulk import Bulk
from ratesync.providers.path import Path, path_of
from ratesync.providers.row import text_at

_JSON = Headers([(b"content-type", b"application/json")])
_OK = 200


@frozen(kw_only=True)
class RowBatch:
    """A call that carries out one kind of operation on many records: ``RowBatch(path="/{resource}/batch/update")``.

    Each row of the answer is read as the answer to a call for its record alone would be, and belongs to the operation
    whose record id it has, or whose id if there is a ``reference``. An operation without a row is in doubt.
    """

    path: Path = field(converter=path_of)
    """In it ``{resource}`` and ``{connection}`` stand for what is asked for."""
    method: str = field(default="POST", converter=checked_method)
    size: int = field(default=100, validator=ge(1))
    """Most rows in one call."""
    rows: str = "rows"
    """The name under which the rows are sent."""
    results: str = "results"
    """Where the answer has its rows: a dotted path."""
    id_name: str = "id"
    """What a row that is sent calls its record's id."""
    result_id: str = "id"
    """Where a row of the answer has it."""
    fields_name: str | None = None
    """Where a row that is sent has the record's fields; None: beside the id."""
    reference: str | None = None
    """The name under which each row carries the operation's id, sent and answered. Needed for creates whose id the
    provider assigns. None: there is none."""
    version_name: str | None = None
    """Where a row that is sent has the version that its record must still have; None: no versions are compared, and
    operations that name one are refused."""
    status_name: str | None = None
    """Where a row of the answer has an HTTP status of its own; None: it has none, a row is a success."""

    def bulk(
        self,
        connection: str,
        resource: str,
        fields: Callable[[Operation], Fields],
        read: Callable[[Operation, Response], Outcome],
    ) -> Bulk:
        """The call, for one resource of a connection.

        :param fields: what is sent of an operation's fields; it may raise InvalidOperation.
        :param read: the outcome that a row says, as the answer to a call of its own.
        """

        def build(operation: Operation) -> dict[str, Any]:
            sent = dict(fields(operation))
            row: dict[str, Any] = sent if self.fields_name is None else {self.fields_name: sent}
            if operation.record_id is not None:
                row[self.id_name] = operation.record_id
            if self.reference is not None:
                row[self.reference] = operation.id
            if operation.if_version is not None:
                if self.version_name is None:
                    raise UnsupportedOperation("rows of this bulk call compare no versions", path="if_version")
                row[self.version_name] = operation.if_version
            return row

        return Bulk(
            target=self.path.fill({"connection": connection, "resource": resource}),
            method=self.method,
            build=build,
            wrap=lambda rows: {self.rows: rows},
            key=lambda operation, _: operation.record_id if self.reference is None else operation.id,
            key_of_row=lambda row: text_at(row, self.reference or self.result_id),
            read=lambda operation, row, whole: read(operation, self._response(row, whole)),
            rows_path=self.results,
        )

    def _response(self, row: Any, whole: Response) -> Response:
        status = _OK
        if self.status_name is not None:
            told = text_at(row, self.status_name) or ""
            status = int(told) if told.isdecimal() and len(told) == len(str(_OK)) else 0
            if status not in STATUSES:
                raise InvalidResponse(f"a row of the batch's answer has no HTTP status at {self.status_name!r}")
        return Response(status, _JSON, encode_json(row), whole.secrets)
