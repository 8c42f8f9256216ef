from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.errors import InvalidResponse, PagingBroken
from ratesync.rules.link_field import link_with
from ratesync.rules.paging import (
    Content,
    Cursor,
    Keyset,
    NextLink,
    Offset,
    PageNumber,
    Pager,
    Trail,
    items_at,
    step,
)

texts = st.text(max_size=30)


def follow(pager: Pager, body: Any, position: str | None = None, link: str = "") -> str | None:
    return step(pager, position, Content(items_at(body, pager.items_path), body, link), Trail())


def records(*ids: Any) -> list[dict[str, Any]]:
    return [{"id": each} for each in ids]


@pytest.mark.parametrize(
    ("field", "target"),
    [
        ('<https://a.example/?p=2>; rel="next"', "https://a.example/?p=2"),
        ("</x>; rel=next", "/x"),
        ('</a,b>; rel="prev", </c;d>; title="x, <y>; rel=next"; rel="last next"', "/c;d"),
        ('</a>; rel="NEXT"', "/a"),
        ('</a>; rel="prev"; rel="next"', None),
        ('</a>; rel="nextish"', None),
        ('<>; rel="next"', None),
        ("</a>", None),
        ("", None),
        ('</a; rel="next"', None),
    ],
)
def test_links_are_found_by_their_relation(field: str, target: str | None) -> None:
    assert link_with(field, "next") == target


@given(st.text(alphabet='<>;,= "\\relnxtp', max_size=60) | st.text())
def test_no_link_field_is_too_odd(field: str) -> None:
    link_with(field, "next")


@given(st.integers(1, 60), st.integers(1, 12), st.integers(1, 12))
def test_whatever_a_provider_caps_pages_at_offsets_reach_every_record(total: int, asked: int, cap: int) -> None:
    pager, trail = Offset(limit=asked, overlap_id=None), Trail()
    found: list[int] = []
    position: str | None = None
    while True:
        params = pager.ask(position).params
        start, limit = int(params["offset"]), min(int(params["limit"]), cap)
        items = list(range(total))[start : start + limit]
        found += items
        position = step(pager, position, Content(items), trail)
        if position is None:
            break
    assert found == list(range(total))
    assert trail.records == total


@given(st.integers(0, 60), st.integers(2, 12))
def test_pages_overlap_by_one_record(total: int, limit: int) -> None:
    pager, trail = Offset(limit=limit, overlap_id="id"), Trail()
    found: list[int] = []
    position: str | None = None
    while True:
        start = int(pager.ask(position).params["offset"])
        items = records(*range(total))[start : start + limit]
        found += [item["id"] for item in items]
        position = step(pager, position, Content(items), trail)
        if position is None:
            break
    assert sorted(set(found)) == list(range(total))


def test_pages_are_numbered() -> None:
    pager = PageNumber(first=0, size=50)
    assert pager.ask(None).params == {"page": "0", "per_page": "50"}
    assert follow(pager, records(1)) == "1"
    assert pager.ask("1").params == {"page": "1", "per_page": "50"}
    assert follow(pager, []) is None


def test_the_body_may_tell_the_end() -> None:
    last = PageNumber(items_path="items", last_path="pages")
    assert follow(last, {"items": [1], "pages": 2}) == "2"
    assert follow(last, {"items": [1], "pages": 2}, "2") is None
    for pager in (PageNumber(items_path="items", more_path="more"), Offset(items_path="items", more_path="more")):
        assert follow(pager, {"items": [1], "more": True}) is not None
        assert follow(pager, {"items": [1], "more": False}) is None
    total = Offset(items_path="items", total_path="total")
    assert follow(total, {"items": [1], "total": 2}) == "1"
    assert follow(total, {"items": [2], "total": 2}, "1") is None


@pytest.mark.parametrize("pages", [None, "2", True, -1, 1.5])
def test_a_count_must_be_one(pages: Any) -> None:
    with pytest.raises(InvalidResponse, match="no count at 'pages'"):
        follow(PageNumber(items_path="items", last_path="pages"), {"items": [1], "pages": pages})


@pytest.mark.parametrize("end", [None, False, ""])
def test_a_cursor_ends_where_there_is_none(end: Any) -> None:
    assert follow(Cursor(items_path="items"), {"items": [1], "next_cursor": end}) is None


def test_a_cursor_is_text_or_a_whole_number() -> None:
    pager = Cursor(items_path="items", more_path="more", params={"limit": "10"})
    assert pager.ask(None).params == {"limit": "10"}
    assert follow(pager, {"items": [1], "next_cursor": 7, "more": True}) == "7"
    assert pager.ask("7").params == {"limit": "10", "cursor": "7"}
    assert follow(pager, {"items": [1], "next_cursor": "x", "more": False}) is None
    odds: list[Any] = [True, 1.5, [], {"a": 1}, "x" * 8193]
    for odd in odds:
        with pytest.raises(InvalidResponse, match="no text of a usable length"):
            follow(pager, {"items": [1], "next_cursor": odd, "more": True})


def test_a_link_may_stand_in_the_body() -> None:
    pager = NextLink(next_path="links.next", items_path="items")
    assert follow(pager, {"items": [1], "links": {"next": "/x?p=2"}}) == "/x?p=2"
    assert pager.ask("/x?p=2").target == "/x?p=2"
    assert follow(pager, {"items": [1], "links": 5}) is None
    assert follow(NextLink(), [1], link='</y>; rel="next"') == "/y"


def test_a_key_may_be_text() -> None:
    assert follow(Keyset(), records("b", "A")) == "A", "providers collate in ways of their own"
    assert follow(Keyset(more_path="more", items_path="items"), {"items": records(1), "more": False}) is None
    assert follow(Keyset(descending=True), records(3, 2)) == "2"
    assert Keyset(params={"limit": "5"}).ask("3").params == {"limit": "5", "since_id": "3"}
    assert Keyset(params={"limit": "5"}).ask(None).params == {"limit": "5"}


@pytest.mark.parametrize("item", [{}, {"id": None}, {"id": True}, {"id": 1.5}, {"id": ""}, "text", None])
def test_a_record_must_have_its_key(item: Any) -> None:
    with pytest.raises(InvalidResponse, match="no key at 'id'"):
        follow(Keyset(), [item])


@pytest.mark.parametrize(
    ("body", "path"), [(None, None), ({}, None), ({"items": None}, "items"), ([], "items"), ({"a": []}, "a.b")]
)
def test_records_must_be_in_a_list(body: Any, path: str | None) -> None:
    with pytest.raises(InvalidResponse, match="no list of records"):
        items_at(body, path)


@pytest.mark.parametrize("position", ["x", "-1", "１", "1" * 30, "1.5"])
@pytest.mark.parametrize("pager", [PageNumber(), Offset()])
def test_a_position_of_another_listing_is_refused(pager: Pager, position: str) -> None:
    with pytest.raises(ValueError, match="no position of this listing"):
        pager.ask(position)


def test_pages_without_records_may_come_again() -> None:
    trail = Trail()
    for number in range(3):
        body: dict[str, Any] = {"items": [], "next_cursor": str(number)}
        assert step(Cursor(items_path="items"), None, Content([], body), trail) == str(number)


@given(st.lists(texts.filter(bool), min_size=1), st.integers(1, 20))
def test_whatever_a_provider_says_reading_ends(cursors: list[str], most: int) -> None:
    """The pages go round in a circle; none of them is read twice."""
    trail, pager = Trail(max_pages=most), Cursor()

    def read_on(calls: int) -> None:
        step(pager, None, Content([calls], {"next_cursor": cursors[calls % len(cursors)]}), trail)

    caught: PagingBroken | None = None
    for calls in range(len(set(cursors)) + 1):
        try:
            read_on(calls)
        except PagingBroken as error:
            caught = error
            break
    assert caught is not None
    assert caught.page == trail.pages <= most


def test_a_trail_shows_no_positions() -> None:
    trail = Trail()
    trail.leave("hunter2")
    assert "hunter2" not in repr(trail)
