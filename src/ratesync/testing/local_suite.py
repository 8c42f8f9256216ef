"""The conformance suite of the host's side of a sync: each sentence of ``LocalStore`` as a test."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import anyio
import pytest

from ratesync.errors import CursorExpired
from ratesync.model.change import Change
from ratesync.model.difference import ABSENT
from ratesync.model.operation import Fields
from ratesync.model.outcome import Applied, Conflict
from ratesync.model.record import Record
from ratesync.protocols.local import LocalStore
from ratesync.testing.suite import Suite

_MOST_PAGES = 100


class HostThere(Protocol):
    """What the host does to its own records, by its own ways."""

    async def put(self, fields: Fields) -> str:
        """Make a record; its id."""
        ...

    async def change(self, record_id: str, fields: Fields) -> None:
        """Give a record these fields, all of it."""
        ...

    async def delete(self, record_id: str) -> None:
        """Delete a record."""
        ...


class LocalStoreSuite(Suite):
    """Subclass it and give the fixtures ``store`` (empty), ``host``, ``rows`` and ``optional``.

    ``host`` is a :class:`HostThere` for the same records. ``rows`` are the fields of three records, as the store would
    tell them, no two with a value in common, all of text; ``optional`` is the name of one that a record need not have.
    """

    pytestmark = pytest.mark.anyio

    async def test_it_keeps_the_protocol(self, store: LocalStore) -> None:
        assert isinstance(store, LocalStore)

    async def test_from_the_beginning_all_records_come_as_they_are(
        self, store: LocalStore, host: HostThere, rows: Sequence[Fields]
    ) -> None:
        ids = [await host.put(fields) for fields in rows]
        for limit in (1, 2, 100):
            changes, _ = await _pull(store, None, limit)
            assert {change.record_id for change in changes} == set(ids)
            held = await store.read(ids)
            for change in changes:
                record = held[change.record_id]
                assert change.fields in (None, record.fields)
                assert change.version in (None, record.version)

    async def test_an_empty_store_has_a_cursor_too(
        self, store: LocalStore, host: HostThere, rows: Sequence[Fields]
    ) -> None:
        changes, cursor = await _pull(store, None)
        assert changes == []
        made = await host.put(rows[0])
        changes, cursor = await _pull(store, cursor)
        assert {change.record_id for change in changes} == {made}
        await _pull(store, cursor)

    async def test_behind_a_cursor_comes_what_the_host_changed_and_deleted(
        self, store: LocalStore, host: HostThere, rows: Sequence[Fields]
    ) -> None:
        changed, deleted, _ = [await host.put(fields) for fields in rows]
        _, cursor = await _pull(store, None)
        await host.change(changed, rows[1])
        await host.delete(deleted)
        changes, cursor = await _pull(store, cursor, 1)
        last = {change.record_id: change.is_deleted for change in changes}
        assert last.items() >= {(changed, False), (deleted, True)}
        await host.change(changed, rows[0])
        changes, _ = await _pull(store, cursor)
        assert changed in {change.record_id for change in changes}

    async def test_a_cursor_that_is_not_known_is_told(self, store: LocalStore) -> None:
        with pytest.raises(CursorExpired):
            await store.changes("a cursor of another store", limit=10)

    async def test_records_are_read_by_id_and_those_that_are_not_there_left_out(
        self, store: LocalStore, host: HostThere, rows: Sequence[Fields]
    ) -> None:
        first, second, gone = [await host.put(fields) for fields in rows]
        await host.delete(gone)
        found = await store.read([second, gone, first, "no such record", ""])
        assert {record_id: dict(record.fields) for record_id, record in found.items()} == {
            first: dict(rows[0]),
            second: dict(rows[1]),
        }
        assert {record_id: record.record_id for record_id, record in found.items()} == {first: first, second: second}
        assert await store.read([]) == {}

    async def test_records_are_found_by_a_field(
        self, store: LocalStore, host: HostThere, rows: Sequence[Fields]
    ) -> None:
        ids = [await host.put(fields) for fields in rows]
        for name in rows[0]:
            found = await store.find(name, [rows[0][name], rows[2][name]])
            assert {ids[0], ids[2]} <= {record.record_id for record in found}
        assert list(await store.find(next(iter(rows[0])), [])) == []

    async def test_a_record_is_made_once_for_each_operation(
        self, store: LocalStore, host: HostThere, rows: Sequence[Fields]
    ) -> None:
        """Whatever became of it since: else a crash makes two."""
        first = await store.apply(None, rows[0], if_version=None, op_id="one")
        assert isinstance(first, Applied)
        assert first.record_id is not None
        assert await store.apply(None, rows[0], if_version=None, op_id="one") == first
        await host.change(first.record_id, rows[1])
        assert await store.apply(None, rows[0], if_version=None, op_id="one") == first
        await host.delete(first.record_id)
        assert await store.apply(None, rows[0], if_version=None, op_id="one") == first
        assert await store.read([first.record_id]) == {}
        other = await store.apply(None, rows[0], if_version=None, op_id="other")
        assert isinstance(other, Applied)
        assert other.record_id != first.record_id

    async def test_an_answer_tells_the_record_as_it_is_then(self, store: LocalStore, rows: Sequence[Fields]) -> None:
        made = await store.apply(None, rows[0], if_version=None, op_id="make")
        record = await _held(store, made)
        assert dict(record.fields) == dict(rows[0])
        changed = await store.apply(record.record_id, rows[1], if_version=record.version, op_id="change")
        after = await _held(store, changed)
        assert dict(after.fields) == dict(rows[1])
        assert after.version != record.version

    async def test_a_patch_leaves_the_other_fields(self, store: LocalStore, rows: Sequence[Fields]) -> None:
        record = await _held(store, await store.apply(None, rows[0], if_version=None, op_id="make"))
        for name in rows[0]:
            patch = {name: rows[1][name]}
            record = await _held(store, await store.apply(record.record_id, patch, if_version=None, op_id=f"to {name}"))
            assert record.fields[name] == rows[1][name]
        assert dict(record.fields) == dict(rows[1])

    async def test_a_field_is_taken_away(self, store: LocalStore, rows: Sequence[Fields], optional: str) -> None:
        record = await _held(store, await store.apply(None, rows[0], if_version=None, op_id="make"))
        taken = await store.apply(record.record_id, {optional: ABSENT}, if_version=record.version, op_id="take")
        record = await _held(store, taken)
        assert not record.fields.get(optional)
        lacking = {name: ABSENT if name == optional else value for name, value in rows[1].items()}
        record = await _held(store, await store.apply(None, lacking, if_version=None, op_id="make another"))
        assert not record.fields.get(optional)

    async def test_another_version_is_a_conflict_and_nothing_is_written(
        self, store: LocalStore, host: HostThere, rows: Sequence[Fields]
    ) -> None:
        record_id = await host.put(rows[0])
        old = (await store.read([record_id]))[record_id].version
        await host.change(record_id, rows[1])
        for version in (old, "no version"):
            answer = await store.apply(record_id, rows[2], if_version=version, op_id="change")
            assert isinstance(answer, Conflict)
            assert isinstance(await store.delete(record_id, if_version=version, op_id="delete"), Conflict)
        assert dict((await store.read([record_id]))[record_id].fields) == dict(rows[1])

    async def test_a_record_that_is_gone_cannot_be_changed_and_counts_as_deleted(
        self, store: LocalStore, host: HostThere, rows: Sequence[Fields]
    ) -> None:
        record_id = await host.put(rows[0])
        version = (await store.read([record_id]))[record_id].version
        assert isinstance(await store.delete(record_id, if_version=version, op_id="delete"), Applied)
        assert await store.read([record_id]) == {}
        assert isinstance(await store.delete(record_id, if_version=version, op_id="again"), Applied)
        for condition in (version, None):
            answer = await store.apply(record_id, rows[1], if_version=condition, op_id="change")
            assert isinstance(answer, Conflict)
        assert await store.read([record_id]) == {}

    async def test_of_many_who_change_one_version_one_wins(
        self, store: LocalStore, host: HostThere, rows: Sequence[Fields]
    ) -> None:
        record_id = await host.put(rows[0])
        version = (await store.read([record_id]))[record_id].version
        answers: list[object] = []

        async def change(number: int) -> None:
            answers.append(await store.apply(record_id, rows[1], if_version=version, op_id=f"change {number}"))

        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(change, number)
        assert sum(isinstance(answer, Applied) for answer in answers) == 1
        assert sum(isinstance(answer, Conflict) for answer in answers) == 4

    @pytest.mark.parametrize("method", ["changes", "read", "find", "make", "apply", "delete"])
    async def test_a_cancelled_method_has_done_nothing(
        self, store: LocalStore, host: HostThere, rows: Sequence[Fields], method: str
    ) -> None:
        record_id = await host.put(rows[0])
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "changes": lambda: store.changes(None, limit=10),
            "read": lambda: store.read([record_id]),
            "find": lambda: store.find(next(iter(rows[0])), ["x"]),
            "make": lambda: store.apply(None, rows[1], if_version=None, op_id="make"),
            "apply": lambda: store.apply(record_id, rows[1], if_version=None, op_id="change"),
            "delete": lambda: store.delete(record_id, if_version=None, op_id="delete"),
        }
        with anyio.CancelScope() as scope:
            scope.cancel()
            await calls[method]()
        assert scope.cancelled_caught, f"{method} did not await"
        changes, _ = await _pull(store, None)
        assert [change.record_id for change in changes] == [record_id]
        assert dict((await store.read([record_id]))[record_id].fields) == dict(rows[0])


async def _pull(store: LocalStore, cursor: str | None, limit: int = 100) -> tuple[list[Change], str]:
    """All changes behind a cursor, and the cursor behind them."""
    changes: list[Change] = []
    for _ in range(_MOST_PAGES):
        page = await store.changes(cursor, limit=limit)
        changes += page.changes
        cursor = page.cursor
        if not page.has_more:
            return changes, cursor
    pytest.fail("the feed comes to no end")


async def _held(store: LocalStore, answer: object) -> Record:
    """The record that was written, which is as the answer says."""
    assert isinstance(answer, Applied)
    assert answer.record_id is not None
    record = (await store.read([answer.record_id]))[answer.record_id]
    assert answer.record in (None, record)
    assert answer.version in (None, record.version)
    return record
