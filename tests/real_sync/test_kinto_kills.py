"""Two-way sync of a SQLite application and a real Kinto, with the syncing process killed between any two steps.

A step is a call to a side or to the state store: the process is killed with -9 before or after it. Users edit both
sides between a death and the next life. ``nox -s chaos`` goes through all boundaries, one by one.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from tests.real_sync.life import Syncers, kill, life
from tests.servers.kinto_server import Kinto
from tests.servers.valkey_server import Valkey

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")]

KILLS = int(os.environ.get("RATESYNC_CHAOS_SYNC_KILLS", "10"))
SEED = int(os.environ.get("RATESYNC_CHAOS_SEED", "0")) or int(time.time())
IS_FULL = KILLS > 100
STRIDE = 7
"""From one boundary to the next: no pass has a multiple of it, so that all are met in time."""
MOST_BOUNDARIES = 500
ENDLESS = 10**6


@pytest.fixture(params=["sqlite", "redis"])
def state(request: pytest.FixtureRequest) -> str:
    """Where the state of the sync is kept."""
    if request.param == "sqlite":
        return ""
    valkey: Valkey = request.getfixturevalue("durable_valkey")
    return valkey.url


@pytest.mark.timeout(0 if IS_FULL else 120)
def test_a_sync_that_is_killed_again_and_again(calm_kinto: Kinto, tmp_path: Path, state: str, syncers: Syncers) -> None:
    """Each life ends a little later than the one before, in whatever the earlier ones left half done."""
    sys.stdout.write(f"RATESYNC_CHAOS_SEED={SEED}\n")
    killed, number = 0, 0
    with life(calm_kinto, tmp_path, state, SEED, syncers) as here, here.syncer() as syncer:
        here.users.act(6)
        while killed < KILLS:
            number += 1
            here.users.act(2)
            told = syncer.run(fatal=1 + (number * STRIDE) % 60)
            killed += "killed" in told
        assert here.finish(syncer) == []
        sys.stdout.write(f"{killed} lives of {number} ended early; users: {dict(here.users.done)}\n")


@pytest.mark.skipif(not IS_FULL, reason="it belongs to `nox -s chaos`")
@pytest.mark.timeout(0)
def test_a_sync_that_is_killed_at_each_boundary(
    calm_kinto: Kinto, tmp_path: Path, state: str, syncers: Syncers
) -> None:
    """A new world for each boundary: a pass over all kinds of changes dies there, users go on, and it is finished."""
    for number in range(1, MOST_BOUNDARIES):
        with life(calm_kinto, tmp_path, state, SEED, syncers) as here, here.syncer() as syncer:
            here.users.act(10)
            syncer.run()
            here.users.act(14)
            told = syncer.run(fatal=number)
            here.users.act(3)
            assert here.finish(syncer) == [], f"killed at boundary {number}, seed {SEED}"
        if "killed" not in told:
            sys.stdout.write(f"killed at each of {number - 1} boundaries\n")
            return
    pytest.fail("the pass comes to no end")


@pytest.mark.timeout(0 if IS_FULL else 120)
def test_two_processes_that_sync_at_once_and_are_killed(
    calm_kinto: Kinto, tmp_path: Path, state: str, syncers: Syncers
) -> None:
    """Both make passes all the time, while users edit; one after the other is killed, and a new one takes its place."""
    sys.stdout.write(f"RATESYNC_CHAOS_SEED={SEED}\n")
    with life(calm_kinto, tmp_path, state, SEED, syncers) as here, here.syncer() as one, here.syncer() as other:
        here.users.act(6)
        both = {syncer: syncer.begin(passes=ENDLESS, later=0.0) for syncer in (one, other)}
        for _ in range(max(2, KILLS // 8)):
            for syncer in (one, other):
                here.users.act(here.users.random.randint(1, 5))
                kill(both[syncer])
                assert "killed" in syncer.end()
                both[syncer] = syncer.begin(passes=ENDLESS, later=0.0)
        here.users.act(4)
        for syncer, process in both.items():
            kill(process)
            syncer.end()
        assert here.finish(one) == []
        sys.stdout.write(f"users: {dict(here.users.done)}\n")
