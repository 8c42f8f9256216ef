"""Two-way sync between two providers under crashes, lost answers, rivals and busy users."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from ratesync.testing.virtual_time import run_virtual
from tests.sync.two_sided import simulate

TRIALS = int(os.environ.get("RATESYNC_SYNC_TRIALS", "1200")) // 10
MUST_HAPPEN = {"create", "push", "pull", "merge", "delete", "tombstone", "resurrect", "deaths"}


@pytest.mark.simulation
@pytest.mark.timeout(0)
def test_nothing_is_lost_or_there_twice_and_both_end_alike() -> None:
    violations: dict[int, list[str]] = {}
    seen: Counter[str] = Counter()

    async def run() -> None:
        for seed in range(TRIALS):
            report = await simulate(seed)
            seen.update(report.seen)
            if report.violations:
                violations[seed] = report.violations

    run_virtual(run)
    assert violations == {}
    assert sorted(MUST_HAPPEN - set(seen)) == []
