"""Records through the engine to an HTTP API, beside bare httpx and aiohttp that make the same requests.

    python -m benchmarks.providers [--quick] [--json]

The API is a process of its own on this machine. Every measurement runs in another one, in turn; figures are medians.
All clients write and read JSON and have six connections; "fast" is aiohttp. After each measurement the server tells
what it was asked: each record must be there once, as it was written. Then a contact of 20 fields goes through a
mapping, beside a function written by hand and pydantic (``benchmarks/mapping.py``).
"""

from __future__ import annotations

import gc
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio
import httpx

from benchmarks import mapping
from benchmarks._providers_server import running_server
from benchmarks._report import Report, main, measure_in_turn
from ratesync import Kind, Operation, Settings, SyncEngine
from ratesync.http import Account, Bearer, fast_transport
from ratesync.memory import MemoryBackend
from ratesync.providers import Resource, RestProvider, RowBatch

CONNECTIONS = 6
"""httpx's pool looks at each idle connection for every call: more of them than are busy slow down all clients on it."""
PEER_PER_SECOND = 3_600.0
"""Calls/s of bare httpx over aiohttp on the machine for which the bar in calls/s was set (3,400 to 3,800).

By it the same bar is held as a ratio too, as the speed of one machine changes from day to day.
"""
BATCH = 100
BULK = Resource(
    create=None,
    read=None,
    update=None,
    delete=None,
    bulk={Kind.UPDATE: RowBatch(path="/{resource}:batch", size=BATCH)},
)
"""Updates, a hundred in a call."""

NO_ACCOUNT = Account()

Transport = Callable[[], httpx.AsyncBaseTransport]
Call = Callable[[str, str, Any], Awaitable[Any]]
"""Makes a request and reads its answer: method, path, body."""


def stock() -> httpx.AsyncBaseTransport:
    """The transport that an adapter has by itself."""
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    return httpx.AsyncHTTPTransport(trust_env=False, limits=limits)


def fields(number: int) -> dict[str, Any]:
    """A small record."""
    return {"email": f"ada{number}@example.org", "name": "Ada Lovelace", "age": 36, "active": True}


def operations(count: int) -> list[Operation]:
    """Updates of different records."""
    return [Operation.update("acme", "contacts", str(number), fields(number)) for number in range(count)]


def judged(url: str, count: int, wall: float, cpu: float) -> dict[str, float]:
    """The figures of a measurement, if all records have arrived."""
    seen = httpx.get(f"{url}/seen", trust_env=False).json()
    if (seen["records"], seen["kept"], seen["wrong"]) != (count, count, 0):
        raise SystemExit(f"{count} records were written and the server saw {seen}")
    return {"per_second": count / wall, "cpu_us": cpu / count * 1e6, "calls": seen["calls"]}


def measured(count: int, work: Callable[[str], Awaitable[None]]) -> dict[str, float]:
    """Let ``work`` write so many records to a server.

    What was made before is kept from the collector, for every contestant: see ``benchmarks/engine.py``.
    """

    async def run(url: str) -> tuple[float, float]:
        gc.collect()
        gc.freeze()
        wall, cpu = time.perf_counter(), time.process_time()
        await work(url)
        return time.perf_counter() - wall, time.process_time() - cpu

    with running_server() as url:
        return judged(url, count, *anyio.run(run, url, backend_options={"use_uvloop": True}))


@asynccontextmanager
async def engine_of(
    url: str, resource: Resource, transport: Transport, account: Account = NO_ACCOUNT, **settings: Any
) -> AsyncGenerator[SyncEngine]:
    """An engine in memory with an adapter for that API, both entered."""
    async with (
        RestProvider(
            "acme", url, account, resources=resource, transport=transport(), concurrency=CONNECTIONS
        ) as provider,
        SyncEngine(
            backend=MemoryBackend(capacity=200_000), providers=[provider], settings=Settings(**settings)
        ) as engine,
    ):
        yield engine


def through_engine(
    count: int, resource: Resource, transport: Transport, account: Account = NO_ACCOUNT
) -> dict[str, float]:
    """Submitted a thousand at a time."""
    work = operations(count)

    async def run(url: str) -> None:
        async with engine_of(url, resource, transport, account) as engine:
            for start in range(0, count, 1_000):
                await engine.submit_many(work[start : start + 1_000])
            assert await engine.drain(timeout=300)
            assert await engine.dead_letters() == []

    return measured(count, run)


def batches(quick: bool) -> Mapping[str, float]:
    """A hundred in a call, with the transport that comes by itself."""
    return through_engine(10_000 if quick else 50_000, BULK, stock)


def batches_fast(quick: bool) -> Mapping[str, float]:
    """A hundred in a call, over aiohttp."""
    return through_engine(10_000 if quick else 50_000, BULK, fast)


def singles(quick: bool) -> Mapping[str, float]:
    """One in a call, with the transport that comes by itself."""
    return through_engine(2_000 if quick else 10_000, Resource(), stock)


def singles_fast(quick: bool) -> Mapping[str, float]:
    """One in a call, over aiohttp."""
    return through_engine(2_000 if quick else 10_000, Resource(), fast)


def singles_token(quick: bool) -> Mapping[str, float]:
    """One in a call, over aiohttp, with a bearer token."""
    return through_engine(2_000 if quick else 10_000, Resource(), fast, Account(Bearer("token")))


def fast() -> httpx.AsyncBaseTransport:
    """Over aiohttp."""
    return fast_transport(max_connections=CONNECTIONS)


def ten_thousand(_: bool) -> Mapping[str, float]:
    """10,000 updates: how many calls?"""
    return through_engine(10_000, BULK, stock)


def trickle(quick: bool) -> Mapping[str, float]:
    """Submitted one by one, 1,000 a second, by many tasks; each may wait 50 ms for others."""
    work = operations(1_000 if quick else 3_000)

    async def run(url: str) -> None:
        async with engine_of(url, BULK, stock, linger=0.05) as engine:
            began_at = time.perf_counter()
            for number, operation in enumerate(work):
                await anyio.sleep(max(0.0, began_at + number / 1_000 - time.perf_counter()))
                await engine.submit(operation)
            assert await engine.drain(timeout=60)

    found = measured(len(work), run)
    return {"operations_in_a_call": len(work) / found["calls"]}


def bare(count: int, size: int, client: Callable[[str], Any]) -> dict[str, float]:
    """The same requests, by as many tasks as connections, with nothing around them."""
    work = [(str(number), fields(number)) for number in range(count)]
    parts = [work[start : start + size] for start in range(0, count, size)]

    async def run(url: str) -> None:
        async with client(url) as call, anyio.create_task_group() as tasks:
            queue = iter(parts)
            for _ in range(CONNECTIONS):
                tasks.start_soon(_send_all, queue, call, size)

    return measured(count, run)


async def _send_all(parts: Any, call: Call, size: int) -> None:
    for part in parts:
        if size == 1:
            ((identity, values),) = part
            assert (await call("PATCH", f"/contacts/{identity}", values))["id"] == identity
        else:
            answer = await call("POST", "/contacts:batch", {"rows": [{**values, "id": name} for name, values in part]})
            assert [row["id"] for row in answer["results"]] == [name for name, _ in part]


@asynccontextmanager
async def httpx_client(url: str, transport: Transport = stock) -> AsyncGenerator[Call]:
    """Httpx alone."""
    async with httpx.AsyncClient(base_url=url, transport=transport(), trust_env=False) as client:

        async def call(method: str, path: str, body: Any) -> Any:
            response = await client.request(method, path, json=body)
            return response.raise_for_status().json()

        yield call


@asynccontextmanager
async def httpx_over_aiohttp(url: str) -> AsyncGenerator[Call]:
    """Httpx over aiohttp."""
    async with httpx_client(url, fast) as call:
        yield call


@asynccontextmanager
async def aiohttp_client(url: str) -> AsyncGenerator[Call]:
    """Aiohttp alone."""
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(url, connector=connector) as session:

        async def call(method: str, path: str, body: Any) -> Any:
            async with session.request(method, path, json=body) as response:
                response.raise_for_status()
                return await response.json()

        yield call


CLIENTS = {"httpx": httpx_client, "httpx_over_aiohttp": httpx_over_aiohttp, "aiohttp": aiohttp_client}


def _of_peer(name: str, size: int) -> Callable[[bool], Mapping[str, float]]:
    def measure(quick: bool) -> Mapping[str, float]:
        many, few = (10_000, 2_000) if quick else (50_000, 10_000)
        return bare(many if size > 1 else few, size, CLIENTS[name])

    return measure


MEASUREMENTS: dict[str, Callable[[bool], Mapping[str, float]]] = {
    function.__name__: function
    for function in (batches, batches_fast, singles, singles_fast, singles_token, ten_thousand, trickle)
} | {f"{name}_{kind}": _of_peer(name, size) for name in CLIENTS for kind, size in (("batches", BATCH), ("singles", 1))}


def ratios(report: Report, found: Mapping[str, Mapping[str, float]], pairs: Sequence[tuple[str, str]]) -> None:
    """How fast ratesync is beside the bare client."""
    for ours, peer in pairs:
        report.figures[f"{ours} / {peer}"] = found[ours]["per_second"] / found[peer]["per_second"]


def judge(quick: bool) -> Report:
    """Measure everything and hold it against the bars."""
    report = Report("providers", quick)
    found = measure_in_turn("benchmarks.providers", list(MEASUREMENTS), rounds=1 if quick else 3, quick=quick)
    for name, figures in found.items():
        report.figures |= {f"{name} {figure}": value for figure, value in figures.items()}
    pairs = [
        ("batches", "httpx_batches"),
        ("batches_fast", "httpx_over_aiohttp_batches"),
        ("singles", "httpx_singles"),
        ("singles_fast", "httpx_over_aiohttp_singles"),
        ("singles_fast", "aiohttp_singles"),
        ("singles_token", "singles_fast"),
    ]
    ratios(report, found, pairs)
    report.at_most("calls for 10,000 updates, a hundred in a call", found["ten_thousand"]["calls"], 105)
    report.at_least("records/s in batches, stock transport", found["batches"]["per_second"], 10_000)
    report.at_least("calls/s one by one, stock transport", found["singles"]["per_second"], 1_000)
    report.at_least("calls/s one by one, fast transport", found["singles_fast"]["per_second"], 2_500)
    ratio = found["singles_fast"]["per_second"] / found["httpx_over_aiohttp_singles"]["per_second"]
    report.at_least("the same / bare httpx over aiohttp", ratio, 2_500 / PEER_PER_SECOND)
    # With a request and an answer of httpx's for each call the first was 4.3.
    cpu = found["singles_fast"]["cpu_us"]
    report.at_most("CPU of the same / bare aiohttp", cpu / found["aiohttp_singles"]["cpu_us"], 3.8)
    report.at_most("CPU of a call with a token / of one without", found["singles_token"]["cpu_us"] / cpu, 1.25)
    report.at_least(
        "operations in a call, 1,000/s one by one, 50 ms of linger", found["trickle"]["operations_in_a_call"], 40
    )
    mapping.enter(report, quick)
    return report


if __name__ == "__main__":
    raise SystemExit(main(MEASUREMENTS, judge))
