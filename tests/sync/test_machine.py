"""Two-way sync as a state machine: whatever users, crashes, lost answers and rivals do, and in whatever order.

The engine is the real one, with its limiter and its circuit, over sides and a state store in memory. Hypothesis chooses
what the provider can do and what happens when, and shrinks what fails to a few steps. One of the steps is a crowd: some
passes of the simulation, by a seed. The simulation makes far more trials; this machine finds the short stories.
"""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

import anyio
import pytest
from attrs import evolve
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from ratesync.model.difference import Side
from ratesync.testing.virtual_time import run_virtual
from tests.sync.accounts import check, lost_now, settle
from tests.sync.live import FAULTS, LiveEngine, Script
from tests.sync.mutants import BUGS
from tests.sync.process import Process
from tests.sync.simulation import be_busy
from tests.sync.trial import HABITS, IDENTITIES, Trial, Versions
from tests.sync.world import NAMES, World

EXAMPLES = int(os.environ.get("RATESYNC_SYNC_TRIALS", "3000")) // 100
EXAMPLES_FOR_A_BUG = 3000
DOINGS = ("edit", "edit", "edit", "create", "remove", "make anew", "take back", "flake", "kin", "kin")

BUSYNESS = (
    *("engines", "poller", "slow_chance", "edit_chance", "kill_chance", "fault_chance", "expiry_chance", "passes"),
    "blink_chance",
)
"""What of a trial is not about the provider, nor about the habits of the sides."""
QUIET = evolve(Trial.of(0), edit_chance=0.0, kill_chance=0.0, fault_chance=0.0, expiry_chance=0.0, blink_chance=0.0)
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

    where: ClassVar[Mapping[str, Any]] = {}
    """What all trials have in common."""

    @initialize(abilities=abilities, records=st.lists(st.sampled_from(Side), min_size=1, max_size=3))
    def begin(self, abilities: dict[str, Any], records: list[Side]) -> None:
        common = {name: value for name, value in self.where.items() if name not in BUSYNESS}
        self.world = World(evolve(QUIET, **{**abilities, **common}), random.Random(1))
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

    @rule(seed=st.integers(0, 10**6))
    def everybody_is_busy(self, seed: int) -> None:
        world, busy = self.world, evolve(Trial.of(seed), **self.where)
        quiet = world.trial
        world.random.seed(seed)

        async def crowd() -> None:
            world.turn_into(evolve(quiet, **{name: getattr(busy, name) for name in BUSYNESS}))
            be_busy(world, Process)
            world.turn_into(quiet)

        self._run(crowd)

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


@pytest.mark.simulation
@pytest.mark.timeout(0)
@pytest.mark.skipif(EXAMPLES < 100, reason="`nox -s simulate`; the simulation breaks the rules in any run")
@pytest.mark.parametrize("name", BUGS)
def test_each_rule_is_needed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, where, _ = BUGS[name]
    plant(monkeypatch)
    machine = type("Machine", (SyncMachine,), {"where": where})
    generate = settings(max_examples=EXAMPLES_FOR_A_BUG, stateful_step_count=12, phases=[Phase.generate], database=None)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=generate)


TestSyncMachine = pytest.mark.timeout(0)(pytest.mark.simulation(SyncMachine.TestCase))
TestSyncMachine.settings = settings(max_examples=EXAMPLES, stateful_step_count=12)
