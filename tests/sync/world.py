"""The simulation of two-way sync: the real code, with users, crashes and rivals at every step.

Users write values that are all different, so that each can be accounted for at the end. :func:`simulate` runs one
trial; its report says what went wrong.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
from attrs import define, evolve, field

from ratesync.engine.sync.books import Books
from ratesync.engine.sync.deletions import Deletions
from ratesync.engine.sync.joint_pass import JointPass
from ratesync.engine.sync.keys import Keys
from ratesync.engine.sync.link_codec import decode_link, encode_mark, from_bytes
from ratesync.engine.sync.local_side import LocalSide
from ratesync.engine.sync.pair import Pair, SyncSettings
from ratesync.engine.sync.provider_side import ProviderSide
from ratesync.engine.sync.pull import Puller
from ratesync.engine.sync.reconciler import Reconciler
from ratesync.engine.sync.sync_pass import Pass
from ratesync.errors import ProviderError
from ratesync.memory.records import MemoryRecords
from ratesync.memory.state import MemoryStateStore
from ratesync.model.conflict import FieldConflict, Resolution
from ratesync.model.difference import Side
from ratesync.model.lane import Lane
from ratesync.model.link import LinkStatus
from ratesync.model.mark import Mark
from ratesync.model.operation import Fields
from ratesync.model.run import SyncRun
from ratesync.model.stored import Stored, Write
from ratesync.rules.delete_guard import DeletePolicy
from ratesync.rules.merge import Resolve
from ratesync.rules.reconcile import GonePolicy
from ratesync.rules.resolvers import first_of, manual, prefer
from tests.sync.fake_crm import FakeCrm
from tests.sync.trial import Trial, Versions, tidy

NAMES = ("a", "b", "c")
LEASE = 100.0
MOST_QUIET_PASSES = 16
TOKEN = re.compile(r"#(\d+)#")
GUARD = DeletePolicy(
    max_deletes=10**6,
    max_delete_ratio=1.0,
    refuse_if_side_empty=False,
    min_listing_ratio=0.0,
    ratio_applies_above=10**6,
)

T = TypeVar("T")


class Killed(BaseException):
    """The process is gone."""


def tokens(value: object) -> set[int]:
    """The numbers of the values in something."""
    return {int(number) for number in TOKEN.findall(str(value).replace("\\u0023", "#"))}


@define
class Report:
    """What came of a trial."""

    violations: list[str] = field(factory=list[str])
    seen: Counter[str] = field(factory=Counter[str])


@define
class World:
    """Both sides, what their users do, and the state store between them."""

    trial: Trial
    random: random.Random
    now: float = 1_000_000.0
    report: Report = field(factory=Report)
    state: MemoryStateStore = field(factory=MemoryStateStore)
    local: MemoryRecords = field(init=False)
    crm: FakeCrm = field(init=False)
    is_quiet: bool = False
    values: int = 0
    ended: set[int] = field(factory=set[int])
    """Values that a user replaced or deleted, on a side where they were to be seen."""
    before: dict[tuple[Side, str], Fields] = field(factory=dict[tuple[Side, str], Fields])
    """Records as they were before a user's latest edit."""
    commits: list[tuple[Write, ...]] = field(factory=list[tuple[Write, ...]])
    local_writes: int = 0
    origins: int = 0
    deaths: int = 0

    def __attrs_post_init__(self) -> None:
        self.local = MemoryRecords(lambda fields: tidy(self.trial.tidy_local, fields))
        self.crm = FakeCrm(self.trial, lambda: self.now, random.Random(self.trial.seed))

    # Time, users and death: between any two steps of an engine

    async def step(self) -> None:
        """A boundary between the engine and the rest of the world."""
        draw = self.random
        self.now += draw.choice((0.01, 0.1, 1.0, 5.0))
        if self.trial.is_shared:
            for _ in range(draw.choice((1, 1, 2, 4, 40 if draw.random() < self.trial.slow_chance else 1))):
                await anyio.lowlevel.checkpoint()
        if self.is_quiet:
            return
        if draw.random() < self.trial.edit_chance:
            self.act()
        if draw.random() < self.trial.kill_chance:
            self.deaths += 1
            raise Killed

    async def around(self, call: Callable[[], Awaitable[T]]) -> T:
        """A call of the engine's: the process may die before it, or after it was carried out."""
        await self.step()
        answer = await call()
        await self.step()
        return answer

    # What users do

    def act(self) -> None:
        """A user does something on one of the sides."""
        draw = self.random
        side = draw.choice((Side.LOCAL, Side.EXTERNAL))
        records = self.records(side)
        roll = draw.random()
        if not records or (roll < 0.15 and len(records) < 5):
            self.create(side)
        elif roll < 0.25:
            record_id = draw.choice(sorted(records))
            self.remove(side, record_id)
            if draw.random() < 0.3:
                self.create(side, record_id)
        elif roll < 0.3:
            self.revert(side)
        elif roll < 0.35 and self.trial.versions is Versions.FLAKY and self.crm.records:
            self.crm.flake(draw.choice(sorted(self.crm.records)))
        else:
            self.edit(side, draw.choice(sorted(records)))

    def revert(self, side: Side) -> None:
        """A user takes an edit back: the record is as it was before. Whatever values that brings back were seen."""
        known = [key for key in self.before if key[0] is side and key[1] in self.records(side)]
        if not known:
            return
        key = self.random.choice(sorted(known))
        fields = self.before.pop(key)
        self.ended |= tokens(self.records(side)[key[1]].fields)
        self.put(side, key[1], fields)

    def records(self, side: Side) -> Mapping[str, Any]:
        return self.local.records if side is Side.LOCAL else self.crm.records

    def value(self) -> str:
        self.values += 1
        return self.random.choice(("v#{}#", " V#{}#", "v#{}# ")).format(self.values)

    def create(self, side: Side, record_id: str | None = None) -> None:
        self.origins += 1
        fields = {"origin": f"o{self.origins}"} | {name: self.value() for name in self.random.sample(NAMES, 2)}
        self.put(side, record_id or f"{side[0]}{self.origins}", fields)

    def put(self, side: Side, record_id: str, fields: Fields) -> None:
        if side is Side.LOCAL:
            self.local.put(record_id, fields)
        else:
            self.crm.put(record_id, fields)

    def edit(self, side: Side, record_id: str) -> None:
        self.before[side, record_id] = dict(self.records(side)[record_id].fields)
        fields = dict(self.before[side, record_id])
        name = self.random.choice(NAMES)
        self.ended |= tokens(fields.pop(name, ""))
        if self.random.random() < 0.85:
            fields[name] = self.value()
        self.put(side, record_id, fields)

    def remove(self, side: Side, record_id: str) -> None:
        self.ended |= tokens(self.records(side)[record_id].fields)
        self.before.pop((side, record_id), None)
        if side is Side.LOCAL:
            self.local.remove(record_id)
        else:
            self.crm.remove(record_id)

    # Engines

    def engine(self, number: int) -> Engine:
        return Engine(self, f"engine-{number}-{self.deaths}")

    async def live(self, number: int) -> None:
        """An engine makes its passes; when it dies, another one takes its place."""
        passes = 0
        while passes < self.trial.passes:
            engine = self.engine(number)
            try:
                while passes < self.trial.passes:
                    passes += 1
                    self.report.seen.update((await engine.run_pass()).actions)
            except Killed:
                self.now += self.random.choice((0.0, 1.0, LEASE / 2, 2 * LEASE))

    async def poll(self) -> None:
        """Somebody pulls, again and again, and does nothing more."""
        while True:
            reconciler = self.engine(8).reconciler()
            try:
                for side in Side:
                    pair, books = reconciler.pair, reconciler.books
                    with suppress(ProviderError):
                        await Puller(pair.side(side), books, reconciler.settings, reconciler.clock).pull()
            except Killed:
                pass

    def resolver(self) -> Resolve:
        match self.trial.resolver:
            case "local":
                return prefer(Side.LOCAL)
            case "external":
                return prefer(Side.EXTERNAL)
            case "manual":
                return manual()
            case _:
                return first_of(_only("a"), prefer(Side.LOCAL))


def _only(name: str) -> Resolve:
    """Conflicts of other fields are decided by what follows; those of this one too, if both values are short."""

    def resolve(conflict: FieldConflict) -> Resolution:
        return manual()(conflict) if conflict.name != name else prefer(Side.EXTERNAL)(conflict)

    return resolve


@define
class Engine:
    """One process."""

    world: World
    owner: str

    def reconciler(self) -> Reconciler:
        world = self.world
        pair = Pair(
            local=LocalSide(watch(world, world.local)),
            external=ProviderSide(watch(world, world.crm), Lane("crm"), "contacts"),
            resolve=world.resolver(),
            gone=GonePolicy(edit_wins=world.trial.edit_wins),
            guard=GUARD,
        )
        books = Books(watch(world, world.state), Keys.of("crm", "contacts"))
        settings = SyncSettings(page_size=2, chunk=3, lease=LEASE, margin=LEASE / 4)
        return Reconciler(pair, books, settings, _Time(world), world.random, self.owner)

    async def run_pass(self) -> SyncRun:
        run = SyncRun("run", self.world.now)
        await JointPass([Pass(self.reconciler(), run, lambda _case: None)]).carry_out()
        return run


class _Time:
    is_virtual = True

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> float:
        return self._world.now


def watch(world: World, inner: Any) -> Any:
    """The same thing, with the world turning at each call."""
    return _Watched(world, inner)


class _Watched:
    """Everything that an engine does outside itself goes through here."""

    def __init__(self, world: World, inner: Any) -> None:
        self._world = world
        self._inner = inner

    @property
    def capabilities(self) -> Any:
        return self._inner.capabilities

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        world = self._world

        async def watched(*args: Any, **options: Any) -> Any:
            if name == "commit":
                world.commits.append(tuple(args[0]))
            if name in {"apply", "delete"}:
                world.local_writes += 1
            return await world.around(lambda: method(*args, **options))

        return watched


async def simulate(seed: int, trial: Trial | None = None) -> Report:
    """Run the trial of a seed, and account for every value at the end."""
    world = World(trial or Trial.of(seed), random.Random(seed))
    for side in (Side.LOCAL, Side.EXTERNAL, Side.LOCAL):
        world.create(side)
    if world.trial.is_shared:
        async with anyio.create_task_group() as everybody:
            if world.trial.poller:
                everybody.start_soon(world.poll)
            async with anyio.create_task_group() as tasks:
                for number in range(world.trial.engines):
                    tasks.start_soon(world.live, number)
            everybody.cancel_scope.cancel()
    else:
        await world.live(0)
    world.is_quiet = True
    world.crm.trial = _calm(world.trial)
    await _settle(world)
    await _check(world)
    world.report.seen["deaths"] += world.deaths
    world.report.seen["values"] += world.values
    return world.report


def _calm(trial: Trial) -> Trial:
    return evolve(trial, fault_chance=0.0, expiry_chance=0.0, kill_chance=0.0, edit_chance=0.0)


async def _settle(world: World) -> None:
    """Passes with nobody else about, until one writes nothing."""
    engine = world.engine(9)
    for number in range(MOST_QUIET_PASSES):
        world.now += 2 * LEASE
        before = world.crm.writes, world.local_writes
        world.commits.clear()
        run = await engine.run_pass()
        if run.needs_approval:
            await Deletions(engine.reconciler(), lambda _cases: None).approve()
        if run.errors:
            world.report.violations.append(f"errors: {run.errors}")
        written = [write for commit in world.commits for write in commit if "/cursor/" not in write.key]
        if before == (world.crm.writes, world.local_writes) and not written and number:
            return
    world.report.violations.append("never idle")


async def _check(world: World) -> None:
    state = await world.state.scan("sync/", limit=100_000)
    told = {token for stored in state if "/lost/" in stored.key or "/conflict/" in stored.key for token in _of(stored)}
    alive = {token for side in Side for record in world.records(side).values() for token in tokens(record.fields)}
    if world.trial.conditional:
        for token in sorted(set(range(1, world.values + 1)) - world.ended - alive - told):
            world.report.violations.append(f"lost: value {token}")
    world.report.violations += _differences(world, [conflict for stored in state for conflict in _conflicts(stored)])
    left = [stored.key for stored in state if "/mark/" in stored.key]
    if left:
        world.report.violations.append(f"marks are left: {left}")
    world.report.seen["told"] += len(told)
    links = [decode_link(stored.value) for stored in state if "/link/" in stored.key]
    world.report.seen.update(str(link.status) for link in links if link.status is LinkStatus.AMBIGUOUS_CREATE)
    await _look_again(world)


async def _look_again(world: World) -> None:
    """A look at every record, for nothing: nobody changed anything, so nothing is written to a side."""
    books = world.engine(9).reconciler().books
    marks = [Mark(side, record_id) for side in Side for record_id in world.records(side)]
    await books.state.commit([Write(books.keys.mark(m.side, m.record_id), encode_mark(m)) for m in marks])
    before = world.crm.writes, world.local_writes
    await world.engine(9).run_pass()
    if before != (world.crm.writes, world.local_writes):
        world.report.violations.append("written for nothing")


def _of(stored: Stored) -> Iterable[int]:
    return tokens(stored.value.decode())


def _conflicts(stored: Stored) -> Sequence[tuple[str, str, str]]:
    """(local id, external id, field) of an open conflict."""
    if "/conflict/" not in stored.key:
        return ()
    value = from_bytes(stored.value)
    return [(*value["ids"], value["n"])]


def _differences(world: World, conflicts: Sequence[tuple[str, str, str]]) -> list[str]:
    found: list[str] = []
    deferred = {(local_id, name) for local_id, _, name in conflicts}
    # Two records that were made anew under their old ids, on both sides: which of the two it is waits for a person.
    twins = {external_id: local_id for local_id, external_id, name in conflicts if name == "origin"}
    by_origin: dict[Side, dict[str, str]] = {side: {} for side in Side}
    for side in Side:
        for record_id, record in world.records(side).items():
            twin = world.local.records.get(twins.get(record_id, "")) if side is Side.EXTERNAL else None
            origin = str((twin or record).fields.get("origin", "none")).strip().lower()
            if origin in by_origin[side]:
                found.append(f"duplicate: {side} {origin} is {by_origin[side][origin]} and {record_id}")
            by_origin[side][origin] = record_id
    local, external = by_origin[Side.LOCAL], by_origin[Side.EXTERNAL]
    found += [f"not converged: {origin} is on one side only" for origin in sorted(local.keys() ^ external.keys())]
    for origin in sorted(local.keys() & external.keys()):
        here, there = (
            world.local.records[local[origin]].fields,
            world.crm.records[external[origin]].fields,
        )
        for name in NAMES:
            if tokens(here.get(name)) != tokens(there.get(name)) and (local[origin], name) not in deferred:
                found.append(f"not converged: {origin}.{name} is {here.get(name)!r} and {there.get(name)!r}")
    return found
