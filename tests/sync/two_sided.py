"""The simulation of syncs with a provider on both sides: each with its own abilities, one with its own spelling."""

from __future__ import annotations

import random
from typing import Any, cast

from attrs import define, evolve, field
from typing_extensions import override

from ratesync.engine.sync.provider_side import ProviderSide
from ratesync.engine.sync.reconciler import Reconciler
from ratesync.model.difference import Side, View
from ratesync.model.lane import Lane
from ratesync.model.operation import Fields
from ratesync.model.run import SyncRun
from tests.sync.accounts import check, settle
from tests.sync.fake_crm import FakeCrm
from tests.sync.process import Process, watch
from tests.sync.trial import Trial
from tests.sync.turns import take_turns
from tests.sync.world import LEASE, Killed, Report, World

_OTHER = 10**6
"""From a trial's seed to that of the other provider's abilities."""


class Lower:
    """A lens whose views are in lower case, and that keeps the provider's spelling where it means the same."""

    def get(self, record: Fields) -> View:
        return {name: str(value).lower() for name, value in record.items()}

    def put(self, record: Fields, view: View) -> Fields:
        return {name: record[name] if str(record.get(name)).lower() == value else value for name, value in view.items()}

    def create(self, view: View) -> Fields:
        return dict(view)


@define
class TwoSidedWorld(World):
    """With another provider where the host's store was."""

    other: Trial = field(kw_only=True)

    @override
    def __attrs_post_init__(self) -> None:
        World.__attrs_post_init__(self)
        there: Any = FakeCrm(self.other, lambda: self.now, random.Random(self.other.seed), count=_OTHER)
        self.local = there

    @property
    def here(self) -> FakeCrm:
        return cast("FakeCrm", self.local)


class TwoSidedProcess(Process):
    """One engine, in parts."""

    @override
    def reconciler(self) -> Reconciler:
        reconciler, world = super().reconciler(), self.world
        lens: Any = Lower() if world.trial.seed % 2 else None
        here = ProviderSide(watch(world, world.local), Lane("erp"), "people", side=Side.LOCAL)
        here = here if lens is None else evolve(here, lens=lens)
        return evolve(reconciler, pair=evolve(reconciler.pair, local=here))

    @override
    async def run_pass(self) -> SyncRun:
        run = await super().run_pass()
        self.world.local_writes = cast("TwoSidedWorld", self.world).here.writes
        return run


async def _live(world: TwoSidedWorld, number: int) -> None:
    """An engine makes its passes; when it dies, another one takes its place."""
    for passes in range(world.trial.passes):
        engine = TwoSidedProcess(world, f"engine-{number}-{world.deaths}-{passes}")
        try:
            world.report.seen.update((await engine.run_pass()).actions)
        except Killed:
            world.now += world.random.choice((0.0, 1.0, LEASE / 2, 2 * LEASE))


async def _finish(world: TwoSidedWorld) -> None:
    engine = TwoSidedProcess(world, "last engine")
    await settle(world, engine)
    await check(world, engine)


async def simulate(seed: int) -> Report:
    """Run the trial of a seed, and account for every value at the end."""
    trial, other = Trial.of(seed), Trial.of(seed + _OTHER)
    if not (trial.answers_with_record or trial.tells_versions):
        other = evolve(other, tells_versions=True)  # two that rewrite values and do not tell come to no rest
    world = TwoSidedWorld(trial, random.Random(seed), other=other)
    for side in (Side.LOCAL, Side.EXTERNAL, Side.LOCAL):
        world.create(side)
    take_turns(world.random, [_live(world, number) for number in range(world.trial.engines)])
    world.is_quiet = True
    for crm in (world.crm, world.here):
        crm.trial = evolve(crm.trial, fault_chance=0.0, expiry_chance=0.0)
    take_turns(world.random, [_finish(world)])
    world.report.seen["deaths"] += world.deaths
    return world.report
