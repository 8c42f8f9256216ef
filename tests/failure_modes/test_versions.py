"""Case 16: engines of different versions at one queue."""

from __future__ import annotations

import pytest

from ratesync import (
    Applied,
    Lane,
    Operation,
    OperationState,
    Rejected,
)
from ratesync import codec as codec_module
from ratesync.codec import FORMAT, encode_operation
from ratesync.memory import MemoryBackend
from ratesync.model.work import ClaimRequest, Finished, Item, Settlement
from tests.failure_modes.conftest import (
    EngineFactory,
    NotingProvider,
    upsert,
)

pytestmark = pytest.mark.anyio

LANE = Lane("fake", "default")


def newer(operation: Operation) -> bytes:
    """An operation's bytes as a newer ratesync might write them."""
    return encode_operation(operation).replace(b'{"v":%d' % FORMAT, b'{"new":"part","v":%d' % (FORMAT + 1))


def item(identity: str, key: str, body: bytes) -> Item:
    return Item(identity, LANE, key, body)


async def test_case_16_what_a_newer_version_wrote_is_left_to_a_newer_worker(
    make_engine: EngineFactory, backend: MemoryBackend, provider: NotingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    await backend.queue.enqueue([item("new", "k", newer(upsert("1", n=1)))])
    async with make_engine() as old:
        good = await old.submit(upsert("2", n=2))
        assert await good.outcome(timeout=1) == Applied("2", "1")
        assert not await old.drain(timeout=3600)
        status = await old.status("new")
        assert (status.attempts, status.outcome) == (0, None)
        assert await old.dead_letters() == []
    assert len(provider.asked) == 1
    monkeypatch.setattr(codec_module, "FORMAT", FORMAT + 1)
    async with make_engine() as upgraded:
        assert await upgraded.drain(timeout=60)
        assert (await upgraded.status("new")).state is OperationState.COMPLETED
    assert len(provider.asked) == 2


async def test_case_16_an_upgraded_worker_reads_what_the_older_one_wrote(
    make_engine: EngineFactory, provider: NotingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_engine(role="submit") as old:
        await old.submit(upsert("1", n=1))
    monkeypatch.setattr(codec_module, "FORMAT", FORMAT + 1)
    async with make_engine() as upgraded:
        assert await upgraded.drain(timeout=60)
    assert len(provider.writes) == 1


async def test_case_16_what_came_before_a_newer_item_of_the_record_is_carried_out(
    make_engine: EngineFactory, backend: MemoryBackend, provider: NotingProvider
) -> None:
    first, second = upsert("1", n=1), upsert("1", n=2)
    await backend.queue.enqueue([item("old", "k", encode_operation(first)), item("new", "k", newer(second))])
    async with make_engine() as engine:
        assert not await engine.drain(timeout=600)
        assert (await engine.status("old")).state is OperationState.COMPLETED
        assert (await engine.status("new")).attempts == 0
    assert [dict(write.fields) for write in provider.writes] == [{"n": 1}]


async def test_case_16_a_newer_workers_dead_letter_does_not_hide_the_others(
    make_engine: EngineFactory, backend: MemoryBackend
) -> None:
    queue = backend.queue
    await queue.enqueue([item("new", "1", newer(upsert("1"))), item("old", "2", encode_operation(upsert("2")))])
    claim = await queue.claim(ClaimRequest("newer worker", 10, {"fake": 10}))
    answers = [b'{"v":2,"o":"shattered"}', codec_module.encode_outcome(Rejected("no"))]
    leases = sorted((lease for batch in claim.batches for lease in batch), key=lambda lease: lease.key)
    await queue.settle(
        "newer worker",
        [
            Settlement(lease, (Finished(lease.items[0].id, OperationState.DEAD, answer),))
            for lease, answer in zip(leases, answers, strict=True)
        ],
    )
    async with make_engine(role="submit") as engine:
        letters = await engine.dead_letters()
    assert [letter.id for letter in letters] == ["new", "old"]
    assert letters[1].outcome == Rejected("no")
