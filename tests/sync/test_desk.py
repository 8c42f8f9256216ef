"""Two-way sync through an engine: its limiter, its state store, its circuit."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve

from ratesync import Concurrency, Rate, SyncEngine
from ratesync.engine.sync.binding import Binding
from ratesync.engine.sync.overlay import Overlay
from ratesync.errors import ConfigurationError, UnknownProvider, UnsupportedOperation
from ratesync.memory import MemoryBackend, MemoryStateStore
from ratesync.memory.records import MemoryRecords
from ratesync.model.change import RecordPage
from ratesync.model.difference import Side
from ratesync.model.stored import Write
from ratesync.rules.resolvers import prefer
from ratesync.testing.virtual_time import VirtualClock, run_virtual
from tests.sync.adapter import LANE, Crm
from tests.sync.fake_crm import FakeCrm
from tests.sync.trial import Trial, Versions

TRIAL = evolve(
    Trial.of(0), versions=Versions.COUNTED, fault_chance=0.0, expiry_chance=0.0, coarse=False, tombstones=True,
    tidy_local="", tidy_external="", answers_with_record=True, batch_max=1,
)  # fmt: skip


def engine(clock: VirtualClock, crm: Crm, **options: Any) -> SyncEngine:
    backend = MemoryBackend(clock=clock, cold_start=False)
    given: dict[str, Any] = {"backend": backend, "quotas": {"crm": [Rate(5, per=10), Concurrency(3)]}} | options
    return SyncEngine(providers=[crm], clock=clock, random=random.Random(1), **given)


def binding(local: MemoryRecords, **options: Any) -> Binding:
    given: dict[str, Any] = {"resolve": prefer(Side.LOCAL)} | options
    return Binding(local=local, provider="crm", resource="contacts", **given)


def test_a_pass_keeps_to_the_quotas_and_a_plan_writes_nothing() -> None:
    async def main() -> None:
        clock = VirtualClock()
        crm = Crm(FakeCrm(TRIAL, clock.now, random.Random(0)))
        local = MemoryRecords()
        for number in range(10):
            local.put(f"l{number}", {"name": f"n{number}"})
        crm.inner.put("x1", {"name": "from there"})
        async with engine(clock, crm) as running:
            planned = await running.syncs.plan(binding(local))
            assert planned.actions == {"create": 11}
            assert (len(crm.inner.records), len(local.records)) == (1, 10)
            began_at, calls = clock.now(), crm.calls
            run = await running.syncs.sync(binding(local))
            assert run.actions["create"] == 11
            assert run.errors == []
            assert (len(crm.inner.records), len(local.records)) == (11, 11)
            assert clock.now() - began_at >= ((crm.calls - calls) / 5 - 2) * 10
            assert (await running.syncs.plan(binding(local))).actions == {}
            local.remove("l0")
            assert (await running.syncs.plan(binding(local))).actions == {"delete": 1}

    run_virtual(main)


class FindsFew(Crm):
    """Searches for four values at most, for none with a comma in it beside others, and for one never."""

    finds: int = 0

    async def find(self, connection: str, resource: str, path: str, values: Sequence[str]) -> RecordPage:
        if "n\0" in values or len(values) > 4 or (len(values) > 1 and any("," in value for value in values)):
            raise UnsupportedOperation("too many", path="values")
        self.finds += 1
        found: RecordPage = await self.inner.find(LANE, resource, path, values)
        return found


def test_as_many_values_are_searched_for_at_a_time_as_the_provider_takes() -> None:
    async def main() -> None:
        clock = VirtualClock()
        crm = FindsFew(FakeCrm(TRIAL, clock.now, random.Random(0)))
        local = MemoryRecords()
        for number in range(30):
            name = f"n,{number}" if number == 7 else f"n{number}"
            local.put(f"l{number}", {"name": name})
            crm.inner.put(f"x{number}", {"name": name})
        async with engine(clock, crm, quotas={"crm": [Concurrency(3), Rate(1000, per=3600)]}) as running:
            run = await running.syncs.sync(binding(local, match_keys={"name": "name"}))
            assert run.situations["unlinked match: link"] == 30
            assert (len(local.records), len(crm.inner.records), crm.inner.writes) == (30, 30, 0)
            assert crm.finds <= 13
            spent = max(each.used for each in await running.quotas("crm"))
            assert spent == crm.calls + crm.finds, "what was never sent was paid for"

    run_virtual(main)


def test_a_value_that_cannot_be_searched_for_holds_up_its_own_record_only() -> None:
    async def main() -> None:
        clock = VirtualClock()
        crm = FindsFew(FakeCrm(TRIAL, clock.now, random.Random(0)))
        local = MemoryRecords()
        for number in range(12):
            name = "n\0" if number == 7 else f"n{number}"
            local.put(f"l{number}", {"name": name})
            crm.inner.put(f"x{number}", {"name": f"n{number}"})
        async with engine(clock, crm, quotas={}) as running:
            run = await running.syncs.sync(binding(local, match_keys={"name": "name"}))
        assert run.situations["unlinked match: link"] == 11
        assert {trouble.reason for trouble in run.troubles} == {"the provider cannot search for its match key"}
        assert (run.left, len(crm.inner.records)) == (1, 12)

    run_virtual(main)


def test_what_cannot_be_synced_is_told() -> None:
    async def main() -> None:
        clock = VirtualClock()
        crm = Crm(FakeCrm(TRIAL, clock.now, random.Random(0)))
        backend = MemoryBackend(clock=clock)
        async with engine(clock, crm, backend=None, queue=backend.queue, limiter=backend.limiter) as running:
            with pytest.raises(ConfigurationError, match="state store"):
                await running.syncs.sync(binding(MemoryRecords()))
            with pytest.raises(UnknownProvider):
                await running.syncs.sync(evolve(binding(MemoryRecords()), provider="other"))

    run_virtual(main)


def test_an_overlay_reads_as_if_it_were_written_and_leaves_what_is_below() -> None:
    async def main() -> None:
        below = MemoryStateStore()
        await below.commit([Write(f"k{number}", b"1") for number in range(5)])
        over = Overlay(below)
        await over.commit([Write("k1", None, 1), Write("k25", b"2", 0), Write("k3", b"3"), Write("k9", b"4")])
        for limit in (1, 2, 10):
            found: list[str] = []
            after = None
            while page := await over.scan("k", after=after, limit=limit):
                found += [stored.key for stored in page]
                after = page[-1].key
            assert found == ["k0", "k2", "k25", "k3", "k4", "k9"]
        assert [stored and stored.value for stored in await over.load(["k1", "k3", "k0"])] == [None, b"3", b"1"]
        assert len(await below.scan("k")) == 5

    run_virtual(main)
