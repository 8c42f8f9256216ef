"""What is asked and ordered about single operations, over all shards."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Any

from ratesync.model.lane import Selector
from ratesync.model.work import CancelResult, Entry, QueueStats
from ratesync.redis.queue.limits import QueueLimits
from ratesync.redis.queue.packing import entry, packed_id, packed_selector, unpacked_id
from ratesync.redis.queue.shard import Shard
from ratesync.redis.server.lua import Argument

LANE = Struct("<IIIIII")
"""A lane's number, and how many of its operations are in which state."""
CANCELLED = {
    b"c": CancelResult.CANCELLED,
    b"r": CancelResult.REQUESTED,
    b"f": CancelResult.FINISHED,
    b"u": CancelResult.UNKNOWN,
}


async def get(
    shards: Sequence[Shard], limits: QueueLimits, ids: Sequence[str], *, awaited: bool = False
) -> list[Entry | None]:
    """Look operations up. ``awaited``: their ends are to be told."""
    found: list[Entry | None] = [None] * len(ids)
    for shard in shards:
        answer = await shard.run("get", limits.result_seconds, int(awaited), *map(packed_id, ids))
        for place, name in enumerate(ids):
            provider, connection, is_leased, record = answer[4 * place : 4 * place + 4]
            if record:
                found[place] = entry(name, provider, connection, record, is_leased=is_leased == b"1")
    return found


async def cancel(shards: Sequence[Shard], limits: QueueLimits, ids: Sequence[str]) -> list[CancelResult]:
    """Take operations back."""
    results = [CancelResult.UNKNOWN] * len(ids)
    for shard in shards:
        answer = await shard.run("cancel", limits.result_capacity, limits.result_seconds, *map(packed_id, ids))
        for place, letter in enumerate(answer):
            if letter != b"u":
                results[place] = CANCELLED[letter]
    return results


async def decide(shards: Sequence[Shard], what: str, ids: Sequence[str], *args: Argument) -> list[bool]:
    """Replay or discard dead letters."""
    answers = [False] * len(ids)
    for shard in shards:
        found: list[Any] = await shard.run(what, *args, *map(packed_id, ids))
        answers = [had or now == 1 for had, now in zip(answers, found, strict=True)]
    return answers


async def dead_letters(shards: Sequence[Shard], selector: Selector, after: str | None, limit: int) -> list[Entry]:
    """A page of the dead letters."""
    stored = packed_selector(selector)
    first: bytes = b"" if after is None else packed_id(after)
    letters: list[Entry] = []
    for shard in shards:
        place: bytes = b""
        while len(letters) < limit:
            place, *found = await shard.run("letters", stored, first, place, limit - len(letters))
            for at in range(0, len(found), 5):
                _, name, provider, connection, record = found[at : at + 5]
                letters.append(entry(unpacked_id(name), provider, connection, record))
            if not place:
                break
    return letters


async def stats(shards: Sequence[Shard], selector: Selector) -> QueueStats:
    """Count operations."""
    sums: list[int] = [0] * 5
    stored = packed_selector(selector)
    for shard in shards:
        # By lane: while many lanes go, a scan may come by one of them twice.
        rows: dict[int, Sequence[int]] = {}
        cursor: bytes = b"0"
        while True:
            cursor, *found = await shard.run("stats", stored, cursor)
            rows |= {number: counts for number, *counts in map(LANE.unpack, found)}
            if cursor == b"0":
                break
        for counts in rows.values():
            sums = [total + count for total, count in zip(sums, counts, strict=True)]
    return QueueStats(*sums)
