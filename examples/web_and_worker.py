"""One engine that only submits, one that only works, and a backend that they share.

    python -m examples.web_and_worker

The web engine answers its "requests" at once; the worker carries the operations out when it comes. A backend in memory
ties both to one process and one event loop.
"""

from __future__ import annotations

import anyio
import httpx

from ratesync import Operation, Rate, Role, Settings, SyncEngine
from ratesync.memory import MemoryBackend
from ratesync.providers import RestProvider

from .acme import Acme, running_acme

REQUESTS = 10


async def web(engine: SyncEngine) -> None:
    """Accept ten requests of customers who change their email."""
    for number in range(REQUESTS):
        email = {"email": f"{number}@example.org"}
        ticket = await engine.submit(Operation.update("acme", "contacts", str(number), email, id=f"request-{number}"))
        print(f"web:    202 Accepted, operation {ticket.id}")
    print(f"web:    {(await engine.stats()).pending} operations wait for a worker")


async def look_up(engine: SyncEngine, operation_id: str) -> None:
    """Answer a customer who asks what became of a request."""
    status = await engine.status(operation_id)
    print(f"web:    {operation_id} is {status.state}, {status.outcome}")


# --8<-- [start:roles]
async def sync(acme: Acme) -> None:
    """Run the web engine, then the worker beside it."""
    backend = MemoryBackend()
    async with httpx.AsyncClient(base_url=acme.url) as client:
        provider = RestProvider("acme", client=client)
        async with SyncEngine(backend=backend, providers=[provider], role=Role.SUBMIT) as front:
            await web(front)
            await look_up(front, "request-3")
            async with SyncEngine(
                backend=backend,
                providers=[provider],
                quotas={"acme": [Rate(20, per=1)]},
                role=Role.WORK,
                settings=Settings(grace=5),
            ):
                print("worker: started")
                await front.drain(timeout=30)
            print("worker: stopped")
            await look_up(front, "request-3")
    print(f"contacts at Acme: {len(acme.contacts)}")


# --8<-- [end:roles]


if __name__ == "__main__":
    with running_acme(permits=20) as server:
        anyio.run(sync, server)
