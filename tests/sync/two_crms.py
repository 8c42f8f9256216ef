"""Two providers that are kept alike by parts of an engine, which may die at any of its calls."""

from __future__ import annotations

import random
from collections import abc
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from attrs import define, field

from ratesync.engine.sync.books import Books
from ratesync.engine.sync.conflict_book import ConflictBook
from ratesync.engine.sync.joint_pass import JointPass
from ratesync.engine.sync.keys import Keys
from ratesync.engine.sync.link_codec import decode_link
from ratesync.engine.sync.pair import Pair
from ratesync.engine.sync.provider_side import ProviderSide
from ratesync.engine.sync.reconciler import Reconciler
from ratesync.engine.sync.sync_pass import Pass
from ratesync.mapping import Field, Mapping
from ratesync.mapping.codecs import text
from ratesync.memory.state import MemoryStateStore
from ratesync.model.difference import Side
from ratesync.model.lane import Lane
from ratesync.model.link import RecordLink
from ratesync.model.operation import Fields
from ratesync.model.run import SyncRun
from ratesync.model.sync_settings import SyncSettings
from ratesync.rules.delete_guard import DeletePolicy
from ratesync.rules.merge import Resolve
from ratesync.rules.reconcile import GonePolicy
from ratesync.rules.resolvers import prefer
from tests.sync.desk import Still
from tests.sync.fake_crm import FakeCrm
from tests.sync.process import watch
from tests.sync.trial import Trial

T = TypeVar("T")

HERE = Mapping(
    Field("name", "title", text(case="lower")),
    Field("city", "place.city", text(max_length=8, truncate=True)),
    Field("note", "note"),
)
"""Of the local side. What it cannot spell, the other side keeps."""
THERE = Mapping(
    Field("name", "properties.name"),
    Field("city", "properties.city", text(case="upper")),
    Field("note", "properties.note"),
)
KEYS = Keys.between("crm", "default", "contacts", "erp", "default")
LOOSE = DeletePolicy(max_deletes=1000, max_delete_ratio=1.0)
LONG = 1000.0
"""Seconds from one pass to the next: longer than any lease, or any look-up's delay."""


class Killed(BaseException):
    """The process is gone."""


@define
class TwoCrms:
    """Both providers, and the state store between them."""

    here_trial: Trial
    there_trial: Trial
    resolve: Resolve = field(factory=lambda: prefer(Side.EXTERNAL))
    fatal: int = 0
    """The boundary between the engine and the world at which the process dies; 0: none."""
    happens: abc.Mapping[int, Callable[[], None]] = field(factory=dict[int, "Callable[[], None]"])
    """What users do at which boundary."""
    kind: type[FakeCrm] = FakeCrm
    gone: GonePolicy = field(factory=GonePolicy)
    boundaries: int = 0
    clock: Still = field(factory=Still)
    state: MemoryStateStore = field(factory=MemoryStateStore)
    here: FakeCrm = field(init=False)
    there: FakeCrm = field(init=False)
    lives: int = 0
    commits: list[Any] = field(factory=list[Any])
    cases: list[Any] = field(factory=list[Any])

    def __attrs_post_init__(self) -> None:
        # Each gives out ids of its own, so that none is the same on both sides by chance.
        self.here = self.kind(self.here_trial, self.clock.now, random.Random(0), count=5000)
        self.there = self.kind(self.there_trial, self.clock.now, random.Random(0), count=1000)

    async def around(self, call: Callable[[], Awaitable[T]]) -> T:
        self._boundary()
        answer = await call()
        self._boundary()
        return answer

    def _boundary(self) -> None:
        self.boundaries += 1
        self.happens.get(self.boundaries, _nothing)()
        if self.boundaries == self.fatal:
            raise Killed

    def _of(self, side: Side) -> tuple[FakeCrm, Mapping]:
        return (self.here, HERE) if side is Side.LOCAL else (self.there, THERE)

    def side(self, side: Side) -> ProviderSide:
        crm, lens = self._of(side)
        lane, resource = (Lane("erp"), "people") if side is Side.LOCAL else (Lane("crm"), "contacts")
        return ProviderSide(self._watched(crm), lane, resource, lens, side)

    def _watched(self, thing: Any) -> Any:
        world: Any = self
        return watch(world, thing, self.around)

    async def sync(self) -> SyncRun:
        """A pass of a new process, long after the last one."""
        self.clock.at += LONG
        self.lives += 1
        here, there = self.side(Side.LOCAL), self.side(Side.EXTERNAL)
        pair = Pair(local=here, external=there, resolve=self.resolve, guard=LOOSE, gone=self.gone)
        reconciler = Reconciler(
            pair,
            Books(self._watched(self.state), KEYS),
            SyncSettings(page_size=3, chunk=4),
            self.clock,
            random.Random(self.lives),
            f"engine {self.lives}",
        )
        self.cases = []
        one = Pass(reconciler, SyncRun("run", 0.0), self.cases.append)
        await JointPass([one]).carry_out()
        return one.run

    # What users do, and see

    def put(self, side: Side, record_id: str, **fields: Any) -> None:
        """Give a record some fields, or make one."""
        crm, lens = self._of(side)
        record = crm.records.get(record_id)
        before: Fields = {} if record is None else record.fields
        crm.put(record_id, lens.put(before, {**lens.get(before), **fields}))

    def views(self, side: Side) -> dict[str, Fields]:
        """What a side holds, by the note that each of its records has."""
        crm, lens = self._of(side)
        views = [lens.get(record.fields) for record in crm.records.values()]
        found: dict[str, Fields] = {view["note"]: view for view in views}
        assert len(found) == len(views), f"twice on the {side} side: {sorted(view['note'] for view in views)}"
        return found

    def id_of(self, side: Side, note: str) -> str:
        """The id of the record with that note."""
        crm, lens = self._of(side)
        return next(key for key, record in crm.records.items() if lens.get(record.fields)["note"] == note)

    @property
    def calls(self) -> int:
        """Calls for single records."""
        return self.here.calls + self.there.calls

    @property
    def book(self) -> ConflictBook:
        return ConflictBook(Books(self.state, KEYS))

    async def links(self) -> list[RecordLink]:
        return [decode_link(stored.value) for stored in await self.state.scan(KEYS.links, limit=1000)]


def _nothing() -> None:
    pass
