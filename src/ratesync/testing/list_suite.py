"""The conformance suite of listings: each sentence of :class:`ratesync.protocols.ListsRecords` as a test."""

from __future__ import annotations

import inspect

import anyio
import pytest

from ratesync.model.change import RecordPage
from ratesync.model.record import Record
from ratesync.protocols import ListsRecords, ProviderClient
from ratesync.testing.faulty_transport import FaultyTransport
from ratesync.testing.reading_suite import MOST_PAGES, PATIENCE, ReadingSuite, fails_in_every_trouble
from ratesync.testing.records_there import RecordsThere
from ratesync.testing.trouble_suite import ProviderOver

_RECORDS = 5
_LIMIT = 2


class ListSuite(ReadingSuite):
    """Subclass it and give the fixtures of :class:`~ratesync.testing.reading_suite.ReadingSuite`."""

    async def test_it_lists(self, provider: ProviderClient) -> None:
        assert isinstance(provider, ListsRecords)
        assert inspect.iscoroutinefunction(provider.list_records)

    async def test_every_record_is_on_a_page(self, provider: ListsRecords, there: RecordsThere) -> None:
        made = [await there.put() for _ in range(_RECORDS)]
        listed = {record.record_id: record for record in await _list_all(provider, there)}
        assert listed.keys() == {record.record_id for record in made}
        for record in made:
            fields = listed[record.record_id].fields
            assert {name: fields.get(name) for name in record.fields} == record.fields

    async def test_an_empty_resource_has_an_empty_listing(self, provider: ListsRecords, there: RecordsThere) -> None:
        assert await _list_all(provider, there) == []

    async def test_a_record_that_is_there_all_the_time_is_listed_whatever_others_do(
        self, provider: ListsRecords, there: RecordsThere
    ) -> None:
        """Records come, change and go between the pages."""
        stay = [(await there.put()).record_id for _ in range(_RECORDS + 2)]
        found: list[str] = []
        position: str | None = None
        for page in range(MOST_PAGES):
            told = await _list(provider, there, position)
            found += [record.record_id for record in told.records]
            position = told.next_page
            if position is None:
                break
            if page == 0:
                # Two of the first page, and one comes below: who counts records then skips one that is there.
                for doomed in [each for each in found if each in stay][:2]:
                    await there.delete(doomed)
                    stay.remove(doomed)
            if page < len(stay):
                await there.change(stay[page])
                await there.put()
        else:
            pytest.fail("the listing has no end")
        assert set(stay) <= set(found)

    async def test_a_page_can_be_had_again(self, provider: ListsRecords, there: RecordsThere) -> None:
        for _ in range(_RECORDS):
            await there.put()
        first = await _list(provider, there, None)
        if first.next_page is None:
            pytest.skip("the provider's pages are larger than this test's listing")
        second, again = [await _list(provider, there, first.next_page) for _ in range(2)]
        assert [record.record_id for record in second.records] == [record.record_id for record in again.records]

    async def test_a_page_that_fails_is_an_error(
        self, provider_over: ProviderOver, there: RecordsThere, faulty: FaultyTransport
    ) -> None:
        adapter = provider_over(faulty)
        assert isinstance(adapter, ListsRecords)
        made = await there.put()
        await fails_in_every_trouble(lambda: _list(adapter, there, None), faulty)
        assert {record.record_id for record in await _list_all(adapter, there)} == {made.record_id}

    async def test_a_cancelled_listing_ends_at_once(self, provider: ListsRecords, there: RecordsThere) -> None:
        with anyio.fail_after(PATIENCE), anyio.CancelScope() as scope:
            scope.cancel()
            await _list(provider, there, None)
        assert scope.cancelled_caught


async def _list(provider: ListsRecords, there: RecordsThere, position: str | None) -> RecordPage:
    page = await provider.list_records(there.connection, there.resource, position, limit=_LIMIT)
    assert isinstance(page, RecordPage)
    return page


async def _list_all(provider: ListsRecords, there: RecordsThere) -> list[Record]:
    records: list[Record] = []
    position: str | None = None
    for _ in range(MOST_PAGES):
        page = await _list(provider, there, position)
        records += page.records
        position = page.next_page
        if position is None:
            return records
    pytest.fail("the listing has no end")
