"""The conformance suite of searches: each sentence of :class:`ratesync.protocols.FindsRecords` as a test."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import cast

import anyio
import pytest

from ratesync.errors import UnsupportedOperation
from ratesync.model.change import RecordPage
from ratesync.model.record import Record
from ratesync.protocols import FindsRecords, ProviderClient
from ratesync.testing.faulty_transport import FaultyTransport
from ratesync.testing.reading_suite import PATIENCE, ReadingSuite, fails_in_every_trouble
from ratesync.testing.records_there import RecordsThere
from ratesync.testing.trouble_suite import ProviderOver

_ODD = ["", "a,b", 'a"b', "a'b", "a&b=c", "a b", "100%", "é\u4e2d\U0001f600", "*", "null", "42", "a\\b", "(a)", "'; --"]


class FindSuite(ReadingSuite):
    """Subclass it and give the fixtures of :class:`~ratesync.testing.reading_suite.ReadingSuite`, and ``find_path``.

    ``find_path`` is the path of a text field that the provider can search by; what ``there.put()`` makes has a value of
    its own in it. Search must see a record at once: a provider whose index lags is made to hurry by the fixture
    ``there``.
    """

    async def test_it_finds(self, provider: ProviderClient) -> None:
        assert isinstance(provider, FindsRecords)
        assert inspect.iscoroutinefunction(provider.find)

    async def test_a_record_is_found_by_its_value(
        self, provider: FindsRecords, there: RecordsThere, find_path: str
    ) -> None:
        wanted, other = await there.put(), await there.put()
        found = await _find(provider, there, find_path, _value(wanted, find_path))
        assert [record.record_id for record in found.records] == [wanted.record_id]
        fields = found.records[0].fields
        assert {name: fields.get(name) for name in wanted.fields} == wanted.fields
        assert other.record_id != wanted.record_id

    async def test_what_is_not_there_is_not_found(
        self, provider: FindsRecords, there: RecordsThere, find_path: str
    ) -> None:
        await there.put()
        assert (await _find(provider, there, find_path, "surely-nobody")).records == ()

    async def test_several_values_find_all_that_have_one(
        self, provider: FindsRecords, there: RecordsThere, find_path: str
    ) -> None:
        made = [await there.put() for _ in range(3)]
        values = [_value(record, find_path) for record in made[:2]]
        try:
            found = await _find(provider, there, find_path, *values, "surely-nobody")
        except UnsupportedOperation:
            pytest.skip("the provider searches for one value at a time")
        assert {record.record_id for record in found.records} == {record.record_id for record in made[:2]}

    async def test_no_value_finds_what_does_not_have_it(
        self, provider: FindsRecords, there: RecordsThere, find_path: str
    ) -> None:
        """Whatever it means to a query language; UnsupportedOperation where it cannot be asked for."""
        await there.put()
        for value in _ODD:
            try:
                found = await _find(provider, there, find_path, value)
            except UnsupportedOperation:
                continue
            assert found.records == (), f"{value!r} was searched for"

    async def test_a_search_that_fails_is_an_error(
        self, provider_over: ProviderOver, there: RecordsThere, find_path: str, faulty: FaultyTransport
    ) -> None:
        adapter = provider_over(faulty)
        assert isinstance(adapter, FindsRecords)
        wanted = await there.put()
        value = _value(wanted, find_path)
        await fails_in_every_trouble(lambda: _find(adapter, there, find_path, value), faulty)
        found = await _find(adapter, there, find_path, value)
        assert [record.record_id for record in found.records] == [wanted.record_id]

    async def test_a_cancelled_search_ends_at_once(
        self, provider: FindsRecords, there: RecordsThere, find_path: str
    ) -> None:
        with anyio.fail_after(PATIENCE), anyio.CancelScope() as scope:
            scope.cancel()
            await _find(provider, there, find_path, "a")
        assert scope.cancelled_caught


async def _find(provider: FindsRecords, there: RecordsThere, path: str, *values: str) -> RecordPage:
    page = await provider.find(there.connection, there.resource, path, values)
    assert isinstance(page, RecordPage)
    assert page.next_page is None, "all that is found is on one page"
    return page


def _value(record: Record, path: str) -> str:
    value: object = record.fields
    for name in path.split("."):
        assert isinstance(value, Mapping), f"there.put() gives no field at {path!r}"
        value = cast("Mapping[str, object]", value)[name]
    assert isinstance(value, str), f"there.put() gives no text at {path!r}"
    return value
