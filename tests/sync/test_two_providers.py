"""A provider on both sides: whatever both can or cannot do, and whenever the process dies."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import pytest
from attrs import evolve
from typing_extensions import override

from ratesync import Rate, SyncEngine
from ratesync.engine.sync.binding import Binding
from ratesync.engine.sync.provider_records import ProviderRecords
from ratesync.engine.sync.side import Keep, Make, keep_all
from ratesync.engine.sync.webhook import WebhookEndpoint
from ratesync.errors import UnknownProvider
from ratesync.mapping import Field
from ratesync.mapping import Mapping as LensMapping
from ratesync.memory import MemoryBackend
from ratesync.memory.records import MemoryRecords
from ratesync.model.batch import CreateIdentity
from ratesync.model.change import RecordPage
from ratesync.model.difference import Side
from ratesync.model.hint import Hint, WebhookAnswer
from ratesync.model.lane import Lane
from ratesync.model.link import LinkStatus
from ratesync.model.operation import Fields, Operation
from ratesync.model.outcome import Applied, Outcome
from ratesync.model.record import Record
from ratesync.model.undone import UndoResult
from ratesync.rules.first_match import Situation
from ratesync.rules.resolvers import first_of, latest, manual, prefer
from ratesync.rules.situations import Response
from ratesync.testing.virtual_time import VirtualClock
from tests.sync.adapter import Crm
from tests.sync.desk import PLAIN
from tests.sync.fake_crm import FakeCrm
from tests.sync.test_run import CountedStore, anyio_backend
from tests.sync.trial import Trial, Versions
from tests.sync.two_crms import Killed, TwoCrms

__all__ = ["anyio_backend"]
pytestmark = [pytest.mark.anyio, pytest.mark.slow]

HERE, THERE = Side.LOCAL, Side.EXTERNAL
PAIRS: Mapping[str, tuple[Trial, Trial]] = {
    "ids of ours here, keys and a listing there": (
        evolve(PLAIN, identity=CreateIdentity.CLIENT_ID),
        evolve(PLAIN, identity=CreateIdentity.IDEMPOTENCY_KEY, tombstones=False, batch_max=1),
    ),
    "keys and a listing here, answers without records there": (
        evolve(PLAIN, identity=CreateIdentity.IDEMPOTENCY_KEY, tombstones=False, feed_has_fields=False),
        evolve(PLAIN, identity=CreateIdentity.CLIENT_ID, answers_with_record=False, tells_versions=False),
    ),
    "a search here, without versions, and a late search there": (
        evolve(PLAIN, identity=CreateIdentity.LOOKUP, conditional=False, versions=Versions.NONE, batch_max=1),
        evolve(PLAIN, identity=CreateIdentity.LOOKUP, lookup_after=40.0, versions=Versions.OF_CONTENT),
    ),
}


async def edited(pair: tuple[Trial, Trial]) -> TwoCrms:
    """Both sides were alike, and users have gone on."""
    both = TwoCrms(*pair)
    for note in "abc":
        both.put(HERE, f"h{note}", name=f"name {note}", city="Bern", note=note)
    for note in "def":
        both.put(THERE, f"t{note}", name=f"Name {note}", city="WINTERTHUR", note=note)
    await both.sync()
    await both.sync()
    assert both.views(HERE).keys() == both.views(THERE).keys() == set("abcdef")
    both.put(HERE, "ha", city="Paris")
    both.put(THERE, both.id_of(THERE, "a"), name="Ada")
    both.put(THERE, both.id_of(THERE, "b"), name="BOB")  # spelt otherwise here
    both.here.remove("hc")
    both.there.remove("td")
    both.put(HERE, both.id_of(HERE, "e"), name="mine")
    both.put(THERE, "te", name="Theirs")
    both.put(HERE, both.id_of(HERE, "f"), name="fred")
    both.put(HERE, "hg", name="grace", city="Geneva by the lake", note="g")
    both.put(THERE, "th", name="Hal", city="HALIFAX", note="h")
    return both


async def later(both: TwoCrms) -> None:
    """What users do after the process died."""
    both.put(HERE, "ha", city="Rome")
    both.put(THERE, "te", name="Later")


ALIKE = {
    "a": ("Ada", "ROME"),
    "b": ("BOB", "BERN"),
    "e": ("Later", "WINTERTHUR"),
    "f": ("fred", "WINTERTHUR"),
    "g": ("grace", "GENEVA B"),
    "h": ("Hal", "HALIFAX"),
}


async def check(both: TwoCrms) -> None:
    """Nothing is lost or there twice, nobody is asked, and a pass with no news does nothing."""
    here, there = both.views(HERE), both.views(THERE)
    assert {note: (view["name"], view["city"]) for note, view in there.items()} == ALIKE
    assert {note: (view["name"], view["city"].upper()) for note, view in here.items()} == {
        note: (name.lower(), city[:8].rstrip()) for note, (name, city) in ALIKE.items()
    }
    lost = [loser async for dropped in both.book.dropped() for loser in dropped.losers]
    assert {(loser.name, loser.side, loser.value) for loser in lost} == {("name", HERE, "mine")}
    assert [each async for each in both.book.conflicts()] == []
    before = both.calls, await both.state.scan("sync", limit=1000)
    run = await both.sync()
    assert (run.actions, run.left, run.errors) == ({}, 0, [])
    assert (both.calls, await both.state.scan("sync", limit=1000)) == before


@pytest.mark.parametrize("name", PAIRS)
async def test_whatever_call_or_commit_the_process_dies_at_both_end_alike(name: str, anyio_backend_name: str) -> None:
    stride = 1 if anyio_backend_name == "asyncio" else 7
    for fatal in range(1, 1000, stride):
        both = await edited(PAIRS[name])
        both.boundaries, both.fatal = 0, fatal
        try:
            await both.sync()
        except Killed:
            is_over = False
        else:
            is_over = True
        both.fatal = 0
        await later(both)
        for _ in range(3):
            await both.sync()
        await check(both)
        if is_over:
            assert fatal > 40, "hardly anything was met"
            return
    pytest.fail("the pass comes to no end")


@pytest.mark.parametrize("side", Side)
async def test_a_create_that_nobody_can_look_for_is_never_repeated_but_told(side: Side) -> None:
    none = evolve(PLAIN, identity=CreateIdentity.NONE)
    told: set[LinkStatus] = set()
    for fatal in range(1, 60):
        both = TwoCrms(none, none, fatal=fatal)
        both.put(side.other, "1", name="ada", city="BERN", note="n")
        with suppress(Killed):
            await both.sync()
        both.fatal = 0
        for _ in range(2):
            await both.sync()
        assert max(len(both.here.records), len(both.there.records)) <= 1
        told |= {link.status for link in await both.links()}
    assert told == {LinkStatus.ACTIVE, LinkStatus.AMBIGUOUS_CREATE}


async def test_whenever_somebody_writes_here_nothing_is_overwritten_unseen() -> None:
    for boundary in range(1, 60):
        both = TwoCrms(*PAIRS["ids of ours here, keys and a listing there"], resolve=manual())
        both.put(HERE, "1", name="ada", city="BERN", note="n")
        await both.sync()
        both.put(THERE, both.id_of(THERE, "n"), city="PARIS")
        both.happens = {both.boundaries + boundary: partial(both.put, HERE, "1", name="grace")}
        for _ in range(4):
            await both.sync()
        assert both.boundaries > boundary
        assert both.views(HERE) == {"n": {"name": "grace", "city": "PARIS", "note": "n"}}
        assert both.views(THERE) == {"n": {"name": "grace", "city": "PARIS", "note": "n"}}


class Dated(FakeCrm):
    """Tells when the name of a record was changed."""

    @override
    def put(self, record_id: str, fields: Fields) -> Record:
        record, now = super().put(record_id, fields), self.now()
        told = evolve(record, changed_at=now, field_times={"title": now, "properties.name": now})
        self.records[record_id] = told
        return told


@pytest.mark.parametrize("last", Side)
async def test_the_latest_value_is_known_by_the_clocks_of_both_providers(last: Side) -> None:
    both = TwoCrms(PLAIN, PLAIN, kind=Dated, resolve=first_of(latest(min_gap=5.0), manual()))
    both.put(HERE, "1", name="ada", city="BERN", note="n")
    await both.sync()
    await both.sync()
    both.put(last.other, both.id_of(last.other, "n"), name="early")
    both.clock.at += 10.0
    both.put(last, both.id_of(last, "n"), name="late")
    for _ in range(2):
        await both.sync()
    assert both.views(HERE)["n"]["name"] == both.views(THERE)["n"]["name"] == "late"


async def test_the_sides_of_one_account_never_share_an_idempotency_key() -> None:
    noted: list[str | None] = []

    class Noting(FakeCrm):
        @override
        async def execute(
            self, lane: Lane, operations: Sequence[Operation], keep: Keep = keep_all
        ) -> Mapping[str, Outcome]:
            noted.extend(operation.idempotency_key for operation in operations)
            return await super().execute(lane, operations, keep)

    both = TwoCrms(PLAIN, PLAIN, kind=Noting)
    for side in Side:
        answers: dict[str, Outcome] = {}
        await both.side(side).write([Make("op", {"note": "n"}, "x")], answers.__setitem__)
        assert isinstance(answers["op"], Applied)
    assert len(set(noted)) == 2


# Through an engine


class Finding(Crm):
    """Finds records, too."""

    async def find(self, connection: str, resource: str, path: str, values: Sequence[str]) -> RecordPage:
        found: RecordPage = await self.inner.find(Lane(self.name, connection), resource, path, values)
        return found


PEOPLE = LensMapping(Field("email", "mail"), Field("name", "full_name"), Field("boss", "boss"))
"""From the records of the ERP to those of the CRM, which are the views."""


class Both:
    """An ERP and a CRM, and what engines share."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        trial = evolve(PLAIN, batch_max=1, identity=CreateIdentity.IDEMPOTENCY_KEY)
        self.erp, self.crm = (
            Finding(FakeCrm(trial, self.clock.now, random.Random(0), count=count), name)
            for name, count in (("erp", 5000), ("crm", 1000))
        )
        self.state = CountedStore()

    def engine(self, **options: Any) -> SyncEngine:
        backend = MemoryBackend(clock=self.clock, cold_start=False)
        given: dict[str, Any] = {"quotas": {"erp": [Rate(5, per=10)], "crm": [Rate(500, per=1)]}} | options
        return SyncEngine(
            queue=backend.queue,
            limiter=backend.limiter,
            state=self.state,
            providers=[self.erp, self.crm],
            clock=self.clock,
            random=random.Random(1),
            **given,
        )

    def names(self) -> tuple[list[Any], list[Any]]:
        return (
            sorted(record.fields["full_name"] for record in self.erp.inner.records.values()),
            sorted(record.fields["name"] for record in self.crm.inner.records.values()),
        )


def people(**options: Any) -> ProviderRecords:
    given: dict[str, Any] = {"provider": "erp", "resource": "people", "mapping": PEOPLE} | options
    return ProviderRecords(**given)


def binding(local: Any = None, **options: Any) -> Binding:
    given: dict[str, Any] = {"provider": "crm", "resource": "contacts", "resolve": prefer(HERE)} | options
    return Binding(local=local or people(), **given)


async def test_each_account_has_its_own_quotas_and_a_plan_writes_to_none() -> None:
    both = Both()
    for number in range(12):
        both.crm.inner.put(f"c{number}", {"name": f"n{number:02}"})
    both.erp.inner.put("e1", {"full_name": "z"})
    async with both.engine() as engine:
        planned = await engine.syncs.plan(binding())
        assert planned.actions == {"create": 13}
        assert (both.erp.inner.writes, both.crm.inner.writes, both.state.commits) == (0, 0, [])
        began_at, before = both.clock.now(), both.erp.calls
        run = await engine.sync(binding())
        assert (run.actions["create"], run.errors) == (13, [])
        assert both.names()[0] == both.names()[1]
        assert both.clock.now() - began_at >= ((both.erp.calls - before) / 5 - 2) * 10
        assert [each.run_id for each in await engine.syncs.history(binding())] == [run.run_id]
        both.erp.inner.put("e1", {"full_name": "zoe"})
        run = await engine.syncs.resync(binding())
        assert (run.actions["push"], both.names()[0]) == (1, both.names()[1])


async def test_a_dropped_value_is_written_back_to_the_provider_that_lost_it() -> None:
    both = Both()
    both.crm.inner.put("c1", {"name": "base"})
    one = binding(resolve=prefer(THERE))
    async with both.engine() as engine:
        await engine.sync(one)
        (record_id,) = both.erp.inner.records
        both.erp.inner.put(record_id, {"full_name": "here"})
        both.crm.inner.put("c1", {"name": "there"})
        await engine.sync(one)
        (dropped,) = [each async for each in engine.syncs.dropped(one)]
        assert (await engine.syncs.undo(one, dropped, dropped.losers[0])).result is UndoResult.DONE
        assert both.names() == (["here"], ["there"])
        await engine.sync(one)
        assert both.names() == (["here"], ["here"])


@pytest.mark.parametrize("place", [{}, {"match_keys": {"email": "mail"}}])
async def test_records_of_both_are_matched_by_where_the_key_stands_in_each(place: dict[str, Any]) -> None:
    both = Both()
    both.erp.inner.put("e1", {"mail": "ada@example.org", "full_name": "Ada"})
    policy = {Situation.LOCAL_ONLY: Response.IGNORE}
    one = binding(people(**place), match_keys={"email": "email"}, policy=policy)
    async with both.engine() as engine:
        await engine.sync(one)
        both.crm.inner.put("c1", {"email": "ADA@example.org", "name": "Ada"})
        run = await engine.sync(one)
        assert run.situations["unlinked match: link"] == 1
        assert (len(both.erp.inner.records), len(both.crm.inner.records)) == (1, 1)
    with pytest.raises(ValueError, match="phone"):
        binding(people(match_keys={"phone": "tel"}), match_keys={"email": "email"})


async def test_references_are_translated_by_the_links_between_the_same_two() -> None:
    both = Both()
    both.erp.inner.put("e1", {"full_name": "Ada", "boss": "e2"})
    both.erp.inner.put("e2", {"full_name": "Bob"})
    both.crm.inner.put("c1", {"name": "Cy"})
    async with both.engine() as engine:
        one = binding(references={"boss": "contacts"})
        runs = await engine.syncs.sync_all([one])
        assert runs[0].left == 0
        by_name = {record.fields["name"]: record for record in both.crm.inner.records.values()}
        assert by_name["Ada"].fields["boss"] == by_name["Bob"].record_id
        both.crm.inner.put(by_name["Ada"].record_id, {**by_name["Ada"].fields, "boss": "c1"})
        await engine.sync(one)
        (cy,) = [key for key, record in both.erp.inner.records.items() if record.fields["full_name"] == "Cy"]
        assert both.erp.inner.records["e1"].fields["boss"] == cy
        # The leads refer to people: by the links of the other binding between the same two accounts.
        leads = binding(people(resource="prospects"), resource="leads", references={"boss": "contacts"})
        assert leads.keys_of("contacts") == one.keys_of("contacts") != leads.keys_of("leads")


async def test_bindings_of_the_same_account_keep_apart_whoever_is_on_the_other_side() -> None:
    both = Both()
    ours = MemoryRecords()
    ours.put("1", {"name": "Ada"})
    for name in ("link", "mark", "erp"):  # words that stand in keys are names, too
        assert not binding(people(provider=name)).keys_of("contacts").prefix.startswith("sync/")
    keys = [
        binding(each).keys_of("contacts") for each in (ours, people(), people(connection="2"), people(provider="p"))
    ]
    assert len(set(keys)) == len(keys)
    async with both.engine() as engine:
        for _ in range(2):  # the host's record goes by way of the CRM
            await engine.sync(binding(ours))
            await engine.sync(binding())
        both.erp.inner.put(next(iter(both.erp.inner.records)), {"full_name": "Ada L."})
        await engine.sync(binding())
        await engine.sync(binding(ours))
        assert (ours.records["1"].fields, both.names()) == ({"name": "Ada L."}, (["Ada L."], ["Ada L."]))
        runs = [await engine.syncs.history(each) for each in (binding(ours), binding())]
        assert not {run.run_id for run in runs[0]} & {run.run_id for run in runs[1]}
    with pytest.raises(ValueError, match="same resource"):
        binding(people(provider="crm", resource="contacts"))
    assert binding(people(provider="crm", resource="leads")).providers.keys() == set(Side)


async def test_a_provider_that_is_not_there_is_named_with_its_place() -> None:
    both = Both()
    async with both.engine() as engine:
        unknown = binding(people(provider="nobody"))
        for call in (engine.sync, engine.syncs.plan, engine.syncs.run, engine.syncs.resync):
            with pytest.raises(UnknownProvider, match=r"binding\.local\.provider: .*'nobody'"):
                await call(unknown)
        with pytest.raises(UnknownProvider, match=r"binding\.local\.provider"):
            await engine.syncs.hint(unknown, HERE, ["1"])
        with pytest.raises(UnknownProvider, match=r"binding\.provider"):
            await engine.sync(binding(provider="nobody"))


class Plain:
    """Deliveries that need no signature, and name their records."""

    id = "delivery"

    def __init__(self, *hints: Hint) -> None:
        self.found = hints

    async def verify(self, headers: Any, body: bytes, *, method: str = "POST", url: str = "") -> Any:
        self.id = body.decode()
        return self

    def json(self) -> Any:
        return None

    def hints(self, body: Any) -> Sequence[Hint]:
        return self.found


@pytest.mark.parametrize("provider", ["erp", "crm"])
async def test_a_delivery_of_either_provider_marks_its_side_and_wakes_the_sync(provider: str) -> None:
    both, one = Both(), binding()
    record = {"erp": {"full_name": "Ada"}, "crm": {"name": "Ada"}}[provider]
    resource = {"erp": "people", "crm": "contacts"}[provider]
    reader = Plain(Hint(resource, "x1"), Hint("others", "x1"))
    point = WebhookEndpoint(provider=provider, verifier=reader, reader=reader, bindings=[one])
    async with anyio.create_task_group() as tasks, both.engine() as engine:
        tasks.start_soon(lambda: engine.syncs.run(one, every=3600))
        await anyio.sleep(1)
        (both.erp if provider == "erp" else both.crm).inner.put("x1", record)
        answer = await engine.syncs.webhook(point, {}, b"one")
        assert answer == WebhookAnswer(200, marked=1, unknown=1)
        await anyio.sleep(20)
        assert both.names() == (["Ada"], ["Ada"])
        assert (await engine.syncs.webhook(point, {}, b"one")).fault == "replayed"


async def test_the_bindings_of_an_account_may_be_told_by_a_function() -> None:
    both = Both()
    reader = Plain(*(Hint("people", "1", account) for account in ("7", "8", "9")), Hint("contacts", "2", "7"))
    asked: list[Lane] = []

    async def bindings_of(lane: Lane) -> list[Binding]:
        await anyio.sleep(0.1)
        asked.append(lane)
        between = people(connection="a"), people(connection="b", resource="leads")
        return [binding(each, connection=lane.connection) for each in between]

    point = WebhookEndpoint(
        provider="erp",
        verifier=reader,
        reader=reader,
        resources={"people", "contacts"},
        bindings=bindings_of,
        connections={"7": "a", "8": "c"},
    )
    async with both.engine() as engine:
        answer = await engine.syncs.webhook(point, {}, b"one")
    # Account 7: people with the host and with the CRM, contacts with the host. Account 8: people with the host.
    assert answer == WebhookAnswer(200, marked=4, unknown=1)
    assert asked == [Lane("erp", "a"), Lane("erp", "c")]
    keys = {write.key for commit in both.state.commits for write in commit if "/mark/" in write.key}
    assert keys == {
        "sync/erp/a/people/mark/x/1",
        "sync/erp/c/people/mark/x/1",
        "sync/erp/a/contacts/mark/x/2",
        "sync-between/crm/a/contacts/erp/a/mark/l/1",
    }


async def test_a_run_is_put_off_while_either_account_is_paused() -> None:
    both = Both()
    both.crm.inner.put("c1", {"name": "Ada"})
    async with anyio.create_task_group() as tasks, both.engine() as engine:
        await engine.pause("erp")
        tasks.start_soon(lambda: engine.syncs.run(binding()))
        await anyio.sleep(60)
        assert (both.erp.calls, both.crm.calls) == (0, 0)
        await engine.resume("erp")
        await anyio.sleep(120)
        assert both.names() == (["Ada"], ["Ada"])
