"""Small bindings whose records refer to each other: over one state store, with one clock."""

from __future__ import annotations

import random
from collections import Counter
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
from ratesync.engine.sync.reference_table import ReferenceTable
from ratesync.engine.sync.sync_pass import Pass
from ratesync.memory.records import MemoryRecords
from ratesync.memory.state import MemoryStateStore
from ratesync.model.batch import CreateIdentity
from ratesync.model.lane import Lane
from ratesync.model.reference import Reference
from ratesync.model.run import SyncRun
from ratesync.model.sync_settings import SyncSettings
from ratesync.rules.resolvers import manual
from tests.sync.desk import PLAIN, Still
from tests.sync.fake_crm import FakeCrm
from tests.sync.trial import Trial

FAMILY = evolve(PLAIN, identity=CreateIdentity.IDEMPOTENCY_KEY)
"""The provider chooses ids of its own, so none is the same on both sides by chance."""


class OpenCrm(FakeCrm):
    """One whose methods can be replaced."""


class Member:
    """One binding."""

    def __init__(self, family: Family, name: str, trial: Trial, pair: dict[str, Any]) -> None:
        self.name = name
        self.local = MemoryRecords()
        self.crm = OpenCrm(trial, family.clock.now, random.Random(0), count=1000 * len(family.members))
        self.log: list[str] = []
        references = {field: Reference.to(target) for field, target in pair.pop("references", {}).items()}
        keys = {each.resource: Keys.of("crm", each.resource) for each in references.values()}
        table = ReferenceTable(family.state, references, keys)
        given: dict[str, Any] = {"resolve": manual()} | pair
        self.reconciler = Reconciler(
            Pair(
                local=LocalSide(self.local),
                external=ProviderSide(self.crm, Lane("crm"), name, references=table),
                references=table,
                **given,
            ),
            Books(family.state, Keys.of("crm", name)),
            SyncSettings(chunk=50),
            family.clock,
            random.Random(1),
            "engine",
        )

    def external(self, name: str) -> tuple[str, Any]:
        """The provider's record of that name: its id, and its fields."""
        ((record_id, record),) = [item for item in self.crm.records.items() if item[1].fields.get("name") == name]
        return record_id, record.fields

    def inner(self, name: str) -> tuple[str, Any]:
        """The host's record of that name."""
        ((record_id, record),) = [item for item in self.local.records.items() if item[1].fields.get("name") == name]
        return record_id, record.fields


class Family:
    """All of them."""

    def __init__(self, state: MemoryStateStore | None = None) -> None:
        self.clock = Still()
        self.state = state or MemoryStateStore()
        self.members: dict[str, Member] = {}

    def add(self, name: str, trial: Trial = FAMILY, **pair: Any) -> Member:
        member = self.members[name] = Member(self, name, trial, pair)
        return member

    async def sync(self, *names: str) -> dict[str, SyncRun]:
        passes = {
            name: Pass(self.members[name].reconciler, SyncRun("run", 0.0), lambda _case: None)
            for name in names or self.members
        }
        await JointPass(list(passes.values())).carry_out()
        return {name: each.run for name, each in passes.items()}

    @property
    def writes(self) -> Counter[str]:
        """Writes of ours to the provider, by binding."""
        return Counter({name: member.crm.writes for name, member in self.members.items()})

    async def statuses(self, name: str) -> Counter[str]:
        links = await self.state.scan(self.members[name].reconciler.books.keys.links, limit=1000)
        return Counter(str(decode_link(stored.value).status) for stored in links)
