"""Positions in a pull of changes and in a listing, which both go through several of the API's own listings."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import evolve, frozen

from ratesync.errors import CursorExpired
from ratesync.providers.pipedrive.resource import Feed
from ratesync.rules.time_cursor import TimeCursor

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@frozen
class Position:
    """A page of one of a pass's listings.

    Within a listing the page's position is Pipedrive's own cursor, which knows the id beside the instant: records that
    share a second are neither skipped nor met again and again, however many they are. Passes are bounded by instants
    (:class:`~ratesync.rules.time_cursor.TimeCursor`).
    """

    time: TimeCursor
    feed: int = 0
    """The listing's place."""
    page: str | None = None
    """The page in it; None: the first."""

    @classmethod
    def read(cls, text: str | None, now: float) -> Position:
        """The position that :meth:`written` or :meth:`next_pass` gave; the beginning for None.

        :raises CursorExpired: the text is no such position.
        """
        instant = datetime.fromtimestamp(now, UTC)
        if text is None:
            return cls(TimeCursor.read(None, instant))
        try:
            time, feed, page = json.loads(text)
        except (ValueError, TypeError):
            raise CursorExpired("this is no cursor of Pipedrive's: list all records anew") from None
        if not _are_usable(time, feed, page):
            raise CursorExpired("this is no cursor of Pipedrive's: list all records anew")
        return cls(TimeCursor.read(time, instant), feed, page)

    def written(self) -> str:
        """The position as text, for a pass that goes on."""
        return json.dumps([self.time.written(), self.feed, self.page])

    @property
    def is_start(self) -> bool:
        """The first page of a pass."""
        return self.feed == 0 and self.page is None

    @property
    def is_first(self) -> bool:
        """Of the pass that meets all records there are."""
        return self.time.since == _BEGINNING

    def begun(self, now: datetime) -> Position:
        """The position once the provider's time is known at which its pass began."""
        return evolve(self, time=evolve(self.time, began_at=now))

    def params(self, feed: Feed, lag: float) -> dict[str, str]:
        """Which records to ask for. In whole seconds: Pipedrive refuses fractions of them."""
        since = self.time.began_at - timedelta(seconds=lag) if feed.is_again else self.time.since
        by_time = since != _BEGINNING
        return {
            **feed.params,
            "sort_by": "update_time" if by_time else "id",
            "sort_direction": "asc",
            **({"updated_since": f"{since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"} if by_time else {}),
        }

    def behind(self, next_page: str | None, feeds: int) -> Position | None:
        """The next page, of this listing or the next one; None behind the last of so many."""
        if next_page is not None:
            return evolve(self, page=next_page)
        return evolve(self, feed=self.feed + 1, page=None) if self.feed + 1 < feeds else None

    def next_pass(self, lag: float) -> str:
        """Where the next pass begins, as text."""
        return json.dumps([self.time.next_pass(lag), 0, None])


def _are_usable(time: Any, feed: Any, page: Any) -> bool:
    is_place = isinstance(feed, int) and not isinstance(feed, bool) and 0 <= feed < 3  # noqa: PLR2004  most listings
    return isinstance(time, str) and is_place and (page is None or isinstance(page, str))
