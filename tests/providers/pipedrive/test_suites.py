"""The suites of trouble and of reading, before a company without a socket: persons, and deals, which tell deletions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar

import httpx
import pytest
from attrs import evolve

from ratesync.providers.pipedrive import DEALS, PERSONS, PipedriveProvider, Prices
from ratesync.testing.describe_suite import DescribeSuite
from ratesync.testing.find_suite import FindSuite
from ratesync.testing.list_suite import ListSuite
from ratesync.testing.provider_calls import Sample
from ratesync.testing.pull_suite import PullSuite
from ratesync.testing.records_there import WrittenThere
from ratesync.testing.trouble_suite import ProviderOver, TroubleSuite
from tests.providers.pipedrive.sampling import sampler
from tests.providers.pipedrive.speaking import MARK
from tests.providers.pipedrive.speaking import provider as provider_of
from tests.servers import pipedrive_server
from tests.servers.pipedrive_company import Company


class Persons:
    """A company of its own for each test, without a socket. Creates have a mark."""

    resource = "persons"
    settings: ClassVar[Mapping[str, Any]] = {
        "resources": {"persons": PERSONS},
        "identity_fields": {"persons": MARK},
    }

    @pytest.fixture
    def company(self) -> Company:
        fields = [{"field_code": name, "field_name": name, "field_type": "varchar"} for name in ("name", "title")]
        return Company(custom={MARK}, fields=fields, search_burst=1_000)

    @pytest.fixture
    def transport(self, company: Company) -> httpx.AsyncBaseTransport:
        return pipedrive_server.transport(company)

    @pytest.fixture
    async def provider(self, company: Company) -> AsyncIterator[PipedriveProvider]:
        async with provider_of(company, **self.settings) as provider:
            yield provider

    @pytest.fixture
    def provider_over(self, company: Company) -> ProviderOver:
        return lambda faulty: provider_of(
            company, **self.settings, transport=faulty, timeout=0.3, max_response_bytes=200_000
        )

    @pytest.fixture
    def sample(self, company: Company) -> Sample:
        return sampler(company, self.resource)

    @pytest.fixture
    def there(self, provider: PipedriveProvider, sample: Sample) -> WrittenThere:
        return WrittenThere(provider, sample, "default", self.resource)

    @pytest.fixture
    def find_path(self) -> str:
        return "name"

    @pytest.fixture
    def described(self) -> str:
        return "name"


class Deals(Persons):
    """Without a mark: the record types of one adapter may differ in that."""

    resource = "deals"
    settings: ClassVar[Mapping[str, Any]] = {"resources": {"deals": DEALS}}

    @pytest.fixture
    def find_path(self) -> str:
        return "title"

    @pytest.fixture
    def described(self) -> str:
        return "title"


class TestPersonsInTrouble(Persons, TroubleSuite):
    pass


class TestDealsInTrouble(Deals, TroubleSuite):
    pass


class TestPersonsReadTogetherInTrouble(Persons, TroubleSuite):
    """Where one read takes more tokens than a listing, two go together already."""

    settings: ClassVar[Mapping[str, Any]] = {"resources": {"persons": evolve(PERSONS, prices=Prices(read=11))}}


class TestPersonsPulled(Persons, PullSuite):
    pass


class TestDealsPulled(Deals, PullSuite):
    pass


class TestPersonsListed(Persons, ListSuite):
    pass


class TestDealsListed(Deals, ListSuite):
    pass


class TestPersonsFound(Persons, FindSuite):
    pass


class TestDealsFound(Deals, FindSuite):
    pass


class TestPersonsDescribed(Persons, DescribeSuite):
    pass


class TestDealsDescribed(Deals, DescribeSuite):
    pass
