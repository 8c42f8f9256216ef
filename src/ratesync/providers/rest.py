"""An adapter for REST APIs, by configuration alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar, Unpack

from typing_extensions import override

from ratesync.errors import ConfigurationError, InvalidOperation, InvalidResponse, ProviderError, UnsupportedOperation
from ratesync.http.accounts import Account, Accounts
from ratesync.http.embedded import embedded_responses
from ratesync.http.headers import checked_headers
from ratesync.http.pages import Page
from ratesync.http.response import Response
from ratesync.http.told_time import told_time
from ratesync.model.batch import Batch, ConditionalWrite, CreateIdentity, Reply
from ratesync.model.change import ChangePage, RecordPage
from ratesync.model.feedback import NO_FEEDBACK, Feedback
from ratesync.model.operation import Fields, Operation
from ratesync.model.outcome import Outcome, Rejected, Unknown
from ratesync.model.schema import RemoteSchema
from ratesync.providers.answer import completed
from ratesync.providers.bulk import Bulk
from ratesync.providers.call import RequestOptions
from ratesync.providers.credentials import Credentials, credential_headers, kept_credentials
from ratesync.providers.http_provider import HttpOptions, HttpProvider
from ratesync.providers.json_schema import read_json_schema
from ratesync.providers.listing import Listing
from ratesync.providers.lookup import mark_of, read_marked
from ratesync.providers.request import Request, RequestBuilder
from ratesync.providers.request_batch import RequestBatch
from ratesync.providers.resource import Resource
from ratesync.providers.rest_capabilities import capabilities_of, check_paths
from ratesync.providers.row import dig
from ratesync.rules.feedback import join_feedback
from ratesync.rules.provider_errors import outcome_for_error

ListingT = TypeVar("ListingT", bound=Listing)


class RestProvider(HttpProvider):
    """Speaks to a REST API, one record in each call or many over its batch endpoint.

    ::

        async with RestProvider("acme", "https://api.acme.example/v1", Account(Bearer("..."))) as acme:
            ...  # SyncEngine(providers=[acme], ...)

    That is enough where records are JSON objects with an ``id`` under ``/{resource}/{record_id}``; ``resources`` says
    what is otherwise. How calls are made, and what bounds them, is told by :class:`~ratesync.http.HttpCaller`. Leave
    the provider after the engine that uses it: it then closes its connections.

    Its capabilities follow from the configuration: the kinds that some resource has a route for; as many operations in
    a call as its batch endpoint and bulk calls take, or one; creates are safe to repeat if the provider honours
    idempotency keys (``idempotency_header`` given), or where the client may choose the id (a resource has
    ``create_with_id``), but not in rows of a bulk call; they are looked up where all resources that have creates have a
    ``mark_field``; deletions are told by a feed of changes with ``deleted_path``,
    or else by a listing.

    :param name: the provider's name, as operations give it.
    :param base_url: where paths begin. Default: that of the account or of ``client``.
    :param accounts: how to authenticate: one :class:`~ratesync.http.Account`, or each by its connection's name, or a
        function from the name to it. A connection without (LookupError) is paused by the engine. Default: no
        authentication.
    :param resources: one resource for all names, or each by its name; another name is then rejected. Default:
        ``Resource()`` for all.
    :param credentials: headers for each connection, by name, or a function from the name to them, called for each
        request: short for accounts whose authentication is no more than that. Default: none.
    :param idempotency_header: where the operation's idempotency key is sent with every write, such as
        ``"Idempotency-Key"``; give it only if the provider honours it. Default None.
    :param key_lasts: seconds for which the provider remembers an idempotency key, such as 86,400. Default: for ever.
    :param conditional_write: STRONG if the provider compares If-Match with the record's version and refuses with 412.
    :param create_identity: overrides what follows from the configuration.
    :param concurrency: most calls at once for each connection, None for no bound. Default 10.
    :param batch: the endpoint that takes many requests in one call. Default None: each operation is a call.
    :param options: as for :class:`~ratesync.providers.HttpProvider`.
    :raises ConfigurationError: something of it cannot be used.
    """

    def __init__(
        self,
        name: str,
        base_url: str | None = None,
        accounts: Accounts | None = None,
        *,
        resources: Resource | Mapping[str, Resource] | None = None,
        credentials: Credentials | None = None,
        idempotency_header: str | None = None,
        key_lasts: float | None = None,
        conditional_write: ConditionalWrite = ConditionalWrite.NONE,
        create_identity: CreateIdentity | None = None,
        concurrency: int | None = 10,
        batch: RequestBatch | None = None,
        **options: Unpack[HttpOptions],
    ) -> None:
        super().__init__(name, base_url, Account() if accounts is None else accounts, **options)
        resources = Resource() if resources is None else resources
        checked_headers({} if idempotency_header is None else {idempotency_header: "key"})
        if not resources:
            raise ConfigurationError("resources must not be empty: leave it out for one resource that has all names")
        every = [resources] if isinstance(resources, Resource) else list(resources.values())
        check_paths(every)
        self.capabilities = capabilities_of(
            every,
            batch=batch,
            conditional_write=conditional_write,
            create_identity=create_identity,
            idempotency_header=idempotency_header,
            key_lasts=key_lasts,
            concurrency=concurrency,
        )
        self._builder = RequestBuilder(
            resources=resources, idempotency_header=idempotency_header, conditional_write=conditional_write
        )
        self._credentials = None if credentials is None else kept_credentials(credentials)
        self._batch = batch
        self._bulk = None if batch is None else batch.bulk(self._builder.build, self._outcome)

    async def execute(self, batch: Batch) -> Reply:
        """Carry the operations out, in one call or one call each; outcomes by id, and what was told of quotas.

        Without a batch endpoint it raises nothing for a call that fails.
        """
        try:
            bulk = self._bulk_for(batch)
        except InvalidOperation as error:
            refused = Rejected(str(error), code=type(error).__name__)
            return Reply(batch.all_as(refused))
        if bulk is not None:
            return await self.send_bulk(batch, bulk)
        outcomes: dict[str, Outcome] = {}
        feedback = NO_FEEDBACK
        for operation in batch.operations:
            outcomes[operation.id or ""], told = await self._carry_out(operation)
            feedback = join_feedback(feedback, told)
        return Reply(outcomes, feedback)

    async def list_records(self, connection: str, resource: str, page: str | None, *, limit: int) -> RecordPage:
        """The page of the resource's ``listing`` at a position."""
        shape = self.resource(resource)
        listing = _needed(shape.listing, resource, "listing")
        return self._records(shape, await self._page(connection, resource, listing, page, listing.asking(limit)))

    async def find(self, connection: str, resource: str, path: str, values: Sequence[str]) -> RecordPage:
        """The records that the resource's ``search`` gives, or its ``listing`` with a query."""
        return self._records(self.resource(resource), await self._found(connection, resource, path, values))

    async def lookup(self, operation: Operation) -> Outcome | None:
        """Whether a create was applied, by a search for the key that it has written to the resource's ``mark_field``.

        :raises ProviderError: as for ``find``.
        """
        shape, mark = self.resource(operation.resource), mark_of(operation)
        if shape.mark_field is None:
            return Unknown("creates of this resource are not marked: name a field for it as its `mark_field`")
        found = await self._found(operation.connection, operation.resource, shape.mark_field, [mark])
        return read_marked(found.items, mark, mark_field=shape.mark_field, id_path=shape.id_path)

    async def describe(self, connection: str, resource: str) -> RemoteSchema:
        """The fields that the JSON Schema at the resource's ``schema_path`` names.

        :raises UnsupportedOperation: there is no such path.
        """
        shape = self.resource(resource)
        if shape.schema_path is None:
            raise UnsupportedOperation(f"{resource!r} has no schema_path here: say it in its Resource", path="resource")
        target = shape.schema_path.fill({"connection": connection, "resource": resource})
        body = (await self.ask(connection, target)).json()
        return read_json_schema(body if shape.schema_at is None else dig(body, shape.schema_at))

    async def pull_changes(self, connection: str, resource: str, cursor: str | None, *, limit: int) -> ChangePage:
        """The next page of the resource's ``changes``.

        :raises CursorExpired: the cursor is of no use, or so old that deletions may be missed.
        """
        shape = self.resource(resource)
        feed = _needed(shape.changes, resource, "changes")
        place = feed.read(cursor)
        query = feed.asking(limit, feed.since(place))
        found = await self._page(connection, resource, feed, place.after_id, query, can_expire=cursor is not None)
        # Once more, so that a pass that begins now begins by the provider's own clock.
        told = told_time(found.response)
        place = feed.read(cursor, told)
        feed.check_age(place, told or datetime.fromtimestamp(self._clock.now(), UTC))
        changes = tuple(feed.change(row, shape.record_in(row)) for row in found.items)
        return ChangePage(
            changes,
            feed.cursor_behind(place, found.items, found.next_position),
            has_more=found.next_position is not None,
            feedback=self.feedback(found.response),
        )

    def resource(self, name: str) -> Resource:
        """How the resource is reached.

        :raises UnsupportedOperation: it is not known.
        """
        return self._builder.resource(name)

    async def ask_together(self, connection: str, *targets: str) -> list[Response]:
        """Make several GETs in one call over the batch endpoint: their answers, in this order. All must succeed.

        :param targets: paths, each with its query if it has one; all paths different.
        :raises ProviderError: as :meth:`ask` does.
        """
        if self._batch is None:
            raise ConfigurationError(f"{self.name!r} has no batch endpoint: give batch=")
        rows = [self._batch.embed(Request("GET", target, {}, None), str(n)) for n, target in enumerate(targets)]
        keys = [self._batch.key_sent(row) for row in rows]
        told = await self.ask(connection, self._batch.path, json=self._batch.wrap(rows))
        answers = embedded_responses(told, keys, rows_path=self._batch.responses, key_of_row=self._batch.key_of)
        return [self.checked(answer) for answer in answers]

    @override
    async def send(self, connection: str, method: str, target: str, **request: Unpack[RequestOptions]) -> Response:
        if self._credentials is None:
            return await super().send(connection, method, target, **request)
        own = credential_headers(self._credentials, connection)
        request["headers"] = {**own, **(request.get("headers") or {})}
        return await super().send(connection, method, target, **request)

    def _bulk_for(self, batch: Batch) -> Bulk | None:
        """The call that takes the whole batch, if there is one."""
        rows = self.resource(batch.resource).bulk.get(batch.kind)
        if rows is None:
            return self._bulk
        return rows.bulk(batch.connection, batch.resource, self._fields, self._outcome)

    def _fields(self, operation: Operation) -> Fields:
        shape = self.resource(operation.resource)
        shape.check_id(operation)
        return shape.sent(operation)

    async def _carry_out(self, operation: Operation) -> tuple[Outcome, Feedback]:
        try:
            request = self._builder.build(operation)
            response = await self.send(
                operation.connection, request.method, request.path, json=request.json, headers=request.headers
            )
        except ProviderError as error:
            return outcome_for_error(error), NO_FEEDBACK
        except InvalidOperation as error:
            return Rejected(str(error), code=type(error).__name__), NO_FEEDBACK
        outcome, feedback = self.judge(response, operation.kind)
        try:
            return self._completed(outcome, response, operation), feedback
        except ProviderError as error:
            return outcome_for_error(error), feedback

    def _outcome(self, operation: Operation, response: Response) -> Outcome:
        return self._completed(self.judge(response, operation.kind)[0], response, operation)

    def _completed(self, outcome: Outcome, response: Response, operation: Operation) -> Outcome:
        return completed(outcome, response, operation, self.resource(operation.resource))

    async def _page(
        self,
        connection: str,
        resource: str,
        listing: Listing,
        position: str | None,
        query: Mapping[str, str],
        *,
        can_expire: bool = False,
    ) -> Page:
        target = self.resource(resource).target(listing, connection, resource)
        return await self.page(
            connection,
            target,
            listing.pager,
            position,
            params=query,
            link_header=listing.link_header,
            can_expire=can_expire,
        )

    async def _found(self, connection: str, resource: str, path: str, values: Sequence[str]) -> Page:
        """The one page of what a search finds."""
        search = _needed(self.resource(resource).finding, resource, "search")
        if search.query is None:
            raise UnsupportedOperation(f"{resource!r} cannot be searched: its listing has no query", path="resource")
        found = await self._page(connection, resource, search, None, search.asking(None, search.query(path, values)))
        if found.next_position is not None:
            raise InvalidResponse("more records are found than a page takes: search for fewer values at a time")
        return found

    def _records(self, shape: Resource, found: Page) -> RecordPage:
        records = tuple(shape.record_in(row) for row in found.items)
        return RecordPage(records, found.next_position, self.feedback(found.response))


def _needed(call: ListingT | None, resource: str, name: str) -> ListingT:
    if call is None:
        raise UnsupportedOperation(f"{resource!r} has no {name} here: say it in its Resource", path="resource")
    return call
