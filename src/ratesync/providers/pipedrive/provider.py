"""The adapter for Pipedrive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Unpack

from typing_extensions import override

from ratesync.errors import ConfigurationError, UnsupportedOperation
from ratesync.http.accounts import Accounts
from ratesync.http.caller import DEFAULT_TIMEOUT
from ratesync.model.batch import Batch, Capabilities, CreateIdentity, DeleteFeed, Reply
from ratesync.model.change import ChangePage, RecordPage
from ratesync.model.inquiry import Inquiry
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Outcome, Rejected
from ratesync.model.schema import RemoteSchema
from ratesync.providers.account_provider import AccountOptions, AccountProvider
from ratesync.providers.lag import checked_lag
from ratesync.providers.pipedrive import charge
from ratesync.providers.pipedrive.account import API_URL
from ratesync.providers.pipedrive.client import Client
from ratesync.providers.pipedrive.feeds import Feeds
from ratesync.providers.pipedrive.finding import find_records, look_up, read_fields
from ratesync.providers.pipedrive.reads import MOST_IDS, read_many
from ratesync.providers.pipedrive.resource import RESOURCES, PipedriveResource
from ratesync.providers.pipedrive.writes import carry_out

LAG = 60.0
"""Seconds after which listings and searches surely show a change. Pipedrive names none; this is what others allow
for."""
_CONCURRENCY = 4


class PipedriveProvider(AccountProvider):
    """Speaks to Pipedrive: persons, organizations, deals, and what ``resources`` adds.

    ::

        async with PipedriveProvider(token_account(os.environ["PIPEDRIVE_TOKEN"], "acme")) as pipedrive:
            ...  # SyncEngine(providers=[pipedrive], quotas={"pipedrive": default_quotas(Plan.GROWTH, seats=5)})

    Records are those of version 2 of the API, as :mod:`ratesync.mapping.ready.pipedrive` maps them. Their version is a
    digest of what they hold: Pipedrive has none, and no condition on a write either. More than ten reads go together in
    one request, which takes as many tokens as ten; fewer go one after the other. Each write is a call of its own.

    What its capabilities say:

    * ``create_identity`` is LOOKUP if ``identity_fields`` names a custom field for each resource: every create writes
      its idempotency key there, by which it is found again. Else NONE: Pipedrive takes the same record twice.
    * ``deletes`` is TOMBSTONES if every resource tells what was deleted, as deals alone do: make a provider of its own
      for them if you want to know without listing. Else LISTING.

    :param accounts: one for all connections, or each by its name, or a function from the name to it
        (:func:`token_account`, :func:`app_account`).
    :param name: the provider's name, as operations give it.
    :param resources: by the name that operations give. Default: ``persons``, ``organizations`` and ``deals``.
    :param identity_fields: by the resource's name the key of a text field of the account's own.
    :param base_url: of accounts that name none. Default: the address that serves every company.
    :param lag: seconds after which listings and searches surely show a change. Default 60.
    :param concurrency: calls at once for each connection. Default 4.
    :param options: as for :class:`~ratesync.providers.AccountProvider`.
    :raises ConfigurationError: something of it cannot be used.
    """

    def __init__(
        self,
        accounts: Accounts,
        *,
        name: str = "pipedrive",
        resources: Mapping[str, PipedriveResource] = RESOURCES,
        identity_fields: Mapping[str, str] | None = None,
        base_url: str = API_URL,
        lag: float = LAG,
        concurrency: int | None = _CONCURRENCY,
        **options: Unpack[AccountOptions],
    ) -> None:
        self._keys = dict(identity_fields or {})
        if not resources or self._keys.keys() - resources.keys():
            raise ConfigurationError("resources must not be empty, and identity_fields are of some of them")
        self._lag = checked_lag(lag)
        self._resources = dict(resources)
        tells_all = all(resource.tells_deleted for resource in resources.values())
        marks_all = self._keys.keys() == self._resources.keys()
        super().__init__(name, base_url, accounts, **options)
        self.capabilities = Capabilities(
            kinds={Kind.CREATE, Kind.READ, Kind.UPDATE, Kind.DELETE},
            batch_max={Kind.READ: MOST_IDS},
            create_identity=CreateIdentity.LOOKUP if marks_all else CreateIdentity.NONE,
            concurrency=concurrency,
            lookup_after=lag,
            deletes=DeleteFeed.TOMBSTONES if tells_all else DeleteFeed.LISTING,
        )
        self._patience = (
            options.get("timeout", DEFAULT_TIMEOUT) / 2
        )  # a request that begins then ends within one and a half timeouts

    async def execute(self, batch: Batch) -> Reply:
        """Carry the operations out; outcomes by operation id, what the answers told of quotas and what they cost.

        :raises ProviderError: there is no account for the connection, or many reads in one request failed together.
        """
        try:
            resource = self._resource(batch.resource)
        except UnsupportedOperation as error:
            refused = Rejected(str(error), code=type(error).__name__)
            return Reply(batch.all_as(refused))
        client, key = self._client(batch.connection), self._keys.get(batch.resource)
        if charge.is_joined(resource, batch.kind, len(batch.operations)):
            outcomes = await read_many(client, resource, batch.operations, key)
        else:
            outcomes = await carry_out(client, resource, batch.operations, key, self._patience)
        return Reply(outcomes, client.feedback)

    async def lookup(self, operation: Operation) -> Outcome | None:
        """Whether a create was applied: among the newest records first, as searches lag, and then by a search.

        :raises ProviderError: as for ``execute``.
        """
        resource, key = self._resource(operation.resource), self._keys.get(operation.resource)
        return await look_up(self._client(operation.connection), resource, operation, key)

    async def pull_changes(self, connection: str, resource: str, cursor: str | None, *, limit: int) -> ChangePage:
        """The next page of changes. A pass goes through the live records, the archived and the deleted ones.

        :param limit: most changes on the page; at most 500.
        :raises CursorExpired: the cursor is of no use, or so old that deletions may be missed.
        :raises UnsupportedOperation: Pipedrive does not list that record type by time of change.
        """
        return await self._feeds(connection, resource, limit).changes(cursor)

    async def list_records(self, connection: str, resource: str, page: str | None, *, limit: int) -> RecordPage:
        """The page of all records at a position, archived ones too. A record may come twice.

        :param limit: most records on the page; at most 500.
        """
        return await self._feeds(connection, resource, limit).records(page)

    async def find(self, connection: str, resource: str, path: str, values: Sequence[str]) -> RecordPage:
        """The records with one of the values: a search for each, and then a read of what was found. At most 100.

        :raises UnsupportedOperation: Pipedrive does not search there, or for more than 10 values.
        :raises InvalidResponse: there are more than 100.
        """
        described, key = self._resource(resource), self._keys.get(resource)
        return await find_records(self._client(connection), described, path, values, key)

    async def describe(self, connection: str, resource: str) -> RemoteSchema:
        """The fields, those of the account's own included. Takes as many requests as there are 500 fields.

        :raises UnsupportedOperation: Pipedrive does not describe that record type.
        """
        return await read_fields(self._client(connection), self._resource(resource))

    def charge(self, resource: str, kind: Kind | Inquiry, size: int) -> Mapping[str, int]:
        """Requests, tokens and searches that a call takes at most."""
        known = self._resources.get(resource)
        return {} if known is None else charge.most(known, kind, size)

    @override
    def __repr__(self) -> str:
        return f"PipedriveProvider({self.name!r}, {sorted(self._resources)})"

    def _resource(self, name: str) -> PipedriveResource:
        try:
            return self._resources[name]
        except KeyError:
            known = ", ".join(sorted(self._resources))
            problem = f"there is no resource {name!r}, only {known}: name it in `resources`"
        raise UnsupportedOperation(problem, path="resource")

    def _client(self, connection: str) -> Client:
        return Client(self.caller(connection), self._clock)

    def _feeds(self, connection: str, resource: str, limit: int) -> Feeds:
        described = self._resource(resource)
        return Feeds(self._client(connection), described, limit, self._lag, self._keys.get(resource))
