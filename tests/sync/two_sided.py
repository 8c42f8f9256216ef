"""The simulation of syncs with a provider on both sides: each with its own abilities, one with its own spelling."""

from __future__ import annotations

import random
from typing import Any, cast

from attrs import define, evolve, field, frozen
from typing_extensions import override

from ratesync.engine.sync.provider_side import ProviderSide
from ratesync.engine.sync.reconciler import Reconciler
from ratesync.model.difference import Side, View
from ratesync.model.lane import Lane
from ratesync.model.operation import Fields
from ratesync.model.run import SyncRun
from tests.sync.departed import Departed
from tests.sync.fake_crm import FakeCrm
from tests.sync.process import Process, watch
from tests.sync.sides import Sides
from tests.sync.simulation import play
from tests.sync.trial import Trial
from tests.sync.world import Report, World

_OTHER = 10**6
"""From a trial's seed to that of the other provider's abilities."""


class Lower:
    """A lens whose views are in lower case, and that keeps the provider's spelling where it means the same."""

    def get(self, record: Fields) -> View:
        return {name: str(value).lower() for name, value in record.items()}

    def put(self, record: Fields, view: View) -> Fields:
        known = self.get(record)
        return {name: record[name] if name in known and known[name] == value else value for name, value in view.items()}

    def create(self, view: View) -> Fields:
        return dict(view)


@frozen
class TwoCrms(Sides):
    """With another provider where the host's store was."""

    @override
    async def deleted(self) -> set[tuple[Side, str]]:
        crms = {Side.LOCAL: cast("FakeCrm", self.local), Side.EXTERNAL: self.crm}
        return {(side, record_id) for side, crm in crms.items() for record_id in crm.removed - crm.records.keys()}


@define
class TwoSidedWorld(World):
    """Providers on both sides."""

    other: Trial = field(kw_only=True)

    @override
    def __attrs_post_init__(self) -> None:
        World.__attrs_post_init__(self)
        draw = random.Random(self.other.seed)
        here: Any = FakeCrm(self.other, lambda: self.now, draw, count=_OTHER, meanwhile=self.meanwhile)
        self.contacts = TwoCrms(self.contacts.resource, here, self.contacts.crm, self.contacts.keys)
        self.departed = Departed(self.contacts, self.state)

    @property
    def here(self) -> FakeCrm:
        return cast("FakeCrm", self.contacts.local)

    @override
    def calm_down(self) -> None:
        World.calm_down(self)
        self.here.trial = evolve(self.other, fault_chance=0.0, expiry_chance=0.0, blink_chance=0.0)


class TwoSidedProcess(Process):
    """One engine, in parts."""

    @override
    def _reconciler(self, kind: Sides) -> Reconciler:
        reconciler, world = super()._reconciler(kind), self.world
        here = ProviderSide(watch(world, kind.local), Lane("erp"), "people", side=Side.LOCAL)
        if world.trial.seed % 2:
            here = evolve(here, lens=Lower())
        return evolve(reconciler, pair=evolve(reconciler.pair, local=here))

    @override
    async def run_pass(self) -> list[SyncRun]:
        runs = await super().run_pass()
        self.world.local_writes = cast("TwoSidedWorld", self.world).here.writes
        return runs


async def simulate(seed: int) -> Report:
    """Run the trial of a seed, and account for every value at the end."""
    trial, other = (evolve(Trial.of(each), families=False) for each in (seed, seed + _OTHER))
    if not (trial.answers_with_record or trial.tells_versions):
        other = evolve(other, tells_versions=True)  # two that rewrite values and do not tell come to no rest
    return play(TwoSidedWorld(trial, random.Random(seed), other=other), TwoSidedProcess)
