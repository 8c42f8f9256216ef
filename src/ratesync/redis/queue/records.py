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
BEGINNING = b"0"
"""The place in front of all dead letters of a shard."""
CANCELLED = {
    b"c": CancelResult.CANCELLED,
    b"r": CancelResult.REQUESTED,
    b"f": CancelResult.FINISHED,
    b"u": CancelResult.UNKNOWN,
}


async def get(shards: Sequence[Shard], limits: QueueLimits, ids: Sequence[str]) -> list[Entry | None]:
    """Look operations up."""
    found, _ = await _look_up(shards, limits, ids, awaited=False)
    return found


async def get_awaited(
    shards: Sequence[Shard], limits: QueueLimits, operation_id: str
) -> tuple[Entry | None, list[int]]:
    """Look an operation up whose end is to be told. By shard, the number of the bell's latest ring at that moment."""
    (found,), rings = await _look_up(shards, limits, [operation_id], awaited=True)
    return found, rings


async def _look_up(
    shards: Sequence[Shard], limits: QueueLimits, ids: Sequence[str], *, awaited: bool
) -> tuple[list[Entry | None], list[int]]:
    found: list[Entry | None] = [None] * len(ids)
    rings: list[int] = []
    for shard in shards:
        ring, *answer = await shard.run("get", limits.result_seconds, int(awaited), *map(packed_id, ids))
        rings.append(ring)
        for place, name in enumerate(ids):
            provider, connection, is_leased, record = answer[4 * place : 4 * place + 4]
            if record:
                found[place] = entry(name, provider, connection, record, is_leased=is_leased == b"1")
    return found, rings


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
    first, place = (0, BEGINNING) if after is None else await _find_letter(shards, after)
    letters: list[Entry] = []
    for shard in shards[first:]:
        while place and len(letters) < limit:
            place, *found = await shard.run("letters", stored, place, limit - len(letters))
            for at in range(0, len(found), 4):
                name, provider, connection, record = found[at : at + 4]
                letters.append(entry(unpacked_id(name), provider, connection, record))
        place = BEGINNING
    return letters


async def _find_letter(shards: Sequence[Shard], name: str) -> tuple[int, bytes]:
    """The shard of a dead letter, also of one that is gone, and its place there. The beginning if it is not known."""
    gone: tuple[int, bytes] | None = None
    for number, shard in enumerate(shards):
        place, is_gone = await shard.run("letter", packed_id(name))
        if place and not is_gone:
            return number, place
        if place and gone is None:
            gone = number, place
    return gone or (0, BEGINNING)


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
