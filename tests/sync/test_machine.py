"""Two-way sync as a state machine: whatever users, crashes, lost answers and rivals do, and in whatever order.

The engine is the real one, with its limiter and its circuit, over sides and a state store in memory. Hypothesis chooses
what the provider can do and what happens when, and shrinks what fails to a few steps. The seeded simulation next door
makes far more trials; this one finds the short stories.
"""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from ratesync.model.difference import Side
from ratesync.testing.virtual_time import run_virtual
from tests.sync.accounts import check, lost_now, settle
from tests.sync.live import FAULTS, LiveEngine, Script
from tests.sync.trial import HABITS, IDENTITIES, Trial, Versions
from tests.sync.world import NAMES, World

EXAMPLES = int(os.environ.get("RATESYNC_SYNC_TRIALS", "3000")) // 100
DOINGS = ("edit", "edit", "edit", "create", "remove", "make anew", "take back", "flake", "kin", "kin")

QUIET = evolve(Trial.of(0), edit_chance=0.0, kill_chance=0.0, fault_chance=0.0, expiry_chance=0.0)
"""Nothing happens by itself."""

abilities: Any = st.fixed_dictionaries(
    {
        "conditional": st.sampled_from([True, True, True, False]),
        "identity": st.sampled_from(IDENTITIES),
        "tombstones": st.booleans(),
        "versions": st.sampled_from([Versions.COUNTED, Versions.OF_CONTENT, Versions.FLAKY]),
        "coarse": st.booleans(),
        "answers_with_record": st.booleans(),
        "feed_has_fields": st.booleans(),
        "batch_max": st.sampled_from([1, 3]),
        "tidy_local": st.sampled_from(sorted(HABITS)),
        "tidy_external": st.sampled_from(sorted(HABITS)),
        "resolver": st.sampled_from(["local", "external", "manual", "manual first"]),
        "edit_wins": st.booleans(),
        "lookup_after": st.sampled_from([0.0, 40.0]),
        "tells_versions": st.booleans(),
        "upserts": st.booleans(),
        "families": st.sampled_from([False, False, True]),
    }
)
doings: Any = st.tuples(st.sampled_from(DOINGS), st.sampled_from(Side), st.integers(0, 3), st.sampled_from(NAMES))
scripts: Any = st.dictionaries(st.integers(1, 70), st.sampled_from(FAULTS) | doings, max_size=3)


class SyncMachine(RuleBasedStateMachine):
    """Users, engines and faults, in any order."""

    @initialize(abilities=abilities, records=st.lists(st.sampled_from(Side), min_size=1, max_size=3))
    def begin(self, abilities: dict[str, Any], records: list[Side]) -> None:
        self.world = World(evolve(QUIET, **abilities), random.Random(1))
        for side in records:
            self.world.create(side)

    @rule(doing=doings)
    def somebody_does(self, doing: tuple[str, Side, int, str]) -> None:
        self._does(*doing)()

    @rule(seconds=st.sampled_from([1.0, 30.0, 400.0, 4000.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.now += seconds

    @rule(script=scripts)
    def an_engine_makes_a_pass(self, script: dict[int, Any]) -> None:
        self._run(self._engines(script))

    @rule(first=scripts, second=scripts)
    def two_engines_make_a_pass(self, first: dict[int, Any], second: dict[int, Any]) -> None:
        self._run(self._engines(first, second))

    @rule()
    def everybody_goes_home(self) -> None:
        async def account() -> None:
            engine = LiveEngine(self.world, 0)
            await settle(self.world, engine)
            await check(self.world, engine)

        self._run(account)

    def teardown(self) -> None:
        self.everybody_goes_home()

    def _engines(self, *scripts: dict[int, Any]) -> Callable[[], Awaitable[None]]:
        async def main() -> None:
            async with anyio.create_task_group() as tasks:
                for number, script in enumerate(scripts):
                    tasks.start_soon(LiveEngine(self.world, number, self._played(script)).run_until_killed)

        return main

    def _played(self, script: dict[int, Any]) -> Script:
        return {at: happens if isinstance(happens, str) else self._does(*happens) for at, happens in script.items()}

    def _run(self, main: Callable[[], Awaitable[None]]) -> None:
        async def watched() -> None:
            await main()
            self.world.report.violations += [f"lost at once: value {token}" for token in await lost_now(self.world)]

        run_virtual(watched)
        violations = self.world.report.violations
        assert violations == [], violations

    def _does(self, what: str, side: Side, which: int, name: str) -> Callable[[], None]:
        world = self.world

        def do() -> None:
            records = sorted(world.contacts.records(side))
            record_id = records[which % len(records)] if records else ""
            match what if records else "create":
                case "create":
                    world.create(side)
                case "remove":
                    world.remove(side, record_id)
                case "make anew":
                    world.remove(side, record_id)
                    world.create(side, record_id)
                case "take back":
                    world.take_back(side, record_id)
                case "flake" if side is Side.EXTERNAL and world.trial.versions is Versions.FLAKY:
                    world.contacts.crm.flake(record_id)
                case "kin" if world.trial.families:
                    world.act_in_family(side)
                case _:
                    world.edit(side, record_id, name)

        return do


TestSyncMachine = pytest.mark.timeout(0)(pytest.mark.simulation(SyncMachine.TestCase))
TestSyncMachine.settings = settings(max_examples=EXAMPLES, stateful_step_count=12)
