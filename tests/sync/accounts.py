"""What must be true when everybody has gone home: nothing lost, nothing there twice, and the sides alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from ratesync.engine.sync.link_codec import decode_link, encode_mark, from_bytes
from ratesync.model.difference import Side
from ratesync.model.link import LinkStatus, RecordLink
from ratesync.model.mark import Mark
from ratesync.model.run import SyncRun
from ratesync.model.stored import Stored, Write
from tests.sync.kinship import Kinship
from tests.sync.sides import Sides
from tests.sync.world import NAMES, World, tokens

MOST_QUIET_PASSES = 16
QUIET = 1000.0
"""Seconds between quiet passes: longer than any lease."""


class Syncs(Protocol):
    """Makes passes."""

    async def run_pass(self) -> Sequence[SyncRun]: ...

    async def approve(self) -> None: ...


async def settle(world: World, engine: Syncs) -> None:
    """Passes with nobody else about, until one writes nothing."""
    for number in range(MOST_QUIET_PASSES):
        world.now += QUIET
        before, calls = world.writes, world.calls
        world.commits.clear()
        runs = await engine.run_pass()
        if any(run.needs_approval for run in runs):
            await engine.approve()
        world.report.violations += [f"errors: {run.errors}" for run in runs if run.errors]
        # An engine that was just started tells what is left, though one before it has told the same.
        allowed = ("/cursor/", "/run") if any(run.left for run in runs) else ("/cursor/",)
        keys = [write.key for commit in world.commits for write in commit]
        written = [key for key in keys if not any(part in key for part in allowed)]
        if before == world.writes and not written and number:
            if world.calls > calls:
                world.report.violations.append("asked for nothing")
            return
    world.report.violations.append("never idle")


async def check(world: World, engine: Syncs) -> None:
    """Account for every value, and look at every record once more."""
    violations, seen = world.report.violations, world.report.seen
    state = await world.state.scan("sync/", limit=100_000)
    told = _told(state)
    violations += [f"lost: value {token}" for token in lost(world, told)]
    violations += world.departed.revived()
    for kind in world.kinds:
        violations += _differences(kind, [found for stored in state for found in _conflicts(kind, stored)])
    children, parents = _links(world.contacts, state), _links(world.parents, state)
    kinship = await Kinship.of(world.contacts, children, world.parents, parents)
    violations += kinship.differences()
    left = [stored.key for stored in state if "/mark/" in stored.key and not kinship.waits_in_vain(stored)]
    if left:
        violations.append(f"marks are left: {left}")
    seen["told"] += len(told)
    seen["departed"] += len(world.departed)
    seen.update(str(link.status) for link in (*children, *parents) if link.status is LinkStatus.AMBIGUOUS_CREATE)
    seen["references"] += kinship.count()
    for _ in range(kinship.has_orphans()):
        await _look(world, engine)
    before = world.writes
    await _look(world, engine)
    if before != world.writes:
        violations.append("written for nothing")


def _links(kind: Sides, state: Iterable[Stored]) -> list[RecordLink]:
    return [decode_link(stored.value) for stored in state if stored.key.startswith(kind.keys.links)]


def _told(state: Iterable[Stored]) -> set[int]:
    """Values that are stored as dropped, or as waiting for a person."""
    return {token for stored in state if "/lost/" in stored.key or "/conflict/" in stored.key for token in _of(stored)}


def lost(world: World, told: set[int]) -> list[int]:
    """Values that nobody replaced, that no side holds, and that nobody is told of."""
    if not world.trial.conditional:
        return []
    held = (record for kind in world.kinds for side in Side for record in kind.records(side).values())
    alive = {token for record in held for token in tokens(record.fields)}
    return sorted(set(range(1, world.values + 1)) - world.ended - alive - told)


async def lost_now(world: World) -> list[int]:
    """The same in the midst of things: a value is stored *before* the write that drops it."""
    return lost(world, _told(await world.state.scan("sync/", limit=100_000)))


async def _look(world: World, engine: Syncs) -> None:
    """A look at every record. Where nobody changed anything, it writes nothing to a side."""
    marks = [
        Write(kind.keys.mark(side, record_id), encode_mark(Mark(side, record_id)))
        for kind in world.kinds
        for side in Side
        for record_id in kind.records(side)
    ]
    await world.state.commit(marks)
    await engine.run_pass()


def _of(stored: Stored) -> Iterable[int]:
    return tokens(stored.value.decode())


def _conflicts(kind: Sides, stored: Stored) -> Sequence[tuple[str, str, str]]:
    """(local id, external id, field) of an open conflict."""
    if not stored.key.startswith(kind.keys.conflicts):
        return ()
    value = from_bytes(stored.value)
    return [(*value["ids"], value["n"])]


def _differences(kind: Sides, conflicts: Sequence[tuple[str, str, str]]) -> list[str]:
    found: list[str] = []
    deferred = {(local_id, name) for local_id, _, name in conflicts}
    # Two records that were made anew under their old ids, on both sides: which of the two it is waits for a person.
    twins = {external_id: local_id for local_id, external_id, name in conflicts if name == "origin"}
    by_origin: dict[Side, dict[str, str]] = {side: {} for side in Side}
    for side in Side:
        for record_id, record in kind.records(side).items():
            twin = kind.local.records.get(twins.get(record_id, "")) if side is Side.EXTERNAL else None
            origin = str((twin or record).fields.get("origin", "none")).strip().lower()
            if origin in by_origin[side]:
                found.append(f"duplicate: {side} {origin} is {by_origin[side][origin]} and {record_id}")
            by_origin[side][origin] = record_id
    local, external = by_origin[Side.LOCAL], by_origin[Side.EXTERNAL]
    found += [f"not converged: {origin} is on one side only" for origin in sorted(local.keys() ^ external.keys())]
    for origin in sorted(local.keys() & external.keys()):
        here, there = (
            kind.local.records[local[origin]].fields,
            kind.crm.records[external[origin]].fields,
        )
        for name in NAMES:
            if tokens(here.get(name)) != tokens(there.get(name)) and (local[origin], name) not in deferred:
                found.append(f"not converged: {origin}.{name} is {here.get(name)!r} and {there.get(name)!r}")
    return found
