"""How listings are paged through: where the next page is, and whether the pages lead to an end at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Protocol, cast

from attrs import define, field, frozen

from ratesync.errors import InvalidResponse, PagingBroken
from ratesync.rules.link_field import link_with

LONGEST_POSITION = 8192
"""Characters of a position that are believed to be one."""
MAX_PAGES = 10_000
"""Pages of one listing, unless told otherwise."""


@frozen
class Ask:
    """What to ask for to get a page. Positions may be private, so they stay out of its repr."""

    target: str | None = field(default=None, repr=False)
    """A URL in place of the listing's own, or None."""
    params: Mapping[str, str] = field(factory=dict[str, str], repr=False)
    """Parameters to add to the query."""


@frozen
class Content:
    """What a page holds."""

    items: Sequence[Any] = field(repr=False)
    body: Any = field(default=None, repr=False)
    """The whole JSON value."""
    link: str = field(default="", repr=False)
    """The Link header field."""


class Pager(Protocol):
    """A way to page. A position is text, None for the first page; it can be stored and gone on from later."""

    @property
    def items_path(self) -> str | None:
        """Where the records of a page are: a dotted path, or None if the body is their list."""
        ...

    def ask(self, position: str | None) -> Ask:
        """The request for the page at a position."""
        ...

    def after(self, position: str | None, content: Content, trail: Trail) -> str | None:
        """The position of the next page, None behind the last.

        :raises InvalidResponse: the page does not say it in the way it should.
        """
        ...


@define
class Trail:
    """The pages that were seen, so that going round in circles is noticed. Keeps 16 bytes of each page and position."""

    max_pages: int = MAX_PAGES
    pages: int = 0
    records: int = 0
    _positions: set[bytes] = field(factory=set[bytes], repr=False)
    _contents: set[bytes] = field(factory=set[bytes], repr=False)

    def arrive(self, content: Content) -> None:
        """Note a page.

        :raises PagingBroken: it has come before. Pages without records may.
        """
        self.pages += 1
        self.records += len(content.items)
        if not content.items:
            return
        digest = _digest(json.dumps(content.items, sort_keys=True))
        if digest in self._contents:
            raise self.broken("page", "has the same records as an earlier one: does the provider heed its position?")
        self._contents.add(digest)

    def leave(self, position: str) -> None:
        """Note where the next page is.

        :raises PagingBroken: it was there before, or there are too many pages.
        """
        digest = _digest(position)
        if digest in self._positions:
            raise self.broken("position", "leads back to a page that was read before")
        if self.pages >= self.max_pages:
            raise self.broken("endless", f"is not the last, and no more than {self.max_pages} are read")
        self._positions.add(digest)

    def broken(self, fault: str, problem: str) -> PagingBroken:
        """The error for the page that arrived last."""
        return PagingBroken(f"page {self.pages} of the listing {problem}", fault=fault, page=self.pages)


def step(pager: Pager, position: str | None, content: Content, trail: Trail) -> str | None:
    """The position behind a page, None behind the last.

    :raises PagingBroken: the listing does not lead to its end, or not past all records.
    :raises InvalidResponse: the page does not say where the next one is, and should.
    """
    trail.arrive(content)
    following = pager.after(position, content, trail)
    if following is not None:
        trail.leave(following)
    return following


@frozen(kw_only=True)
class PageNumber:
    """``?page=1``, ``?page=2`` ...: up to a page without records, or as far as the body says.

    A page with fewer records than asked for is not taken for the last one, as providers cap what is asked for.
    """

    param: str = "page"
    """The parameter for the number."""
    first: int = 1
    """The number of the first page."""
    size: int | None = None
    """Records asked for in a page, sent as ``size_param``."""
    size_param: str = "per_page"
    """The parameter for the size."""
    items_path: str | None = None
    """Where the body has the records, with dots for depth; None: it is the list itself."""
    more_path: str | None = None
    """Where the body says whether more follows."""
    last_path: str | None = None
    """Where the body tells the last page's number."""

    def ask(self, position: str | None) -> Ask:
        """The page's number, and its size if there is one."""
        params = {self.param: str(self.first if position is None else _number(position))}
        return Ask(params=params if self.size is None else params | {self.size_param: str(self.size)})

    def after(self, position: str | None, content: Content, trail: Trail) -> str | None:
        """The next number."""
        number = self.first if position is None else _number(position)
        if self.last_path is not None and number >= _count_at(content.body, self.last_path):
            return None
        return str(number + 1) if _goes_on(content, self.more_path) else None


@frozen(kw_only=True)
class Offset:
    """``?offset=0&limit=100``, ``?offset=100`` ...: up to a page without records, or as far as the body says.

    Offsets count what came, not what was asked for. While others create and delete records they shift: with
    ``overlap_id`` each page begins with the last record of the one before, and it is an error if it does not.
    """

    param: str = "offset"
    """The parameter for the offset."""
    limit: int = 100
    """Records asked for in a page."""
    limit_param: str = "limit"
    """The parameter for the limit."""
    items_path: str | None = None
    """Where the body has the records, with dots for depth; None: it is the list itself."""
    more_path: str | None = None
    """Where the body says whether more follows."""
    total_path: str | None = None
    """Where the body tells how many records there are: the listing ends there, and it is an error if it ends before."""
    overlap_id: str | None = None
    """Where a record's id is: the pages then overlap by one record, which comes twice."""

    def ask(self, position: str | None) -> Ask:
        """The offset and the limit."""
        offset, _ = self._parse(position)
        return Ask(params={self.param: str(offset), self.limit_param: str(self.limit)})

    def after(self, position: str | None, content: Content, trail: Trail) -> str | None:
        """The offset behind the page, and the id that is expected there."""
        offset, expected = self._parse(position)
        if expected is not None and (not content.items or self._id(content.items[0]) != expected):
            raise trail.broken("shifted", "does not begin where the one before ended: records moved, list anew")
        end = offset + len(content.items)
        total = None if self.total_path is None else _count_at(content.body, self.total_path)
        is_alone = expected is not None and len(content.items) == 1
        if is_alone or not _goes_on(content, self.more_path) or (total is not None and end >= total):
            if total is not None and end < total:
                raise trail.broken("short", f"is the last, after {end} records of {total}")
            return None
        if self.overlap_id is None or len(content.items) == 1:  # with the overlap alone a page could not advance
            return str(end)
        return f"{end - 1}:{self._id(content.items[-1])}"

    def _parse(self, position: str | None) -> tuple[int, str | None]:
        number, mark, expected = (position or "0").partition(":")
        return _number(number), expected if mark else None

    def _id(self, item: Any) -> str:
        return _key_text(item, self.overlap_id or "")


@frozen(kw_only=True)
class Cursor:
    """``?cursor=abc``: each page tells the next one's cursor, the last one none."""

    param: str = "cursor"
    """The parameter for the cursor."""
    next_path: str = "next_cursor"
    """Where the body tells it. Missing, null, false or empty: this was the last page."""
    items_path: str | None = None
    """Where the body has the records, with dots for depth; None: it is the list itself."""
    more_path: str | None = None
    """Where the body says whether more follows: for providers whose last page has a cursor, too."""
    params: Mapping[str, str] = field(factory=dict[str, str], repr=False)
    """Sent with every page, such as its size."""

    def ask(self, position: str | None) -> Ask:
        """The cursor."""
        return Ask(params=self.params if position is None else {**self.params, self.param: position})

    def after(self, position: str | None, content: Content, trail: Trail) -> str | None:
        """The cursor that the page tells."""
        if self.more_path is not None and not _at(content.body, self.more_path):
            return None
        return _position(_at(content.body, self.next_path))


@frozen(kw_only=True)
class NextLink:
    """Each page has a link to the next: in its Link header (RFC 8288), or in its body where ``next_path`` leads to it.

    A link may be relative to the listing. It is followed within the provider's origin only.
    """

    relation: str = "next"
    """The relation of the link in the header."""
    next_path: str | None = None
    """Where the body has the link; None: it is in the header."""
    items_path: str | None = None
    """Where the body has the records, with dots for depth; None: it is the list itself."""

    def ask(self, position: str | None) -> Ask:
        """The link."""
        return Ask(target=position)

    def after(self, position: str | None, content: Content, trail: Trail) -> str | None:
        """The link to the next page."""
        if self.next_path is not None:
            return _position(_at(content.body, self.next_path))
        return _position(link_with(content.link, self.relation))


@frozen(kw_only=True)
class Keyset:
    """``?since_id=42``: each page begins behind the last key of the one before, up to a page without records.

    Nothing shifts when records come and go. The key must be unique and the listing ordered by it, which is checked as
    far as a page shows it: equal keys, or whole numbers out of order, are an error.
    """

    param: str = "since_id"
    """The parameter for the key."""
    key_path: str = "id"
    """Where a record has its key, with dots for depth."""
    items_path: str | None = None
    """Where the body has the records, with dots for depth; None: it is the list itself."""
    more_path: str | None = None
    """Where the body says whether more follows."""
    descending: bool = False
    """The listing begins with the largest key."""
    params: Mapping[str, str] = field(factory=dict[str, str], repr=False)
    """Sent with every page, such as its size and order."""

    def ask(self, position: str | None) -> Ask:
        """The key."""
        return Ask(params=self.params if position is None else {**self.params, self.param: position})

    def after(self, position: str | None, content: Content, trail: Trail) -> str | None:
        """The last record's key."""
        keys = [_key_text(item, self.key_path) for item in content.items]
        if len(set(keys)) < len(keys):
            raise trail.broken("key", "has two records with the same key: page by a key that is unique")
        whole = [int(key) for key in keys if key.isdecimal() and key.isascii() and len(key) < LONGEST_NUMBER]
        if len(whole) == len(keys) and whole != sorted(whole, reverse=self.descending):
            raise trail.broken("key", "is not in the order of its keys, so records would be skipped")
        return keys[-1] if _goes_on(content, self.more_path) else None


LONGEST_NUMBER = 19
"""Digits of a number that is one: 64 bits."""


def items_at(body: Any, path: str | None) -> Sequence[Any]:
    """The records of a page.

    :raises InvalidResponse: there is no list of them.
    """
    found = _at(body, path)
    if not isinstance(found, list):
        raise InvalidResponse(f"the page has no list of records{'' if path is None else f' at {path!r}'}")
    return cast("Sequence[Any]", found)


def _at(value: Any, path: str | None) -> Any:
    for name in () if path is None else path.split("."):
        value = cast("Mapping[str, Any]", value).get(name) if isinstance(value, dict) else None
    return value


def _goes_on(content: Content, more_path: str | None) -> bool:
    """Whether more follows: as the body says, or else if there were records."""
    return bool(content.items) and (more_path is None or bool(_at(content.body, more_path)))


def _position(value: Any) -> str | None:
    """A cursor or link; None behind the last page."""
    if value is None or value is False or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int) or len(str(value)) > LONGEST_POSITION:
        raise InvalidResponse("the page's link or cursor to the next one is no text of a usable length")
    return str(value)


def _number(position: str) -> int:
    if not (position.isdecimal() and position.isascii() and len(position) < LONGEST_NUMBER):
        raise ValueError("this is no position of this listing")
    return int(position)


def _count_at(body: Any, path: str) -> int:
    count = _at(body, path)
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise InvalidResponse(f"the page has no count at {path!r}")
    return count


def _key_text(item: Any, path: str) -> str:
    key = _at(item, path)
    if isinstance(key, bool) or not isinstance(key, str | int) or not 0 < len(str(key)) <= LONGEST_POSITION:
        raise InvalidResponse(f"a record of the page has no key at {path!r}")
    return str(key)


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
