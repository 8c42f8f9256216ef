"""Changes out of a search that gives 10,000 records at most, sorts by one property, and lags behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import anyio
import httpx
import pytest
from attrs import define, field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ratesync.errors import CursorExpired, InvalidResponse, PagingBroken, ProviderError, Throttled, Unavailable
from ratesync.http import Account as Credentials
from ratesync.http import Bearer
from ratesync.model.batch import DeleteFeed
from ratesync.model.change import Change, ChangePage
from ratesync.providers.hubspot import HubSpotProvider
from tests.providers.hubspot.world import provider_of
from tests.servers.hubspot_account import Account, stamp
from tests.servers.hubspot_server import HubSpot

pytestmark = pytest.mark.anyio

T = 1_780_000_000_000
HOUR = 3_600_000


async def one_pass(
    provider: HubSpotProvider, cursor: str | None = None, *, resource: str = "contacts", limit: int = 200
) -> tuple[list[Change], str]:
    """All changes until there is no more, and the cursor for the next pass."""
    changes: list[Change] = []
    while True:
        page = await provider.pull_changes("default", resource, cursor, limit=limit)
        changes += page.changes
        assert page.cursor != cursor or not page.has_more, "each page leads on"
        cursor = page.cursor
        if not page.has_more:
            return changes, cursor


def ids_of(changes: list[Change], *, deleted: bool = False) -> list[str]:
    return [change.record_id for change in changes if change.is_deleted is deleted]


async def test_a_first_pass_tells_all_records_with_their_fields() -> None:
    hubspot = HubSpot()
    ids = hubspot.account.seed("deals", 3, at=T - HOUR, dealname="big")
    async with provider_of(hubspot) as provider:
        changes, _ = await one_pass(provider, resource="deals")
    assert sorted(ids_of(changes)) == ids
    fields = changes[0].fields
    assert fields is not None
    assert fields["properties"]["dealname"] == "big"
    assert changes[0].version == stamp(T - HOUR)


@pytest.mark.parametrize("rows", [300, pytest.param(10_000, marks=pytest.mark.slow)])
async def test_more_records_than_a_search_gives_share_one_instant(rows: int) -> None:
    """The trap of many connectors: neither a loop nor a loss. HubSpot's own bound is 10,000."""
    hubspot = HubSpot(Account(search_rows=rows))
    before = hubspot.account.seed("contacts", 150, at=T - HOUR - 1)
    same = hubspot.account.seed("contacts", rows + 310, at=T - HOUR)
    after = hubspot.account.seed("contacts", 150, at=T - HOUR + 1)
    async with provider_of(hubspot) as provider:
        changes, _ = await one_pass(provider)
    assert sorted(ids_of(changes)) == sorted([*before, *same, *after])
    assert len(hubspot.requests) <= (rows + 610) // 200 + 4


async def test_types_without_named_properties_tell_which_records_changed() -> None:
    hubspot = HubSpot()
    ids = hubspot.account.seed("cars", 3, plate="zh 1")
    async with provider_of(hubspot) as provider:
        page = await provider.pull_changes("default", "cars", None, limit=10)
    assert sorted(change.record_id for change in page.changes) == ids
    assert all(change.fields is None for change in page.changes)


async def test_more_records_than_a_search_gives_within_a_second() -> None:
    hubspot = HubSpot(Account(search_rows=300))
    ids = [identity for n in range(200) for identity in hubspot.account.seed("deals", 5, at=T - HOUR + n)]
    async with provider_of(hubspot) as provider:
        changes, _ = await one_pass(provider, resource="deals")
    assert sorted(ids_of(changes), key=int) == ids, "each once"
    instants = [change.version or "" for change in changes]
    assert instants == sorted(instants)
    assert all(json.loads(asked.body)["after"] == "0" for asked in hubspot.requests)


async def test_the_next_pass_begins_a_little_before_the_last_one_began() -> None:
    hubspot = HubSpot(Account(search_lag=20_000))
    (old,) = hubspot.account.seed("contacts", 1, at=T - HOUR)
    async with provider_of(hubspot, lag=60.0) as provider:
        late = hubspot.account.create("contacts", {"email": "late@example.org"})
        changes, cursor = await one_pass(provider)
        assert ids_of(changes) == [old], "the index does not show the other one yet"
        hubspot.account.now += 5_000
        changed = hubspot.account.rows["contacts"][int(old)]
        hubspot.account.update("contacts", changed, {"city": "Bern"})
        hubspot.account.now += 21_000
        changes, cursor = await one_pass(provider, cursor)
        assert set(ids_of(changes)) == {str(late.id), old}
        hubspot.account.now += HOUR
        changes, cursor = await one_pass(provider, cursor)
        assert set(ids_of(changes)) == {str(late.id), old}, "again, as it began before they were older than the lag"
        changes, _ = await one_pass(provider, cursor)
        assert changes == []


async def test_archived_records_are_tombstones() -> None:
    hubspot = HubSpot()
    ids = hubspot.account.seed("contacts", 250, at=T - HOUR)
    account = hubspot.account
    for identity in ids[:100]:
        account.archive("contacts", account.rows["contacts"][int(identity)])
    account.now += HOUR
    async with provider_of(hubspot) as provider:
        assert provider.capabilities.deletes is DeleteFeed.TOMBSTONES
        changes, cursor = await one_pass(provider)
        assert sorted(ids_of(changes)) == sorted(ids[100:])
        assert ids_of(changes, deleted=True) == [], "nobody has them yet"
        account.now += HOUR
        for identity in ids[100:230]:
            account.archive("contacts", account.rows["contacts"][int(identity)])
        changes, cursor = await one_pass(provider, cursor)
        assert ids_of(changes, deleted=True) == ids[100:230]
        account.now += HOUR
        changes, _ = await one_pass(provider, cursor)
        assert set(ids_of(changes, deleted=True)) <= set(ids[100:230])


async def test_a_cursor_of_more_than_ninety_days_ago_may_miss_deletions() -> None:
    hubspot = HubSpot()
    async with (
        provider_of(hubspot) as provider,
        provider_of(hubspot, tombstones=False) as careless,
    ):
        _, cursor = await one_pass(provider)
        hubspot.account.now += 89 * 24 * HOUR
        await one_pass(provider, cursor)
        hubspot.account.now += 2 * 24 * HOUR
        with pytest.raises(CursorExpired):
            await one_pass(provider, cursor)
        await one_pass(careless, cursor)


async def test_without_tombstones_the_archive_is_not_read() -> None:
    hubspot = HubSpot()
    async with provider_of(hubspot, tombstones=False) as provider:
        assert provider.capabilities.deletes is DeleteFeed.LISTING
        _, cursor = await one_pass(provider)
        await one_pass(provider, cursor)
    assert {asked.method for asked in hubspot.requests} == {"POST"}


@pytest.mark.parametrize("trouble", ["502", "423", "429"])
async def test_a_page_that_fails_is_pulled_again(trouble: str) -> None:
    hubspot = HubSpot()
    ids = hubspot.account.seed("contacts", 450, at=T - HOUR)
    async with provider_of(hubspot) as provider:
        found: list[str] = []
        cursor, has_more = None, True
        failures: list[type[ProviderError]] = []
        while has_more:
            if not failures and len(found) > 100:
                hubspot.trouble.append(trouble)
            try:
                page = await provider.pull_changes("default", "contacts", cursor, limit=100)
            except (Unavailable, Throttled) as error:
                failures.append(type(error))
                continue
            found += ids_of(list(page.changes))
            cursor, has_more = page.cursor, page.has_more
    assert failures == [Throttled if trouble == "429" else Unavailable]
    assert sorted(found) == sorted(ids)


async def test_searches_have_a_limit_of_their_own() -> None:
    hubspot = HubSpot(searches=2)
    async with provider_of(hubspot) as provider:
        for _ in range(2):
            await provider.pull_changes("default", "deals", None, limit=200)
        with pytest.raises(Throttled) as refused:
            await provider.pull_changes("default", "deals", None, limit=200)
        assert refused.value.retry_after == 1.0
        await provider.list_records("default", "deals", None, limit=100)
    assert hubspot.refused == ["SECONDLY"]


INSTANT = '"2026-01-01T00:00:00+00:00"'
BAD_CURSORS = [
    f"[2,{INSTANT},null,{INSTANT},null,false,null]",
    f"[1,{INSTANT},null,{INSTANT},true,false,null]",
    f"[1,{INSTANT},null,{INSTANT},null,0,null]",
    "",
    "x",
    "[]",
    "null",
    "{}",
    "[" * 5_000,
    '[1,"2026-01-01T00:00:00",null,"2026-01-01",null,false,null]',
]


@pytest.mark.parametrize("cursor", BAD_CURSORS)
async def test_what_is_no_cursor_is_told(cursor: str) -> None:
    async with provider_of(HubSpot()) as provider:
        with pytest.raises(CursorExpired):
            await provider.pull_changes("default", "contacts", cursor, limit=10)


def answering(body: Any) -> HubSpotProvider:
    def respond(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=body, headers={"date": formatdate(T // 1000, usegmt=True)})

    return HubSpotProvider(Credentials(Bearer("x")), transport=httpx.MockTransport(respond))


def row(identity: Any, at: int = T) -> dict[str, Any]:
    return {"id": identity, "properties": {"lastmodifieddate": stamp(at)}, "updatedAt": stamp(at)}


MORE = {"next": {"after": "2"}}
ODD_PAGES: dict[str, tuple[Any, type[ProviderError]]] = {
    "no list": ({}, InvalidResponse),
    "no object": ([], InvalidResponse),
    "no id": ({"results": [row(None)]}, InvalidResponse),
    "no instant": ({"results": [{"id": "1", "properties": {}}]}, InvalidResponse),
    "nothing and more": ({"results": [], "paging": MORE}, PagingBroken),
    "not in order": ({"results": [row("1", T + 5), row("2", T)]}, PagingBroken),
}


@pytest.mark.parametrize("name", ODD_PAGES)
async def test_pages_that_lead_astray_are_told(name: str) -> None:
    body, error = ODD_PAGES[name]
    with pytest.raises(error):
        await answering(body).pull_changes("default", "contacts", None, limit=10)


@pytest.mark.parametrize("ids", [["3", "2"], ["2", "2"], ["x", "y"]])
async def test_an_instant_whose_ids_are_not_in_order_is_told(ids: list[str]) -> None:
    full = await answering({"results": [row("1"), row("2")], "paging": MORE}).pull_changes(
        "default", "contacts", None, limit=2
    )
    assert full.changes == ()
    with pytest.raises(InvalidResponse):
        await answering({"results": [row(each) for each in ids], "paging": MORE}).pull_changes(
            "default", "contacts", full.cursor, limit=2
        )


async def test_an_archive_that_goes_round_in_circles_is_told() -> None:
    async with answering({"results": [], "paging": MORE}) as odd, provider_of(HubSpot()) as provider:
        _, cursor = await one_pass(provider)
        archive = await provider.pull_changes("default", "contacts", cursor, limit=10)
        first = await odd.pull_changes("default", "contacts", archive.cursor, limit=10)
        with pytest.raises(PagingBroken):
            await odd.pull_changes("default", "contacts", first.cursor, limit=10)


async def test_a_listing_has_all_records_and_is_told_if_it_goes_in_circles() -> None:
    hubspot = HubSpot()
    ids = hubspot.account.seed("contacts", 205)
    found: list[str] = []
    async with provider_of(hubspot) as provider:
        page = await provider.list_records("default", "contacts", None, limit=500)
        found += [record.record_id for record in page.records]
        while page.next_page is not None:
            page = await provider.list_records("default", "contacts", page.next_page, limit=500)
            found += [record.record_id for record in page.records]
        assert page.feedback.readings != ()
    assert found == ids
    with pytest.raises(PagingBroken):
        await answering({"results": [], "paging": MORE}).list_records("default", "contacts", "2", limit=5)


@define
class World:
    """An account, and what a follower of its changes knows of it."""

    hubspot: HubSpot
    known: dict[str, str] = field(factory=dict[str, str])
    """The city of each record, as the follower knows it."""

    def take(self, page: ChangePage) -> None:
        for change in page.changes:
            if change.is_deleted:
                self.known.pop(change.record_id, None)
            else:
                assert change.fields is not None
                self.known[change.record_id] = change.fields["properties"]["city"]

    def truth(self) -> dict[str, str | None]:
        rows = self.hubspot.account.rows["contacts"].items()
        return {str(identity): row.properties.get("city") for identity, row in rows if row.archived_at is None}


Step = Callable[[Account, int], None]


def create(account: Account, number: int) -> None:
    account.create("contacts", {"city": f"c{number}"})


def update(account: Account, number: int) -> None:
    live = [row for row in account.rows["contacts"].values() if row.archived_at is None]
    if live:
        account.update("contacts", live[number % len(live)], {"city": f"u{number}"})


def archive(account: Account, number: int) -> None:
    live = [row for row in account.rows["contacts"].values() if row.archived_at is None]
    if live:
        account.archive("contacts", live[number % len(live)])


def wait(account: Account, number: int) -> None:
    account.now += number * 300


STEPS = st.lists(
    st.tuples(st.sampled_from([create, create, update, update, archive, wait]), st.integers(0, 30)), max_size=12
)


@given(
    start=st.integers(0, 12),
    rounds=st.lists(STEPS, min_size=1, max_size=6),
    clock=st.tuples(st.sampled_from([0, 0, 1, 40]), st.sampled_from([0, 3_000])),
    limit=st.integers(1, 5),
)
@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
def test_whoever_follows_the_changes_knows_what_is_there(
    start: int, rounds: list[list[tuple[Step, int]]], clock: tuple[int, int], limit: int
) -> None:
    """Whatever changes between two pages, and however late the search shows it."""
    account = Account(tick=clock[0], search_lag=clock[1])
    world = World(HubSpot(account))
    for number in range(start):
        create(account, number)

    async def follow() -> None:
        async with provider_of(world.hubspot, lag=10.0) as provider:
            cursor: str | None = None
            for steps in rounds:
                page = await provider.pull_changes("default", "contacts", cursor, limit=limit)
                world.take(page)
                cursor = page.cursor
                for step, number in steps:
                    step(account, number)
            account.now += 60_000  # the search has caught up
            for _ in range(2):  # the pass under way, and a whole one
                while True:
                    page = await provider.pull_changes("default", "contacts", cursor, limit=limit)
                    world.take(page)
                    cursor = page.cursor
                    if not page.has_more:
                        break

    anyio.run(follow)
    assert world.known == world.truth()
