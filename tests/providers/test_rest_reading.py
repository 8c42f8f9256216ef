"""RestProvider with a listing, a feed, a search and a batch endpoint, all by configuration, through every suite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator
from datetime import timedelta
from itertools import count
from typing import Any

import anyio
import httpx
import pytest
from attrs import evolve, frozen
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from ratesync.errors import (
    ConfigurationError,
    CursorExpired,
    InvalidResponse,
    NotSent,
    PagingBroken,
    UnsupportedOperation,
)
from ratesync.http import Account, ApiKey, Bearer, Cursor
from ratesync.model.batch import Batch, ConditionalWrite, DeleteFeed
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Applied, Cause, Rejected, RetryLater
from ratesync.providers import (
    CREATE_ONCE,
    Feed,
    InstantForm,
    Listing,
    RequestBatch,
    Resource,
    RestProvider,
    Route,
    equal_to,
)
from ratesync.testing.find_suite import FindSuite
from ratesync.testing.list_suite import ListSuite
from ratesync.testing.provider_calls import Sample, applied
from ratesync.testing.provider_suite import ProviderSuite
from ratesync.testing.pull_suite import PullSuite
from ratesync.testing.records_there import RecordsThere, WrittenThere
from ratesync.testing.trouble_suite import ProviderOver, TroubleSuite
from tests.conftest import anyio_backend
from tests.providers.rest_api import RestApi

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio

URL = "https://api.example/v2"
PAGES = Cursor(param="after", next_path="next", items_path="rows")
THINGS = Resource(
    create=None,
    create_with_id=CREATE_ONCE,
    version_path="revision",
    version_form='"{}"',
    current_path="current",
    read_only={"id", "revision", "updated", "is_deleted"},
    listing=Listing(pager=PAGES, size_param="size", query=equal_to),
    changes=Feed(
        path="/things/changed",
        pager=PAGES,
        size_param="size",
        since_param="since",
        updated_path="updated",
        deleted_path="is_deleted",
        lag=2.0,
    ),
)
BATCH = RequestBatch(path="/$batch", size=5, path_name="url", id_name="id")
numbers = count(1)
EXISTING = frozenset({Kind.READ, Kind.UPDATE, Kind.DELETE})


def rest(transport: httpx.AsyncBaseTransport, **settings: Any) -> RestProvider:
    settings = {"resources": THINGS, "conditional_write": ConditionalWrite.STRONG, "batch": BATCH, **settings}
    return RestProvider("acme", URL, Account(Bearer("s3cr3t-token")), transport=transport, **settings)


@pytest.fixture
def api() -> RestApi:
    return RestApi()


@pytest.fixture
def transport(api: RestApi) -> httpx.AsyncBaseTransport:
    return api.transport


@pytest.fixture(params=[BATCH, None], ids=["batches", "singles"])
async def provider(api: RestApi, request: pytest.FixtureRequest) -> AsyncIterator[RestProvider]:
    async with rest(api.transport, batch=request.param) as provider:
        yield provider


@pytest.fixture
def sample(provider: RestProvider) -> Sample:
    async def make(kind: Kind) -> Operation:
        number = next(numbers)
        record_id, fields = f"r{number}", {"email": f"{number}@example.org"}
        if kind in EXISTING:
            await applied(provider, Operation.create("acme", "things", fields, record_id=record_id, id=f"c{number}"))
        return Operation(
            provider="acme",
            resource="things",
            kind=kind,
            record_id=record_id,
            fields={**fields, "age": number} if kind in {Kind.CREATE, Kind.UPDATE} else {},
            id=f"o{number}",
            idempotency_key=f"o{number}",
        )

    return make


@pytest.fixture
def provider_over(provider: RestProvider) -> ProviderOver:
    batch = BATCH if provider.capabilities.largest > 1 else None
    return lambda transport: rest(transport, batch=batch, timeout=0.3, max_response_bytes=200_000)


@pytest.fixture
def there(provider: RestProvider, sample: Sample) -> RecordsThere:
    return WrittenThere(provider, sample, "default", "things")


class TestRest(ProviderSuite):
    @pytest.fixture(params=[404, 500])
    def provider_in_trouble(self, request: pytest.FixtureRequest, provider: RestProvider) -> RestProvider:
        batch = BATCH if provider.capabilities.largest > 1 else None
        return rest(httpx.MockTransport(lambda _: httpx.Response(request.param, html="<p>no</p>")), batch=batch)


class OverTheApi:
    """The suites' own fixture leads to the network."""

    @pytest.fixture
    def transport(self, api: RestApi) -> httpx.AsyncBaseTransport:
        return api.transport


class TestRestInTrouble(OverTheApi, TroubleSuite):
    pass


class Reading(OverTheApi):
    """Whether writes go out in batches makes no difference to reading."""

    @pytest.fixture
    async def provider(self, api: RestApi) -> AsyncIterator[RestProvider]:
        async with rest(api.transport) as provider:
            yield provider


class TestPull(Reading, PullSuite):
    pass


class TestListing(Reading, ListSuite):
    pass


class TestSearch(Reading, FindSuite):
    @pytest.fixture
    def find_path(self) -> str:
        return "email"


async def test_what_it_can_tell_is_in_its_capabilities() -> None:
    provider = rest(RestApi().transport)
    assert (provider.capabilities.batch_max, provider.capabilities.deletes) == (5, DeleteFeed.TOMBSTONES)
    only_listed = Resource(listing=Listing())
    for resources, deletes in (
        (only_listed, DeleteFeed.LISTING),
        (Resource(), DeleteFeed.NONE),
        ({"a": THINGS, "b": Resource()}, DeleteFeed.NONE),
    ):
        assert rest(RestApi().transport, resources=resources).capabilities.deletes is deletes


async def test_what_a_resource_cannot_do_is_said() -> None:
    async with rest(RestApi().transport, resources=Resource(listing=Listing()), batch=None) as provider:
        with pytest.raises(UnsupportedOperation, match="no changes"):
            await provider.pull_changes("default", "things", None, limit=1)
        with pytest.raises(UnsupportedOperation, match="no query"):
            await provider.find("default", "things", "email", ["a"])
        with pytest.raises(ConfigurationError, match="batch="):
            await provider.ask_together("default", "/things")
    async with rest(RestApi().transport, resources=Resource()) as provider:
        with pytest.raises(UnsupportedOperation, match="no listing"):
            await provider.list_records("default", "things", None, limit=1)
        with pytest.raises(UnsupportedOperation, match="no search"):
            await provider.find("default", "things", "email", ["a"])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Resource(path="/things/{record_id}"),
        lambda: Listing(path="/things/{record_id}"),
        lambda: rest(RestApi().transport, resources=Resource(changes=Feed(path="/ä"))),
        lambda: Feed(lag=-1.0),
        lambda: Feed(lag=float("nan")),
        lambda: Feed(lag=float("inf")),
        lambda: RequestBatch(size=0),
        lambda: rest(RestApi().transport, resources={}),
    ],
    ids=[
        *("path of one", "listing of one", "path not encoded", "lag below 0", "lag no number", "lag without end"),
        *("batch of none", "no resources"),
    ],
)
def test_what_could_not_work_is_not_made(make: Callable[[], object]) -> None:
    with pytest.raises((ConfigurationError, ValueError)):
        make()


async def test_each_connection_calls_as_its_own_account() -> None:
    seen: list[tuple[str, str | None]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((str(request.url), request.headers.get("x-key")))
        return httpx.Response(200, json={"rows": [], "next": None})

    accounts = {
        "one": Account(ApiKey("key-one", header="x-key")),
        "two": Account(ApiKey("key-two", header="x-key"), base_url="https://two.example/api"),
    }
    async with RestProvider("acme", URL, accounts, resources=THINGS, transport=httpx.MockTransport(answer)) as provider:
        for connection in accounts:
            await provider.list_records(connection, "things", None, limit=3)
        read = Operation.read("acme", "things", "1", id="o1", connection="three")
        outcome = (await provider.execute(Batch(read.lane, "things", Kind.READ, (read,))))["o1"]
    assert seen == [
        ("https://api.example/v2/things?size=3", "key-one"),
        ("https://two.example/api/things?size=3", "key-two"),
    ]
    assert isinstance(outcome, RetryLater)
    assert outcome.cause is Cause.UNAUTHORISED


async def test_credentials_go_with_reading_too() -> None:
    """And what a provider repeats of them is masked."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(400, json={"message": f"not for {request.headers['authorization']}"})

    async with RestProvider(
        "acme",
        URL,
        resources=THINGS,
        credentials={"default": {"Authorization": "Bearer s3cr3t-canary"}},
        transport=httpx.MockTransport(answer),
    ) as provider:
        with pytest.raises(InvalidResponse) as caught:
            await provider.list_records("default", "things", None, limit=3)
    assert "not for ***" in str(caught.value)


async def test_credentials_that_a_row_of_a_batch_repeats_are_masked() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        body = {"message": f"not for {request.headers['authorization']}"}
        return httpx.Response(200, json={"responses": [{"id": "o1", "status": 400, "body": body}]})

    delete = Operation.delete("acme", "things", "1", id="o1")
    async with rest(httpx.MockTransport(answer)) as provider:
        reply = await provider.execute(Batch(delete.lane, "things", Kind.DELETE, (delete,)))
    assert reply["o1"] == Rejected("HTTP 400 Bad Request: not for ***", "400")


async def test_more_than_a_page_of_findings_is_an_error() -> None:
    api = RestApi(cap=2)
    async with rest(api.transport) as provider:
        for number in range(3):
            await applied(provider, Operation.create("acme", "things", {"a": "b"}, record_id=str(number), id="o"))
        with pytest.raises(InvalidResponse, match="more records"):
            await provider.find("default", "things", "a", ["b"])


async def test_a_batch_that_cannot_be_authenticated_waits() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(401)

    operations = tuple(Operation.delete("acme", "things", str(number), id=str(number)) for number in range(3))
    async with rest(httpx.MockTransport(refuse)) as provider:
        reply = await provider.execute(Batch(operations[0].lane, "things", Kind.DELETE, operations))
    assert {outcome.cause for outcome in reply.values() if isinstance(outcome, RetryLater)} == {Cause.UNAUTHORISED}
    assert len(reply) == 3


async def test_one_operation_that_is_no_json_does_not_spoil_the_batch() -> None:
    """As a transformer may make it."""
    api = RestApi()
    operations = tuple(
        Operation.create("acme", "things", {"n": value}, record_id=str(number), id=str(number))
        for number, value in enumerate([1.0, float("nan"), 2.0])
    )
    async with rest(api.transport) as provider:
        reply = await provider.execute(Batch(operations[0].lane, "things", Kind.CREATE, operations))
    assert [isinstance(reply[str(number)], Applied) for number in range(3)] == [True, False, True]
    assert api.records.keys() == {"0", "2"}


class Unset(httpx.Auth):
    @override
    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        raise ConfigurationError("the key cannot sign")
        yield request


async def test_settings_that_are_wrong_are_no_fault_of_what_was_to_be_read() -> None:
    things = Operation.read("acme", "things", "a", id="a")
    for batch in (BATCH, None):
        async with RestProvider("acme", URL, Account(Unset()), resources=THINGS, batch=batch) as provider:
            reply = await provider.execute(Batch(things.lane, "things", Kind.READ, (things,)))
            assert dict(reply) == {"a": RetryLater("the key cannot sign", Cause.NOT_SENT)}
            for ask in (
                provider.pull_changes("default", "things", None, limit=1),
                provider.list_records("default", "things", None, limit=1),
                provider.find("default", "things", "email", ["a"]),
                provider.send("default", "GET", "/things"),
            ):
                with pytest.raises(NotSent, match="the key cannot sign"):
                    await ask


async def test_an_address_that_cannot_be_used_is_no_fault_of_what_was_to_be_read() -> None:
    async with RestProvider("acme", None, lambda _: Account(base_url="nowhere"), resources=THINGS) as provider:
        with pytest.raises(NotSent):
            await provider.list_records("default", "things", None, limit=1)


async def test_a_cursor_that_the_provider_no_longer_knows_has_expired() -> None:
    api, gone = RestApi(), httpx.MockTransport(lambda _: httpx.Response(410, json={"message": "too old"}))
    async with rest(api.transport) as provider:
        cursor = (await provider.pull_changes("default", "things", None, limit=1)).cursor
    async with rest(gone) as provider:
        with pytest.raises(CursorExpired, match="too old: list all records anew"):
            await provider.pull_changes("default", "things", cursor, limit=1)
        with pytest.raises(InvalidResponse):  # there is no such feed
            await provider.pull_changes("default", "things", None, limit=1)


@frozen
class ApisClock:
    """Goes with the API's own."""

    api: RestApi
    is_virtual: bool = False

    def now(self) -> float:
        return self.api.now.timestamp()


@pytest.mark.parametrize("tells_time", [True, False])
async def test_a_cursor_older_than_what_is_kept_of_deleted_records_has_expired(*, tells_time: bool) -> None:
    api = RestApi(tells_time=tells_time)
    assert THINGS.changes is not None
    kept = evolve(THINGS, changes=evolve(THINGS.changes, deleted_kept=timedelta(days=30).total_seconds()))
    async with (
        rest(api.transport, resources=kept, clock=ApisClock(api)) as provider,
        rest(api.transport, clock=ApisClock(api)) as careless,
    ):
        for name in ("a", "b"):
            await applied(provider, Operation.create("acme", "things", {}, record_id=name, id=name))
        api.now += timedelta(days=400)
        first = await provider.pull_changes("default", "things", None, limit=1)
        second = await provider.pull_changes("default", "things", first.cursor, limit=9)
        assert not second.has_more, "a first pass misses nothing, however old what it meets"
        if not tells_time:  # a cursor is as old as the newest change
            with pytest.raises(CursorExpired, match="forgotten some deletions"):
                await provider.pull_changes("default", "things", second.cursor, limit=1)
            return
        api.now += timedelta(days=29)
        third = await provider.pull_changes("default", "things", second.cursor, limit=10)
        api.now += timedelta(days=31)
        with pytest.raises(CursorExpired, match="forgotten some deletions"):
            await provider.pull_changes("default", "things", third.cursor, limit=10)
        await careless.pull_changes("default", "things", third.cursor, limit=10)


def test_how_long_deleted_records_are_kept_is_said_of_a_feed_that_has_them() -> None:
    with pytest.raises(ConfigurationError, match="deleted_path"):
        Feed(deleted_kept=1.0)
    with pytest.raises(ValueError, match="deleted_kept"):
        Feed(deleted_path="gone", deleted_kept=0.0)


@pytest.mark.parametrize(
    ("value", "form", "sent"),
    [
        ("2026-11-26T12:00:00+00:00", InstantForm.ISO, "2026-11-26T12:00:00+00:00"),
        ("2026-11-26T14:00:00+02:00", InstantForm.SECONDS, "1795694400"),
        (1795694400, InstantForm.SECONDS, "1795694400"),
        (1795694400123, InstantForm.MILLIS, "1795694400123"),
        ("1795694400123", InstantForm.SECONDS, "1795694400"),
        (1795694400.5, InstantForm.MILLIS, "1795694400500"),
    ],
)
async def test_instants_are_understood_in_each_of_their_forms(value: object, form: InstantForm, sent: str) -> None:
    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params.get("since"))
        return httpx.Response(200, json={"rows": [{"id": 1, "at": value}], "next": "2"})

    feed = Feed(pager=PAGES, since_param="since", since_form=form, updated_path="at")
    async with rest(httpx.MockTransport(answer), resources=Resource(changes=feed)) as provider:
        page = await provider.pull_changes("default", "things", None, limit=1)
        await provider.pull_changes("default", "things", page.cursor, limit=1)
    assert asked == [None, sent]


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ([{"id": 1}], InvalidResponse),
        ([{"id": 1, "updated": "yesterday"}], InvalidResponse),
        ([{"id": 1, "updated": "2026-11-26T12:00:00"}], InvalidResponse),
        ([{"id": 1, "updated": True}], InvalidResponse),
        ([{"id": 1, "updated": 1e300}], InvalidResponse),
        ([{"updated": 1}], InvalidResponse),
        ([7], InvalidResponse),
        ([{"id": 1, "updated": 2}, {"id": 2, "updated": 1}], PagingBroken),
    ],
)
async def test_a_feed_that_would_leave_changes_out_is_an_error(
    rows: list[object], error: type[InvalidResponse]
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"rows": rows, "next": None})

    async with rest(httpx.MockTransport(answer)) as provider:
        with pytest.raises(error):
            await provider.pull_changes("default", "things", None, limit=9)


@given(
    share=st.integers(1, 9),
    cap=st.integers(1, 4),
    tells_time=st.booleans(),
    course=st.lists(st.tuples(st.sampled_from("pdc"), st.integers(0, 5)), max_size=30),
)
def test_no_change_is_left_out_of_a_feed_by_instant(
    share: int, cap: int, tells_time: bool, course: list[tuple[str, int]]
) -> None:
    """Up to nine writes share a second, pages have one to four rows, and records change and go between the pages."""
    anyio.run(follow, share, cap, tells_time, course)


async def follow(share: int, cap: int, tells_time: bool, course: list[tuple[str, int]]) -> None:
    api = RestApi(second_of=lambda writes: writes // share, cap=cap, tells_time=tells_time)
    async with rest(api.transport, batch=None) as provider:
        known: dict[str, dict[str, Any] | None] = {}
        cursor: str | None = None

        async def pull() -> bool:
            nonlocal cursor
            page = await provider.pull_changes("default", "things", cursor, limit=3)
            for change in page.changes:
                known[change.record_id] = None if change.is_deleted else dict(change.fields or {})
            cursor = page.cursor
            return page.has_more

        for what, number in course:
            if what == "p":
                await pull()
            elif what == "c" or str(number) in api.records:
                api.answer(httpx.Request("PUT", f"{URL}/things/{number}", json={"n": len(api.calls)}))
                if what == "d":
                    api.answer(httpx.Request("DELETE", f"{URL}/things/{number}"))
        for _ in range(200):
            if not await pull():
                break
        else:
            pytest.fail("the feed has no end")
        api.now += timedelta(seconds=60)
        while await pull():
            pass
    there = {name: None if row["is_deleted"] else row for name, row in api.records.items()}
    assert {name: known.get(name) for name in there} == there


async def test_a_route_of_its_own_headers_is_sent_in_a_batch_too() -> None:
    api = RestApi()
    shape = Resource(create_with_id=Route("PUT", "/things/{record_id}", {"If-None-Match": "*"}), create=None)
    async with rest(api.transport, resources=shape) as provider:
        create = Operation.create("acme", "things", {"a": 1}, record_id="1", id="o1")
        batch = Batch(create.lane, "things", Kind.CREATE, (create,))
        assert isinstance((await provider.execute(batch))["o1"], Applied)
        assert not isinstance((await provider.execute(batch))["o1"], Applied)
