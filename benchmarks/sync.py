"""Two-way sync: links a second, calls and writes for a changed record, and what passes without news cost.

    python -m benchmarks.sync [--quick] [--json]

Every measurement runs in a process of its own, in turn; figures of time are medians of three. In memory both sides and
the state live in that process, and the provider takes a hundred operations in a call. Beside it runs what a team would
write by hand: a loop that copies changes one way, with no state, no merge and no thought of crashes ("by_hand"). Then a
real Kinto, a process of its own on this machine, beside bare httpx that sends the same batches ("kinto_bare"). At the
end of each measurement both sides are compared, record by record.
"""

from __future__ import annotations

import gc
import resource
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from itertools import count as numbers
from pathlib import Path
from typing import Any

import anyio
import httpx

from benchmarks._report import Report, main, measure_in_turn
from benchmarks._sync_sides import (
    BATCH,
    CountedState,
    CountingTransport,
    Crm,
    FormulaCrm,
    FormulaRecords,
    Ours,
    contact,
)
from ratesync import SyncEngine
from ratesync.engine.sync.binding import Binding
from ratesync.http import Account, Basic
from ratesync.mapping import Field
from ratesync.mapping import Mapping as Fields
from ratesync.memory import MemoryBackend
from ratesync.model.difference import Side
from ratesync.providers.kinto import KintoProvider
from ratesync.rules.resolvers import prefer
from ratesync.sqlite import SqliteStateStore
from tests.servers.kinto_server import BATCH_LIMIT, Kinto, running_kinto

RESOURCE = "contacts"
BUCKET = "crm"
MOST_PASSES = 3


def binding_of(ours: Any, provider: str = "crm", **options: Any) -> Binding:
    """The binding that all measurements have."""
    return Binding(local=ours, provider=provider, resource=RESOURCE, resolve=prefer(Side.EXTERNAL), **options)


async def passes(engine: SyncEngine, binding: Binding) -> None:
    """Sync until nothing is left."""
    for number in numbers():
        run = await engine.sync(binding)
        assert not run.errors, run.errors
        if not run.left:
            return
        assert number < MOST_PASSES, f"{run.left} records are left: {run.reasons}"


async def timed(work: Awaitable[None], count: int) -> dict[str, float]:
    """Records a second, and CPU for each."""
    gc.collect()
    gc.freeze()  # what was made before is not looked through, for every contestant
    wall, cpu = time.perf_counter(), time.process_time()
    await work
    return {
        "per_second": count / (time.perf_counter() - wall),
        "cpu_us": (time.process_time() - cpu) / count * 1e6,
    }


def named(phase: str, figures: Mapping[str, float]) -> dict[str, float]:
    """The figures of one part of a measurement."""
    return {f"{phase}: {name}": value for name, value in figures.items()}


def same(ours: Ours, crm: Crm) -> None:
    """Both sides hold the same, under whatever ids."""
    here, there = (
        sorted((dict(record.fields) for record in records.values()), key=lambda fields: str(fields["email"]))
        for records in (ours.records, crm.records)
    )
    if here != there:
        raise SystemExit("the sides differ")


@asynccontextmanager
async def in_step(crm: Crm, count: int) -> AsyncGenerator[tuple[SyncEngine, Binding, Ours, CountedState]]:
    """An engine whose sides have so many linked records."""
    ours, state = Ours(), CountedState()
    for number in range(count):
        crm.put(f"c{number}", contact(number))
    binding = binding_of(ours)
    async with SyncEngine(backend=MemoryBackend(), state=state, providers=[crm]) as engine:
        await passes(engine, binding)
        same(ours, crm)
        yield engine, binding, ours, state


def reconcile(quick: bool) -> Mapping[str, float]:
    """All records change at the provider, then here, then on both sides in different fields: links a second."""
    count = 2_000 if quick else 20_000

    async def run() -> dict[str, float]:
        crm, found = Crm(), dict[str, float]()
        async with in_step(crm, count) as (engine, binding, ours, state):

            def here(**fields: Any) -> None:
                for record_id in list(ours.records):
                    ours.change(record_id, **fields)

            edits: dict[str, list[Callable[[], None]]] = {
                "there": [partial(crm.change_all, city="Paris")],
                "here": [partial(here, phone="+33 1 23 45 67 89")],
                "both": [partial(crm.change_all, city="Rome"), partial(here, phone="+39 06 0608")],
            }
            for phase, steps in edits.items():
                for edit in steps:
                    edit()
                counters = {"provider": crm.done, "host": ours.done, "state": state.done}
                for counter in counters.values():
                    counter.clear()
                found |= named(phase, await timed(passes(engine, binding), count))
                for name, counter in counters.items():
                    found |= named(phase, {f"{name} {what}": number / count for what, number in counter.items()})
                same(ours, crm)
        return found

    return anyio.run(run)


def by_hand(quick: bool) -> Mapping[str, float]:
    """One way, without a state: read the feed, read ours, write what differs."""
    count = 2_000 if quick else 20_000
    ours, crm = Ours(), Crm()
    for number in range(count):
        ours.put(f"c{number}", contact(number))
        crm.put(f"c{number}", contact(number))

    async def copy() -> None:
        cursor, has_more = None, True
        while has_more:
            page = await crm.pull_changes("default", RESOURCE, cursor, limit=200)
            cursor, has_more = page.cursor, page.has_more
            held = await ours.read([change.record_id for change in page.changes])
            for change in page.changes:
                record, fields = held[change.record_id], change.fields or {}
                patch = {name: value for name, value in fields.items() if record.fields.get(name) != value}
                if patch:
                    await ours.apply(record.record_id, patch, if_version=record.version, op_id="")

    crm.change_all(city="Paris")
    found = anyio.run(timed, copy(), count)
    same(ours, crm)
    return found


def idle(quick: bool) -> Mapping[str, float]:
    """A pass without news over 100,000 links (quick: 5,000), at a provider whose feed tells of deletions."""
    return _idle(Crm(), 5_000 if quick else 100_000)


def idle_listing(quick: bool) -> Mapping[str, float]:
    """The same where all records must be listed to know of deletions."""
    return _idle(Crm(lists=True), 5_000 if quick else 100_000)


def _idle(crm: Crm, count: int) -> Mapping[str, float]:
    async def run() -> dict[str, float]:
        async with in_step(crm, count) as (engine, binding, ours, state):
            await passes(engine, binding)  # our own writes are in the feed once more
            for counter in (crm.done, ours.done, state.done):
                counter.clear()
            wall, cpu = time.perf_counter(), time.process_time()
            await passes(engine, binding)
            took = {"ms": (time.perf_counter() - wall) * 1e3, "CPU ms": (time.process_time() - cpu) * 1e3}
            asked: Counter[str] = crm.done + ours.done
            records = sum(asked[what] for what in ("reads", "writes"))
            calls = crm.done["calls"] + crm.done["pages"]
            return took | {
                "record reads and writes": records,
                "calls to the provider": calls,
                "keys written": state.done["keys written"],
            }

    return anyio.run(run)


def state_memory(quick: bool) -> Mapping[str, float]:
    """Bytes of a link in a state store in memory, and in a SQLite file."""
    count = 5_000 if quick else 100_000

    async def linked(state: Any) -> float:
        before = _resident()
        async with _of_formula(count, state) as (engine, binding):
            await passes(engine, binding)
            return _resident() - before

    with tempfile.TemporaryDirectory(prefix="ratesync-") as folder:
        file = Path(folder, "state.db")
        anyio.run(linked, SqliteStateStore(file))
        used = {"memory": anyio.run(linked, CountedState()), "SQLite": float(file.stat().st_size)}
    return {f"{name}: bytes a link": used_bytes / count for name, used_bytes in used.items()}


@asynccontextmanager
async def _of_formula(count: int, state: Any) -> AsyncGenerator[tuple[SyncEngine, Binding]]:
    binding = binding_of(FormulaRecords(count), match_keys={"email": "email"})
    async with SyncEngine(backend=MemoryBackend(), state=state, providers=[FormulaCrm(count)]) as engine:
        yield engine, binding


def _resident() -> float:
    """Bytes of memory that this process has now."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def pass_small(quick: bool) -> Mapping[str, float]:
    """Most memory in a first pass and a whole listing over 5,000 records (quick: 1,000), the state being in SQLite."""
    return peak(1_000 if quick else 5_000)


def pass_large(quick: bool) -> Mapping[str, float]:
    """The same over 50,000 (quick: 4,000)."""
    return peak(4_000 if quick else 50_000)


def peak(count: int) -> dict[str, float]:
    """Python's objects are counted; SQLite has caches of a fixed size."""

    async def run(folder: str) -> float:
        async with _of_formula(1, SqliteStateStore(Path(folder, "first.db"))) as (engine, binding):
            await passes(engine, binding)  # imports all that it needs
        async with _of_formula(count, SqliteStateStore(Path(folder, "state.db"))) as (engine, binding):
            tracemalloc.start()
            try:
                await passes(engine, binding)
                await passes(engine, binding)
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    with tempfile.TemporaryDirectory(prefix="ratesync-") as folder:
        return {"records": count, "peak bytes": anyio.run(run, folder)}


def kinto(quick: bool) -> Mapping[str, float]:
    """A real Kinto: all records are made there, then they change there, then here."""
    count = 100 if quick else 1_000

    async def run(server: Kinto) -> dict[str, float]:
        ours, transport, found = Ours(), CountingTransport(), dict[str, float]()
        for number in range(count):
            ours.put(f"c{number}", contact(number))
        binding = binding_of(ours, "kinto", mapping=Fields(*(Field(name, name) for name in contact(0))))
        account = Account(Basic(*server.auth))
        async with (
            KintoProvider(server.url, account, bucket=BUCKET, transport=transport) as provider,
            SyncEngine(backend=MemoryBackend(), providers=[provider]) as engine,
        ):
            for phase in ("made", "there", "here"):
                if phase == "there":
                    await anyio.to_thread.run_sync(_change_there, server)
                elif phase == "here":
                    for record_id in list(ours.records):
                        ours.change(record_id, phone="+33 1 23 45 67 89")
                transport.done.clear()
                found |= named(phase, await timed(passes(engine, binding), count))
                found |= named(phase, {what: number / count for what, number in transport.done.items()})
                _same_at_kinto(ours, server)
        return found

    return _with_kinto(run)


def kinto_bare(quick: bool) -> Mapping[str, float]:
    """Bare httpx: it reads a thousand records in batches and changes them in batches, ten batches at a time."""
    count = 100 if quick else 1_000

    async def run(server: Kinto) -> dict[str, float]:
        path = f"/buckets/{BUCKET}/collections/{RESOURCE}/records"
        numbers = [range(start, min(start + BATCH_LIMIT, count)) for start in range(0, count, BATCH_LIMIT)]
        async with httpx.AsyncClient(base_url=server.url, auth=server.auth, trust_env=False, timeout=60) as client:

            async def send(line: Any, method: str, data: Callable[[int], Any]) -> None:
                for part in line:
                    bodies = [{"path": f"/v1{path}/c{n}", "method": method} | data(n) for n in part]
                    answer = (await client.post("/batch", json={"requests": bodies})).raise_for_status().json()
                    assert all(each["status"] < 300 for each in answer["responses"])

            async def all_of(method: str, data: Callable[[int], Any]) -> None:
                line = iter(numbers)
                async with anyio.create_task_group() as tasks:
                    for _ in range(10):
                        tasks.start_soon(send, line, method, data)

            await all_of("PUT", lambda number: {"body": {"data": contact(number)}})

            async def read_and_write() -> None:
                await all_of("GET", lambda _: {})
                await all_of("PATCH", lambda _: {"body": {"data": {"phone": "+33 1 23 45 67 89"}}})

            return named("here", await timed(read_and_write(), count))

    return _with_kinto(run)


def _with_kinto(run: Callable[[Kinto], Awaitable[dict[str, float]]]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, running_kinto(Path(folder), backoff=0) as server:
        server.create_collection(BUCKET, RESOURCE)
        return anyio.run(run, server)


def _rows(server: Kinto, client: httpx.Client) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    url: str | None = f"{server.url}/buckets/{BUCKET}/collections/{RESOURCE}/records?_limit=500"
    while url:
        answer = client.get(url).raise_for_status()
        rows += answer.json()["data"]
        url = answer.headers.get("next-page")
    return rows


def _change_there(server: Kinto) -> None:
    with server.client() as client:
        rows = _rows(server, client)
        path = f"/v1/buckets/{BUCKET}/collections/{RESOURCE}/records"
        for start in range(0, len(rows), BATCH_LIMIT):
            requests = [
                {"path": f"{path}/{row['id']}", "method": "PATCH", "body": {"data": {"city": "Paris"}}}
                for row in rows[start : start + BATCH_LIMIT]
            ]
            client.post("/batch", json={"requests": requests}).raise_for_status()


def _same_at_kinto(ours: Ours, server: Kinto) -> None:
    with server.client() as client:
        rows = _rows(server, client)
    there = sorted(tuple(sorted((k, v) for k, v in row.items() if k in contact(0))) for row in rows)
    here = sorted(tuple(sorted(record.fields.items())) for record in ours.records.values())
    if here != there:
        raise SystemExit("the sides differ")


MEASUREMENTS: dict[str, Callable[[bool], Mapping[str, float]]] = {
    function.__name__: function
    for function in (
        reconcile, by_hand, idle, idle_listing, state_memory, pass_small, pass_large, kinto, kinto_bare
    )
}  # fmt: skip


TIMED = ("reconcile", "by_hand", "kinto", "kinto_bare")
"""Measured three times. The others count what is the same each time."""


def judge(quick: bool) -> Report:
    """Measure everything and hold it against the bars."""
    report = Report("sync", quick)
    counted = [name for name in MEASUREMENTS if name not in TIMED]
    found = measure_in_turn("benchmarks.sync", TIMED, rounds=1 if quick else 3, quick=quick)
    found |= measure_in_turn("benchmarks.sync", counted, rounds=1, quick=quick)
    for name, figures in found.items():
        report.figures |= {f"{name} {figure}": value for figure, value in figures.items()}
    links = found["reconcile"]
    report.figures["by hand / reconciled there"] = found["by_hand"]["per_second"] / links["there: per_second"]
    report.figures["kinto: here / bare httpx"] = (
        found["kinto"]["here: per_second"] / found["kinto_bare"]["here: per_second"]
    )
    for phase in ("there", "here", "both"):
        report.at_least(f"links/s in memory, changed {phase}", links[f"{phase}: per_second"], 2_000)
        for side in ("provider", "host"):
            for what in ("reads", "writes"):
                name = f"{phase}: {side} {what}"
                report.at_most(f"{side}'s {what} for a record changed {phase}", links.get(name, 0.0), 1)
        report.at_most(f"calls for a record changed {phase}", links[f"{phase}: provider calls"], 2 / BATCH + 0.001)
    for name in ("idle", "idle_listing"):
        for what in ("record reads and writes", "keys written"):
            report.at_most(f"{name}: {what} of a pass without news", found[name][what], 0)
    small, large = found["pass_small"], found["pass_large"]
    growth = (large["peak bytes"] - small["peak bytes"]) / (large["records"] - small["records"])
    report.at_most("bytes that a pass needs for one record more", growth, 4)
    if quick:
        report.notes.append("quick: a tenth of the records, and one round")
    return report


if __name__ == "__main__":
    raise SystemExit(main(MEASUREMENTS, judge))
