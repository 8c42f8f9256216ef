"""Two-way sync under crashes, lost answers, rivals and busy users: every value is accounted for.

``RATESYNC_SYNC_TRIALS`` sets how many trials are run (3,000). To look at one: ``run_virtual(simulate, SEED)``.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest
from attrs import evolve

from ratesync.model.batch import CreateIdentity
from ratesync.testing.virtual_time import run_virtual
from tests.sync.mutants import BUGS
from tests.sync.simulation import simulate
from tests.sync.trial import Trial, Versions
from tests.sync.world import Report

TRIALS = int(os.environ.get("RATESYNC_SYNC_TRIALS", "3000"))
CHUNKS = max(4, os.cpu_count() or 1)
SEEDS_FOR_A_BUG = 500
"""Trials after which a bug counts as missed."""

MUST_HAPPEN = {
    *("create", "push", "pull", "merge", "conflict", "delete", "tombstone", "resurrect", "none"),
    *("deaths", "told", "departed", "references", "waits for a parent"),
}
"""What enough trials must have met, or they prove less than they seem to."""


async def run(seeds: range, **where: Any) -> tuple[dict[int, list[str]], Counter[str]]:
    """The violations by seed, and what was seen."""
    violations: dict[int, list[str]] = {}
    seen: Counter[str] = Counter()
    for seed in seeds:
        report = await simulate(seed, evolve(Trial.of(seed), **where))
        seen += report.seen
        if report.violations:
            violations[seed] = report.violations
    return violations, seen


@pytest.mark.simulation
@pytest.mark.timeout(0)
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_nothing_is_lost_nothing_is_there_twice_and_the_sides_end_alike(chunk: int) -> None:
    violations, seen = run_virtual(run, range(chunk, TRIALS, CHUNKS))
    assert violations == {}
    if TRIALS >= 3000:
        assert sorted(MUST_HAPPEN - set(seen)) == []


async def run_badly(count: int, **where: Any) -> dict[int, list[str]]:
    violations, _ = await run(range(count), **where)
    return violations


def without_losses(violations: dict[int, list[str]]) -> dict[int, list[str]]:
    kept = {seed: [text for text in found if not text.startswith("lost")] for seed, found in violations.items()}
    return {seed: found for seed, found in kept.items() if found}


@pytest.mark.parametrize("versions", [Versions.COUNTED, Versions.NONE])
def test_without_conditional_writes_the_sides_still_end_alike(versions: Versions) -> None:
    """Somebody who writes between our read and our write is overwritten unseen. No more than that goes wrong."""
    where: dict[str, Any] = {"conditional": False, "versions": versions, "poller": False}
    if versions is Versions.NONE:  # a record that waits, for a person or for another one, is read in each pass then
        where |= {"resolver": "local", "families": False}

    async def main() -> dict[int, list[str]]:
        return await run_badly(60, **where)

    assert without_losses(run_virtual(main)) == {}


def test_an_adapter_that_compares_by_itself_has_no_conditional_writes() -> None:
    """Between its read and its write there is room for somebody. It does no more harm than having none."""

    async def main() -> dict[int, list[str]]:
        return await run_badly(60, verifies=True, poller=False, edit_chance=0.2)

    violations = run_virtual(main)
    assert violations != {}
    assert without_losses(violations) == {}


@pytest.mark.parametrize("name", BUGS)
def test_each_rule_is_needed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, where, start = BUGS[name]
    plant(monkeypatch)

    async def is_caught() -> bool:
        for seed in range(start, start + SEEDS_FOR_A_BUG):
            report = await simulate(seed, evolve(Trial.of(seed), **where))
            assert not [text for text in report.violations if text.startswith("raised")], "the bug itself has a bug"
            if report.violations:
                return True
        return False

    assert run_virtual(is_caught)


def test_a_lost_create_that_nobody_can_find_is_told_and_not_repeated() -> None:
    async def main() -> list[Report]:
        where: dict[str, Any] = {"identity": CreateIdentity.NONE, "fault_chance": 0.2, "engines": 1, "poller": False}
        return [await simulate(seed, evolve(Trial.of(seed), **where)) for seed in range(60)]

    reports = run_virtual(main)
    assert [text for report in reports for text in report.violations if text.startswith("duplicate: external")] == []
    assert any(report.seen["ambiguous create"] for report in reports)
