"""Batch endpoints that take whole requests, said in data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from attrs import field, frozen
from attrs.validators import ge

from ratesync.http.embedded import embedded_response
from ratesync.http.response import Response
from ratesync.model.operation import Operation
from ratesync.model.outcome import Outcome
from ratesync.providers.bulk import Bulk
from ratesync.providers.request import Request
from ratesync.providers.row import text_at


@frozen(kw_only=True)
class RequestBatch:
    """An endpoint that takes whole requests and answers each with a whole response, as Kinto and Microsoft Graph do.

    So every kind of operation goes out in batches, and every response is read as if it had come alone.
    """

    path: str = "/batch"
    size: int = field(default=20, validator=ge(1))
    """Most requests in one call."""
    requests: str = "requests"
    """The name under which the requests are sent."""
    responses: str = "responses"
    """Where the answer has the responses."""
    path_name: str = "path"
    """What a request calls its path, and a response the path that it is for."""
    id_name: str | None = None
    """What both call an id, by which they are matched. None: there is none, they are matched by path."""
    prefix: str = ""
    """What stands before the paths in the responses, such as ``"/v1"``."""
    undone_by: frozenset[int] = frozenset()
    """Statuses of one response after which the provider may have undone all of the batch."""

    def bulk(self, build: Callable[[Operation], Request], read: Callable[[Operation, Response], Outcome]) -> Bulk:
        """The batch call made of single requests."""

        def built(operation: Operation) -> dict[str, Any]:
            return self.embed(build(operation), operation.id)

        return Bulk(
            target=self.path,
            build=built,
            wrap=self.wrap,
            key=lambda _, row: self.key_sent(row),
            key_of_row=self.key_of,
            read=lambda operation, row, whole: read(operation, embedded_response(row, whole)),
            doubt=self._doubt if self.undone_by else None,
            rows_path=self.responses,
        )

    def embed(self, request: Request, identity: str | None) -> dict[str, Any]:
        """A request as a member of a batch."""
        row: dict[str, Any] = {"method": request.method, self.path_name: request.path}
        if self.id_name is not None:
            row[self.id_name] = identity
        if request.headers:
            row["headers"] = dict(request.headers)
        if request.json is not None:
            row["body"] = request.json
            row.setdefault("headers", {}).setdefault("content-type", "application/json")
        return row

    def wrap(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The body around the requests."""
        return {self.requests: rows}

    def key_sent(self, row: Mapping[str, Any]) -> str:
        """What the response to a request is matched by."""
        return str(row[self.id_name]) if self.id_name else unquote(row[self.path_name].partition("?")[0])

    def key_of(self, row: Any) -> str | None:
        """What a response is matched by."""
        if self.id_name is not None:
            return text_at(row, self.id_name)
        path = text_at(row, self.path_name)
        return None if path is None else unquote(path.partition("?")[0]).removeprefix(self.prefix)

    def _doubt(self, rows: Sequence[Any]) -> str | None:
        statuses = {str(status) for status in self.undone_by}
        if not any(text_at(row, "status") in statuses for row in rows):
            return None
        return "another operation of the batch failed in a way that may have undone all of it"
