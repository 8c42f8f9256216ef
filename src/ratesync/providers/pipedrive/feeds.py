"""One page of a pull of changes, or of a listing."""

from __future__ import annotations

from datetime import UTC, datetime

from attrs import frozen

from ratesync.errors import CursorExpired, UnsupportedOperation
from ratesync.http.feedback import server_time
from ratesync.model.change import Change, ChangePage, RecordPage
from ratesync.model.outcome import Rejected
from ratesync.providers.pipedrive.answer import Answer
from ratesync.providers.pipedrive.client import Client
from ratesync.providers.pipedrive.page import Rows, ask_page, read_page
from ratesync.providers.pipedrive.position import Position
from ratesync.providers.pipedrive.record import is_gone, record_of, records_of
from ratesync.providers.pipedrive.resource import Feed, PipedriveResource

DELETED_SHOWN_FOR = 29 * 86_400.0
"""Seconds for which Pipedrive shows what was deleted: 30 days, less a day."""
_BAD_REQUEST = 400


@frozen
class Feeds:
    """Reads the listings of one resource."""

    client: Client
    resource: PipedriveResource
    limit: int
    """Rows of a page, a wish."""
    lag: float
    """Seconds after which a listing surely shows a change."""
    key: str | None
    """The custom field that creates are marked in."""

    async def changes(self, cursor: str | None) -> ChangePage:
        """The page of changes behind the cursor.

        :raises CursorExpired: the cursor is of no use, or so old that deletions may be missed.
        """
        if not self.resource.has_changes:
            raise UnsupportedOperation("Pipedrive does not list this record type by time of change", path="resource")
        position = Position.read(cursor, self.client.clock.now())
        feeds = self.resource.changes(is_first=position.is_first)
        feed = self._feed(feeds, position)
        answer, page = await self._page(feed, position)
        position = self._begun(position, answer)
        if self.resource.tells_deleted and position.time.is_older_than(DELETED_SHOWN_FOR, self._told_time(answer)):
            raise CursorExpired("the last pull is too long ago: Pipedrive shows for 30 days only what was deleted")
        following = position.behind(page.next_page, len(feeds))
        return ChangePage(
            tuple(self._change(row, feed) for row in page.rows),
            position.next_pass(self.lag) if following is None else following.written(),
            has_more=following is not None,
            feedback=self.client.feedback,
        )

    async def records(self, page: str | None) -> RecordPage:
        """The page of all records at a position.

        :raises CursorExpired: the position is of no use.
        """
        position = Position.read(page, self.client.clock.now())
        feeds = self.resource.listing
        answer, rows = await self._page(self._feed(feeds, position), position)
        following = self._begun(position, answer).behind(rows.next_page, len(feeds))
        return RecordPage(
            records_of(list(rows.rows), self.key),
            None if following is None else following.written(),
            self.client.feedback,
        )

    async def _page(self, feed: Feed, position: Position) -> tuple[Answer, Rows]:
        params = ask_page(self.resource, position.page, self.limit)
        if not self.resource.is_paged_by_offset:
            params |= position.params(feed, self.lag)
        answer = await self.client.ask("GET", feed.path, cost=feed.cost, params=params)
        if position.page is not None and answer.status == _BAD_REQUEST and isinstance(answer.outcome, Rejected):
            raise CursorExpired(f"Pipedrive does not take its own cursor again: {answer.outcome.reason}")
        answer = answer.checked()
        return answer, read_page(self.resource, position.page, self.limit, answer.body)

    def _begun(self, position: Position, answer: Answer) -> Position:
        """The position with the provider's time at which its pass began, which the first answer tells."""
        if not position.is_start:
            return position
        return position.begun(self._told_time(answer))

    def _told_time(self, answer: Answer) -> datetime:
        """The provider's time of an answer."""
        return datetime.fromtimestamp(server_time(answer.response, self.client.clock.now()), UTC)

    def _feed(self, feeds: tuple[Feed, ...], position: Position) -> Feed:
        if position.feed >= len(feeds):
            raise CursorExpired("this is a cursor of another record type: list all records anew")
        return feeds[position.feed]

    def _change(self, row: object, feed: Feed) -> Change:
        record = record_of(row, self.key)
        if feed.is_of_deleted or is_gone(row):
            return Change(record.record_id, is_deleted=True)
        return Change(record.record_id, record.version, record.fields)
