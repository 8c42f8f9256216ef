"""Pulling changes and listing records: ties, pages, deletions, the archive, failures in the middle."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from ratesync.errors import (
    CursorExpired,
    InvalidResponse,
    PagingBroken,
    ProviderError,
    Throttled,
    Unauthorised,
    Unavailable,
    UnsupportedOperation,
)
from ratesync.model.change import Change
from ratesync.providers.pipedrive import LEADS, NOTES, PipedriveProvider
from tests.providers.pipedrive.speaking import MARK, provider
from tests.servers.pipedrive_company import Company, Told

pytestmark = pytest.mark.anyio

START = 1_790_000_000.0
DAY = 86_400.0
CURSOR = json.dumps(['["2026-01-01T00:00:00+00:00",null,null]', 0, None])


@define
class Puller:
    """Keeps a copy of the company's records, by nothing but pulls."""

    pipedrive: PipedriveProvider
    resource: str = "persons"
    limit: int = 500
    cursor: str | None = None
    copy: dict[str, dict[str, Any]] = field(factory=dict[str, dict[str, Any]])
    seen: list[Change] = field(factory=list[Change])

    async def page(self) -> bool:
        """One call; tells whether there is more."""
        told = await self.pipedrive.pull_changes("default", self.resource, self.cursor, limit=self.limit)
        self.cursor = told.cursor
        self.seen += told.changes
        for change in told.changes:
            if change.is_deleted:
                self.copy.pop(change.record_id, None)
            else:
                self.copy[change.record_id] = dict(change.fields or {})
        return told.has_more

    async def pull(self) -> int:
        """A whole pass; how many calls it took."""
        calls = 1
        while await self.page():
            calls += 1
            assert calls < 100, "a pass ends"
        return calls


def company_at(now: float = START, **settings: Any) -> Company:
    company = Company(**settings)
    company.clock = lambda: now
    return company


def ticking(company: Company) -> Callable[[float], None]:
    """Let the company's clock stand, until it is moved on."""
    at = [START]
    company.clock = lambda: at[0]

    def tick(seconds: float) -> None:
        at[0] += seconds

    return tick


async def test_records_that_share_a_second_are_neither_lost_nor_met_for_ever() -> None:
    company = company_at()
    for number in range(1203):
        company.add("persons", {"name": f"Ada {number}"})
    puller = Puller(provider(company, lag=0.0))
    assert await puller.pull() == 3
    assert puller.copy == company.held("persons")
    # All of them are of the second in which the pass began, so the next one meets them all again, and ends, too.
    assert await puller.pull() == 3
    asked = [(one.query.get("updated_since"), one.query["sort_by"]) for one in company.asked]
    assert asked == [(None, "id")] * 3 + [("2026-09-21T14:13:20Z", "update_time")] * 3


async def test_a_quiet_account_costs_one_request_for_each_pull(company: Company) -> None:
    tick = ticking(company)
    company.add("persons", {"name": "Ada"})
    tick(1000)
    puller = Puller(provider(company))
    await puller.pull()
    for _ in range(3):
        tick(3600)
        puller.seen.clear()
        assert await puller.pull() == 1
        assert puller.seen == []


async def test_a_change_that_is_shown_late_is_not_missed(company: Company) -> None:
    tick = ticking(company)
    puller = Puller(provider(company, lag=60.0))
    tick(1000)
    await puller.pull()
    tick(5)
    late = company.add("persons", {"name": "Late"})
    late["update_time"] = "2026-09-21T14:29:30Z"  # before the last pull began
    await puller.pull()
    assert puller.copy.keys() == {str(late["id"])}


async def test_deleted_deals_are_told_and_archived_ones_are_not_gone(company: Company) -> None:
    tick = ticking(company)
    one, two, three = (company.add("deals", {"title": title}) for title in ("one", "two", "three"))
    puller = Puller(provider(company), "deals")
    await puller.pull()
    assert puller.copy.keys() == {"1", "2", "3"}
    tick(600)
    company.delete("deals", one["id"])
    company.change("deals", two["id"], {"is_archived": True})
    puller.seen.clear()
    await puller.pull()
    assert puller.copy == {"2": two, "3": three}
    assert [change for change in puller.seen if change.is_deleted] == [Change("1", is_deleted=True)]
    tick(600)
    company.change("deals", two["id"], {"is_archived": False})
    await puller.pull()
    assert puller.copy == {"2": two, "3": three}


async def test_what_was_deleted_before_the_first_pull_is_not_told(company: Company) -> None:
    ticking(company)
    company.delete("deals", company.add("deals", {"title": "old"})["id"])
    puller = Puller(provider(company), "deals")
    await puller.pull()
    assert puller.seen == []


async def test_a_pull_of_deals_after_a_month_must_list_anew(company: Company) -> None:
    tick = ticking(company)
    deals, persons = Puller(provider(company), "deals"), Puller(provider(company), "persons")
    await deals.pull()
    await persons.pull()
    tick(28 * DAY)
    await deals.pull()
    tick(31 * DAY)
    with pytest.raises(CursorExpired, match="30 days"):
        await deals.pull()
    await persons.pull()  # of persons no deletion is ever told, so none can be missed


async def test_a_page_that_fails_is_pulled_again_and_nothing_is_lost(company: Company) -> None:
    tick = ticking(company)
    for number in range(25):
        company.add("deals", {"title": str(number), "is_archived": number % 3 == 0})
    puller = Puller(provider(company), "deals", limit=3)
    failures: list[Told | None] = [
        Told(500, "{}", {}),
        Told(502, "<html>", {"content-type": "text/html"}),
        company.failure(503, "Scheduled maintenance"),
        Told(429, "{}", {"content-type": "application/json", "retry-after": "7"}),
        Told(200, '{"success": true, "da', {"content-type": "application/json"}),
        Told(200, '{"success": true, "data": {"items": []}}', {"content-type": "application/json"}),
        company.failure(401, "unauthorized access"),
        company.failure(402, "Payment Required"),
    ]
    errors: list[ProviderError] = []
    more = True
    while more:
        tick(1)
        if failures:
            company.before.append(failures.pop(0))
            before = puller.cursor
            with pytest.raises(ProviderError) as caught:
                await puller.page()
            errors.append(caught.value)
            assert puller.cursor == before
        more = await puller.page()
    assert [type(error) for error in errors] == [
        InvalidResponse,
        InvalidResponse,
        Unavailable,
        Throttled,
        InvalidResponse,
        InvalidResponse,
        Unauthorised,
        Unauthorised,
    ]
    assert puller.copy == company.held("deals")


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "[]",
        "[1,2,3]",
        '["x",0,null]',
        CURSOR.replace("0, null", "3, null"),
        CURSOR.replace("0, null", "2, null"),
        CURSOR.replace("2026", "26"),
    ],
)
async def test_a_cursor_that_is_none_has_expired(company: Company, cursor: str) -> None:
    with pytest.raises(CursorExpired):
        await provider(company).pull_changes("default", "persons", cursor, limit=10)


async def test_a_cursor_that_pipedrive_no_longer_takes_has_expired(company: Company) -> None:
    for number in range(5):
        company.add("persons", {"name": f"Ada {number}"})
    puller = Puller(provider(company), limit=2)
    await puller.page()
    company.before.append(company.failure(400, "Validation failed: cursor"))
    with pytest.raises(CursorExpired):
        await puller.page()
    await puller.pull()
    assert puller.copy == company.held("persons")


@pytest.mark.parametrize("row", [7, None, [], {}, {"id": None}, {"id": ""}])
async def test_a_row_that_is_no_record_is_not_left_out(company: Company, row: object) -> None:
    company.before.append(company.success([{"id": 1}, row], {"next_cursor": None}))
    with pytest.raises(InvalidResponse):
        await provider(company).pull_changes("default", "persons", None, limit=10)


async def test_a_page_that_leads_back_to_itself_is_an_error(company: Company) -> None:
    answer = company.success([{"id": 1}], {"next_cursor": "again"})
    puller = Puller(provider(company))
    company.before.extend([answer, answer])
    await puller.page()
    with pytest.raises(PagingBroken):
        await puller.page()


async def test_products_cannot_be_pulled(company: Company) -> None:
    pipedrive = provider(company, resources={"leads": LEADS})
    with pytest.raises(UnsupportedOperation):
        await pipedrive.pull_changes("default", "leads", None, limit=10)
    with pytest.raises(UnsupportedOperation):
        await pipedrive.pull_changes("default", "unknown", None, limit=10)


async def listed(
    pipedrive: PipedriveProvider, resource: str, limit: int, between: Callable[[], object] = bool
) -> list[str]:
    ids: list[str] = []
    page: str | None = None
    for _ in range(200):
        told = await pipedrive.list_records("default", resource, page, limit=limit)
        ids += [record.record_id for record in told.records]
        page = told.next_page
        if page is None:
            return ids
        between()
    raise AssertionError("a listing ends")


async def test_a_listing_has_archived_deals_and_no_deleted_ones(company: Company) -> None:
    tick = ticking(company)
    for number in range(20):
        company.add("deals", {"title": str(number), "is_archived": number % 2 == 0})
    company.delete("deals", 7)
    company.delete("deals", 8)
    tick(1000)
    assert sorted(await listed(provider(company), "deals", 3), key=int) == list(company.held("deals"))


async def test_a_deal_that_leaves_the_archive_during_a_listing_is_on_a_page(company: Company) -> None:
    tick = ticking(company)
    for number in range(12):
        company.add("deals", {"title": str(number), "is_archived": number in {0, 11}})
    tick(1000)
    pages = 0

    def move() -> None:
        nonlocal pages
        pages += 1
        tick(1)
        if pages == 4:  # the live ones are read
            company.change("deals", 1, {"is_archived": False})
            company.change("deals", 2, {"is_archived": True})

    assert set(await listed(provider(company), "deals", 3, move)) == company.held("deals").keys()


@pytest.mark.parametrize(("name", "resource"), [("notes", NOTES), ("leads", LEADS)])
async def test_version_1_is_listed_by_overlapping_offsets(company: Company, name: str, resource: Any) -> None:
    for number in range(10):
        company.add(name, {"title": str(number)} if name == "leads" else {"content": str(number)})
    pipedrive = provider(company, resources={name: resource})
    assert set(await listed(pipedrive, name, 3)) == company.held(name).keys()

    def shift() -> None:
        rows = company.rows[name]
        del rows[next(iter(rows))]

    with pytest.raises(PagingBroken, match="moved"):
        await listed(pipedrive, name, 3, shift)
    with pytest.raises(CursorExpired):
        await pipedrive.list_records("default", name, json.dumps([json.loads(CURSOR)[0], 0, "x"]), limit=3)
    company.rows[name].clear()
    assert await listed(pipedrive, name, 3) == []


async def test_the_mark_of_creates_is_kept_out_of_records(company: Company) -> None:
    company.custom = {MARK}
    company.add("persons", {"name": "Ada", "custom_fields": {MARK: "op-1"}})
    pipedrive = provider(company, identity_fields={"persons": MARK})
    puller = Puller(pipedrive)
    await puller.pull()
    assert puller.copy["1"]["custom_fields"] == {}
    (record,) = (await pipedrive.list_records("default", "persons", None, limit=5)).records
    assert record.fields["custom_fields"] == {}


STEPS = st.lists(
    st.sampled_from(["add", "add", "change", "delete", "archive", "page", "page", "tick", "second", "fail"]),
    max_size=40,
)


@settings(max_examples=100)
@given(
    steps=STEPS,
    limit=st.integers(1, 4),
    resource=st.sampled_from(["deals", "persons"]),
    lag=st.sampled_from([0.0, 2.0]),
)
def test_whatever_happens_a_copy_by_pulls_comes_to_be_the_same(
    steps: list[str], limit: int, resource: str, lag: float
) -> None:
    anyio.run(follow, steps, limit, resource, lag)


async def follow(steps: list[str], limit: int, resource: str, lag: float) -> None:
    """Change records and pull, a page at a time; then pull to the end."""
    company = Company()
    tick = ticking(company)
    puller = Puller(provider(company, lag=lag), resource, limit)
    for number, step in enumerate(steps):
        await take(step, number, company, puller, tick)
    tick(10)
    company.before.clear()
    await puller.pull()
    await puller.pull()
    expected = company.held(resource)
    if resource == "persons":  # their deletions are told by nothing but a listing
        gone = puller.copy.keys() - set(await listed(puller.pipedrive, resource, limit))
        for identity in gone:
            del puller.copy[identity]
    assert puller.copy == expected


async def take(step: str, number: int, company: Company, puller: Puller, tick: Callable[[float], None]) -> None:
    kind = puller.resource
    living = [row for row in company.rows[kind].values() if not row["is_deleted"]]
    row = living[number % len(living)] if living else None
    title = "title" if kind == "deals" else "name"
    match step:
        case "add":
            company.add(kind, {title: f"new {number}"})
        case "change" if row is not None:
            company.change(kind, row["id"], {title: f"changed {number}"})
        case "delete" if row is not None:
            company.delete(kind, row["id"])
        case "archive" if row is not None and kind == "deals":
            company.change(kind, row["id"], {"is_archived": not row["is_archived"]})
        case "page":
            await puller.page()
        case "fail":
            company.before.append(company.failure(503, "Scheduled maintenance"))
            with pytest.raises(Unavailable):
                await puller.page()
        case "tick":
            tick(7.4)
        case "second":
            tick(0.6)
        case _:
            pass
