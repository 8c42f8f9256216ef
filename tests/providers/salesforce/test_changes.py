"""The feed of changes: ties, short pages, deletions, late transactions, failures, and positions that are none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpx
import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from ratesync.errors import CursorExpired, InvalidResponse, PagingBroken, ProviderError, UnsupportedOperation
from ratesync.http import Account, Bearer
from ratesync.model.change import Change
from ratesync.providers.salesforce import SalesforceProvider, SObject
from ratesync.testing.virtual_time import run_virtual
from tests.providers.salesforce.world import OBJECTS, URL, provider_of
from tests.servers.salesforce_org import Org, long_id
from tests.servers.salesforce_server import Salesforce

pytestmark = pytest.mark.anyio

MOST_PAGES = 300


async def pull_pass(provider: SalesforceProvider, cursor: str | None, limit: int = 2_000) -> tuple[list[Change], str]:
    """All changes of a pass, and the cursor behind it. A page that fails is asked for again."""
    changes: list[Change] = []
    for _ in range(MOST_PAGES):
        try:
            page = await provider.pull_changes("default", "contacts", cursor, limit=limit)
        except ProviderError:
            continue
        changes += page.changes
        cursor = page.cursor
        if not page.has_more:
            return changes, cursor
    pytest.fail("the feed has no end")


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("make"), st.integers(1, 7)),
        st.tuples(st.just("change"), st.integers(0, 30)),
        st.tuples(st.just("delete"), st.integers(0, 30)),
        st.tuples(st.just("wait"), st.sampled_from([1, 400, 1_000, 30_000])),
        st.tuples(st.just("pull"), st.integers(1, 5)),
        st.tuples(st.just("page"), st.integers(1, 5)),
        st.tuples(st.just("fail"), st.sampled_from(["503", "lose", "500"])),
    ),
    max_size=25,
)


@define
class Copy:
    """A copy of an org that is fed by its changes, while the org changes."""

    salesforce: Salesforce
    provider: SalesforceProvider
    ids: list[str] = field(factory=list[str])
    held: dict[str, Any] = field(factory=dict[str, Any])
    cursor: str | None = None

    async def step(self, name: str, value: Any, number: int) -> None:
        """Do one thing."""
        org, known = self.salesforce.org, isinstance(value, int) and value < len(self.ids)
        match name:
            case "make":
                self.ids += org.seed("Contact", value, LastName=f"L{number}")
            case "change" if known and org.find(self.ids[value]):
                org.update("Contact", self.ids[value], {"LastName": f"L{number}"})
            case "delete" if known and org.find(self.ids[value]):
                org.delete(self.ids[value])
            case "wait":
                org.now += value
            case "pull":
                await self.pull(value)
            case "page":
                page = await self.provider.pull_changes("default", "contacts", self.cursor, limit=value)
                self.take(page.changes, page.cursor)
            case "fail":
                self.salesforce.trouble.append(str(value))
                await self.pull()
            case _:
                pass

    async def pull(self, limit: int = 2_000) -> None:
        """Go on to the end of the pass."""
        self.take(*await pull_pass(self.provider, self.cursor, limit))

    def take(self, changes: Iterable[Change], cursor: str) -> None:
        """Make the changes in the copy."""
        self.cursor = cursor
        for change in changes:
            if change.is_deleted:
                self.held.pop(change.record_id, None)
            else:
                assert change.fields is not None
                self.held[change.record_id] = change.fields["LastName"]


@settings(max_examples=60)
@given(steps=STEPS, commit_delay=st.sampled_from([0, 1_500, 20_000]), page_max=st.sampled_from([1, 2, 2_000]))
def test_whatever_happens_a_copy_that_is_fed_by_the_changes_ends_equal(
    steps: list[tuple[str, Any]], commit_delay: int, page_max: int
) -> None:
    async def scenario() -> None:
        salesforce = Salesforce(Org(tick=0, commit_delay=commit_delay), page_max=page_max)
        async with provider_of(salesforce, lag=30.0) as provider:
            copy = Copy(salesforce, provider)
            for number, (name, value) in enumerate(steps):
                await copy.step(name, value, number)
            salesforce.org.now += 25_000
            # The pass that is under way, and one that begins when all was shown.
            await copy.pull()
            await copy.pull()
        rows = salesforce.org.rows.values()
        assert copy.held == {row.id: row.fields["LastName"] for row in rows if not row.is_deleted}

    run_virtual(scenario)


async def test_thousands_of_one_second_come_page_by_page() -> None:
    salesforce = Salesforce(Org(tick=0), page_max=150)
    ids = salesforce.org.seed("Contact", 500, LastName="A")
    async with provider_of(salesforce) as provider:
        changes, _ = await pull_pass(provider, None)
    assert sorted(change.record_id for change in changes) == sorted(ids)
    assert len(salesforce.requests) == 4


async def test_a_pass_begins_a_little_before_the_last_one_began() -> None:
    salesforce = Salesforce()
    async with provider_of(salesforce) as provider:
        old = salesforce.org.seed("Contact", 2, LastName="A")
        salesforce.org.now += 2_000_000
        _, cursor = await pull_pass(provider, None)
        changes, cursor = await pull_pass(provider, cursor)
        assert changes == []
        assert cursor is not None
        salesforce.org.update("Contact", old[0], {"LastName": "B"})
        salesforce.org.now += 5_000
        for _ in range(2):
            changes, cursor = await pull_pass(provider, cursor)
            assert [change.record_id for change in changes] == [old[0]], "for ten minutes it comes again"
        salesforce.org.now += 700_000
        _, cursor = await pull_pass(provider, cursor)
        changes, cursor = await pull_pass(provider, cursor)
        assert changes == []


async def test_deleted_records_are_told_until_the_recycle_bin_is_emptied() -> None:
    salesforce = Salesforce()
    gone, purged = salesforce.org.seed("Contact", 2, LastName="A")
    async with provider_of(salesforce) as provider:
        _, cursor = await pull_pass(provider, None)
        salesforce.org.delete(purged)
        salesforce.org.purge()
        salesforce.org.delete(gone)
        changes, _ = await pull_pass(provider, cursor)
    assert [(change.record_id, change.is_deleted, change.fields) for change in changes] == [(gone, True, None)]


DAY = 86_400_000


async def test_a_pull_after_more_than_two_weeks_may_miss_deletions() -> None:
    """As an engine that was off over a holiday makes it: the recycle bin has dropped what went at its beginning."""
    salesforce = Salesforce()
    users = SObject(name="User", fields=("Name",), tombstones=False)
    salesforce.org.seed("Contact", 3, LastName="A")
    salesforce.org.seed("User", 1, Name="Ada")
    salesforce.org.now += 400 * DAY
    async with provider_of(salesforce, objects={**OBJECTS, "users": users}) as provider:
        first = await provider.pull_changes("default", "contacts", None, limit=1)
        salesforce.org.now += 13 * DAY
        _, cursor = await pull_pass(provider, first.cursor)  # a first pass misses none, however long it takes
        _, cursor = await pull_pass(provider, cursor)
        told = await provider.pull_changes("default", "users", None, limit=10)
        salesforce.org.now += 15 * DAY
        with pytest.raises(CursorExpired, match="list all records anew"):
            await provider.pull_changes("default", "contacts", cursor, limit=1)
        await provider.pull_changes("default", "users", told.cursor, limit=1)


async def test_types_without_deletion_marks_are_read_without_them() -> None:
    salesforce = Salesforce()
    (user,) = salesforce.org.seed("User", 1, Name="Ada")
    users = SObject(name="User", fields=("Name",), tombstones=False)
    async with provider_of(salesforce, objects={"users": users}) as provider:
        assert provider.capabilities.deletes == "listing"
        page = await provider.pull_changes("default", "users", None, limit=10)
    assert [(change.record_id, change.is_deleted) for change in page.changes] == [(user, False)]
    assert salesforce.requests[0].path.endswith("/query")


@pytest.mark.parametrize("cursor", ["", "x", "[]", '["2026-01-01T00:00:00",null,null]', "[1,2,3]", "{}"])
async def test_a_cursor_that_is_none_of_ours(cursor: str) -> None:
    async with provider_of(Salesforce()) as provider:
        with pytest.raises(CursorExpired):
            await provider.pull_changes("default", "contacts", cursor, limit=10)


def row(number: int, at: str = "2026-01-01T00:00:00.000+0000", **more: Any) -> dict[str, Any]:
    return {"Id": long_id(f"003{number:012}"), "SystemModstamp": at, "IsDeleted": False, **more}


LATER = "2026-01-01T00:00:05.000+0000"


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"records": [], "done": "no"},
        {"records": [{"SystemModstamp": LATER}], "done": True},
        {"records": [row(1, "yesterday")], "done": True},
        {"records": [row(1, "2026-01-01T00:00:00")], "done": True},
        {"records": [row(1) | {"SystemModstamp": None}], "done": True},
        {"records": [5], "done": True},
    ],
)
async def test_an_answer_that_is_no_page(body: Any) -> None:
    with pytest.raises(InvalidResponse):
        await pull_from(body)


@pytest.mark.parametrize(
    "records",
    [
        [row(1, LATER), row(2)],
        [row(2), row(2)],
        [row(9)],
        [row(9), row(10, LATER)],
        [row(1, "2025-12-31T23:59:59.000+0000")],
    ],
)
async def test_a_page_that_does_not_lead_on_is_an_error(records: list[Any]) -> None:
    cursor = f'["2026-01-01T00:00:00+00:00", "{row(9)["Id"]}", "2026-01-01T01:00:00+00:00"]'
    with pytest.raises(PagingBroken):
        await pull_from({"records": records, "done": True}, cursor)
    with pytest.raises(PagingBroken):
        await pull_from({"records": [], "done": False}, cursor)


async def pull_from(body: Any, cursor: str | None = None) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=body))
    account = Account(Bearer("t"), base_url=URL)
    async with SalesforceProvider(account, objects=OBJECTS, transport=transport) as provider:
        await provider.pull_changes("default", "contacts", cursor, limit=10)


async def test_a_resource_that_is_none() -> None:
    async with provider_of(Salesforce()) as provider:
        with pytest.raises(UnsupportedOperation):
            await provider.pull_changes("default", "User WHERE Id != null", None, limit=10)
