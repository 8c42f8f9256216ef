"""Two engines, or an engine and its ghost, at the worst of moments; and the same moments with the rule broken."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest
from attrs import evolve

from ratesync.engine.sync import pull, reconciler, saving
from ratesync.engine.sync.case import Case
from ratesync.engine.sync.link_codec import from_bytes
from ratesync.engine.sync.pull import Puller
from ratesync.engine.sync.reconciler import Reconciler
from ratesync.engine.sync.resync import Resync
from ratesync.engine.sync.saving import mark_write
from ratesync.engine.sync.side import Keep, keep_all
from ratesync.engine.sync.sync_pass import always
from ratesync.errors import CursorExpired
from ratesync.model.batch import CreateIdentity
from ratesync.model.change import ChangePage
from ratesync.model.difference import Side
from ratesync.model.lane import Lane
from ratesync.model.mark import Mark
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Outcome, Unknown
from ratesync.model.run import SyncRun
from tests.sync.desk import PLAIN, Desk, Still
from tests.sync.fake_crm import FakeCrm

pytestmark = pytest.mark.anyio

TOLD = evolve(PLAIN, feed_has_fields=True)


class Killed(BaseException):
    """The process is gone."""


class Hooked(FakeCrm):
    """Lets a test do something while an answer is on its way."""

    after_read: Callable[[], Awaitable[None]] | None = None
    before_pull: Callable[[str | None], None] | None = None

    async def execute(
        self, lane: Lane, operations: Sequence[Operation], keep: Keep = keep_all
    ) -> Mapping[str, Outcome]:
        answers = await super().execute(lane, operations, keep)
        hook = self.after_read
        if hook is not None and operations[0].kind is Kind.READ:
            self.after_read = None
            await hook()
        return answers

    async def pull_changes(self, lane: Lane, resource: str, cursor: str | None, limit: int) -> ChangePage:
        if self.before_pull is not None:
            self.before_pull(cursor)
        return await super().pull_changes(lane, resource, cursor, limit)


def crm_of(desk: Desk) -> Hooked:
    assert isinstance(desk.crm, Hooked)
    return desk.crm


async def pull_external(desk: Desk) -> None:
    rival = evolve(desk.reconciler, owner="rival")
    await Puller(rival.pair.external, rival.books, rival.settings, rival.clock).pull()


async def a_record_comes_back_while_it_is_reconciled() -> bool:
    """Whether the sides end alike when a user takes an edit back that an engine has just read."""
    desk = Desk(TOLD, crm=Hooked)
    desk.crm.put("x1", {"name": "before"})
    await desk.sync()
    desk.crm.put("x1", {"name": "after"})

    async def take_back() -> None:
        desk.crm.put("x1", {"name": "before"})
        await pull_external(desk)

    crm_of(desk).after_read = take_back
    await desk.sync()
    await desk.sync()
    return desk.names() == (["before"], ["before"])


async def test_who_reads_a_record_hears_that_it_came_back() -> None:
    assert await a_record_comes_back_while_it_is_reconciled()


async def test_an_echo_dropped_while_somebody_works_on_the_record_would_leave_the_sides_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def all_idle(self: Any, echoes: Any) -> set[str]:
        return set(echoes)

    monkeypatch.setattr(Puller, "_idle", all_idle)
    assert not await a_record_comes_back_while_it_is_reconciled()


async def a_record_goes_while_it_is_linked() -> bool:
    """Whether a step is finished that one engine began, and left, for a record that another one has found gone."""
    desk = Desk(crm=Hooked)
    desk.crm.put("x1", {"name": "short-lived"})
    await pull_external(desk)
    books = desk.reconciler.books
    other: list[Any] = []

    async def remove() -> None:
        desk.crm.remove("x1")
        await pull_external(desk)
        marks, _ = await books.marks(None, 10)
        other.extend(await books.open(marks))

    async def die(*args: object, **options: object) -> Outcome:
        raise Killed

    crm_of(desk).after_read = remove
    marks, _ = await books.marks(None, 10)
    dying: Reconciler = evolve(desk.reconciler, owner="dying")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(desk.local), "apply", die)
        with contextlib.suppress(Killed):
            await dying.run(await books.open(marks), may_delete=False)
    await desk.reconciler.run(other, may_delete=False)
    desk.clock.at += 10_000
    await desk.sync()
    return not await desk.state.scan(f"{books.keys.prefix}create/")


async def test_a_step_that_was_begun_is_always_found_again() -> None:
    assert await a_record_goes_while_it_is_linked()


async def test_a_link_that_does_not_mark_its_records_anew_would_be_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    draft_of = saving.draft_of

    def careless(case: Any, keys: Any, *, clear: bool) -> Any:
        draft = draft_of(case, keys, clear=clear)
        if case.link is None and not clear:
            draft.writes = [write for write in draft.writes if "/mark/" not in write.key]
        return draft

    monkeypatch.setattr(reconciler, "draft_of", careless)
    assert not await a_record_goes_while_it_is_linked()


async def test_a_record_whose_link_was_stored_while_its_marks_were_read_is_there_for_both() -> None:
    """One mark was read before another engine stored the link, the other one after it."""
    desk = Desk()
    desk.local.put("l1", {"name": "before"})
    await desk.sync()
    (external_id,) = desk.crm.records
    desk.local.put("l1", {"name": "after"})
    cases = await desk.reconciler.books.open([Mark(Side.LOCAL, "l1")])
    await desk.reconciler.run([*cases, Case([Mark(Side.EXTERNAL, external_id)])], may_delete=True)
    await desk.sync()
    assert desk.names() == (["after"], ["after"])


async def test_a_listing_tells_of_a_record_that_went_before_it_was_linked() -> None:
    """One engine has read a record. It goes, and another engine's listing ends before the link is stored."""
    desk = Desk(evolve(PLAIN, tombstones=False), crm=Hooked)
    desk.crm.put("x1", {"name": "short-lived"})

    async def remove() -> None:
        desk.crm.remove("x1")
        del desk.crm.changed["x1"]
        await pull_external(desk)

    crm_of(desk).after_read = remove
    rounds = desk.reconciler
    await pull_external(desk)
    marks, _ = await rounds.books.marks(None, 10)
    await rounds.run(await rounds.books.open(marks), may_delete=False)
    assert [mark.record_id for mark in (await rounds.books.marks(None, 10))[0]] == ["x1"]


async def test_a_resync_tells_of_a_record_that_went_before_it_was_linked() -> None:
    desk = Desk(crm=Hooked)
    desk.crm.put("x1", {"name": "short-lived"})

    async def remove() -> None:
        desk.crm.remove("x1")
        del desk.crm.changed["x1"]
        rival = Resync(evolve(desk.reconciler, owner="rival"), SyncRun("resync", 0.0), always, lambda: None)
        await rival.open([Side.EXTERNAL])
        await rival.list_sides()

    crm_of(desk).after_read = remove
    rounds = desk.reconciler
    await pull_external(desk)
    marks, _ = await rounds.books.marks(None, 10)
    await rounds.run(await rounds.books.open(marks), may_delete=False)
    assert [mark.record_id for mark in (await rounds.books.marks(None, 10))[0]] == ["x1"]


class LateSearch(FakeCrm):
    """Calls take a while, the answer to the first create is lost, and a search sees new records late."""

    lose = 1

    async def execute(
        self, lane: Lane, operations: Sequence[Operation], keep: Keep = keep_all
    ) -> Mapping[str, Outcome]:
        is_create = operations[0].kind is Kind.CREATE
        if is_create:
            clock_of(self).at += 30.0
        answers = await super().execute(lane, operations, keep)
        if is_create and self.lose:
            self.lose -= 1
            return dict.fromkeys(answers, Unknown("answer lost"))
        return answers


def clock_of(crm: FakeCrm) -> Still:
    clock = getattr(crm.now, "__self__", None)
    assert isinstance(clock, Still)
    return clock


async def test_a_search_that_lags_is_asked_when_it_surely_sees_what_was_sent_last() -> None:
    desk = Desk(evolve(PLAIN, identity=CreateIdentity.LOOKUP, lookup_after=40.0), crm=LateSearch)
    desk.local.put("l1", {"name": "Ada"})
    for _ in range(10):
        await desk.sync()
        desk.clock.at += 15.0
    assert desk.names() == (["Ada"], ["Ada"])


async def a_listing_breaks_off() -> int:
    """How many deletes are found when the cursor expires and the process dies in the listing that follows."""
    desk = Desk(crm=Hooked, page_size=1)
    for number in range(3):
        desk.crm.put(f"x{number}", {"name": f"n{number}"})
    await desk.sync()
    desk.crm.remove("x1")
    del desk.crm.changed["x1"]  # the provider has forgotten
    pulls: list[str | None] = []

    def expire(cursor: str | None) -> None:
        pulls.append(cursor)
        if len(pulls) == 1:
            raise CursorExpired("410")
        if len(pulls) == 3:
            raise Killed

    crm_of(desk).before_pull = expire
    with pytest.raises(Killed):
        await desk.sync()
    crm_of(desk).before_pull = None
    return (await desk.sync()).held


async def test_a_listing_that_broke_off_is_made_again_and_what_it_lacks_needs_approval() -> None:
    assert await a_listing_breaks_off() == 1


async def test_a_broken_listing_taken_for_whole_would_miss_deletes(monkeypatch: pytest.MonkeyPatch) -> None:
    read = pull.FeedPosition.read

    def hopeful(stored: Any) -> Any:
        position = read(stored)
        if stored is not None and position.is_listing:
            position.cursor, position.is_listing = from_bytes(stored.value)["c"], False
        return position

    monkeypatch.setattr(pull.FeedPosition, "read", hopeful)
    assert await a_listing_breaks_off() == 0


async def test_a_record_whose_link_came_between_two_looks_at_its_marks_is_worked_on_once() -> None:
    """One mark shows it without a link, and the link of another one shows its mark."""
    desk = Desk()
    desk.local.put("l1", {"name": "Ada"})
    await desk.sync()
    (external_id,) = desk.crm.records
    books = desk.reconciler.books
    desk.local.change("l1", name="Ada Lovelace")
    desk.crm.put(external_id, {"name": "Ada Lovelace"})
    await desk.state.commit([mark_write(Mark(Side.LOCAL, "l1"), books.keys)])
    (mark,), _ = await books.marks(None, 10)
    linked = await books.open([Mark(Side.EXTERNAL, external_id)])
    await desk.reconciler.run([*linked, Case([mark])], may_delete=True)
    await desk.sync()
    assert desk.names() == (["Ada Lovelace"], ["Ada Lovelace"])


class Forgetful(FakeCrm):
    """Tells once that a cursor is too old, forgets deletes, and takes the cursor all the same from somebody else."""

    rival: Callable[[], Awaitable[None]] | None = None

    async def pull_changes(self, lane: Lane, resource: str, cursor: str | None, limit: int) -> ChangePage:
        rival, self.rival = self.rival, None
        if rival is None:
            return await super().pull_changes(lane, resource, cursor, limit)
        self.changed = {key: at for key, at in self.changed.items() if key in self.records}
        await rival()
        raise CursorExpired("410")


async def test_that_a_cursor_expired_is_not_forgotten_because_somebody_moved_it() -> None:
    desk = Desk(TOLD, crm=Forgetful)
    desk.crm.put("x1", {"name": "Ada"})
    desk.crm.put("x2", {"name": "Bob"})
    await desk.sync()
    await desk.sync()
    desk.crm.remove("x1")
    desk.crm.put("x2", {"name": "Bobby"})
    assert isinstance(desk.crm, Forgetful)
    desk.crm.rival = lambda: pull_external(desk)
    run = await desk.sync()
    assert (run.held, run.hold_reason) == (1, "the cursor had expired")
