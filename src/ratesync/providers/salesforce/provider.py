"""The adapter for Salesforce."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Unpack

from typing_extensions import override

from ratesync.errors import ConfigurationError, CursorExpired, ProviderError, UnsupportedOperation
from ratesync.http.accounts import Accounts
from ratesync.http.throttle_readers import salesforce_throttle
from ratesync.model.batch import Batch, Capabilities, CreateIdentity, DeleteFeed, Reply
from ratesync.model.change import ChangePage, RecordPage
from ratesync.model.inquiry import Inquiry
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Outcome, Rejected
from ratesync.model.quota import CALLS
from ratesync.model.schema import RemoteSchema
from ratesync.providers.account_provider import AccountOptions, AccountProvider
from ratesync.providers.client import Client
from ratesync.providers.lag import checked_lag
from ratesync.providers.salesforce.answer import refusal
from ratesync.providers.salesforce.changes import ask, read_page
from ratesync.providers.salesforce.execution import Execution
from ratesync.providers.salesforce.finding import find_records, list_page, look_up
from ratesync.providers.salesforce.requests import BATCH_MAX, COMPOSITE_MAX, description
from ratesync.providers.salesforce.schema import read_schema
from ratesync.providers.salesforce.sobject import OBJECTS, SObject, is_name
from ratesync.rules.provider_errors import outcome_for_error
from ratesync.rules.time_cursor import TimeCursor

API_VERSION = "65.0"
LAG = 600.0
"""Seconds until a change surely shows: ten minutes is the longest that a transaction of Salesforce's may take, and a
record is stamped before its end."""

BIN_KEPT = 14 * 86_400.0
"""Seconds for which Salesforce tells of a deleted record: the recycle bin keeps it for 15 days, less a day."""

_VERSION = re.compile(r"[1-9]\d{1,2}\.0")
_OLDEST = 51


class SalesforceProvider(AccountProvider):
    """Speaks to Salesforce orgs over the REST API: contacts, accounts, opportunities, and any other object.

    ::

        org = Account(OAuth2(keeper), base_url="https://acme.my.salesforce.com")
        async with SalesforceProvider({"acme": org}) as salesforce:
            ...  # SyncEngine(providers=[salesforce], quotas={"salesforce": default_quotas("enterprise")}, ...)

    Records are as Salesforce shows them, without ``attributes``. Up to 200 operations of a kind go in one call, each by
    itself; where Salesforce refuses the whole call for some, those are found by halves. A record is named by its id
    (``003...``). Upserts name it by the external id of its type, as in ``Customer_No__c/42``, and reads may.

    Writes cannot be conditional: Salesforce compares versions (``If-Match``) for accounts alone, one at a time, and not
    for deletes.

    Leave the provider after the engine that uses it: it then closes its connections.

    :param accounts: how to call for each connection: with the org's own address (``instance_url``) as ``base_url``.
    :param name: the provider's name, as operations give it.
    :param objects: what is to be known of record types, by the names that operations give them. What is not named is as
        in :data:`OBJECTS`; other types are read with all their fields, and cannot be upserted.
    :param version: of the API, 51.0 or newer. Default "65.0".
    :param base_url: of accounts that name none.
    :param lag: seconds until a change surely shows. Default 600, Salesforce's longest transaction. Each pass through
        the changes begins that much before the last one began, and a create whose answer was lost is looked up as late.
    :param batch_max: most operations in a call. Default 200, which is Salesforce's bound. Give fewer where the org's
        triggers and flows take long: a call that is not answered in time leaves all of its creates in doubt.
    :param concurrency: calls at once for each connection. Default 10.
    :param options: as for :class:`~ratesync.providers.AccountProvider`, such as
        ``headers={"Sforce-Duplicate-Rule-Header": "allowSave=true"}``.
    :raises ConfigurationError: something of it cannot be used.
    """

    def __init__(
        self,
        accounts: Accounts,
        *,
        name: str = "salesforce",
        objects: Mapping[str, SObject] | None = None,
        version: str = API_VERSION,
        base_url: str | None = None,
        lag: float = LAG,
        batch_max: int = BATCH_MAX,
        concurrency: int | None = 10,
        **options: Unpack[AccountOptions],
    ) -> None:
        self._objects = {**OBJECTS, **(objects or {})}
        _check(self._objects, version, batch_max)
        super().__init__(name, base_url, accounts, **options)
        self._lag = checked_lag(lag)
        self.capabilities = _capabilities(self._objects.values(), lag, batch_max, concurrency)
        self._root = f"/services/data/v{version}"

    async def execute(self, batch: Batch) -> Reply:
        """Carry the operations out; outcomes by operation id, and what the answers told of quotas.

        Raises nothing for a call that fails.
        """
        described = self._object(batch.resource)
        name = described.name or batch.resource
        if not is_name(name):
            return Reply(batch.all_as(Rejected(f"{batch.resource!r} is no object at Salesforce", code="no_resource")))
        try:
            client = self._client(batch.connection)
            outcomes = await Execution(client, name, described).run(batch)
        except ProviderError as error:
            return Reply(batch.all_as(outcome_for_error(error)))
        return Reply(outcomes, client.feedback)

    async def lookup(self, operation: Operation) -> Outcome | None:
        """Whether a create was applied, by its value of the external id.

        ``Unknown`` where it has none, ``Conflict`` where the record with that value has other values than it wrote.

        :raises ProviderError: as for ``execute``.
        """
        name, described = self._known(operation.resource)
        return await look_up(self._client(operation.connection), name, described, operation)

    def charge(self, resource: str, kind: Kind | Inquiry, size: int) -> Mapping[str, int]:
        """What a call costs at most: of reads by value of the external id 25 go together, and those by id apart."""
        several = kind is Kind.READ and size > 1 and self._object(resource).external_id is not None
        return {CALLS: 1 + -(-(size - 1) // COMPOSITE_MAX)} if several else {}

    async def pull_changes(self, connection: str, resource: str, cursor: str | None, *, limit: int) -> ChangePage:
        """The next page of changes and deletions. A pass begins anew a little before the last one began.

        Deleted records are told for as long as they are in the recycle bin, which is 15 days.

        :param limit: most changes on the page; at most 2,000, of types whose fields are not named 200.
        :raises CursorExpired: it is none of ours, or so old that deletions may be missed.
        :raises PagingBroken: Salesforce did not keep the order.
        """
        name, described = self._known(resource)
        position = TimeCursor.read(cursor, datetime.fromtimestamp(self._clock.now(), UTC))
        client = self._client(connection)
        body = await client.read(ask(name, described, position, limit=limit))
        answered_at = datetime.fromtimestamp(client.answered_at, UTC)
        position = TimeCursor.read(cursor, answered_at)
        if described.tombstones and position.is_older_than(BIN_KEPT, answered_at):
            raise CursorExpired("Salesforce has forgotten some deletions since that pull: list all records anew")
        page = read_page(body, described, position, limit=limit, lag=self._lag)
        return ChangePage(page.changes, page.cursor, page.has_more, client.feedback)

    async def list_records(self, connection: str, resource: str, page: str | None, *, limit: int) -> RecordPage:
        """The page of all live records at a position, in the order of their ids.

        :param limit: most records on the page; at most 2,000, of types whose fields are not named 200.
        """
        name, described = self._known(resource)
        return await list_page(self._client(connection), name, described, page, limit=limit)

    async def find(self, connection: str, resource: str, path: str, values: Sequence[str]) -> RecordPage:
        """The records that have one of the values at a field of text (``Email``) or at ``Id``.

        :raises UnsupportedOperation: the path is no field's name, or the values are too long for one query.
        :raises InvalidResponse: a page cannot hold them all, or the field is none of text.
        """
        name, described = self._known(resource)
        return await find_records(self._client(connection), name, described, path, values)

    async def describe(self, connection: str, resource: str) -> RemoteSchema:
        """The fields of the record type, the org's own included, as far as they are shown to this user."""
        name, _ = self._known(resource)
        return read_schema(await self._client(connection).read(description(name)))

    @override
    def __repr__(self) -> str:
        return f"SalesforceProvider({self.name!r}, {sorted(self._objects)})"

    def _client(self, connection: str) -> Client:
        return Client(self.caller(connection), self._clock, salesforce_throttle, refusal, self._path)

    def _path(self, path: str) -> str:
        return self._root + path

    def _object(self, resource: str) -> SObject:
        return self._objects.get(resource) or SObject()

    def _known(self, resource: str) -> tuple[str, SObject]:
        described = self._object(resource)
        name = described.name or resource
        if not is_name(name):
            raise UnsupportedOperation(f"{resource!r} is no object at Salesforce", path="resource")
        return name, described


def _check(objects: Mapping[str, SObject], version: str, batch_max: int) -> None:
    for resource, described in objects.items():
        if described.name is None and not is_name(resource):
            raise ConfigurationError(f"{resource!r} is no name of an object at Salesforce: give SObject(name=...)")
    if not _VERSION.fullmatch(version) or float(version) < _OLDEST:
        raise ConfigurationError(f"{version!r} is no version of Salesforce's API that is spoken here: 51.0 or newer")
    if not 1 <= batch_max <= BATCH_MAX:
        raise ConfigurationError(f"batch_max must be from 1 to {BATCH_MAX}")


def _capabilities(objects: Iterable[SObject], lag: float, batch_max: int, concurrency: int | None) -> Capabilities:
    objects = tuple(objects)
    has_external = any(described.external_id is not None for described in objects)
    has_tombstones = all(described.tombstones for described in objects)
    return Capabilities(
        kinds=frozenset(Kind) if has_external else frozenset(Kind) - {Kind.UPSERT},
        batch_max=batch_max,
        create_identity=CreateIdentity.LOOKUP if has_external else CreateIdentity.NONE,
        concurrency=concurrency,
        lookup_after=lag,
        deletes=DeleteFeed.TOMBSTONES if has_tombstones else DeleteFeed.LISTING,
    )
