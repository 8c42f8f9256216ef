"""A position in HubSpot's changes: what a pass has seen, in a feed that is a search."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import evolve, frozen

from ratesync.errors import CursorExpired
from ratesync.rules.time_cursor import TimeCursor

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_FORMAT = 1


@frozen
class Position:
    """Where a pass through the changes is.

    A search gives at most 10,000 records and sorts by one property only. So no page is reached by paging: each is the
    first page of its own search. By time it asks for all that changed at ``since`` or later. Where one instant fills a
    page, its records are gone through by their ids (``after_id``), and then the next millisecond follows.

    When all changes were seen, the archived records are listed (``is_archive``), as no search shows them.
    """

    from_at: datetime
    """The pass looks for what changed, or went, at this instant or later."""
    began_at: datetime | None
    """HubSpot's time when the pass began; None: it has not."""
    since: datetime
    """Inclusive lower bound of the next search."""
    after_id: int | None = None
    """Only records of the instant ``since`` with a higher id."""
    is_archive: bool = False
    after: str | None = None
    """Where the next page of archived records begins."""

    @classmethod
    def read(cls, text: str | None) -> Position:
        """The position that :meth:`written` gave; the beginning for None.

        :raises CursorExpired: the text is no such position.
        """
        if text is None:
            return cls(BEGINNING, None, BEGINNING)
        try:
            return _position(json.loads(text))
        except (ValueError, TypeError, OverflowError, RecursionError):
            raise CursorExpired("this is no cursor of HubSpot's changes: list all records anew") from None

    def written(self) -> str:
        """The position as text."""
        began = None if self.began_at is None else self.began_at.isoformat()
        place = [self.after_id, self.is_archive, self.after]
        return json.dumps([_FORMAT, self.from_at.isoformat(), began, self.since.isoformat(), *place])

    def begun(self, at: datetime) -> Position:
        """The position in a pass that has begun, at the latest now."""
        return self if self.began_at is not None else evolve(self, began_at=at)

    def is_older_than(self, seconds: float, now: datetime) -> bool:
        """Tell whether some of what went since the pass looks back to may no longer be listed.

        See :meth:`ratesync.rules.time_cursor.TimeCursor.is_older_than`.
        """
        return TimeCursor(self.from_at, None, now, self.from_at).is_older_than(seconds, now)

    def at(self, since: datetime) -> Position:
        """Behind all that changed before an instant."""
        return evolve(self, since=since, after_id=None)

    def among(self, instant: datetime, after_id: int) -> Position:
        """Among the records of one instant, behind an id."""
        return evolve(self, since=instant, after_id=after_id)

    def past_instant(self) -> Position:
        """Behind all records of the instant."""
        return evolve(self, since=self.since + _MILLISECOND, after_id=None)

    def in_archive(self, after: str | None) -> Position:
        """In the list of archived records."""
        return evolve(self, after_id=None, is_archive=True, after=after)

    def next_pass(self, lag: float) -> Position:
        """Where the next pass begins: a little before this one did, as searches show some changes late."""
        began = self.from_at if self.began_at is None else self.began_at
        from_at = max(began - timedelta(seconds=lag), BEGINNING)
        return Position(from_at, None, from_at)


def milliseconds(instant: datetime) -> int:
    """The instant as HubSpot's filters have it: whole milliseconds since the epoch, rounded down."""
    return (instant - BEGINNING) // _MILLISECOND


def _position(value: Any) -> Position:
    form, from_at, began_at, since, after_id, is_archive, after = value
    if form != _FORMAT or not isinstance(is_archive, bool) or not isinstance(after, str | None):
        raise TypeError
    if after_id is not None and (not isinstance(after_id, int) or isinstance(after_id, bool)):
        raise TypeError
    began = None if began_at is None else _instant(began_at)
    return Position(_instant(from_at), began, _instant(since), after_id, is_archive, after)


def _instant(text: Any) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError
    return moment
