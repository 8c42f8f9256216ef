"""An adapter that writes ten contacts in a call, and looks a create up when its answer was lost.

    python -m examples.custom_adapter_with_batch

Acme gives new contacts ids of its own, so a create that is sent twice makes two contacts. Here Acme carries the first
call out and answers 500. The adapter's ``lookup`` finds the contacts by the reference that each create carries, and
nothing is sent again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import anyio
import httpx

from ratesync import Applied, Batch, Capabilities, CreateIdentity, Kind, Operation, Outcome, Rate, SyncEngine
from ratesync.http import HttpCaller, Response, match_rows, read_outcome
from ratesync.memory import MemoryBackend

from .acme import Acme, running_acme

CONTACTS = 30


# --8<-- [start:adapter]
class AcmeBatches:
    """Creates and upserts contacts, up to ten in a call."""

    name = "acme"
    capabilities = Capabilities(
        kinds={Kind.CREATE, Kind.UPSERT},
        batch_max=10,
        create_identity=CreateIdentity.LOOKUP,
        concurrency=4,
    )

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._caller = HttpCaller(client=client, timeout=10)
        self.calls = 0
        self.lookups = 0

    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        """Write all contacts of the batch in one call."""
        self.calls += 1
        rows = [
            {"reference": operation.id, "id": operation.record_id, "fields": dict(operation.fields)}
            for operation in batch.operations
        ]
        response = await self._caller.send("POST", "/contacts:batch", json={"rows": rows})
        whole = read_outcome(response, batch.kind, now=time.time())
        if not isinstance(whole, Applied):
            return {str(operation.id): whole for operation in batch.operations}
        return match_rows(
            batch.operations,
            response.json()["results"],
            key_of_operation=lambda operation: operation.id,
            key_of_row=lambda row: row["reference"],
            read=lambda _, row: self._outcome_of(row, batch.kind),
        )

    def _outcome_of(self, row: dict[str, object], kind: Kind) -> Outcome:
        outcome = read_outcome(Response(int(str(row["status"]))), kind, now=time.time())
        return Applied(record_id=str(row["id"])) if isinstance(outcome, Applied) else outcome

    async def lookup(self, operation: Operation) -> Outcome | None:
        """Whether an earlier create was applied; None: surely not."""
        self.lookups += 1
        response = await self._caller.send("GET", "/contacts", params={"reference": str(operation.id)})
        outcome = read_outcome(response, Kind.READ, now=time.time())
        if not isinstance(outcome, Applied):
            return outcome
        ids = response.json()["ids"]
        return Applied(record_id=ids[0]) if ids else None


# --8<-- [end:adapter]


async def sync(acme: Acme) -> None:
    """Create thirty contacts while Acme loses an answer, and count."""
    async with httpx.AsyncClient(base_url=acme.url) as client:
        await client.post("/trouble", json={"status": 500, "calls": 1, "applied": True})
        adapter = AcmeBatches(client)
        async with SyncEngine(
            backend=MemoryBackend(), providers=[adapter], quotas={"acme": [Rate(20, per=1)]}
        ) as engine:
            tickets = await engine.submit_many(
                Operation.create("acme", "contacts", {"email": f"{number}@example.org"}) for number in range(CONTACTS)
            )
            outcomes = [await ticket.outcome(timeout=30) for ticket in tickets]
    ids = {outcome.record_id for outcome in outcomes if isinstance(outcome, Applied)}
    print(f"{CONTACTS} creates, {adapter.calls} calls, {adapter.lookups} lookups")
    print(f"ids given by Acme: {len(ids)}; contacts at Acme: {len(acme.contacts)}")


if __name__ == "__main__":
    with running_acme(permits=20) as server:
        anyio.run(sync, server)
