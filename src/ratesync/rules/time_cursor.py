"""A cursor for feeds of changes that are ordered by time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import evolve, frozen

from ratesync.errors import CursorExpired

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@frozen
class TimeCursor:
    """A position in a feed that is ordered by the instant of the last change, and by id within an instant.

    Ask the provider for what lies behind it: changed at ``since`` with an id above ``after_id``, or changed later; with
    ``after_id`` None, all that changed at ``since`` too. So records that share an instant are neither skipped nor met
    for ever. A pass remembers when it began: the next one starts a little before that, since providers show some
    changes late, under an instant that has gone by.
    """

    since: datetime
    """Inclusive lower bound."""
    after_id: str | None
    """Of the records changed at ``since``, those up to this id were seen."""
    began_at: datetime
    """The provider's time when this pass began."""
    from_at: datetime = _BEGINNING
    """Where this pass began to look; the very beginning for the first one."""

    @classmethod
    def read(cls, text: str | None, now: datetime) -> TimeCursor:
        """The position that :meth:`written` gave; from the beginning for None.

        :param now: the provider's time, or an instant surely not after it; aware.
        :raises CursorExpired: the text is no such position.
        """
        if text is None:
            return cls(_BEGINNING, None, now)
        try:
            since, after_id, began_at, from_at = _parts(json.loads(text))
        except (ValueError, TypeError, OverflowError):
            raise CursorExpired("this is not a cursor of this feed: list all records anew") from None
        return cls(since, after_id, began_at or now, from_at)

    def written(self) -> str:
        """The position as text, for a pass that goes on."""
        instants = self.since.isoformat(), self.began_at.isoformat(), self.from_at.isoformat()
        return json.dumps([instants[0], self.after_id, *instants[1:]])

    def behind(self, changed_at: datetime, record_id: str) -> str:
        """The position behind the last record of a page, with more pages to come, as text.

        :raises ValueError: that record does not lie behind this position; the pages would never end.
        """
        if (changed_at, record_id) <= (self.since, self.after_id or ""):
            raise ValueError("the last record of the page does not lie behind the cursor that the page was asked for")
        return self.at(changed_at, record_id).written()

    def at(self, since: datetime, after_id: str | None) -> TimeCursor:
        """Another position in the same pass."""
        return evolve(self, since=since, after_id=after_id)

    def is_older_than(self, seconds: float, now: datetime) -> bool:
        """Tell whether something may lie behind this position that the provider no longer shows.

        So it may be with deletions, which most providers show for some time only. The first pass misses none: it meets
        the records that are there.

        :param seconds: for so long the provider shows it. :param now: the provider's time.
        """
        return self.from_at > _BEGINNING and (now - self.since).total_seconds() > seconds

    def next_pass(self, lag: float) -> str:
        """Where the next pass begins, when this one has met the end of the feed, as text.

        :param lag: seconds after which every change is surely shown.
        """
        # Not where the last page ended: what shows late lies before that.
        since = max(_BEGINNING, self.began_at - timedelta(seconds=lag))
        return json.dumps([since.isoformat(), None, None])


def _parts(value: Any) -> tuple[datetime, str | None, datetime | None, datetime]:
    since, after_id, began_at, *from_at = value
    if not (after_id is None or isinstance(after_id, str)):
        raise TypeError
    instant = _instant(since)
    if began_at is None:  # of a pass that is still to begin
        return instant, after_id, None, instant
    return instant, after_id, _instant(began_at), _instant(*from_at) if from_at else _BEGINNING


def _instant(text: Any) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError
    return instant
