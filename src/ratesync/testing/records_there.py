"""Records at a provider, made and changed by the test while an adapter reads them."""

from __future__ import annotations

from typing import Protocol

from attrs import define, evolve

from ratesync.model.operation import Kind
from ratesync.model.record import Record
from ratesync.protocols import ProviderClient
from ratesync.testing.provider_calls import Sample, applied, same_record


class RecordsThere(Protocol):
    """What a test of reading needs of the provider. Everything happens in one resource, which begins empty."""

    @property
    def connection(self) -> str:
        """The connection to read as."""
        ...

    @property
    def resource(self) -> str:
        """The resource to read."""
        ...

    async def put(self) -> Record:
        """Make a record and give it back, with fields by which it could be found: no two have a field in common."""
        ...

    async def change(self, record_id: str) -> None:
        """Change a field of a record, any."""
        ...

    async def delete(self, record_id: str) -> None:
        """Delete a record."""
        ...


@define
class WrittenThere:
    """Records written through an adapter that can create, update and delete."""

    provider: ProviderClient
    sample: Sample
    """As for :class:`~ratesync.testing.provider_suite.ProviderSuite`; its creates have fields that differ."""
    connection: str
    resource: str

    async def put(self) -> Record:
        """Create a record."""
        operation = await self.sample(Kind.CREATE)
        done = await applied(self.provider, operation)
        return Record(done.record_id or operation.record_id or "", operation.fields, done.version)

    async def change(self, record_id: str) -> None:
        """Update a record with the fields of another sample."""
        update = await self.sample(Kind.UPDATE)
        await applied(self.provider, evolve(same_record(update, Kind.UPDATE, record_id), fields=update.fields))

    async def delete(self, record_id: str) -> None:
        """Delete a record."""
        await applied(self.provider, same_record(await self.sample(Kind.DELETE), Kind.DELETE, record_id))
