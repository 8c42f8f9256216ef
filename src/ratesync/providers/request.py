"""From an operation to the request that carries it out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from attrs import field, frozen

from ratesync.errors import InvalidPayload, UnsupportedOperation
from ratesync.http.headers import is_header_value, revealed
from ratesync.model.batch import ConditionalWrite
from ratesync.model.operation import Kind, Operation
from ratesync.providers.resource import Resource

_BODIES = frozenset({Kind.CREATE, Kind.UPDATE, Kind.UPSERT})
_KEY_MARKS = "!#$&'()*+,-./:;<=>?@[]^_`{|}~"
"""What stays as it is in an idempotency key besides letters and digits; the rest is percent-encoded."""


@frozen
class Request:
    """One request. Headers and body stay out of its repr."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    json: Mapping[str, Any] | None = field(repr=False)


@frozen(kw_only=True)
class RequestBuilder:
    """Builds the requests of one provider, without any I/O."""

    resources: Resource | Mapping[str, Resource]
    idempotency_header: str | None
    conditional_write: ConditionalWrite

    def resource(self, name: str) -> Resource:
        """How the resource is reached.

        :raises UnsupportedOperation: it is not known.
        """
        if isinstance(self.resources, Resource):
            return self.resources
        try:
            return self.resources[name]
        except KeyError:
            raise UnsupportedOperation(f"there is no resource {name!r} here", path="resource") from None

    def build(self, operation: Operation) -> Request:
        """The request for an operation.

        :raises UnsupportedOperation: there is no call for it, or conditions are not supported.
        :raises InvalidPayload: an id or a version cannot be sent.
        """
        resource = self.resource(operation.resource)
        route = resource.route(operation)
        names = {
            "connection": operation.connection,
            "record_id": operation.record_id or "",
            "resource": operation.resource,
        }
        return Request(
            method=route.method,
            path=route.path.fill(names),
            headers={**revealed(route.headers), **self._conditions(operation)},
            json=_body(operation, resource),
        )

    def _conditions(self, operation: Operation) -> dict[str, str]:
        conditions: dict[str, str] = {}
        if self.idempotency_header is not None and operation.kind is not Kind.READ:
            key = operation.idempotency_key or operation.id
            if key:
                conditions[self.idempotency_header] = quote(key, safe=_KEY_MARKS)
        if operation.if_version is not None:
            if self.conditional_write is ConditionalWrite.NONE:
                raise UnsupportedOperation("this provider compares no versions", path="if_version")
            if not is_header_value(operation.if_version):
                raise InvalidPayload("cannot stand in a header: it is empty or not printable ASCII", path="if_version")
            conditions["If-Match"] = operation.if_version
        return conditions


def _body(operation: Operation, resource: Resource) -> Mapping[str, Any] | None:
    if operation.kind not in _BODIES:
        return None
    fields = resource.sent(operation)
    return fields if resource.envelope is None else {resource.envelope: fields}
