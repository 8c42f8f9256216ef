"""The adapter for HubSpot's CRM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Unpack

from attrs import evolve
from typing_extensions import override

from ratesync.errors import ConfigurationError, CursorExpired, ProviderError, UnsupportedOperation
from ratesync.http.accounts import Accounts
from ratesync.http.throttle_readers import hubspot_throttle
from ratesync.model.batch import Batch, Capabilities, CreateIdentity, DeleteFeed, Reply
from ratesync.model.change import ChangePage, RecordPage
from ratesync.model.inquiry import Inquiry
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Outcome, Rejected
from ratesync.model.quota import CALLS
from ratesync.model.schema import RemoteSchema
from ratesync.providers.account_provider import AccountOptions, AccountProvider
from ratesync.providers.client import Client
from ratesync.providers.hubspot.answer import refusal
from ratesync.providers.hubspot.changes import ask, read_page
from ratesync.providers.hubspot.execution import Execution
from ratesync.providers.hubspot.finding import MOST_CALLS, find_records, look_up
from ratesync.providers.hubspot.listing import read_listing
from ratesync.providers.hubspot.object_type import OBJECT_TYPES, ObjectType, is_name
from ratesync.providers.hubspot.position import BEGINNING, Position
from ratesync.providers.hubspot.quotas import SEARCHES
from ratesync.providers.hubspot.requests import BATCH_MAX, V3, description, is_version, listing, path_in
from ratesync.providers.hubspot.schema import read_schema
from ratesync.providers.lag import checked_lag
from ratesync.rules.provider_errors import outcome_for_error

API_URL = "https://api.hubapi.com"
ARCHIVE_KEPT = 90 * 86_400.0
"""Seconds for which HubSpot lists an archived record."""
LAG = 60.0
"""Seconds until a search surely shows a change. HubSpot says "a few moments"; users saw up to half a minute."""


class HubSpotProvider(AccountProvider):
    """Speaks to the CRM of HubSpot accounts: contacts, companies, deals, and any other type of record.

    ::

        async with HubSpotProvider({"shop": Account(Bearer("pat-eu1-..."))}) as hubspot:
            ...  # SyncEngine(providers=[hubspot], quotas={"hubspot": default_quotas("professional")}, ...)

    Records are as HubSpot shows them, and what is written is ``{"properties": {...}}``. Up to 100 operations of a kind
    go in one call; where HubSpot refuses them all for some, those are found by halves. HubSpot compares no versions, so
    writes cannot be conditional. A record is named by its id; reads can name it by its value of the unique property,
    and upserts must.

    Leave the provider after the engine that uses it: it then closes its connections.

    :param accounts: how to call for each connection: an access token as :class:`~ratesync.http.Bearer`, or
        :class:`~ratesync.http.OAuth2`.
    :param name: the provider's name, as operations give it.
    :param objects: what is to be known of record types, by the names that operations give them. What is not named is as
        in :data:`OBJECT_TYPES`, and other types are read with HubSpot's default properties.
    :param version: of the API: ``"v3"``, or a dated one such as ``"2026-03"``, where paths are other ones and nothing
        else that is used here. Default "v3".
    :param base_url: of accounts that name none.
    :param tombstones: changes tell of deleted records. Each pass then lists the archived records, all of the last 90
        days, 100 in a call; where there are many, turn it off and learn of deletions from webhooks and listings.
    :param lag: seconds until a search surely shows a change. Default 60.
    :param concurrency: calls at once for each connection. Default 10.
    :param options: as for :class:`~ratesync.providers.AccountProvider`.
    :raises ConfigurationError: something of it cannot be used.
    """

    def __init__(
        self,
        accounts: Accounts,
        *,
        name: str = "hubspot",
        objects: Mapping[str, ObjectType] | None = None,
        version: str = V3,
        base_url: str = API_URL,
        tombstones: bool = True,
        lag: float = LAG,
        concurrency: int | None = 10,
        **options: Unpack[AccountOptions],
    ) -> None:
        self._objects = {**OBJECT_TYPES, **(objects or {})}
        unusable = [resource for resource in self._objects if not is_name(resource)]
        if unusable:
            raise ConfigurationError(f"{unusable[0]!r} is no name of a resource at HubSpot")
        if not is_version(version):
            raise ConfigurationError(f"{version!r} is no version of HubSpot's API: it is 'v3', or one like '2026-03'")
        self._lag = checked_lag(lag)
        super().__init__(name, base_url, accounts, **options)
        has_unique = any(described.unique_property is not None for described in self._objects.values())
        self.capabilities = Capabilities(
            kinds=frozenset(Kind) if has_unique else frozenset(Kind) - {Kind.UPSERT},
            batch_max=BATCH_MAX,
            create_identity=CreateIdentity.LOOKUP if has_unique else CreateIdentity.NONE,
            concurrency=concurrency,
            lookup_after=lag,
            deletes=DeleteFeed.TOMBSTONES if tombstones else DeleteFeed.LISTING,
        )
        self._version = version
        self._tombstones = tombstones

    async def execute(self, batch: Batch) -> Reply:
        """Carry the operations out; outcomes by operation id, and what the answers told of quotas.

        Raises nothing for a call that fails.
        """
        if not is_name(batch.resource):
            return Reply(batch.all_as(Rejected(f"{batch.resource!r} is no record type at HubSpot", code="no_resource")))
        try:
            client = self._client(batch.connection)
            outcomes = await Execution(client, batch.resource, self._object(batch.resource)).run(batch)
        except ProviderError as error:
            return Reply(batch.all_as(outcome_for_error(error)))
        return Reply(outcomes, client.feedback)

    async def lookup(self, operation: Operation) -> Outcome | None:
        """Whether a create was applied, by its value of the unique property. It reads, and does not search.

        ``Unknown`` where it has none, ``Conflict`` where the record with that value has other values than it wrote.

        :raises ProviderError: as for ``execute``.
        """
        described = self._object(operation.resource)
        return await look_up(self._client(operation.connection), operation.resource, described, operation)

    def charge(self, resource: str, kind: Kind | Inquiry, size: int) -> Mapping[str, int]:
        """What a call costs at most.

        Many reads take two calls, if some name their record by its id and some do not. A page of changes is a search,
        and so is a ``find``, which up to two calls follow.
        """
        match kind:
            case Kind.READ if size > 1 and self._object(resource).unique_property is not None:
                return {CALLS: 2}
            case Inquiry.CHANGES:
                return {SEARCHES: 1}
            case Inquiry.FIND:
                return {CALLS: MOST_CALLS, SEARCHES: 1}
            case _:
                return {}

    async def pull_changes(self, connection: str, resource: str, cursor: str | None, *, limit: int) -> ChangePage:
        """The next page of changes, and then of deletions. A pass begins anew a little before the last one began.

        Where there are more properties to read than a search takes, the changes do not tell the fields.

        :param limit: most changes on the page; at most 200, of deletions 100.
        :raises CursorExpired: it is none of ours, or so old that deletions may be missed.
        :raises PagingBroken: HubSpot did not keep the order.
        """
        described, position = self._known(resource), Position.read(cursor)
        client = self._client(connection)
        request, is_whole = ask(resource, described, position, limit=limit)
        body = await client.read(request)
        answered_at = datetime.fromtimestamp(client.answered_at, UTC)
        position = position.begun(answered_at)
        if self._tombstones and position.is_older_than(ARCHIVE_KEPT, answered_at):
            raise CursorExpired("HubSpot has forgotten some deletions since that pass: list all records anew")
        changes, following = read_page(body, described, position, is_whole=is_whole)
        if following is not None:
            return ChangePage(tuple(changes), following.written(), has_more=True, feedback=client.feedback)
        has_archive = self._tombstones and not position.is_archive and position.from_at > BEGINNING
        following = position.in_archive(None) if has_archive else position.next_pass(self._lag)
        return ChangePage(tuple(changes), following.written(), has_more=has_archive, feedback=client.feedback)

    async def list_records(self, connection: str, resource: str, page: str | None, *, limit: int) -> RecordPage:
        """The page of all live records at a position, in the order of their ids.

        :param limit: most records on the page; at most 100.
        """
        described, client = self._known(resource), self._client(connection)
        body = await client.read(listing(resource, described, page, limit=limit))
        return evolve(read_listing(body, page), feedback=client.feedback)

    async def find(self, connection: str, resource: str, path: str, values: Sequence[str]) -> RecordPage:
        """The records that have one of the values at a property (``properties.email``) or at ``id``; at most 200.

        A search: it shows what changed ``Capabilities.lookup_after`` seconds ago. Where there are more properties to
        read than a search takes, up to two calls follow it.

        :raises UnsupportedOperation: the path is no property, or the values are too long for one search.
        :raises InvalidResponse: there are more than 200.
        """
        return await find_records(self._client(connection), resource, self._known(resource), path, values)

    async def describe(self, connection: str, resource: str) -> RemoteSchema:
        """The properties of the record type, the account's own included."""
        described = self._known(resource)
        return read_schema(await self._client(connection).read(description(resource, described)))

    @override
    def __repr__(self) -> str:
        return f"HubSpotProvider({self.name!r}, {sorted(self._objects)})"

    def _client(self, connection: str) -> Client:
        return Client(self.caller(connection), self._clock, hubspot_throttle, refusal, self._path, (SEARCHES,))

    def _path(self, path: str) -> str:
        return path_in(path, self._version)

    def _object(self, resource: str) -> ObjectType:
        return self._objects.get(resource) or ObjectType()

    def _known(self, resource: str) -> ObjectType:
        if not is_name(resource):
            raise UnsupportedOperation(f"{resource!r} is no record type at HubSpot", path="resource")
        return self._object(resource)
