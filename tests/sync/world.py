"""The world of the simulations of two-way sync: both sides, the state store between them, and what users do.

Users write values that are all different, so that each can be accounted for at the end.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from attrs import define, field

from ratesync.memory.records import MemoryRecords
from ratesync.memory.state import MemoryStateStore
from ratesync.model.conflict import FieldConflict, Resolution
from ratesync.model.difference import Side
from ratesync.model.operation import Fields
from ratesync.model.stored import Write
from ratesync.rules.delete_guard import DeletePolicy
from ratesync.rules.merge import Resolve
from ratesync.rules.resolvers import first_of, manual, prefer
from tests.sync.fake_crm import FakeCrm
from tests.sync.trial import Trial, Versions, tidy
from tests.sync.turns import others

NAMES = ("a", "b", "c")
LEASE = 100.0
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
    passes: int = 0

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
                await others()
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
        if known:
            self.take_back(*self.random.choice(sorted(known)))

    def take_back(self, side: Side, record_id: str) -> None:
        fields = self.before.pop((side, record_id), None)
        if fields is not None:
            self.ended |= tokens(self.records(side)[record_id].fields)
            self.put(side, record_id, fields)

    def records(self, side: Side) -> Mapping[str, Any]:
        return self.local.records if side is Side.LOCAL else self.crm.records

    def value(self) -> str:
        self.values += 1
        return self.random.choice(("v#{}#", " V#{}#", "v#{}# ", "v#{}# and so on")).format(self.values)

    def create(self, side: Side, record_id: str | None = None) -> None:
        self.origins += 1
        fields = {"origin": f"o{self.origins}"} | {name: self.value() for name in self.random.sample(NAMES, 2)}
        self.put(side, record_id or f"{side[0]}{self.origins}", fields)

    def put(self, side: Side, record_id: str, fields: Fields) -> None:
        if side is Side.LOCAL:
            self.local.put(record_id, fields)
        else:
            self.crm.put(record_id, fields)

    def edit(self, side: Side, record_id: str, name: str = "") -> None:
        self.before[side, record_id] = dict(self.records(side)[record_id].fields)
        fields = dict(self.before[side, record_id])
        name = name or self.random.choice(NAMES)
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
