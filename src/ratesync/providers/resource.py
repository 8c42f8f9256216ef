"""How the records of a resource are reached over REST, said in data."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from ratesync.errors import ConfigurationError, UnsupportedOperation
from ratesync.http.caller import checked_method
from ratesync.http.headers import checked_headers
from ratesync.model.operation import Kind, Operation
from ratesync.providers.path import Path


def _path(template: str | Path) -> Path:
    return template if isinstance(template, Path) else Path(template)


@frozen
class Route:
    """One kind of call: ``Route("PATCH", "/contacts/{record_id}")``.

    In the path ``{record_id}``, ``{resource}`` and ``{connection}`` stand for the operation's own, percent-encoded.
    It may end in a fixed query.
    """

    method: str = field(converter=checked_method)
    path: Path = field(converter=_path)
    headers: Mapping[str, str] = field(factory=dict[str, str], converter=checked_headers, repr=False)
    """Sent with this kind of call only."""


CREATE_ONCE = Route("PUT", "/{resource}/{record_id}", {"If-None-Match": "*"})
"""A create under an id of the client's choice that a provider carries out only once, by RFC 9110 (section 13.1.2)."""


@frozen(kw_only=True)
class Resource:
    """The calls for one resource, or for all that are alike, and where things are in their answers.

    Every path but that of ``create`` needs ``{record_id}`` in it.

    The defaults are what most REST APIs do; None says that the API has no such call. ``upsert`` and ``create_with_id``
    have no default, since APIs differ too much: ``Route("PUT", "/{resource}/{record_id}")`` is an upsert only where it
    keeps the fields that are not sent, or where all of a record's fields are always sent.
    """

    create: Route | None = Route("POST", "/{resource}")
    """A create whose id the provider assigns."""
    create_with_id: Route | None = None
    """A create whose ``record_id`` the client chooses, such as :data:`CREATE_ONCE`."""
    read: Route | None = Route("GET", "/{resource}/{record_id}")
    update: Route | None = Route("PATCH", "/{resource}/{record_id}")
    upsert: Route | None = None
    delete: Route | None = Route("DELETE", "/{resource}/{record_id}")
    envelope: str | None = None
    """The name under which bodies, sent and answered, hold the record (``"data"``); None: they are the record."""
    id_path: str = "id"
    """Where the record has its id, with dots for depth (``"meta.id"``)."""
    version_path: str | None = None
    """Where the record has its version, as ``id_path``; None, or nothing there: the ETag header is the version."""
    current_path: str | None = None
    """Where the answer to a conflict (409, 412) holds the record as it is (``"details.existing"``), if anywhere."""

    def __attrs_post_init__(self) -> None:
        for name in ("create_with_id", "read", "update", "upsert", "delete"):
            route: Route | None = getattr(self, name)
            if route is not None and "record_id" not in route.path.places:
                raise ConfigurationError(
                    f"the route {name!r} must have {{record_id}} in its path, or it is for all records"
                )

    @property
    def kinds(self) -> frozenset[Kind]:
        """The kinds of operation that there are calls for."""
        kinds = frozenset(kind for kind in Kind if self._route(kind) is not None)
        return kinds if self.create_with_id is None else kinds | {Kind.CREATE}

    @property
    def routes(self) -> tuple[Route, ...]:
        """All calls that there are."""
        routes = (self._route(kind) for kind in Kind)
        return tuple(route for route in (self.create_with_id, *routes) if route is not None)

    def route(self, operation: Operation) -> Route:
        """The call for an operation.

        :raises UnsupportedOperation: there is none.
        """
        named = operation.kind is Kind.CREATE and operation.record_id is not None
        route = self.create_with_id if named else self._route(operation.kind)
        if route is None:
            what = f"{operation.kind} with a record_id of the client's choice" if named else operation.kind
            raise UnsupportedOperation(f"{operation.resource!r} has no route for {what}", path="kind")
        return route

    def _route(self, kind: Kind) -> Route | None:
        routes = {
            Kind.CREATE: self.create,
            Kind.READ: self.read,
            Kind.UPDATE: self.update,
            Kind.UPSERT: self.upsert,
            Kind.DELETE: self.delete,
        }
        return routes[kind]
