"""Calls of one phase of a pass go out at the same time, as many as the provider allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import anyio
import pytest
from attrs import evolve

from ratesync.engine.sync.calls import call_for_each
from ratesync.engine.sync.side import Keep, keep_all
from ratesync.model.batch import Capabilities
from ratesync.model.lane import Lane
from ratesync.model.operation import Operation
from ratesync.model.outcome import Outcome
from ratesync.testing.virtual_time import run_virtual
from tests.sync.desk import PLAIN, Desk
from tests.sync.fake_crm import FakeCrm


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(
    ("parts", "most", "seconds", "together"), [(7, 3, 3, 3), (7, None, 1, 7), (2, 5, 1, 2), (3, 1, 3, 1)]
)
def test_so_many_calls_go_out_together(backend: str, parts: int, most: int | None, seconds: int, together: int) -> None:
    under_way, peak, done = 0, 0, list[int]()

    async def call(part: int) -> None:
        nonlocal under_way, peak
        under_way += 1
        peak = max(peak, under_way)
        await anyio.sleep(1)
        under_way -= 1
        done.append(part)

    async def run() -> float:
        began_at = anyio.current_time()
        await call_for_each(call, range(parts), most)
        return anyio.current_time() - began_at

    assert run_virtual(run, backend=backend) == pytest.approx(seconds)  # type: ignore[arg-type]
    assert peak == together
    assert sorted(done) == list(range(parts))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("most", [1, 3])
def test_what_one_call_raises_ends_the_others_and_comes_out_as_it_is(backend: str, most: int) -> None:
    ended: list[int] = []

    async def call(part: int) -> None:
        await anyio.sleep(part)
        if part == 2:
            raise KeyError(part)
        ended.append(part)

    async def run() -> None:
        with pytest.raises(KeyError, match="2"):
            await call_for_each(call, [1, 2, 30, 40], most)

    run_virtual(run, backend=backend)  # type: ignore[arg-type]
    assert ended == [1]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_who_is_cancelled_leaves_no_call_behind(backend: str) -> None:
    left: list[int] = []

    async def call(part: int) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            left.append(part)

    async def run() -> None:
        with anyio.move_on_after(1) as scope:
            await call_for_each(call, [1, 2, 3], 2)
        assert scope.cancelled_caught

    run_virtual(run, backend=backend)  # type: ignore[arg-type]
    assert sorted(left) == [1, 2]


class Slow(FakeCrm):
    """Each call takes a second, and ten are let in."""

    @property
    def capabilities(self) -> Capabilities:
        return evolve(super().capabilities, concurrency=10)

    async def execute(
        self, lane: Lane, operations: Sequence[Operation], keep: Keep = keep_all
    ) -> Mapping[str, Outcome]:
        await anyio.sleep(1)
        return await super().execute(lane, operations, keep)


def test_a_pass_takes_as_long_as_its_longest_line_of_calls() -> None:
    async def run() -> float:
        desk = Desk(evolve(PLAIN, batch_max=1), Slow)
        for number in range(20):
            desk.local.put(str(number), {"name": f"n{number}"})
        began_at = anyio.current_time()
        await desk.sync()
        assert len(desk.crm.records) == 20
        return anyio.current_time() - began_at

    # 20 creates, each a call of its own, ten at a time
    assert run_virtual(run) == pytest.approx(2)
