"""The simulation of two-way sync: the real code, with users, crashes and rivals at every step.

:func:`simulate` runs the trial of a seed; its report says what went wrong.
"""

from __future__ import annotations

import random
from contextlib import suppress

from ratesync.engine.sync.pull import Puller
from ratesync.errors import ProviderError
from ratesync.model.difference import Side
from tests.sync.accounts import check, settle
from tests.sync.process import Process
from tests.sync.trial import Trial
from tests.sync.turns import take_turns
from tests.sync.world import LEASE, Killed, Report, World


async def live(world: World, number: int, kind: type[Process]) -> None:
    """An engine makes its passes; when it dies, another one takes its place."""
    passes, seen = 0, world.report.seen
    while passes < world.trial.passes:
        engine = kind(world, f"engine-{number}-{world.deaths}")
        try:
            while passes < world.trial.passes:
                passes += 1
                for run in await engine.run_pass():
                    seen.update(run.actions)
                    seen["waits for a parent"] += sum("is not linked" in reason for reason in run.reasons)
        except Killed:
            world.now += world.random.choice((0.0, 1.0, LEASE / 2, 2 * LEASE))


async def poll(world: World, kind: type[Process]) -> None:
    """Somebody pulls, again and again, and does nothing more."""
    while True:
        reconcilers = kind(world, f"poller-{world.deaths}").reconcilers()
        try:
            for reconciler in reconcilers:
                for side in Side:
                    pair, books = reconciler.pair, reconciler.books
                    with suppress(ProviderError):
                        await Puller(pair.side(side), books, reconciler.settings, reconciler.clock).pull()
        except Killed:
            pass


async def simulate(seed: int, trial: Trial | None = None) -> Report:
    """Run the trial of a seed, and account for every value at the end."""
    return play(World(trial or Trial.of(seed), random.Random(seed)), Process)


def play(world: World, kind: type[Process]) -> Report:
    """Let users, and engines of that kind, do what they do, and account for every value at the end."""
    for side in (Side.LOCAL, Side.EXTERNAL, Side.LOCAL):
        world.create(side)
    be_busy(world, kind)
    world.calm_down()
    take_turns(world.random, [_finish(world, kind)])
    world.report.seen["deaths"] += world.deaths
    world.report.seen["values"] += world.values
    return world.report


def be_busy(world: World, kind: type[Process]) -> None:
    """Let all engines make their passes, each with a turn at any of its calls, while users do what they do."""
    engines = [live(world, number, kind) for number in range(world.trial.engines)]
    take_turns(world.random, engines, [poll(world, kind)] if world.trial.poller else [])


async def _finish(world: World, kind: type[Process]) -> None:
    engine = kind(world, "last engine")
    await settle(world, engine)
    await check(world, engine)
