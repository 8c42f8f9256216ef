"""The suites of trouble and of reading, before a faithful HubSpot without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from attrs import evolve

from ratesync.http import Account as Credentials
from ratesync.http import Bearer
from ratesync.model.operation import Kind
from ratesync.providers.hubspot import HubSpotProvider
from ratesync.testing.describe_suite import DescribeSuite
from ratesync.testing.find_suite import FindSuite
from ratesync.testing.list_suite import ListSuite
from ratesync.testing.provider_calls import Sample
from ratesync.testing.pull_suite import PullSuite
from ratesync.testing.records_there import WrittenThere
from ratesync.testing.trouble_suite import ProviderOver, TroubleSuite
from tests.providers.hubspot.sampling import sampler
from tests.providers.hubspot.world import OBJECTS, provider_of
from tests.servers import hubspot_server
from tests.servers.hubspot_server import HubSpot


@pytest.fixture
def hubspot() -> HubSpot:
    return HubSpot()


@pytest.fixture
async def provider(hubspot: HubSpot) -> AsyncIterator[HubSpotProvider]:
    async with provider_of(hubspot, objects=OBJECTS) as provider:
        yield provider


@pytest.fixture
def sample(hubspot: HubSpot) -> Sample:
    return sampler(hubspot)


@pytest.fixture
def provider_over(hubspot: HubSpot) -> ProviderOver:
    def over(transport: httpx.AsyncBaseTransport) -> HubSpotProvider:
        accounts = Credentials(Bearer(hubspot.token))
        return HubSpotProvider(accounts, objects=OBJECTS, transport=transport, timeout=0.3, max_response_bytes=200_000)

    return over


@pytest.fixture
def there(provider: HubSpotProvider, sample: Sample) -> WrittenThere:
    return WrittenThere(provider, sample, "default", "cars")


@pytest.fixture
def find_path() -> str:
    return "properties.plate"


@pytest.fixture
def described() -> str:
    return "properties.maker"


class Before:
    """The transport that leads to the HubSpot of the test."""

    @pytest.fixture
    def transport(self, hubspot: HubSpot) -> httpx.AsyncBaseTransport:
        return hubspot_server.transport(hubspot)


class TestHubSpotInTrouble(Before, TroubleSuite):
    @pytest.fixture
    async def provider(self, hubspot: HubSpot) -> AsyncIterator[HubSpotProvider]:
        """All that is answered with a row for each record: a batch of deletes is answered with nothing."""
        async with provider_of(hubspot, objects=OBJECTS) as provider:
            kinds = provider.capabilities.kinds - {Kind.DELETE}
            provider.capabilities = evolve(provider.capabilities, kinds=kinds)
            yield provider


class TestHubSpotInTroubleOneByOne(Before, TroubleSuite):
    @pytest.fixture
    async def provider(self, hubspot: HubSpot) -> AsyncIterator[HubSpotProvider]:
        async with provider_of(hubspot, objects=OBJECTS) as provider:
            provider.capabilities = evolve(provider.capabilities, batch_max=1)
            yield provider


class TestPulls(Before, PullSuite):
    pass


class TestLists(Before, ListSuite):
    pass


class TestFinds(Before, FindSuite):
    pass


class TestDescribes(Before, DescribeSuite):
    pass
