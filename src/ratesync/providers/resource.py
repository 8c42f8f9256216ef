"""How the records of a resource are reached over REST, said in data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import Factory, evolve, field, frozen

from ratesync.errors import ConfigurationError, InvalidPayload, UnsupportedOperation
from ratesync.http.caller import checked_method
from ratesync.http.headers import kept_headers
from ratesync.model.operation import Fields, Kind, Operation
from ratesync.model.record import Record
from ratesync.model.secret import Secret
from ratesync.providers.feed import Feed
from ratesync.providers.lag import checked_lag
from ratesync.providers.listing import Listing
from ratesync.providers.lookup import mark_of
from ratesync.providers.path import Path, path_if_any, path_of
from ratesync.providers.row import changed_at_in, record_in, text_at
from ratesync.providers.row_batch import RowBatch


def _names(names: Iterable[str]) -> frozenset[str]:
    return frozenset(names)


@frozen
class Route:
    """One kind of call: ``Route("PATCH", "/contacts/{record_id}")``.

    In the path ``{record_id}``, ``{resource}`` and ``{connection}`` stand for the operation's own, percent-encoded.
    It may end in a fixed query.
    """

    method: str = field(converter=checked_method)
    path: Path = field(converter=path_of)
    headers: Mapping[str, Secret] = field(factory=dict[str, Secret], converter=kept_headers, repr=False)
    """Sent with this kind of call only."""


CREATE_ONCE = Route("PUT", "/{resource}/{record_id}", {"If-None-Match": "*"})
"""A create under an id of the client's choice that a provider carries out only once, by RFC 9110 (section 13.1.2)."""


@frozen(kw_only=True)
class Resource:
    """The calls for one resource, or for all that are alike, and where things are in their answers.

    Every path but that of ``create`` needs ``{record_id}`` in it.

    The defaults are what most REST APIs do, below ``path``; None says that the API has no such call. ``upsert`` and
    ``create_with_id`` have no default, since APIs differ too much: ``Route("PUT", "/{resource}/{record_id}")`` is an
    upsert only where it keeps the fields that are not sent, or where all of a record's fields are always sent.
    """

    path: str = "/{resource}"
    """Where the records are, and each below it under its id."""
    create: Route | None = field(default=Factory(lambda resource: Route("POST", resource.path), takes_self=True))
    """A create whose id the provider assigns."""
    create_with_id: Route | None = None
    """A create whose ``record_id`` the client chooses, such as :data:`CREATE_ONCE`."""
    read: Route | None = field(default=Factory(lambda resource: resource.below("GET"), takes_self=True))
    update: Route | None = field(default=Factory(lambda resource: resource.below("PATCH"), takes_self=True))
    upsert: Route | None = None
    delete: Route | None = field(default=Factory(lambda resource: resource.below("DELETE"), takes_self=True))
    envelope: str | None = None
    """The name under which bodies, sent and answered, hold the record (``"data"``); None: they are the record."""
    id_path: str = "id"
    """Where the record has its id, with dots for depth (``"meta.id"``)."""
    version_path: str | None = None
    """Where the record has its version, as ``id_path``; None, or nothing there: the ETag header is the version."""
    version_form: str = "{}"
    """What becomes of the version found there: ``'"{}"'`` where If-Match wants it in quotes."""
    current_path: str | None = None
    """Where the answer to a conflict (409, 412) holds the record as it is (``"details.existing"``), if anywhere."""
    answers_with_record: bool = False
    """Whether a create, update or upsert is answered with the record, as whole as a read of it would be.

    A sync reads no record once more whose write was answered with it. An answer with only some of the record's fields
    must not count: what is missing would be taken for gone.
    """
    id_form: str | None = None
    """A regular expression of the ids that the API takes; others are rejected before they are sent. None: any."""
    read_only: frozenset[str] = field(default=frozenset(), converter=_names)
    """Fields that only the provider writes: left out of what is sent."""
    listing: Listing | None = None
    """How all records are listed."""
    changes: Feed | None = None
    """How changed records are asked for."""
    bulk: Mapping[Kind, RowBatch] = field(factory=dict[Kind, RowBatch])
    """The bulk calls, by the kind of operation that they carry out."""
    search: Listing | None = None
    """How records are searched for, where this is another call than the listing with its ``query``."""

    schema_path: Path | None = field(default=None, converter=path_if_any)
    """Where the API tells the resource's JSON Schema, with ``{resource}`` and ``{connection}``; None: nowhere."""
    schema_at: str | None = None
    """Where in that answer the schema is, with dots for depth (``"data.schema"``); None: it is the answer."""
    mark_field: str | None = None
    """A field of the provider's for text, which every create writes its idempotency key to. By it a create whose answer
    was lost is looked up, with ``search`` or else with ``listing`` and its ``query``. Records are given without it.
    None: there is none."""
    mark_lag: float = field(default=60.0, converter=checked_lag)
    """Seconds after which that search surely shows a new record."""

    def __attrs_post_init__(self) -> None:
        if "record_id" in Path(self.path).places:
            raise ConfigurationError("the path of a resource is that of all its records: without {record_id}")
        for name in ("create_with_id", "read", "update", "upsert", "delete"):
            route: Route | None = getattr(self, name)
            if route is not None and "record_id" not in route.path.places:
                raise ConfigurationError(
                    f"the route {name!r} must have {{record_id}} in its path, or it is for all records"
                )
        if self.mark_field is not None and (self.finding is None or self.finding.query is None):
            raise ConfigurationError("records are looked up by mark_field with a search: give search= with a query")
        if self.schema_path is not None and "record_id" in self.schema_path.places:
            raise ConfigurationError("schema_path is for all records of a resource: without {record_id}")

    @property
    def finding(self) -> Listing | None:
        """How records are searched for."""
        return self.search or self.listing

    @property
    def kinds(self) -> frozenset[Kind]:
        """The kinds of operation that there are calls for."""
        kinds = frozenset(kind for kind in Kind if self._route(kind) is not None) | self.bulk.keys()
        return kinds if self.create_with_id is None else kinds | {Kind.CREATE}

    @property
    def paths(self) -> tuple[Path, ...]:
        """The paths of all calls that there are."""
        routes = (self.create_with_id, *(self._route(kind) for kind in Kind))
        calls = (*routes, *self.bulk.values(), self.listing, self.changes, self.search)
        schema = () if self.schema_path is None else (self.schema_path,)
        return (*(call.path or Path(self.path) for call in calls if call is not None), *schema)

    def below(self, method: str) -> Route:
        """The call for one record below ``path``."""
        return Route(method, f"{self.path}/{{record_id}}")

    def target(self, listing: Listing, connection: str, resource: str) -> str:
        """The path of a listing."""
        return (listing.path or Path(self.path)).fill({"connection": connection, "resource": resource})

    def version_in(self, row: Any) -> str | None:
        """The version of a record as an answer has it; None if it has none."""
        version = text_at(row, self.version_path)
        return None if version is None else self.version_form.format(version)

    def changed_at_in(self, row: Any) -> float | None:
        """When a record was changed last, as its feed would tell; None if there is no feed, or it is not told."""
        return None if self.changes is None else changed_at_in(row, self.changes.updated_path)

    def record_in(self, row: Any) -> Record:
        """A row of a listing or feed as the record it is.

        :raises InvalidResponse: it is none.
        """
        record = record_in(row, self.id_path, self.version_path, self.version_form)
        return evolve(record, fields=self.shown(record.fields), changed_at=self.changed_at_in(row))

    def shown(self, fields: Fields) -> Fields:
        """A record's fields without the mark, which is ours."""
        if self.mark_field is None:
            return fields
        return {name: value for name, value in fields.items() if name != self.mark_field}

    def route(self, operation: Operation) -> Route:
        """The call for an operation.

        :raises UnsupportedOperation: there is none. :raises InvalidPayload: the record's id is none of the API's.
        """
        self.check_id(operation)
        named = operation.kind is Kind.CREATE and operation.record_id is not None
        route = self.create_with_id if named else self._route(operation.kind)
        if route is None:
            what = f"{operation.kind} with a record_id of the client's choice" if named else operation.kind
            raise UnsupportedOperation(f"{operation.resource!r} has no route for {what}", path="kind")
        return route

    def check_id(self, operation: Operation) -> None:
        """Make sure that an operation's record id is of the API's form, if it has one.

        :raises InvalidPayload: it is not.
        """
        record_id = operation.record_id
        if self.id_form is not None and record_id is not None and not re.fullmatch(self.id_form, record_id):
            raise InvalidPayload("is none that this provider takes", path="record_id")

    def sent(self, operation: Operation) -> dict[str, Any]:
        """What is sent of the operation's fields, and the mark of a create."""
        sent = {name: value for name, value in operation.fields.items() if name not in self.read_only}
        if operation.kind is Kind.CREATE and self.mark_field is not None:
            sent[self.mark_field] = mark_of(operation)
        return sent

    def _route(self, kind: Kind) -> Route | None:
        routes = {
            Kind.CREATE: self.create,
            Kind.READ: self.read,
            Kind.UPDATE: self.update,
            Kind.UPSERT: self.upsert,
            Kind.DELETE: self.delete,
        }
        return routes[kind]
