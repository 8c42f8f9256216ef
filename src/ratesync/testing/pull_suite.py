"""The conformance suite of feeds: each sentence of :class:`ratesync.protocols.PullsChanges` as a test."""

from __future__ import annotations

import inspect

import anyio
import pytest

from ratesync.errors import ProviderError
from ratesync.model.batch import DeleteFeed
from ratesync.model.change import Change, ChangePage
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Applied
from ratesync.protocols import ProviderClient, PullsChanges
from ratesync.testing.faulty_transport import FaultyTransport
from ratesync.testing.provider_calls import outcome_of
from ratesync.testing.reading_suite import MOST_PAGES, PATIENCE, ReadingSuite, fails_in_every_trouble
from ratesync.testing.records_there import RecordsThere
from ratesync.testing.trouble_suite import ProviderOver

_RECORDS = 5
_LIMIT = 2


class PullSuite(ReadingSuite):
    """Subclass it and give the fixtures of :class:`~ratesync.testing.reading_suite.ReadingSuite`."""

    async def test_it_pulls(self, provider: ProviderClient) -> None:
        assert isinstance(provider, PullsChanges)
        assert inspect.iscoroutinefunction(provider.pull_changes)

    async def test_from_the_beginning_every_record_comes(self, provider: PullsChanges, there: RecordsThere) -> None:
        ids = [(await there.put()).record_id for _ in range(_RECORDS)]
        changes, _ = await _pull_all(provider, there, None)
        assert set(ids) <= {change.record_id for change in changes}
        assert not any(change.is_deleted for change in changes)

    async def test_an_empty_resource_has_a_cursor_too(self, provider: PullsChanges, there: RecordsThere) -> None:
        changes, cursor = await _pull_all(provider, there, None)
        assert changes == []
        made = await there.put()
        changes, _ = await _pull_all(provider, there, cursor)
        assert [change.record_id for change in changes] == [made.record_id]

    async def test_behind_a_cursor_comes_what_changed(self, provider: PullsChanges, there: RecordsThere) -> None:
        old, other = await there.put(), await there.put()
        _, cursor = await _pull_all(provider, there, None)
        await there.change(old.record_id)
        new = await there.put()
        changes, cursor = await _pull_all(provider, there, cursor)
        assert {old.record_id, new.record_id} <= {change.record_id for change in changes}
        await there.change(other.record_id)
        changes, _ = await _pull_all(provider, there, cursor)
        assert other.record_id in {change.record_id for change in changes}

    async def test_where_nothing_changes_a_pull_ends(self, provider: PullsChanges, there: RecordsThere) -> None:
        await there.put()
        _, cursor = await _pull_all(provider, there, None)
        for _ in range(3):
            _, cursor = await _pull_all(provider, there, cursor)
            assert isinstance(cursor, str)

    async def test_a_pull_can_be_made_again(self, provider: PullsChanges, there: RecordsThere) -> None:
        """As after a crash between the pull and the storing of its cursor."""
        await there.put()
        _, cursor = await _pull_all(provider, there, None)
        ids = {(await there.put()).record_id for _ in range(_RECORDS)}
        for _ in range(2):
            changes, _ = await _pull_all(provider, there, cursor)
            assert ids <= {change.record_id for change in changes}

    async def test_a_record_changed_between_two_pages_is_not_left_out(
        self, provider: PullsChanges, there: RecordsThere
    ) -> None:
        ids = [(await there.put()).record_id for _ in range(_RECORDS)]
        found: list[str] = []
        cursor, has_more = None, True
        for page in range(MOST_PAGES):
            if not has_more:
                break
            told = await _pull(provider, there, cursor)
            found += [change.record_id for change in told.changes]
            cursor, has_more = told.cursor, told.has_more
            if page < _RECORDS:
                await there.change(ids[page])
        changes, _ = await _pull_all(provider, there, cursor)
        found += [change.record_id for change in changes]
        assert set(ids) <= set(found)

    async def test_a_deleted_record_comes_as_a_tombstone(self, provider: ProviderClient, there: RecordsThere) -> None:
        assert isinstance(provider, PullsChanges)
        if provider.capabilities.deletes is not DeleteFeed.TOMBSTONES:
            pytest.skip("the adapter promises no tombstones")
        gone, stays = await there.put(), await there.put()
        _, cursor = await _pull_all(provider, there, None)
        await there.delete(gone.record_id)
        changes, _ = await _pull_all(provider, there, cursor)
        last = {change.record_id: change for change in changes}
        assert last[gone.record_id].is_deleted
        assert stays.record_id not in last or not last[stays.record_id].is_deleted

    async def test_a_change_tells_what_a_read_tells(self, provider: ProviderClient, there: RecordsThere) -> None:
        assert isinstance(provider, PullsChanges)
        if Kind.READ not in provider.capabilities.kinds:
            pytest.skip("the adapter reads no records")
        made = await there.put()
        changes, _ = await _pull_all(provider, there, None)
        (change,) = [change for change in changes if change.record_id == made.record_id]
        operation = Operation.read(
            provider.name, there.resource, made.record_id, id="read", connection=there.connection
        )
        outcome = await outcome_of(provider, operation)
        assert isinstance(outcome, Applied)
        assert outcome.record is not None
        assert change.version in {None, outcome.record.version}, "a version is one, wherever it is told"
        assert change.fields is None or change.fields == outcome.record.fields

    async def test_a_cursor_of_others_is_an_error(self, provider: PullsChanges, there: RecordsThere) -> None:
        await there.put()
        with pytest.raises(ProviderError):
            await _pull(provider, there, "surely not a cursor of this feed")

    async def test_a_page_that_fails_is_an_error_and_can_be_had_again(
        self, provider_over: ProviderOver, there: RecordsThere, faulty: FaultyTransport
    ) -> None:
        adapter = provider_over(faulty)
        assert isinstance(adapter, PullsChanges)
        await there.put()
        _, cursor = await _pull_all(adapter, there, None)
        ids = {(await there.put()).record_id for _ in range(3)}
        await fails_in_every_trouble(lambda: _pull(adapter, there, cursor), faulty)
        changes, _ = await _pull_all(adapter, there, cursor)
        assert ids <= {change.record_id for change in changes}

    async def test_a_cancelled_pull_ends_at_once(self, provider: PullsChanges, there: RecordsThere) -> None:
        with anyio.fail_after(PATIENCE), anyio.CancelScope() as scope:
            scope.cancel()
            await _pull(provider, there, None)
        assert scope.cancelled_caught


async def _pull(provider: PullsChanges, there: RecordsThere, cursor: str | None) -> ChangePage:
    page = await provider.pull_changes(there.connection, there.resource, cursor, limit=_LIMIT)
    assert isinstance(page, ChangePage)
    return page


async def _pull_all(provider: PullsChanges, there: RecordsThere, cursor: str | None) -> tuple[list[Change], str]:
    """All changes behind a cursor, and the cursor behind them."""
    changes: list[Change] = []
    for _ in range(MOST_PAGES):
        page = await _pull(provider, there, cursor)
        changes += page.changes
        cursor = page.cursor
        if not page.has_more:
            return changes, cursor
    pytest.fail("the feed has no end although nothing changes")
