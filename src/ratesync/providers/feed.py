"""How changes are asked for over REST by their instant, said in data."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Any

from attrs import evolve, field, frozen
from attrs.validators import gt, optional

from ratesync.errors import ConfigurationError, CursorExpired, InvalidResponse, PagingBroken
from ratesync.model.change import Change
from ratesync.model.record import Record
from ratesync.providers.lag import checked_lag
from ratesync.providers.listing import Listing
from ratesync.providers.row import LATEST_SECOND, dig
from ratesync.rules.time_cursor import TimeCursor

_SECOND = timedelta(seconds=1)
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_MILLIS = 1000


class InstantForm(StrEnum):
    """How instants are written in a query."""

    ISO = "iso"
    """``2026-11-22T13:04:51.123456+00:00``"""
    SECONDS = "seconds"
    """Whole seconds since 1970."""
    MILLIS = "millis"
    """Whole milliseconds since 1970."""


@frozen(kw_only=True)
class Feed(Listing):
    """A call that gives the records changed at or after an instant, those changed first coming first.

    A page may end in the middle of an instant: the next one then begins with that instant again, so changes come twice
    and none is left out. Within one instant the pager's positions are followed.
    """

    since_param: str = "updated_since"
    """Where the instant is sent."""
    since_form: InstantForm = InstantForm.ISO
    updated_path: str = "updated_at"
    """Where a record has the instant of its change: ISO 8601 with a zone, or seconds or milliseconds since 1970."""
    deleted_path: str | None = None
    """Where a record says that it is deleted; None: deleted records do not come."""
    deleted_kept: float | None = field(default=None, validator=optional(gt(0.0)))
    """Seconds for which deleted records come. Behind a cursor that is older some may be missing, so it has expired and
    all records are listed anew. Where answers have no Date a cursor is as old as the newest change before it. None: for
    ever."""
    lag: float = field(default=60.0, converter=checked_lag)
    """Seconds after which every change is surely shown, however clocks differ within the provider. Each pass begins
    that much before the one before began, by the provider's own Date. Default 60."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if self.deleted_kept is not None and self.deleted_path is None:
            raise ConfigurationError("deleted_kept is about deleted records: say by deleted_path how to tell them")

    def since(self, cursor: TimeCursor) -> dict[str, str]:
        """The parameter that asks for what lies behind a cursor."""
        if cursor.since <= _BEGINNING:
            return {}
        return {self.since_param: _written(cursor.since, self.since_form)}

    def read(self, cursor: str | None, told_at: datetime | None = None) -> TimeCursor:
        """The position that a cursor stands for.

        :param told_at: the provider's time. A pass that begins now begins then; None: as if at the very beginning.
        :raises CursorExpired: it is no cursor of such a feed.
        """
        return TimeCursor.read(cursor, told_at or _BEGINNING)

    def check_age(self, cursor: TimeCursor, now: datetime) -> None:
        """Make sure that no deletion is missed behind a cursor.

        :param now: the provider's time.
        :raises CursorExpired: one may be.
        """
        if self.deleted_kept is not None and cursor.is_older_than(self.deleted_kept, now):
            raise CursorExpired("the provider has forgotten some deletions since that pull: list all records anew")

    def cursor_behind(self, cursor: TimeCursor, rows: Sequence[Any], following: str | None) -> str:
        """The cursor behind a page.

        :param following: the pager's position of the next page, None behind the last.
        :raises InvalidResponse: a row does not tell when it was changed.
        :raises PagingBroken: the rows do not come in the order of their instants, so some would be left out.
        """
        instants = [_read(dig(row, self.updated_path), self.updated_path) for row in rows]
        if any(later < earlier for earlier, later in pairwise(instants)):
            raise PagingBroken("the changes are not in the order of their instants: ask for it", fault="key", page=1)
        newest = max([cursor.since, *instants])
        if following is None:
            return self._next_pass(cursor, instants)
        if newest > cursor.since:
            return cursor.at(newest, None).written()
        return cursor.at(cursor.since, following).written()

    def _next_pass(self, cursor: TimeCursor, instants: Sequence[datetime]) -> str:
        """From a lag before this pass began, however new what it met: changes from before that may show later.

        Where the provider does not tell its time, a lag before the newest change that was met: our own clock may be
        ahead of its.
        """
        end, lag = cursor.began_at, self.lag
        if end <= _BEGINNING:
            end, lag = (instants[-1], self.lag) if instants else (cursor.since, 0.0)
        return evolve(cursor, began_at=end).next_pass(lag)

    def change(self, row: Any, record: Record) -> Change:
        """The change that a row tells of, which is of ``record``."""
        is_deleted = self.deleted_path is not None and bool(dig(row, self.deleted_path))
        return Change(record.record_id, record.version, None if is_deleted else record.fields, is_deleted)


def _written(instant: datetime, form: InstantForm) -> str:
    if form is InstantForm.ISO:
        return instant.isoformat()
    since = instant - _BEGINNING
    return str(since // (_SECOND if form is InstantForm.SECONDS else _SECOND / _MILLIS))


def _read(value: Any, path: str) -> datetime:
    try:
        if isinstance(value, str) and not value.isdecimal():
            instant = datetime.fromisoformat(value)
            if instant.tzinfo is not None:
                return instant
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            number = float(value)
            return _BEGINNING + timedelta(seconds=number / _MILLIS if number > LATEST_SECOND else number)
    except (ValueError, OverflowError):
        pass
    raise InvalidResponse(f"a row of the feed has no instant at {path!r}: ISO 8601 with a zone, or a number")
