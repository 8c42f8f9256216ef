"""Reading a listing page by page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define, field, frozen

from ratesync.clock import Clock, SystemClock
from ratesync.http.caller import HttpCaller
from ratesync.http.feedback import ThrottleReader
from ratesync.http.headers import kept_headers
from ratesync.http.refusal import refusal_in
from ratesync.http.response import Response
from ratesync.model.secret import Secret
from ratesync.rules.paging import MAX_PAGES, Content, Pager, Trail, items_at, step


@frozen
class Page:
    """One page of a listing. Records and positions stay out of its repr."""

    number: int
    """Counted from 1, from where this listing was begun."""
    items: tuple[Any, ...] = field(repr=False)
    """The records, as the body has them."""
    response: Response = field(repr=False)
    """The whole answer."""
    position: str | None = field(repr=False)
    """Where this page is; None for the first."""
    next_position: str | None = field(repr=False)
    """Where the next page is; None if this is the last. Give it as ``start`` to go on from there later."""


@define
class Pages:
    """The pages of a listing, read one at a time.

    ::

        async for page in Pages(caller, "/contacts", Cursor(items_path="results", next_path="paging.next.after")):
            ...  # page.items

    Each page is one call, made when it is asked for; rate limits are the engine's work, so ask it for a permit before
    each page. It always ends: with the last page, or with an error that says why it cannot. Then, and after a failed
    call, reading can be tried again from ``start=``, the ``next_position`` of the last good page.

    Errors are those of :meth:`HttpCaller.send`, and: Throttled, Unavailable, Unauthorised as the status says;
    InvalidResponse if a page is none; :class:`~ratesync.errors.PagingBroken` where pages repeat, go on for ever or skip
    records.

    Args:
        caller: Makes the calls.
        target: The listing's path, as for :meth:`HttpCaller.send`.
        pager: How the API pages: PageNumber, Offset, Cursor, NextLink, Keyset, or one of your own.
        params: Sent with every page, but not with the links of :class:`~ratesync.rules.paging.NextLink`.
        headers: Sent with every page.
        start: The position to begin at. Default: the first page.
        max_pages: More are an error. Default 10,000.
        throttle: As for :func:`read_outcome`.
        clock: For dates in Retry-After.
    """

    caller: HttpCaller
    target: str
    pager: Pager
    params: Mapping[str, str] = field(factory=dict[str, str], repr=False, kw_only=True)
    headers: Mapping[str, Secret] = field(factory=dict[str, Secret], converter=kept_headers, repr=False, kw_only=True)
    start: str | None = field(default=None, repr=False, kw_only=True)
    max_pages: int = field(default=MAX_PAGES, kw_only=True)
    throttle: ThrottleReader | None = field(default=None, repr=False, kw_only=True)
    clock: Clock = field(factory=SystemClock, repr=False, kw_only=True)
    _position: str | None = field(init=False, repr=False)
    _trail: Trail = field(init=False, repr=False)
    _is_over: bool = field(default=False, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._position = self.start
        self._trail = Trail(self.max_pages)
        if self.start is not None:
            self._trail.leave(self.start)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Page:
        if self._is_over:
            raise StopAsyncIteration
        position = self._position
        response = await self._fetch(position)
        body = response.json()
        content = Content(items_at(body, self.pager.items_path), body, response.headers.get("link", ""))
        following = step(self.pager, position, content, self._trail)
        self._position, self._is_over = following, following is None
        return Page(self._trail.pages, tuple(content.items), response, position, following)

    async def _fetch(self, position: str | None) -> Response:
        ask = self.pager.ask(position)
        if ask.target is None:
            params = {**self.params, **ask.params}
            response = await self.caller.send("GET", self.target, params=params, headers=self.headers)
        else:
            origin = self.caller.origin
            target = origin.link(self.target, ask.target)
            response = await self.caller.send("GET", target, params=ask.params, headers=self.headers)
        refusal = refusal_in(response, now=self.clock.now(), throttle=self.throttle)
        if refusal is not None:
            raise refusal
        return response
