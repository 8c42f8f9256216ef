"""From an operation to the request that carries it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from attrs import field, frozen

from ratesync.errors import InvalidPayload, NotSent, ProviderError, Unauthorised, UnsupportedOperation
from ratesync.http.headers import is_header_value
from ratesync.model.batch import ConditionalWrite
from ratesync.model.operation import Kind, Operation
from ratesync.providers.resource import Resource

Credentials = Mapping[str, Mapping[str, str]] | Callable[[str], Mapping[str, str]]
"""The headers that authenticate each connection, by its name."""

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
    secrets: tuple[str, ...] = field(repr=False)
    """What must not be repeated in any message."""


@frozen(kw_only=True)
class RequestBuilder:
    """Builds the requests of one provider, without any I/O."""

    resources: Resource | Mapping[str, Resource]
    headers: Mapping[str, str] = field(repr=False)
    credentials: Credentials | None = field(repr=False)
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
        :raises Unauthorised: there are no credentials for its connection. :raises NotSent: asking for them failed.
        """
        resource = self.resource(operation.resource)
        route = resource.route(operation)
        credentials = self._credentials(operation.connection)
        names = {
            "connection": operation.connection,
            "record_id": operation.record_id or "",
            "resource": operation.resource,
        }
        return Request(
            method=route.method,
            path=route.path.fill(names),
            headers={**self.headers, **credentials, **route.headers, **self._conditions(operation)},
            json=_body(operation, resource),
            secrets=(*self.headers.values(), *credentials.values()),
        )

    def _credentials(self, connection: str) -> Mapping[str, str]:
        if self.credentials is None:
            return {}
        try:
            return self.credentials(connection) if callable(self.credentials) else self.credentials[connection]
        except LookupError:
            problem: ProviderError = Unauthorised(f"there are no credentials for connection {connection!r}")
        except Exception as error:  # noqa: BLE001  the host's function may raise anything
            problem = NotSent(f"the credentials of connection {connection!r} failed with {type(error).__name__}")
        raise problem

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
    fields = dict(operation.fields)
    return fields if resource.envelope is None else {resource.envelope: fields}
