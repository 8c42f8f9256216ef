"""The suites of reading notice the mistakes that adapters make when they pull, list, search and describe."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import httpx
import pytest
from attrs import evolve
from typing_extensions import override

from ratesync.errors import ProviderError
from ratesync.http import Account, Cursor
from ratesync.model.change import ChangePage, RecordPage
from ratesync.model.schema import RemoteField, RemoteSchema
from ratesync.providers import Feed, Listing, RestProvider, dig, equal_to
from ratesync.rules.time_cursor import TimeCursor
from ratesync.testing.describe_suite import DescribeSuite
from ratesync.testing.faulty_transport import FaultyTransport
from ratesync.testing.find_suite import FindSuite
from ratesync.testing.list_suite import ListSuite
from ratesync.testing.pull_suite import PullSuite
from ratesync.testing.records_there import WrittenThere
from tests.providers.rest_api import RestApi
from tests.testing.suite_run import fails, names_of
from tests.testing.test_trouble_suite import THINGS, sampler

pytestmark = pytest.mark.anyio

PAGES = Cursor(param="after", next_path="next", items_path="rows")
FEED = Feed(
    path="/things/changed",
    pager=PAGES,
    size_param="size",
    since_param="since",
    updated_path="updated",
    deleted_path="is_deleted",
    lag=2.0,
)
READ = evolve(THINGS, listing=Listing(pager=PAGES, size_param="size", query=equal_to), changes=FEED)


class Good(RestProvider):
    """Before a transport."""

    shape = READ

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        super().__init__(
            "acme",
            "https://api.example/v2",
            Account(),
            resources=self.shape,
            transport=transport,
            timeout=0.3,
            max_response_bytes=200_000,
        )

    async def describe(self, connection: str, resource: str) -> RemoteSchema:
        """There is always one field, and the answer tells that the API is there."""
        body = (await self.ask(connection, f"/{resource}")).json()
        assert isinstance(dig(body, "rows"), list)
        return RemoteSchema({"n": RemoteField("number")})


class Pulls(Good):
    """A mutant of one page."""

    def spoilt(self, page: ChangePage) -> ChangePage:
        return page

    @override
    async def pull_changes(self, connection: str, resource: str, cursor: str | None, *, limit: int) -> ChangePage:
        return self.spoilt(await super().pull_changes(connection, resource, cursor, limit=limit))


class KeepsDeletesToItself(Pulls):
    @override
    def spoilt(self, page: ChangePage) -> ChangePage:
        return evolve(page, changes=tuple(change for change in page.changes if not change.is_deleted))


class ReadsOnePageOnly(Pulls):
    @override
    def spoilt(self, page: ChangePage) -> ChangePage:
        return evolve(page, has_more=False)


class NeverComesToAnEnd(Pulls):
    @override
    def spoilt(self, page: ChangePage) -> ChangePage:
        return evolve(page, has_more=True)


class HasVersionsOfItsOwn(Pulls):
    @override
    def spoilt(self, page: ChangePage) -> ChangePage:
        return evolve(page, changes=tuple(evolve(each, version=f"v{each.version}") for each in page.changes))


class LeavesTiesOut(Good):
    """Goes on behind the newest instant that it has seen, as if no two changes shared one."""

    @override
    async def pull_changes(self, connection: str, resource: str, cursor: str | None, *, limit: int) -> ChangePage:
        page = await super().pull_changes(connection, resource, cursor, limit=limit)
        since, after, began = json.loads(page.cursor)
        if after is None and page.has_more:
            since = (TimeCursor.read(page.cursor, self.beginning).since + timedelta(seconds=1)).isoformat()
        return evolve(page, cursor=json.dumps([since, after, began]))

    beginning = RestApi().now


class TakesSilenceForNothing(Good):
    @override
    async def pull_changes(self, connection: str, resource: str, cursor: str | None, *, limit: int) -> ChangePage:
        try:
            return await super().pull_changes(connection, resource, cursor, limit=limit)
        except ProviderError:
            return ChangePage((), cursor or "", has_more=False)

    @override
    async def list_records(self, connection: str, resource: str, page: str | None, *, limit: int) -> RecordPage:
        try:
            return await super().list_records(connection, resource, page, limit=limit)
        except ProviderError:
            return RecordPage(())

    @override
    async def find(self, connection: str, resource: str, path: str, values: Sequence[str]) -> RecordPage:
        try:
            return await super().find(connection, resource, path, values)
        except ProviderError:
            return RecordPage(())

    @override
    async def describe(self, connection: str, resource: str) -> RemoteSchema:
        try:
            return await super().describe(connection, resource)
        except ProviderError:
            return RemoteSchema({})


class CountsRecords(Good):
    """Pages by offset through a listing in which records come and go."""

    @override
    async def list_records(self, connection: str, resource: str, page: str | None, *, limit: int) -> RecordPage:
        answer = await self.ask(connection, "/things", {"size": "100"})
        rows: list[Any] = answer.json()["rows"]
        start = int(page or 0)
        records = tuple(self.resource(resource).record_in(row) for row in rows[start : start + limit])
        return RecordPage(records, str(start + limit) if len(rows) > start + limit else None)


class ListsOnePageOnly(Good):
    @override
    async def list_records(self, connection: str, resource: str, page: str | None, *, limit: int) -> RecordPage:
        return evolve(await super().list_records(connection, resource, page, limit=limit), next_page=None)


class FindsWhatBeginsSo(Good):
    @override
    async def find(self, connection: str, resource: str, path: str, values: Sequence[str]) -> RecordPage:
        listed = await self.list_records(connection, resource, None, limit=100)
        found = [each for each in listed.records if str(each.fields.get(path, "")).startswith(tuple(values))]
        return RecordPage(tuple(found))


class FindsTheFirstValueOnly(Good):
    @override
    async def find(self, connection: str, resource: str, path: str, values: Sequence[str]) -> RecordPage:
        return await super().find(connection, resource, path, values[:1])


class FindsEverything(Good):
    @override
    async def find(self, connection: str, resource: str, path: str, values: Sequence[str]) -> RecordPage:
        return await self.list_records(connection, resource, None, limit=100)


class DescribesWhatItHasSeen(Good):
    @override
    async def describe(self, connection: str, resource: str) -> RemoteSchema:
        rows: list[Any] = (await self.ask(connection, "/things")).json()["rows"]
        return RemoteSchema({"n": RemoteField("number")} | {f"{row['id']}": RemoteField("text") for row in rows})


class DescribesNothing(Good):
    @override
    async def describe(self, connection: str, resource: str) -> RemoteSchema:
        await super().describe(connection, resource)
        return RemoteSchema({})


PAGE_FAILS = "test_a_page_that_fails_is_an_error_and_can_be_had_again"
MUTANTS: list[tuple[type[Good], type, str]] = [
    (KeepsDeletesToItself, PullSuite, "test_a_deleted_record_comes_as_a_tombstone"),
    (ReadsOnePageOnly, PullSuite, "test_from_the_beginning_every_record_comes"),
    (NeverComesToAnEnd, PullSuite, "test_where_nothing_changes_a_pull_ends"),
    (HasVersionsOfItsOwn, PullSuite, "test_a_change_tells_what_a_read_tells"),
    (LeavesTiesOut, PullSuite, "test_from_the_beginning_every_record_comes"),
    (TakesSilenceForNothing, PullSuite, PAGE_FAILS),
    (TakesSilenceForNothing, ListSuite, "test_a_page_that_fails_is_an_error"),
    (CountsRecords, ListSuite, "test_a_record_that_is_there_all_the_time_is_listed_whatever_others_do"),
    (ListsOnePageOnly, ListSuite, "test_every_record_is_on_a_page"),
    (TakesSilenceForNothing, FindSuite, "test_a_search_that_fails_is_an_error"),
    (FindsWhatBeginsSo, FindSuite, "test_no_value_finds_what_does_not_have_it"),
    (FindsTheFirstValueOnly, FindSuite, "test_several_values_find_all_that_have_one"),
    (FindsEverything, FindSuite, "test_what_is_not_there_is_not_found"),
    (TakesSilenceForNothing, DescribeSuite, "test_a_description_that_fails_is_an_error"),
    (DescribesWhatItHasSeen, DescribeSuite, "test_it_is_the_same_until_somebody_changes_it"),
    (DescribesNothing, DescribeSuite, "test_a_resource_has_its_fields"),
]


def fixtures(make: Callable[[httpx.AsyncBaseTransport], Good]) -> Mapping[str, Any]:
    api = RestApi(second_of=lambda writes: writes // 9)
    good = Good(api.transport)
    return {
        "provider": make(api.transport),
        "provider_over": make,
        "there": WrittenThere(good, sampler(good), "default", "things"),
        "find_path": "email",
        "described": "n",
        "faulty": FaultyTransport(api.transport),
    }


@pytest.mark.parametrize("suite", [PullSuite, ListSuite, FindSuite, DescribeSuite])
async def test_an_adapter_that_does_nothing_wrong_fails_nothing(suite: type) -> None:
    failed = [name for name in names_of(suite) if await fails(suite, name, lambda: fixtures(Good))]
    assert failed == []


@pytest.mark.parametrize(("mutant", "suite", "test"), MUTANTS, ids=lambda each: getattr(each, "__name__", ""))
async def test_the_suite_finds_the_mistake(mutant: type[Good], suite: type, test: str) -> None:
    assert await fails(suite, test, lambda: fixtures(mutant))
