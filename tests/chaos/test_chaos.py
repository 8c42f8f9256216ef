"""Workers and the Redis are killed at random instants; every operation is accounted for.

``nox -s chaos`` runs it with many more kills. The seed is printed; a timing repeats itself nearly, not exactly.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import count, islice
from pathlib import Path
from random import Random

import anyio
import pytest

from ratesync import Operation, SyncEngine
from ratesync.errors import QueueError
from tests.chaos.fleet import Fleet
from tests.chaos.ledger import Log, account, attempts_in, most_at_once
from tests.chaos.worker import CONCURRENCY, Provider, engine
from tests.servers.valkey_server import Valkey

pytestmark = pytest.mark.slow

WORKER_KILLS = int(os.environ.get("RATESYNC_CHAOS_WORKER_KILLS", "6"))
SERVER_KILLS = int(os.environ.get("RATESYNC_CHAOS_SERVER_KILLS", "1"))
SEED = int(os.environ.get("RATESYNC_CHAOS_SEED", "0")) or int(time.time())
LEASE_SECONDS = 3.0
KEYS = 60
AHEAD = 300
"""Operations that are kept in the queue while something is still to be killed."""
DONE_WITHIN = 20.0
"""Seconds from the last kill until all is done."""


@pytest.fixture
def at_once() -> int | None:
    """Calls that all workers may make at once together."""
    return None


@pytest.fixture
def fleet(durable_valkey: Valkey, tmp_path: Path, at_once: int | None) -> Iterator[Fleet]:
    durable_valkey.kill()
    durable_valkey.options = ("--appendfsync", "always")
    durable_valkey.start()
    fleet = Fleet(durable_valkey, tmp_path / "log", LEASE_SECONDS, Random(SEED), size=3, at_once=at_once)
    Log(fleet.log)
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.end()


class Submitter:
    """Keeps the queue filled. What Redis does not answer to is submitted again, with the same ids."""

    def __init__(self, engine: SyncEngine) -> None:
        self.accepted: dict[str, tuple[str, int]] = {}
        self._engine = engine
        self._numbers = count()

    async def submit(self, amount: int) -> None:
        new = {f"o{number}": (f"k{number % KEYS}", number // KEYS) for number in islice(self._numbers, amount)}
        operations = [
            Operation.create("acme", "events", {"key": key, "number": number}, id=identity, key=key)
            for identity, (key, number) in new.items()
        ]
        while True:
            try:
                await self._engine.submit_many(operations)
            except QueueError:
                await anyio.sleep(0.1)
            else:
                break
        self.accepted |= new

    async def fill(self) -> None:
        """Bring the queue up to what should be in it."""
        try:
            pending = (await self._engine.stats()).pending
        except QueueError:
            return
        if pending < AHEAD:
            await self.submit(AHEAD - pending)


async def kill_at_random(fleet: Fleet, submitter: Submitter) -> None:
    """Kill workers and the server, in any order; one worker stands still for longer than its lease."""
    todo = ["worker"] * WORKER_KILLS + ["server"] * SERVER_KILLS + ["stop"] * max(1, WORKER_KILLS // 20)
    fleet.random.shuffle(todo)
    stopped: dict[int, float] = {}
    for what in todo:
        await anyio.sleep(fleet.random.uniform(0.05, 0.6))
        await submitter.fill()
        if what == "worker":
            await anyio.to_thread.run_sync(fleet.kill_worker)
            await anyio.to_thread.run_sync(fleet.start)
        elif what == "server":
            await anyio.to_thread.run_sync(fleet.kill_server)
        else:
            stopped[fleet.stop_worker()] = time.monotonic()
    for pid, since in stopped.items():
        await anyio.sleep(max(0.0, since + 2 * LEASE_SECONDS - time.monotonic()))
        if any(death.worker == pid and death.at > since for death in fleet.deaths):
            continue  # it was killed meanwhile
        fleet.wake(pid)


async def wreak_havoc(fleet: Fleet) -> dict[str, tuple[str, int]]:
    async with engine(fleet.valkey.url, "submit", Provider(Log(fleet.log)), LEASE_SECONDS) as submitting:
        submitter = Submitter(submitting)
        await submitter.submit(AHEAD)
        await kill_at_random(fleet, submitter)
        assert await submitting.drain(timeout=60 + DONE_WITHIN)
        assert await submitting.dead_letters() == []
    return submitter.accepted


@pytest.mark.timeout(0 if WORKER_KILLS > 20 else 240)
@pytest.mark.parametrize("at_once", [None, CONCURRENCY], ids=["quotas-of-its-own", "quotas-shared"])
def test_nothing_is_lost_whatever_is_killed(fleet: Fleet, at_once: int | None) -> None:
    """Cases 1 to 7 and 20: lost 0, order kept, never two at once, repeated only where somebody died.

    Where all workers share a quota, what the dead hold of it comes back, and nobody is ever over it.
    """
    sys.stdout.write(f"RATESYNC_CHAOS_SEED={SEED}\n")
    accepted = anyio.run(partial(wreak_havoc, fleet))
    attempts = attempts_in(fleet.log.read_text(encoding="utf-8").splitlines())
    found = account(accepted, attempts, fleet.deaths, fleet.server_deaths, grace=2 * LEASE_SECONDS)
    sys.stdout.write(f"{len(accepted)} operations, {fleet.kills} workers and {SERVER_KILLS} servers killed\n")
    sys.stdout.write(
        f"{len(attempts)} calls, {found.repeated} operations repeated, {found.late} late, {len(found.lost)} lost\n"
    )
    assert found.is_clean, found
    if at_once is not None:
        assert most_at_once(attempts, fleet.deaths) <= at_once
    assert found.repeated <= (fleet.kills + len(fleet.server_deaths) + 1) * max(CONCURRENCY, KEYS)


async def kill_eight(fleet: Fleet, jobs: int) -> float:
    """Seconds from the last kill until all jobs are done."""
    async with engine(fleet.valkey.url, "submit", Provider(Log(fleet.log)), fleet.lease_seconds) as submitting:
        await submitting.submit_many(
            Operation.create("acme", "events", {"key": f"k{job}", "number": 0}, id=f"o{job}", key=f"k{job}")
            for job in range(jobs)
        )
        killed_at = 0.0
        for _ in range(8):
            await anyio.sleep(fleet.random.uniform(0.3, 0.9))
            await anyio.to_thread.run_sync(fleet.kill_worker)
            killed_at = time.monotonic()
            await anyio.to_thread.run_sync(fleet.start)
        assert (await submitting.stats()).pending > 0, "all was done before the last kill"
        assert await submitting.drain(timeout=75)
        return time.monotonic() - killed_at


@pytest.mark.skipif(WORKER_KILLS <= 20, reason="it belongs to `nox -s chaos`")
@pytest.mark.timeout(150)
def test_all_is_done_soon_after_the_last_of_eight_kills(fleet: Fleet) -> None:
    """3,000 jobs of 0.1 s, with the lease that a queue has by default."""
    fleet.end()
    patient = Fleet(fleet.valkey, fleet.log, 15.0, Random(SEED), size=3)
    try:
        patient.start()
        seconds = anyio.run(kill_eight, patient, 3_000)
    finally:
        patient.end()
    attempts = attempts_in(fleet.log.read_text(encoding="utf-8").splitlines())
    found = account({f"o{job}": (f"k{job}", 0) for job in range(3_000)}, attempts, patient.deaths, [], grace=30.0)
    sys.stdout.write(f"RATESYNC_CHAOS_SEED={SEED}: all done {seconds:.1f} s after the last of 8 kills\n")
    assert found.is_clean, found
    assert seconds <= DONE_WITHIN
