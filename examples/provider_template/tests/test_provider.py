"""The conformance suites judge the adapter: what it does, what it reads, and what it makes of trouble."""

from __future__ import annotations

from itertools import count

import httpx
import pytest
from ratesync_tickets import TicketsProvider

from ratesync import Kind, Operation
from ratesync.http import Account, Bearer
from ratesync.testing.find_suite import FindSuite
from ratesync.testing.list_suite import ListSuite
from ratesync.testing.provider_calls import Sample, applied
from ratesync.testing.provider_suite import ProviderSuite
from ratesync.testing.pull_suite import PullSuite
from ratesync.testing.records_there import RecordsThere, WrittenThere
from ratesync.testing.trouble_suite import ProviderOver, TroubleSuite

numbers = count(1)


def adapter(transport: httpx.AsyncBaseTransport) -> TicketsProvider:
    """The adapter as somebody uses it."""
    return TicketsProvider(Account(Bearer("token")), transport=transport, max_response_bytes=100_000)


class TicketsFixtures:
    """What the suites ask for."""

    @pytest.fixture
    def transport(self, tickets: httpx.AsyncBaseTransport) -> httpx.AsyncBaseTransport:
        """Leads to Tickets. Leave it out where that is a server."""
        return tickets

    @pytest.fixture
    def provider(self, tickets: httpx.AsyncBaseTransport) -> TicketsProvider:
        """The adapter before Tickets."""
        return adapter(tickets)

    @pytest.fixture
    def provider_over(self) -> ProviderOver:
        """Makes the adapter over a transport that goes wrong."""
        return adapter

    @pytest.fixture
    def sample(self, provider: TicketsProvider) -> Sample:
        """An operation that Tickets can carry out now, each time on another record."""

        async def make(kind: Kind) -> Operation:
            name = f"t{next(numbers)}"
            fields = {"subject": f"No {name}"}
            if kind is not Kind.CREATE:
                await applied(
                    provider, Operation.create("tickets", "tickets", fields, record_id=name, id=f"new-{name}")
                )
            return Operation(
                provider="tickets",
                resource="tickets",
                kind=kind,
                record_id=name,
                fields={**fields, "priority": 1} if kind in {Kind.CREATE, Kind.UPDATE} else {},
                id=f"do-{name}",
                idempotency_key=f"do-{name}",
            )

        return make

    @pytest.fixture
    def there(self, provider: TicketsProvider, sample: Sample) -> RecordsThere:
        """Records that come, change and go while they are read."""
        return WrittenThere(provider, sample, "default", "tickets")

    @pytest.fixture
    def find_path(self) -> str:
        """A field to search by."""
        return "subject"


class TestOperations(TicketsFixtures, ProviderSuite):
    """Each kind of operation."""

    @pytest.fixture
    def provider_in_trouble(self) -> TicketsProvider:
        """The adapter before a Tickets that is down."""
        return adapter(httpx.MockTransport(lambda _: httpx.Response(500)))


class TestTrouble(TicketsFixtures, TroubleSuite):
    """Answers that get lost, late, spoilt."""


class TestChanges(TicketsFixtures, PullSuite):
    """The feed."""


class TestListing(TicketsFixtures, ListSuite):
    """The listing."""


class TestSearch(TicketsFixtures, FindSuite):
    """The search."""
