"""A process of the simulation: the real code, with the world turning at each call that it makes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define

from ratesync.engine.sync.books import Books
from ratesync.engine.sync.deletions import Deletions
from ratesync.engine.sync.joint_pass import JointPass
from ratesync.engine.sync.local_side import LocalSide
from ratesync.engine.sync.pair import Pair
from ratesync.engine.sync.provider_side import ProviderSide
from ratesync.engine.sync.reconciler import Reconciler
from ratesync.engine.sync.reference_table import ReferenceTable
from ratesync.engine.sync.sync_pass import Pass
from ratesync.model.lane import Lane
from ratesync.model.reference import Reference
from ratesync.model.run import SyncRun
from ratesync.model.sync_settings import SyncSettings
from tests.sync.sides import Sides
from tests.sync.trial import REFERENCE
from tests.sync.world import GUARD, LEASE, World

SETTINGS = SyncSettings(page_size=2, chunk=3, lease=LEASE, margin=LEASE / 4)


@define
class Process:
    """One engine, in parts."""

    world: World
    owner: str

    def reconcilers(self) -> list[Reconciler]:
        """One for each kind of records."""
        return [self._reconciler(kind) for kind in self.world.kinds]

    def _reconciler(self, kind: Sides) -> Reconciler:
        world = self.world
        books = Books(watch(world, world.state), kind.keys)
        references = self._references(kind, books)
        pair = Pair(
            local=LocalSide(watch(world, kind.local)),
            external=ProviderSide(watch(world, kind.crm), Lane("crm"), kind.resource, references=references),
            resolve=world.resolver(),
            gone=world.gone(kind),
            guard=GUARD,
            references=references,
        )
        return Reconciler(pair, books, SETTINGS, _Time(world), world.random, self.owner)

    def _references(self, kind: Sides, books: Books) -> ReferenceTable:
        world, parents = self.world, self.world.parents
        if kind is parents or not world.trial.families:
            return ReferenceTable()
        return ReferenceTable(books.state, {REFERENCE: Reference(parents.resource)}, {parents.resource: parents.keys})

    async def run_pass(self) -> list[SyncRun]:
        """One pass over each binding."""
        passes = [Pass(each, SyncRun("run", self.world.now), lambda _case: None) for each in self.reconcilers()]
        await JointPass(passes).carry_out()
        runs = [each.run for each in passes]
        raised = [reason for run in runs for reason in run.reasons if reason.endswith("while deciding")]
        self.world.report.violations += [f"raised: {reason}" for reason in raised]
        return runs

    async def approve(self) -> None:
        """Let the next pass delete what it may not unasked."""
        for reconciler in self.reconcilers():
            await Deletions(reconciler, lambda _cases: None).approve()


class _Time:
    is_virtual = True

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> float:
        return self._world.now


Around = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


def watch(world: World, inner: Any, around: Around | None = None) -> Any:
    """The same thing, with the world turning at each call."""
    return _Watched(world, inner, around or world.around)


class _Watched:
    """Everything that an engine does outside itself goes through here."""

    def __init__(self, world: World, inner: Any, around: Around) -> None:
        self._world = world
        self._inner = inner
        self._around = around

    @property
    def capabilities(self) -> Any:
        return self._inner.capabilities

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        world, around = self._world, self._around

        async def watched(*args: Any, **options: Any) -> Any:
            if name == "commit":
                world.commits.append(tuple(args[0]))
            if name in {"apply", "delete"}:
                world.local_writes += 1
            return await around(lambda: method(*args, **options))

        setattr(self, name, watched)  # it is asked for once only
        return watched
