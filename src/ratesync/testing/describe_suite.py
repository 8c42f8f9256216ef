"""The conformance suite of descriptions: each sentence of :class:`ratesync.protocols.DescribesResources` as a test."""

from __future__ import annotations

import inspect

import anyio

from ratesync.model.schema import RemoteField, RemoteSchema
from ratesync.protocols import DescribesResources, ProviderClient
from ratesync.testing.faulty_transport import FaultyTransport
from ratesync.testing.reading_suite import PATIENCE, ReadingSuite, fails_in_every_trouble
from ratesync.testing.records_there import RecordsThere
from ratesync.testing.trouble_suite import ProviderOver


class DescribeSuite(ReadingSuite):
    """Subclass it and give the fixtures of :class:`~ratesync.testing.reading_suite.ReadingSuite`, and ``described``.

    ``described`` is a field, by its path, that the resource's description surely has.
    """

    async def test_it_describes(self, provider: ProviderClient) -> None:
        assert isinstance(provider, DescribesResources)
        assert inspect.iscoroutinefunction(provider.describe)

    async def test_a_resource_has_its_fields(
        self, provider: DescribesResources, there: RecordsThere, described: str
    ) -> None:
        schema = await provider.describe(there.connection, there.resource)
        assert isinstance(schema, RemoteSchema)
        assert described in schema.fields
        assert all(isinstance(path, str) and isinstance(field, RemoteField) for path, field in schema.fields.items())
        assert schema.fields[described].type, "a field has a type, in the provider's words"

    async def test_it_is_the_same_until_somebody_changes_it(
        self, provider: DescribesResources, there: RecordsThere
    ) -> None:
        before = await provider.describe(there.connection, there.resource)
        await there.put()
        assert await provider.describe(there.connection, there.resource) == before

    async def test_a_description_that_fails_is_an_error(
        self, provider_over: ProviderOver, there: RecordsThere, faulty: FaultyTransport
    ) -> None:
        adapter = provider_over(faulty)
        assert isinstance(adapter, DescribesResources)
        before = await adapter.describe(there.connection, there.resource)
        await fails_in_every_trouble(lambda: adapter.describe(there.connection, there.resource), faulty)
        assert await adapter.describe(there.connection, there.resource) == before

    async def test_a_cancelled_description_ends_at_once(
        self, provider: DescribesResources, there: RecordsThere
    ) -> None:
        with anyio.fail_after(PATIENCE), anyio.CancelScope() as scope:
            scope.cancel()
            await provider.describe(there.connection, there.resource)
        assert scope.cancelled_caught
