"""The conformance suites of adapters, before a faithful Salesforce and before troubles."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import count
from typing import ClassVar

import httpx
import pytest

from ratesync.http import Account, Bearer
from ratesync.model.operation import Kind, Operation
from ratesync.providers.salesforce import SalesforceProvider
from ratesync.testing.describe_suite import DescribeSuite
from ratesync.testing.find_suite import FindSuite
from ratesync.testing.list_suite import ListSuite
from ratesync.testing.provider_calls import Sample, applied
from ratesync.testing.provider_suite import ProviderSuite
from ratesync.testing.pull_suite import PullSuite
from ratesync.testing.records_there import RecordsThere, WrittenThere
from ratesync.testing.trouble_suite import ProviderOver, TroubleSuite
from tests.providers.salesforce.world import OBJECTS, URL, operation, provider_of
from tests.servers.salesforce_server import Salesforce, SalesforceServer, transport

NUMBERS = count(1)


def sample_of(salesforce: Salesforce) -> Sample:
    async def make(kind: Kind) -> Operation:
        number = next(NUMBERS)
        record_id = None
        if kind in {Kind.READ, Kind.UPDATE, Kind.DELETE}:
            (record_id,) = salesforce.org.seed("Contact", 1, LastName=f"Seed {number}", Title="Countess")
        named = {"LastName": f"Lovelace {number}", "Email": f"c{number}@example.org"}
        if kind is Kind.CREATE:
            named["Customer_No__c"] = f"N{number}"
        return Operation(
            provider="salesforce",
            resource="contacts",
            kind=kind,
            record_id=f"Customer_No__c/Kd {number}/ä" if kind is Kind.UPSERT else record_id,
            fields={} if kind in {Kind.READ, Kind.DELETE} else named,
            id=f"o{number}",
            idempotency_key=f"o{number}",
        )

    return make


def refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def lose(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("reset", request=request)


def fail(_: httpx.Request) -> httpx.Response:
    return httpx.Response(500)


def intrude(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, html="<p>Please log in to the hotel's network.</p>")


def miss(_: httpx.Request) -> httpx.Response:
    error = {"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}
    return httpx.Response(404, json=[error])


def say_nothing(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json=[])


def confuse(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json=[{"success": True}, 7, None])


def answer_nothing(_: httpx.Request) -> httpx.Response:
    return httpx.Response(202)


@pytest.fixture(scope="module")
def server() -> Iterator[SalesforceServer]:
    with SalesforceServer() as server:
        yield server


class TestSalesforceProvider(ProviderSuite):
    @pytest.fixture
    async def provider(self, server: SalesforceServer) -> AsyncIterator[SalesforceProvider]:
        account = Account(Bearer(server.salesforce.token), base_url=server.url)
        async with SalesforceProvider(account, objects=OBJECTS) as provider:
            yield provider

    @pytest.fixture
    def sample(self, server: SalesforceServer) -> Sample:
        return sample_of(server.salesforce)

    @pytest.fixture(params=[refuse, lose, fail, intrude, miss, say_nothing, confuse, answer_nothing])
    def provider_in_trouble(self, request: pytest.FixtureRequest) -> SalesforceProvider:
        transport = httpx.MockTransport(request.param)
        return SalesforceProvider(Account(Bearer("t"), base_url=URL), objects=OBJECTS, transport=transport)


class InMemory:
    """An org of its own for each test, without a socket."""

    @pytest.fixture
    def salesforce(self) -> Salesforce:
        return Salesforce()

    @pytest.fixture
    def transport(self, salesforce: Salesforce) -> httpx.AsyncBaseTransport:
        return transport(salesforce)

    @pytest.fixture
    async def provider(self, salesforce: Salesforce) -> AsyncIterator[SalesforceProvider]:
        async with provider_of(salesforce) as provider:
            yield provider

    @pytest.fixture
    def sample(self, salesforce: Salesforce) -> Sample:
        return sample_of(salesforce)

    @pytest.fixture
    def provider_over(self, salesforce: Salesforce) -> ProviderOver:
        return lambda faulty: provider_of(salesforce, transport=faulty, timeout=0.3, max_response_bytes=200_000)

    @pytest.fixture
    def there(self, provider: SalesforceProvider, sample: Sample) -> RecordsThere:
        return _There(provider, sample, "default", "contacts")

    @pytest.fixture
    def find_path(self) -> str:
        return "Email"

    @pytest.fixture
    def described(self) -> str:
        return "LastName"


class _There(WrittenThere):
    """The records of a test. Samples seed some of their own, so updates and deletes are made by hand."""

    async def change(self, record_id: str) -> None:
        operation = await self.sample(Kind.CREATE)
        await self._apply(Kind.UPDATE, record_id, {"LastName": operation.fields["LastName"]})

    async def delete(self, record_id: str) -> None:
        await self._apply(Kind.DELETE, record_id, {})

    async def _apply(self, kind: Kind, record_id: str, fields: dict[str, object]) -> None:
        await applied(self.provider, operation(kind, self.resource, record_id, **fields))


class TestInTrouble(InMemory, TroubleSuite):
    known_failures: ClassVar[Mapping[str, str]] = {
        "test_a_new_id_is_told_to_whom_it_belongs": "the rows of a collection have nothing but their order",
    }


class TestPull(InMemory, PullSuite):
    pass


class TestList(InMemory, ListSuite):
    pass


class TestFind(InMemory, FindSuite):
    pass


class TestDescribe(InMemory, DescribeSuite):
    pass
