"""The README's program, with a server to talk to.

    python -m examples.quickstart

Sixty contacts are written to Acme, which allows twenty requests a second; then one of them is deleted.
"""

from __future__ import annotations

import time
from collections import Counter
from urllib.parse import quote

import anyio
import httpx

from ratesync import Batch, Capabilities, Kind, Operation, Outcome, Rate, SyncEngine
from ratesync.http import HttpCaller, read_outcome
from ratesync.memory import MemoryBackend

from .acme import Acme, running_acme

METHODS = {Kind.UPSERT: "PATCH", Kind.DELETE: "DELETE"}


class AcmeContacts:
    """Writes contacts at Acme: one HTTP request for each operation."""

    name = "acme"
    capabilities = Capabilities(kinds=METHODS)

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._caller = HttpCaller(client=client, timeout=10)

    async def execute(self, batch: Batch) -> dict[str, Outcome]:
        """Make the request and read what it came to."""
        (operation,) = batch.operations  # one in each call, unless the capabilities say more
        response = await self._caller.send(
            METHODS[operation.kind],
            f"/contacts/{quote(str(operation.record_id), safe='')}",
            json=dict(operation.fields) or None,
        )
        return {str(operation.id): read_outcome(response, operation.kind, now=time.time())}


async def sync(acme: Acme) -> None:
    """Write sixty contacts, delete one, and print what happened."""
    async with (
        httpx.AsyncClient(base_url=acme.url) as client,
        SyncEngine(
            backend=MemoryBackend(),
            providers=[AcmeContacts(client)],
            quotas={"acme": [Rate(20, per=1)]},
        ) as engine,
    ):
        started_at = time.monotonic()
        tickets = await engine.submit_many(
            Operation.upsert("acme", "contacts", str(number), {"email": f"{number}@example.org"})
            for number in range(60)
        )
        outcomes = [await ticket.outcome(timeout=30) for ticket in tickets]
        took = time.monotonic() - started_at
        print(f"outcomes: {dict(Counter(type(outcome).__name__ for outcome in outcomes))} in {took:.1f} s")
        deleted = await engine.submit(Operation.delete("acme", "contacts", "42"))
        print(f"deleted 42: {await deleted.outcome(timeout=30)}")
    print(f"contacts at Acme: {len(acme.contacts)}; requests: {acme.served}, beyond the quota: {acme.refused}")


if __name__ == "__main__":
    with running_acme(permits=20) as server:
        anyio.run(sync, server)
