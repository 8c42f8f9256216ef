"""Case 64 of the failure catalogue: listings that repeat, skip or never end, from a server that really does so."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from itertools import count
from typing import Any
from urllib.parse import parse_qsl

import pytest

from ratesync.errors import InvalidResponse, PagingBroken, Throttled, Unauthorised, Unavailable, UnsafeRedirect
from ratesync.http import Cursor, HttpCaller, Keyset, NextLink, Offset, PageNumber, Pager, Pages
from tests.servers.fault_server import FaultServer, Reply, Wire
from tests.servers.replies import answer, html, json_answer, problem, redirect

pytestmark = pytest.mark.anyio

PATH = "/contacts"
RECORDS = [{"id": number} for number in range(1, 26)]
Answer = Callable[[Mapping[str, str]], tuple[Any, Mapping[str, str]]]


def paged(make: Answer) -> Reply:
    """A listing whose answer depends on the query."""

    async def reply(wire: Wire) -> None:
        body, headers = make(dict(parse_qsl(wire.request.target.partition("?")[2])))
        await json_answer(body, headers=headers)(wire)

    return reply


def bare(body: Any) -> tuple[Any, Mapping[str, str]]:
    return body, {}


def by_number(query: Mapping[str, str]) -> tuple[Any, Mapping[str, str]]:
    start = (int(query["page"]) - 1) * 10
    return bare(RECORDS[start : start + 10])


def by_offset(query: Mapping[str, str]) -> tuple[Any, Mapping[str, str]]:
    """Gives 10 at most, whatever it is asked for."""
    start = int(query["offset"])
    return bare(RECORDS[start : start + min(int(query["limit"]), 10)])


def by_cursor(query: Mapping[str, str]) -> tuple[Any, Mapping[str, str]]:
    start = int(query.get("cursor", "c0")[1:])
    following = f"c{start + 10}" if start + 10 < len(RECORDS) else None
    return bare({"results": RECORDS[start : start + 10], "paging": {"next": following}})


def by_link(query: Mapping[str, str]) -> tuple[Any, Mapping[str, str]]:
    start = int(query.get("at", "0"))
    following = f'<{PATH}?at=0>; rel="first", <{PATH}?at={start + 10}>; rel="next"'
    return RECORDS[start : start + 10], {"link": following} if start + 10 < len(RECORDS) else {}


def by_key(query: Mapping[str, str]) -> tuple[Any, Mapping[str, str]]:
    return bare([record for record in RECORDS if record["id"] > int(query.get("since_id", "0"))][:10])


CURSOR = Cursor(items_path="results", next_path="paging.next")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """In real time, as there is a real server."""
    return str(request.param)


@pytest.fixture
async def caller(fault_server: FaultServer) -> AsyncIterator[HttpCaller]:
    async with HttpCaller(fault_server.url, timeout=10) as caller:
        yield caller


async def read(caller: HttpCaller, pager: Pager, **options: Any) -> list[int]:
    return [item["id"] async for page in Pages(caller, PATH, pager, **options) for item in page.items]


@pytest.mark.parametrize(
    ("pager", "make", "calls"),
    [
        (PageNumber(), by_number, 4),
        (Offset(limit=100), by_offset, 4),
        (CURSOR, by_cursor, 3),
        (NextLink(), by_link, 3),
        (Keyset(), by_key, 4),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_every_record_of_a_sound_listing_comes_once(
    fault_server: FaultServer, caller: HttpCaller, pager: Pager, make: Answer, calls: int
) -> None:
    fault_server.script(PATH, paged(make))
    assert await read(caller, pager) == list(range(1, 26))
    assert len(fault_server.requests) == calls


async def test_a_listing_can_be_gone_on_with_from_any_page(fault_server: FaultServer, caller: HttpCaller) -> None:
    fault_server.script(PATH, paged(by_cursor))
    first = await anext(Pages(caller, PATH, CURSOR))
    assert await read(caller, CURSOR, start=first.next_position) == list(range(11, 26))


def stuck(query: Mapping[str, str]) -> tuple[Any, Mapping[str, str]]:
    """Heeds no position at all."""
    body = {"results": RECORDS[:10], "paging": {"next": "same"}}
    return body, {"link": f'<{PATH}?at=1>; rel="next"'}


@pytest.mark.parametrize("pager", [PageNumber(items_path="results"), Offset(items_path="results"), CURSOR])
async def test_case_64_a_page_that_comes_again(fault_server: FaultServer, caller: HttpCaller, pager: Pager) -> None:
    fault_server.script(PATH, paged(stuck))
    with pytest.raises(PagingBroken, match="page 2 of the listing has the same records") as caught:
        await read(caller, pager)
    assert (caught.value.fault, caught.value.page) == ("page", 2)
    assert len(fault_server.requests) == 2


async def test_case_64_a_cursor_that_goes_round(fault_server: FaultServer, caller: HttpCaller) -> None:
    """Three cursors for ever, with other records each time."""
    numbers = count()
    following = {"": "a", "a": "b", "b": "c", "c": "a"}

    def make(query: Mapping[str, str]) -> tuple[Any, Mapping[str, str]]:
        return bare({"results": [{"id": next(numbers)}], "paging": {"next": following[query.get("cursor", "")]}})

    fault_server.script(PATH, paged(make))
    with pytest.raises(PagingBroken, match="page 4 of the listing leads back") as caught:
        await read(caller, CURSOR)
    assert caught.value.fault == "position"
    assert len(fault_server.requests) == 4


@pytest.mark.parametrize("is_empty", [True, False])
async def test_case_64_a_cursor_without_end(fault_server: FaultServer, caller: HttpCaller, is_empty: bool) -> None:
    numbers = count()

    def make(query: Mapping[str, str]) -> tuple[Any, Mapping[str, str]]:
        number = next(numbers)
        return bare({"results": [] if is_empty else [{"id": number}], "paging": {"next": f"c{number}"}})

    fault_server.script(PATH, paged(make))
    with pytest.raises(PagingBroken, match="no more than 7 are read") as caught:
        await read(caller, CURSOR, max_pages=7)
    assert (caught.value.fault, caught.value.page) == ("endless", 7)
    assert len(fault_server.requests) == 7


@pytest.mark.parametrize("change", ["deleted", "created"])
async def test_case_64_records_that_move_under_an_offset(
    fault_server: FaultServer, caller: HttpCaller, change: str
) -> None:
    """Without the overlap the first would skip a record and nobody would know."""
    records = list(RECORDS)
    calls = count()

    def make(query: Mapping[str, str]) -> tuple[Any, Mapping[str, str]]:
        if next(calls) == 1:
            records[:] = records[1:] if change == "deleted" else [{"id": 0}, *records]
        start = int(query["offset"])
        return bare(records[start : start + 10])

    fault_server.script(PATH, paged(make))
    with pytest.raises(PagingBroken, match="list anew") as caught:
        await read(caller, Offset(limit=10, overlap_id="id"))
    assert (caught.value.fault, caught.value.page) == ("shifted", 2)


async def test_case_64_an_overlap_where_nothing_moves(fault_server: FaultServer, caller: HttpCaller) -> None:
    fault_server.script(PATH, paged(by_offset))
    assert await read(caller, Offset(limit=10, overlap_id="id")) == sorted([*range(1, 26), 10, 19, 25])


async def test_case_64_a_listing_that_ends_too_early(fault_server: FaultServer, caller: HttpCaller) -> None:
    def make(query: Mapping[str, str]) -> tuple[Any, Mapping[str, str]]:
        start = int(query["offset"])
        return bare({"items": RECORDS[start : min(start + 10, 20)], "total": 25})

    fault_server.script(PATH, paged(make))
    with pytest.raises(PagingBroken, match="after 20 records of 25") as caught:
        await read(caller, Offset(limit=10, items_path="items", total_path="total"))
    assert caught.value.fault == "short"


@pytest.mark.parametrize(
    "ids", [[1, 2, 2], [3, 1, 2], [5, 4]], ids=["a key that is not unique", "out of order", "descending"]
)
async def test_case_64_a_key_that_would_skip_records(
    fault_server: FaultServer, caller: HttpCaller, ids: Sequence[int]
) -> None:
    fault_server.script(PATH, json_answer([{"id": number} for number in ids]))
    with pytest.raises(PagingBroken) as caught:
        await read(caller, Keyset())
    assert caught.value.fault == "key"


NO_PAGES: dict[str, tuple[Reply, type[Exception]]] = {
    "429": (problem(429, "7"), Throttled),
    "503": (problem(503), Unavailable),
    "401": (problem(401), Unauthorised),
    "404": (problem(404), InvalidResponse),
    "500": (problem(500), InvalidResponse),
    "HTML": (html(200), InvalidResponse),
    "nothing": (answer(204), InvalidResponse),
    "no list": (json_answer({"results": "none"}), InvalidResponse),
    "odd cursor": (json_answer({"results": [], "paging": {"next": ["x"]}}), InvalidResponse),
    "endless text as cursor": (json_answer({"results": [], "paging": {"next": "x" * 10_000}}), InvalidResponse),
    "redirect": (redirect("http://169.254.169.254/"), UnsafeRedirect),
}


@pytest.mark.parametrize(("reply", "error"), NO_PAGES.values(), ids=NO_PAGES)
async def test_what_is_no_page_is_an_error_and_its_place_can_be_read_again(
    fault_server: FaultServer, caller: HttpCaller, reply: Reply, error: type[Exception]
) -> None:
    fault_server.script(PATH, paged(by_cursor), reply, paged(by_cursor))
    pages = Pages(caller, PATH, CURSOR)
    first = await anext(pages)
    with pytest.raises(error) as caught:
        await anext(pages)
    assert not isinstance(caught.value, Throttled) or caught.value.retry_after == 7
    assert await read(caller, CURSOR, start=first.next_position) == list(range(11, 26))


@pytest.mark.parametrize("link", ["http://169.254.169.254/latest", "//evil.example/x", "file:///etc/passwd"])
async def test_a_link_elsewhere_is_not_followed(fault_server: FaultServer, caller: HttpCaller, link: str) -> None:
    fault_server.script(PATH, json_answer(RECORDS[:1], headers={"link": f'<{link}>; rel="next"'}))
    with pytest.raises(UnsafeRedirect, match="another origin"):
        await read(caller, NextLink())


async def test_nothing_of_a_listing_is_in_a_repr(fault_server: FaultServer, caller: HttpCaller) -> None:
    fault_server.script(PATH, json_answer({"results": [{"id": "hunter2"}], "paging": {"next": "hunter2"}}))
    pages = Pages(caller, PATH, CURSOR, headers={"x-api-key": "hunter2"}, params={"key": "hunter2"})
    page = await anext(pages)
    assert "hunter2" not in json.dumps([repr(pages), repr(page)])
