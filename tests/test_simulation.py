"""The whole engine under seeded faults: every operation of every seed is accounted for.

``RATESYNC_SEEDS`` sets how many seeds are run (1,000). To look at one: ``simulate(SEED).trace``.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

from ratesync.testing.faults import Fault
from ratesync.testing.simulation import simulate
from ratesync.testing.virtual_time import Backend

SEEDS = int(os.environ.get("RATESYNC_SEEDS", "1000"))
CHUNKS = 4

MUST_HAPPEN = {
    *(f"fault: {fault}" for fault in Fault),
    *(f"state: {state}" for state in ("completed", "dead", "cancelled")),
    *(f"parked: {reason}" for reason in ("quota", "throttled", "circuit")),
    *(f"circuit: {state}" for state in ("open", "half_open", "closed")),
    *("kill", "freeze", "leave", "late settlement refused", "retried", "died", "batched", "folded", "lookup"),
    "submitted twice",
    *("cancel: cancelled", "cancel: requested", "cancel: finished"),
}
"""What a run over enough seeds must have met, or it proves less than it seems to."""


@pytest.mark.simulation
@pytest.mark.timeout(600)
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_seed_keeps_every_promise(chunk: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(chunk, SEEDS, CHUNKS):
        report = simulate(seed)
        assert not report.violations, f"seed {seed}: {report.violations[:5]}"
        seen += report.seen
    missing = sorted(MUST_HAPPEN - set(seen))
    assert not missing, f"never happened over {SEEDS // CHUNKS} seeds: {missing}"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("seed", range(3))
def test_a_seed_gives_the_same_run_each_time(seed: int, backend: Backend) -> None:
    first, second = simulate(seed, backend=backend), simulate(seed, backend=backend)
    assert first.trace == second.trace
    assert first.trace


@pytest.mark.parametrize("seed", range(30))
def test_trio_keeps_every_promise_too(seed: int) -> None:
    assert not simulate(seed, backend="trio").violations
