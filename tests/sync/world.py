"""The world of the simulations of two-way sync: both sides, the state store between them, and what users do.

Users write values that are all different, so that each can be accounted for at the end.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

from attrs import define, evolve, field

from ratesync.memory.state import MemoryStateStore
from ratesync.model.conflict import FieldConflict, Resolution
from ratesync.model.difference import Side
from ratesync.model.operation import Fields
from ratesync.model.stored import Write
from ratesync.rules.delete_guard import DeletePolicy
from ratesync.rules.merge import Resolve
from ratesync.rules.reconcile import GonePolicy
from ratesync.rules.resolvers import first_of, manual, prefer
from tests.sync.departed import Departed
from tests.sync.sides import Sides
from tests.sync.trial import REFERENCE, Trial, Versions
from tests.sync.turns import others

NAMES = ("a", "b", "c")
MOST_PARENTS = 3
LEASE = 100.0
DURATIONS = (0.01, 0.1, 1.0, 5.0)
"""Of a step, in seconds."""
TURNS = (1, 1, 1, 2, 4)
"""That others get in a step; one that takes long has many more."""
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
    contacts: Sides = field(init=False)
    parents: Sides = field(init=False)
    """What contacts refer to; empty if the trial has no families."""
    departed: Departed = field(init=False)
    is_quiet: bool = False
    values: int = 0
    ended: set[int] = field(factory=set[int])
    """Values that a user replaced or deleted, on a side where they were to be seen."""
    before: dict[tuple[Side, str], Fields] = field(factory=dict[tuple[Side, str], Fields])
    """Contacts as they were before a user's latest edit."""
    commits: list[tuple[Write, ...]] = field(factory=list[tuple[Write, ...]])
    local_writes: int = 0
    origins: int = 0
    deaths: int = 0
    passes: int = 0

    def __attrs_post_init__(self) -> None:
        self.contacts = Sides.of("contacts", self.trial, lambda: self.now, self.meanwhile)
        self.parents = Sides.of("accounts", self.trial, lambda: self.now, self.meanwhile)
        self.departed = Departed(self.contacts, self.state)

    @property
    def kinds(self) -> list[Sides]:
        """All that is kept alike."""
        return [self.contacts, self.parents] if self.trial.families else [self.contacts]

    def kind(self, resource: str) -> Sides:
        """The records of a resource."""
        (found,) = [kind for kind in self.kinds if kind.resource == resource]
        return found

    @property
    def writes(self) -> tuple[int, int]:
        """By engines: to the provider, and to the host's store."""
        return sum(kind.crm.writes for kind in self.kinds), self.local_writes

    @property
    def calls(self) -> int:
        """To the provider, for single records."""
        return sum(kind.crm.calls for kind in self.kinds)

    def calm_down(self) -> None:
        """Everybody goes home, and no call fails any more."""
        self.is_quiet = True
        self.turn_into(evolve(self.trial, fault_chance=0.0, expiry_chance=0.0, blink_chance=0.0))

    def turn_into(self, trial: Trial) -> None:
        """From now on everybody is as busy as that trial has it. What the provider can do must be the same."""
        self.trial = trial
        for kind in self.kinds:
            kind.crm.trial = trial

    # Time, users and death: between any two steps of an engine

    async def step(self) -> None:
        """A boundary between the engine and the rest of the world."""
        draw, trial = self.random.random, self.trial
        self.now += DURATIONS[int(draw() * len(DURATIONS))]
        if trial.is_shared:
            is_slow = draw() < trial.slow_chance / 5  # of a call, which takes a few steps
            for _ in range(40 if is_slow else TURNS[int(draw() * len(TURNS))]):
                await others()
        if self.is_quiet:
            return
        if draw() < trial.edit_chance:
            self.act()
        if draw() < trial.kill_chance:
            self.deaths += 1
            raise Killed

    async def meanwhile(self) -> None:
        """In the midst of a call: somebody is quick."""
        await self.step()
        if not self.is_quiet:
            self.act()

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
        if self.trial.families and draw.random() < 0.4:
            self.act_in_family(side)
            return
        records = self.contacts.records(side)
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
        elif roll < 0.35 and self.trial.versions is Versions.FLAKY and self.contacts.crm.records:
            self.contacts.crm.flake(draw.choice(sorted(self.contacts.crm.records)))
        else:
            self.edit(side, draw.choice(sorted(records)))

    def revert(self, side: Side) -> None:
        """A user takes an edit back: the record is as it was before. Whatever values that brings back were seen."""
        known = [key for key in self.before if key[0] is side and key[1] in self.contacts.records(side)]
        if known:
            self.take_back(*self.random.choice(sorted(known)))

    def take_back(self, side: Side, record_id: str) -> None:
        fields = self.before.pop((side, record_id), None)
        if fields is not None:
            self.ended |= tokens(self.contacts.records(side)[record_id].fields)
            known = self.parents.records(side)
            kept = {name: value for name, value in fields.items() if name != REFERENCE or value in known}
            self._put(self.contacts, side, record_id, kept)

    def value(self) -> str:
        self.values += 1
        return self.random.choice(("v#{}#", " V#{}#", "v#{}# ", "v#{}# and so on")).format(self.values)

    def create(self, side: Side, record_id: str | None = None, *, kind: Sides | None = None) -> None:
        self.origins += 1
        fields = {"origin": f"o{self.origins}"} | {name: self.value() for name in self.random.sample(NAMES, 2)}
        self._put(kind or self.contacts, side, record_id or f"{side[0]}{self.origins}", fields)

    def edit(self, side: Side, record_id: str, name: str = "") -> None:
        self.before[side, record_id] = dict(self.contacts.records(side)[record_id].fields)
        self._change(self.contacts, side, record_id, name)

    def _change(self, kind: Sides, side: Side, record_id: str, name: str = "") -> None:
        """Give a field another value, or none."""
        fields = dict(kind.records(side)[record_id].fields)
        name = name or self.random.choice(NAMES)
        self.ended |= tokens(fields.pop(name, ""))
        if self.random.random() < 0.85:
            fields[name] = self.value()
        self._put(kind, side, record_id, fields)

    def _put(self, kind: Sides, side: Side, record_id: str, fields: Fields) -> None:
        if kind is self.contacts:
            self.departed.write(side, record_id)
        kind.put(side, record_id, fields)

    def remove(self, side: Side, record_id: str) -> None:
        self.before.pop((side, record_id), None)
        self.departed.leave(side, record_id)
        self._remove(self.contacts, side, record_id)

    def _remove(self, kind: Sides, side: Side, record_id: str) -> None:
        self.ended |= tokens(kind.records(side)[record_id].fields)
        kind.remove(side, record_id)

    # What they do with parents

    def act_in_family(self, side: Side) -> None:
        """A user makes, edits or deletes a parent, or gives a contact another one."""
        draw, records = self.random, sorted(self.parents.records(side))
        roll = draw.random()
        if not records or (roll < 0.2 and len(records) < MOST_PARENTS):
            self.create(side, kind=self.parents)
        elif roll < 0.3:
            self._change(self.parents, side, draw.choice(records))
        elif roll < 0.4:
            self.remove_parent(side, draw.choice(records))
        else:
            self.refer(side)

    def remove_parent(self, side: Side, record_id: str) -> None:
        """Only if nothing refers to it there, as databases have it."""
        contacts = self.contacts.records(side).values()
        if all(record.fields.get(REFERENCE) != record_id for record in contacts):
            self._remove(self.parents, side, record_id)

    def refer(self, side: Side) -> None:
        """A contact gets another parent, or none any more."""
        contacts, parents = self.contacts.records(side), sorted(self.parents.records(side))
        if contacts:
            record_id = self.random.choice(sorted(contacts))
            fields = {name: value for name, value in contacts[record_id].fields.items() if name != REFERENCE}
            if parents and self.random.random() < 0.85:
                fields[REFERENCE] = self.random.choice(parents)
            self._put(self.contacts, side, record_id, fields)

    # How they want it

    def gone(self, kind: Sides) -> GonePolicy:
        """A parent that was deleted is not made again, whoever edits it: what refers to one means the same record."""
        return GonePolicy(edit_wins=self.trial.edit_wins and kind is self.contacts)

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
