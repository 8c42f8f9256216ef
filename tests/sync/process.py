"""A process of the simulation: the real code, with the world turning at each call that it makes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define

from ratesync.engine.sync.books import Books
from ratesync.engine.sync.deletions import Deletions
from ratesync.engine.sync.joint_pass import JointPass
from ratesync.engine.sync.keys import Keys
from ratesync.engine.sync.local_side import LocalSide
from ratesync.engine.sync.pair import Pair
from ratesync.engine.sync.provider_side import ProviderSide
from ratesync.engine.sync.reconciler import Reconciler
from ratesync.engine.sync.sync_pass import Pass
from ratesync.model.lane import Lane
from ratesync.model.run import SyncRun
from ratesync.model.sync_settings import SyncSettings
from ratesync.rules.reconcile import GonePolicy
from tests.sync.world import GUARD, LEASE, World

KEYS = Keys.of("crm", "default", "contacts")
SETTINGS = SyncSettings(page_size=2, chunk=3, lease=LEASE, margin=LEASE / 4)


@define
class Process:
    """One engine, in parts."""

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
        books = Books(watch(world, world.state), KEYS)
        return Reconciler(pair, books, SETTINGS, _Time(world), world.random, self.owner)

    async def run_pass(self) -> SyncRun:
        run = SyncRun("run", self.world.now)
        await JointPass([Pass(self.reconciler(), run, lambda _case: None)]).carry_out()
        return run

    async def approve(self) -> None:
        await Deletions(self.reconciler(), lambda _cases: None).approve()


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

        return watched
