"""What hosts, mappings and providers may do wrong to one record, and what that must not do to the others."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import pytest
from attrs import evolve
from typing_extensions import override

from ratesync.engine.sync.deletions import Deletions
from ratesync.engine.sync.local_side import LocalSide
from ratesync.engine.sync.overlay import Overlay
from ratesync.engine.sync.provider_side import PlainLens, ProviderSide
from ratesync.engine.sync.saving import mark_write
from ratesync.engine.sync.side import Keep, keep_all
from ratesync.engine.sync.sync_pass import Pass
from ratesync.errors import Unavailable
from ratesync.memory.records import MemoryRecords
from ratesync.model.batch import Capabilities, CreateIdentity
from ratesync.model.change import RecordPage
from ratesync.model.difference import Side, View
from ratesync.model.lane import Lane
from ratesync.model.link import LinkStatus
from ratesync.model.mark import Mark
from ratesync.model.operation import Fields, Kind, Operation
from ratesync.model.outcome import Conflict, Outcome, Rejected, RetryLater, Unknown
from ratesync.model.record import Record
from ratesync.model.run import SyncRun
from ratesync.rules.delete_guard import DeletePolicy
from tests.sync.desk import PLAIN, Desk
from tests.sync.fake_crm import FakeCrm
from tests.sync.test_provider_side import mapped

pytestmark = pytest.mark.anyio
DAY = 86_400.0


def stored_in(desk: Desk, records: MemoryRecords) -> Desk:
    """The desk, with another store of the host's."""
    desk.local = records
    pair = evolve(desk.reconciler.pair, local=LocalSide(records))
    desk.reconciler = evolve(desk.reconciler, pair=pair)
    return desk


class Asymmetric(PlainLens):
    """Cannot read some of what it writes."""

    @override
    def get(self, record: Fields) -> View:
        if record["name"] == "written":
            raise ValueError
        return super().get(record)

    @override
    def create(self, view: View) -> Fields:
        return {**view, "name": "written"} if view["name"] == "odd" else super().create(view)


async def test_a_mapping_that_cannot_read_what_it_wrote_makes_no_second_record_and_stops_no_other() -> None:
    desk = mapped(Desk(evolve(PLAIN, identity=CreateIdentity.IDEMPOTENCY_KEY)), Asymmetric())
    desk.local.put("l1", {"name": "odd"})
    desk.local.put("l2", {"name": "fine"})
    for _ in range(3):
        assert (await desk.sync()).errors == []
        assert desk.names()[1] == ["fine", "written"]


class Losing(FakeCrm):
    """The answer to the first create is lost."""

    lost = False

    async def execute(
        self, lane: Lane, operations: Sequence[Operation], keep: Keep = keep_all
    ) -> Mapping[str, Outcome]:
        answers = await super().execute(lane, operations, keep)
        if operations[0].kind is Kind.CREATE and not self.lost:
            self.lost = True
            return dict.fromkeys(answers, Unknown("answer lost"))
        return answers


class Broken(PlainLens):
    """Raises, once told so."""

    is_broken = False

    @override
    def create(self, view: View) -> Fields:
        if self.is_broken:
            raise ValueError
        return super().create(view)


@pytest.mark.parametrize("identity", [CreateIdentity.IDEMPOTENCY_KEY, CreateIdentity.LOOKUP, CreateIdentity.CLIENT_ID])
async def test_a_lost_create_is_not_forgotten_while_the_mapping_fails(identity: CreateIdentity) -> None:
    lens = Broken()
    desk = mapped(Desk(evolve(PLAIN, identity=identity, lookup_after=0.0), crm=Losing), lens)
    desk.local.put("l1", {"name": "Ada"})
    await desk.sync()
    lens.is_broken = True
    desk.clock.at += 1000
    assert (await desk.sync()).errors == []
    lens.is_broken = False
    desk.local.put("l1", {"name": "Ada Lovelace"})
    await desk.sync()
    assert desk.names() == (["Ada Lovelace"], ["Ada Lovelace"])


async def test_a_key_that_is_no_text_stops_no_other_record() -> None:
    desk = Desk(match_keys=("email",))
    desk.local.put("l1", {"email": ["ada@example.org"], "name": "Ada"})
    desk.local.put("l2", {"email": "bob@example.org", "name": "Bob"})
    desk.crm.put("y2", {"email": "bob@example.org", "name": "Bob"})
    await desk.sync()
    assert desk.names() == (["Ada", "Bob"], ["Ada", "Bob"])


async def test_a_search_that_fails_leaves_new_records_and_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(match_keys=("email",))
    desk.local.put("l1", {"email": "ada@example.org", "name": "Ada"})
    await desk.sync()
    desk.local.change("l1", name="Ada Lovelace")
    desk.local.put("l2", {"email": "bob@example.org", "name": "Bob"})

    async def down(self: object, *args: object) -> RecordPage:
        raise Unavailable("503")

    with monkeypatch.context() as patch:
        patch.setattr(FakeCrm, "find", down)
        run = await desk.sync()
    assert (run.left, run.errors, desk.names()[1]) == (1, [], ["Ada Lovelace"])
    await desk.sync()
    assert desk.names()[1] == ["Ada Lovelace", "Bob"]


class Forgetful(Losing):
    """Remembers keys for a day."""

    @property
    @override
    def capabilities(self) -> Capabilities:
        return evolve(super().capabilities, key_lasts=DAY)


@pytest.mark.parametrize(("away", "is_repeated"), [(DAY - 10, True), (DAY, False)])
async def test_a_lost_create_is_sent_again_only_while_the_provider_remembers_its_key(
    away: float, is_repeated: bool
) -> None:
    desk = Desk(evolve(PLAIN, identity=CreateIdentity.IDEMPOTENCY_KEY), crm=Forgetful)
    desk.local.put("l1", {"name": "Ada"})
    await desk.sync()
    desk.clock.at += away
    if not is_repeated:
        desk.crm.answers.clear()  # it has forgotten them by then
    for _ in range(2):
        await desk.sync()
    assert desk.names() == (["Ada"], ["Ada"])
    (link,) = await desk.links()
    assert link.status is (LinkStatus.ACTIVE if is_repeated else LinkStatus.AMBIGUOUS_CREATE)


class Busy(FakeCrm):
    """Puts creates off."""

    is_busy = True

    @override
    def _answer(self, operation: Operation) -> Outcome:
        if operation.kind is Kind.CREATE and self.is_busy:
            return RetryLater("not now")
        return super()._answer(operation)


async def test_a_create_that_was_surely_not_made_is_in_no_doubt_however_long_the_provider_puts_it_off() -> None:
    desk = Desk(evolve(PLAIN, identity=CreateIdentity.NONE), crm=Busy)
    assert isinstance(desk.crm, Busy)
    desk.local.put("l1", {"name": "Ada"})
    for _ in range(3):
        assert (await desk.sync()).reasons == {"not now": 1}
        desk.clock.at += DAY
    desk.crm.is_busy = False
    assert (await desk.sync()).left == 0
    assert desk.names()[1] == ["Ada"]


class Reusing(MemoryRecords):
    """Gives the id of a deleted record to the next one."""

    @override
    async def apply(self, record_id: str | None, patch: View, *, if_version: str | None, op_id: str) -> Outcome:
        return await super().apply(record_id, patch, if_version=if_version, op_id="l1" if record_id is None else op_id)


async def test_a_record_that_is_given_the_id_of_one_that_is_long_gone_is_synced() -> None:
    desk = stored_in(Desk(), Reusing())
    desk.local.put("l1", {"name": "gone"})
    await desk.sync()
    desk.local.remove("l1")
    await desk.sync()
    assert desk.names() == ([], [])
    desk.crm.put("x9", {"name": "new"})
    await desk.sync()
    assert (await desk.sync()).left == 0
    assert desk.names() == (["new"], ["new"])
    desk.local.change("l1", name="newer")
    await desk.sync()
    assert desk.crm.records["x9"].fields == {"name": "newer"}


class ByContent(MemoryRecords):
    """The same content has the same version, as in a table."""

    @override
    def _written(self, record_id: str, fields: Fields) -> Record:
        return Record(record_id, fields, str(fields))


async def test_a_deleted_record_that_the_host_brings_back_as_it_was_is_synced() -> None:
    desk = stored_in(Desk(), ByContent())
    desk.local.put("l1", {"name": "Ada"})
    await desk.sync()
    desk.local.remove("l1")
    await desk.sync()
    assert desk.names()[1] == []
    desk.local.put("l1", {"name": "Ada"})
    await desk.sync()
    assert desk.names()[1] == ["Ada"]


async def test_records_that_are_long_gone_do_not_count_when_deletes_are_judged() -> None:
    guard = DeletePolicy(max_delete_ratio=0.5)
    desk = Desk(evolve(PLAIN, tombstones=False), guard=guard)
    for number in range(40):
        desk.local.put(f"l{number}", {"name": f"n{number}"})
    await desk.sync()
    for number in range(30):
        desk.local.remove(f"l{number}")
    await desk.sync()
    await Deletions(desk.reconciler, lambda _cases: None).approve()
    await desk.sync()
    assert len(desk.crm.records) == 10
    for external_id in list(desk.crm.records)[:4]:
        desk.crm.remove(external_id)
    assert (await desk.sync()).held == 0  # 6 of 10 were listed, and 4 of 10 deleted
    assert len(desk.local.records) == 6


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
async def test_a_pair_that_matches_is_counted_once(chunk: int) -> None:
    for is_dry in (True, False):
        desk = Desk(match_keys=("email",))
        for number in range(3):
            for records in (desk.local, desk.crm):
                records.put(f"{number}", {"email": f"{number}@example.org", "name": "same"})
        settings = evolve(desk.reconciler.settings, chunk=chunk)
        desk.reconciler = evolve(desk.reconciler, settings=settings)
        if is_dry:
            books = evolve(desk.reconciler.books, state=Overlay(desk.state))
            looking = evolve(desk.reconciler, books=books, is_dry=True)
            run = await Pass(looking, SyncRun("run", 0.0), lambda _case: None).look()
            assert run.actions == {"link": 3}
        else:
            run = await desk.sync()
            assert run.actions["converge"] == 3
        assert run.left == 0
        assert {key: count for key, count in run.situations.items() if key.startswith("unlinked")} == {
            "unlinked match: link": 3
        }


class Taken(FakeCrm):
    """Has a record of the same key already, or lacks what the new one is to belong to."""

    answer: Outcome = Conflict("there is one of this key")

    async def execute(
        self, lane: Lane, operations: Sequence[Operation], keep: Keep = keep_all
    ) -> Mapping[str, Outcome]:
        if operations[0].kind is not Kind.CREATE:
            return await super().execute(lane, operations, keep)
        self.calls += 1
        return {operation.id or "": self.answer for operation in operations}


@pytest.mark.parametrize("identity", [CreateIdentity.IDEMPOTENCY_KEY, CreateIdentity.LOOKUP])
async def test_a_create_that_is_in_the_way_of_another_record_is_told_as_that(identity: CreateIdentity) -> None:
    desk = Desk(evolve(PLAIN, identity=identity, lookup_after=0.0), crm=Taken)
    desk.local.put("l1", {"name": "Ada"})
    for _ in range(3):
        run = await desk.sync()
        assert run.reasons == {"there is one of this key": 1}
        desk.clock.at += 10
    assert desk.crm.calls <= 9


async def test_a_create_that_lacks_something_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Taken, "answer", Rejected("no such account", "404"))
    desk = Desk(evolve(PLAIN, identity=CreateIdentity.LOOKUP), crm=Taken)
    desk.local.put("l1", {"name": "Ada"})
    for _ in range(3):
        await desk.sync()
    assert [link.trouble for link in await desk.links()] == ["no such account"]
    assert desk.crm.calls == 1


async def test_a_replica_that_lags_brings_no_deleted_record_back_on_either_side() -> None:
    desk = Desk()
    here = FakeCrm(PLAIN, desk.clock.now, random.Random(2))
    local = ProviderSide(here, Lane("erp"), "contacts", side=Side.LOCAL)
    desk.reconciler = evolve(desk.reconciler, pair=evolve(desk.reconciler.pair, local=local))
    here.put("h1", {"name": "Ada"})
    await desk.sync()
    (there_id,) = desk.crm.records
    old = here.records["h1"]
    desk.crm.remove(there_id)
    await desk.sync()
    assert here.records == {}
    here.records["h1"] = old
    await desk.state.commit([mark_write(Mark(Side.LOCAL, "h1"), desk.reconciler.books.keys)])
    await desk.sync()
    assert desk.crm.records == {}
