"""Two small sides, and passes over them."""

from __future__ import annotations

import random
from typing import Any

from attrs import evolve

from ratesync.engine.sync.books import Books
from ratesync.engine.sync.joint_pass import JointPass
from ratesync.engine.sync.keys import Keys
from ratesync.engine.sync.link_codec import decode_link
from ratesync.engine.sync.local_side import LocalSide
from ratesync.engine.sync.pair import Pair
from ratesync.engine.sync.provider_side import ProviderSide
from ratesync.engine.sync.reconciler import Reconciler
from ratesync.engine.sync.sync_pass import Pass
from ratesync.memory.records import MemoryRecords
from ratesync.memory.state import MemoryStateStore
from ratesync.model.difference import Side
from ratesync.model.lane import Lane
from ratesync.model.link import RecordLink
from ratesync.model.run import SyncRun
from ratesync.model.sync_settings import SyncSettings
from ratesync.rules.resolvers import prefer
from tests.sync.fake_crm import FakeCrm
from tests.sync.trial import Trial, Versions

PLAIN = evolve(
    Trial.of(0), versions=Versions.COUNTED, fault_chance=0.0, expiry_chance=0.0, blink_chance=0.0,
    tidy_local="", tidy_external="",
    coarse=False, answers_with_record=True, tombstones=True, batch_max=3, upserts=False,
)  # fmt: skip


class Still:
    """A clock that moves a little whenever it is asked."""

    is_virtual = True

    def __init__(self) -> None:
        self.at = 1_000_000.0

    def now(self) -> float:
        self.at += 0.001
        return self.at


class Desk:
    """Two sides, and passes over them."""

    def __init__(self, trial: Trial = PLAIN, crm: type[FakeCrm] = FakeCrm, page_size: int = 200, **pair: Any) -> None:
        self.clock = Still()
        self.local = MemoryRecords()
        self.crm = crm(trial, self.clock.now, random.Random(0))
        self.state = MemoryStateStore()
        self.cases: list[Any] = []
        given: dict[str, Any] = {"resolve": prefer(Side.EXTERNAL)} | pair
        self.reconciler = Reconciler(
            Pair(local=LocalSide(self.local), external=ProviderSide(self.crm, Lane("crm"), "contacts"), **given),
            Books(self.state, Keys.of("crm", "contacts")),
            SyncSettings(page_size=page_size),
            self.clock,
            random.Random(1),
            "engine",
        )

    async def sync(self) -> SyncRun:
        self.cases = []
        each = Pass(self.reconciler, SyncRun("run", 0.0), self.cases.append)
        await JointPass([each]).carry_out()
        return each.run

    async def links(self) -> list[RecordLink]:
        return [decode_link(stored.value) for stored in await self.state.scan(self.reconciler.books.keys.links)]

    def names(self) -> tuple[list[Any], list[Any]]:
        return tuple(  # type: ignore[return-value]
            sorted(str(record.fields.get("name")) for record in records.values())
            for records in (self.local.records, self.crm.records)
        )
