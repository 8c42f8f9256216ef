"""A provider in memory for the simulation of syncs: honest about what it can do, and no better than that."""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from random import Random
from typing import Any, NoReturn

from attrs import define, evolve, field

from ratesync.engine.sync.side import Keep, keep_all
from ratesync.errors import CursorExpired, Unavailable
from ratesync.model.batch import Capabilities, CreateIdentity
from ratesync.model.change import Change, ChangePage, RecordPage
from ratesync.model.lane import Lane
from ratesync.model.operation import Fields, Kind, Operation
from ratesync.model.outcome import Applied, Conflict, Outcome, Rejected, RetryLater, Unknown
from ratesync.model.record import Record
from ratesync.rules.merge_patch import apply
from ratesync.rules.time_cursor import TimeCursor
from tests.sync.trial import Trial, Versions, tidy

TICK = 10
NOT_FOUND = Rejected("no such record", "404")
_OUTDATED = Conflict("another version")


@define
class FakeCrm:
    """Keeps records, a feed of their changes, and what it needs to know creates again."""

    trial: Trial
    now: Callable[[], float]
    random: random.Random
    records: dict[str, Record] = field(factory=dict[str, Record])
    changed: dict[str, tuple[float, int]] = field(factory=dict[str, tuple[float, int]])
    """When each record changed last, deleted ones included; and the number of that change."""
    answers: dict[str, Outcome] = field(factory=dict[str, Outcome])
    made_by: dict[str, tuple[str, float]] = field(factory=dict[str, tuple[str, float]])
    """The record that each create made, and when."""
    keyed: dict[str, str] = field(factory=dict[str, str])
    """The records that hold a key of ours, by that key."""
    removed: set[str] = field(factory=set[str])
    """Ids of records that were ever deleted."""
    missed: set[str] = field(factory=set[str])
    """Ids of records that a read did not find though they were there."""
    blinks: Random = field(init=False)
    """Draws of its own: what else happens does not depend on them."""
    count: int = 0
    meanwhile: Callable[[], Awaitable[None]] | None = None
    """What may happen between the two halves of a call that the adapter has made of one."""
    calls: int = 0
    """For single records."""
    writes: int = 0
    """By us, not by users."""

    def __attrs_post_init__(self) -> None:
        self.blinks = Random(self.trial.seed)

    # What users do

    def put(self, record_id: str, fields: Fields) -> Record:
        self.count += 1
        fields = tidy(self.trial.tidy_external, fields)
        record = self.records[record_id] = Record(record_id, fields, self._version(fields))
        self._touch(record_id)
        return record

    def remove(self, record_id: str) -> None:
        self.count += 1
        self.records.pop(record_id, None)
        self.removed.add(record_id)
        self.keyed = {key: holder for key, holder in self.keyed.items() if holder != record_id}
        self._touch(record_id)

    def flake(self, record_id: str) -> None:
        """The version changes by itself, and the feed does not tell."""
        self.count += 1
        record = self.records[record_id]
        self.records[record_id] = Record(record_id, record.fields, str(self.count))

    def _version(self, fields: Fields) -> str | None:
        match self.trial.versions:
            case Versions.NONE:
                return None
            case Versions.OF_CONTENT:
                return blake2b(json.dumps(fields, sort_keys=True).encode(), digest_size=6).hexdigest()
            case _:
                return str(self.count)

    def _touch(self, record_id: str) -> None:
        self.changed.pop(record_id, None)
        self.changed[record_id] = (self.now() // TICK * TICK if self.trial.coarse else self.now(), self.count)

    # What the adapter does

    @property
    def capabilities(self) -> Capabilities:
        return self.trial.capabilities

    async def execute(
        self, lane: Lane, operations: Sequence[Operation], keep: Keep = keep_all
    ) -> Mapping[str, Outcome]:
        assert len({operation.kind for operation in operations}) <= 1
        assert all(len(operations) <= self.capabilities.most(operation.kind) for operation in operations)
        kept = await keep([operation.id or "" for operation in operations])
        sent = [operation for operation in operations if operation.id in kept]
        self.calls += bool(sent)
        if not sent or not self.trial.verifies or sent[0].kind is Kind.READ:
            return {operation.id or "": self._carry_out(operation) for operation in sent}
        outdated = {operation.id for operation in sent if self._is_outdated(operation)}
        if self.meanwhile is not None:
            await self.meanwhile()
        return {
            operation.id or "": _OUTDATED if operation.id in outdated else self._carry_out(operation)
            for operation in sent
        }

    def _is_outdated(self, operation: Operation) -> bool:
        current = self.records.get(operation.record_id or "")
        return current is not None and operation.if_version not in {None, current.version}

    def _carry_out(self, operation: Operation) -> Outcome:
        if self.random.random() < self.trial.fault_chance:
            if self.random.random() < 0.5:
                self._answer(operation)
            return self.random.choice((Unknown("answer lost"), Unknown("HTTP 500")))
        if self.random.random() < self.trial.fault_chance / 2:
            return RetryLater("not now")
        return self._answer(operation)

    def _answer(self, operation: Operation) -> Outcome:
        remembers = self.trial.identity is CreateIdentity.IDEMPOTENCY_KEY and operation.kind is Kind.CREATE
        key = operation.idempotency_key or ""
        if remembers and key in self.answers:
            return self.answers[key]
        outcome = self._write(operation)
        if remembers and isinstance(outcome, Applied):
            self.answers[key] = outcome
        return outcome

    def _write(self, operation: Operation) -> Outcome:
        record_id = operation.record_id
        if operation.kind is Kind.CREATE:
            return self._create(operation)
        assert record_id is not None
        current = self.records.get(record_id)
        if operation.kind is Kind.READ:
            is_missed = self.blinks.random() < self.trial.blink_chance and self.misses(record_id)
            return NOT_FOUND if current is None or is_missed else Applied(record=current)
        assert operation.if_version is None or self.trial.conditional
        if current is None:
            return Applied() if operation.kind is Kind.DELETE else NOT_FOUND
        if self._is_outdated(operation) and not self.trial.verifies:
            return _OUTDATED
        self.writes += 1
        if operation.kind is Kind.DELETE:
            self.remove(record_id)
            return Applied()
        return self._applied(self.put(record_id, apply(current.fields, operation.fields)))

    def misses(self, record_id: str | None) -> bool:
        """Whether a read may fail to find the record: once only, as nobody can do anything about more."""
        if record_id is None or record_id not in self.records or record_id in self.missed:
            return False
        self.missed.add(record_id)
        return True

    def _create(self, operation: Operation) -> Outcome:
        chosen = self.trial.identity is CreateIdentity.CLIENT_ID
        known = self.keyed.get(operation.idempotency_key or "")
        if known is not None:
            self.writes += 1
            return self._applied(self.put(known, apply(self.records[known].fields, operation.fields)))
        record_id = (operation.record_id if chosen else None) or f"x{self.count + 1}"
        if record_id in self.records:
            return Conflict("there is a record of this id")
        self.writes += 1
        self.made_by[operation.id or ""] = record_id, self.now()
        if self._upserts:
            self.keyed[operation.idempotency_key or ""] = record_id
        return self._applied(self.put(record_id, operation.fields))

    @property
    def _upserts(self) -> bool:
        return self.trial.upserts and self.trial.identity is CreateIdentity.LOOKUP

    def _applied(self, record: Record) -> Applied:
        told = record if self.trial.tells_versions else evolve(record, version=None)
        return Applied(record.record_id, told.version, told if self.trial.answers_with_record else None)

    async def lookup(self, lane: Lane, operation: Operation) -> Outcome | None:
        self.calls += 1
        if self._upserts:
            known = self.keyed.get(operation.idempotency_key or "")
            return None if known is None else Applied(known)
        record_id, made_at = self.made_by.get(operation.id or "", (None, 0.0))
        is_seen = record_id is not None and self.now() >= made_at + self.trial.lookup_after
        return Applied(record_id) if is_seen else None

    async def pull_changes(self, lane: Lane, resource: str, cursor: str | None, limit: int) -> ChangePage:
        self._fail()
        return self._by_clock(cursor, limit) if self.trial.coarse else self._by_number(cursor, limit)

    def _fail(self) -> None:
        if self.random.random() < self.trial.fault_chance:
            raise Unavailable("503")

    def expire(self) -> NoReturn:
        """The cursor is too old, and deleted records are forgotten."""
        self.changed = {key: at for key, at in self.changed.items() if key in self.records}
        raise CursorExpired("410")

    def _by_number(self, cursor: str | None, limit: int) -> ChangePage:
        after = 0 if cursor is None else int(cursor)
        if cursor is not None and self.random.random() < self.trial.expiry_chance:
            self.expire()
        behind = [(record_id, number) for record_id, (_, number) in self.changed.items() if number > after]
        page = behind[:limit]
        position = str(page[-1][1] if page else after)
        return ChangePage(self._told(record_id for record_id, _ in page), position, len(behind) > limit)

    def _by_clock(self, cursor: str | None, limit: int) -> ChangePage:
        position = TimeCursor.read(cursor, _instant(self.now()))
        since = (position.since, position.after_id or "")
        order = sorted((_instant(at), record_id) for record_id, (at, _) in self.changed.items())
        behind = [entry for entry in order if entry > since]
        page = behind[:limit]
        has_more = len(behind) > limit
        text = position.behind(*page[-1]) if has_more else position.next_pass(2 * TICK)
        return ChangePage(self._told(record_id for _, record_id in page), text, has_more)

    def _told(self, record_ids: Any) -> tuple[Change, ...]:
        changes: list[Change] = []
        for record_id in record_ids:
            record = self.records.get(record_id)
            if record is not None:
                changes.append(Change(record_id, record.version, record.fields if self.trial.feed_has_fields else None))
            elif self.trial.tombstones:
                changes.append(Change(record_id, is_deleted=True))
        return tuple(changes)

    async def list_records(self, lane: Lane, resource: str, page: str | None, limit: int) -> RecordPage:
        self._fail()
        ids = sorted(record_id for record_id in self.records if page is None or record_id > page)
        shown = ids[:limit]
        return RecordPage(tuple(self.records[i] for i in shown), shown[-1] if len(ids) > limit else None)

    async def find(self, lane: Lane, resource: str, path: str, values: Sequence[str]) -> RecordPage:
        wanted = {value.strip().casefold() for value in values}
        found = [r for r in self.records.values() if str(r.fields.get(path, "")).strip().casefold() in wanted]
        return RecordPage(tuple(found))


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
