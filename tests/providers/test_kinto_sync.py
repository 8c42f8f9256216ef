"""The engine against a real Kinto process: creates, updates, deletes and conflicts, compared record by record."""

from __future__ import annotations

import pytest

from ratesync import Applied, Conflict, Operation, Rate, SyncEngine
from ratesync.memory import MemoryBackend
from tests.providers.kinto import kinto_provider
from tests.servers.kinto_server import Kinto

pytestmark = pytest.mark.anyio

RECORDS = 30
NAMES = ["Ada Löwelace", "Grace Hopper", "Шамиль", "山田太郎", "👩🏽‍🔬 Zoë", "مريم", "Ångström", "Ṣọlá"]


def plan(resource: str) -> list[Operation]:
    """Every record created; every second one updated twice; every fifth one deleted."""
    operations: list[Operation] = []
    for number in range(RECORDS):
        record_id = f"r{number}"
        fields = {"name": NAMES[number % len(NAMES)], "number": number}
        operations.append(Operation.create("kinto", resource, fields, record_id=record_id))
        if number % 2:
            operations += [
                Operation.update("kinto", resource, record_id, {"number": -number}),
                Operation.update("kinto", resource, record_id, {"step": 2}),
            ]
        if number % 5 == 0:
            operations.append(Operation.delete("kinto", resource, record_id))
    return operations


def expected() -> dict[str, dict[str, object]]:
    records: dict[str, dict[str, object]] = {}
    for number in range(RECORDS):
        if number % 5:
            changed = {"number": -number, "step": 2} if number % 2 else {"number": number}
            records[f"r{number}"] = {"name": NAMES[number % len(NAMES)], **changed}
    return records


def held(kinto: Kinto, url: str) -> dict[str, dict[str, object]]:
    with kinto.client() as client:
        rows = client.get(url).raise_for_status().json()["data"]
    own = ("id", "last_modified", "schema")
    return {row["id"]: {name: value for name, value in row.items() if name not in own} for row in rows}


async def test_a_sync_to_kinto_leaves_exactly_the_right_records(kinto: Kinto, anyio_backend_name: str) -> None:
    resource = f"sync-{anyio_backend_name}"
    url = kinto.create_collection("crm", resource)
    async with (
        kinto_provider(kinto) as provider,
        SyncEngine(backend=MemoryBackend(), providers=[provider], quotas={"kinto": [Rate(500, per=1.0)]}) as engine,
    ):
        for operation in plan(resource):
            await engine.submit(operation)
        assert await engine.drain(timeout=45)
        assert await engine.dead_letters() == []
    assert held(kinto, url) == expected()


async def test_a_stale_version_conflicts_and_tells_what_kinto_has(kinto: Kinto, anyio_backend_name: str) -> None:
    resource = f"stale-{anyio_backend_name}"
    kinto.create_collection("crm", resource)
    async with (
        kinto_provider(kinto) as provider,
        SyncEngine(backend=MemoryBackend(), providers=[provider]) as engine,
    ):
        first = await (await engine.submit(Operation.create("kinto", resource, {"n": 1}, record_id="a"))).outcome(
            timeout=30
        )
        assert isinstance(first, Applied)
        update = Operation.update("kinto", resource, "a", {"n": 2}, if_version=first.version)
        assert isinstance(await (await engine.submit(update)).outcome(timeout=30), Applied)
        stale = Operation.update("kinto", resource, "a", {"n": 3}, if_version=first.version)
        refused = await (await engine.submit(stale)).outcome(timeout=30)
    assert isinstance(refused, Conflict)
    assert refused.current is not None
    assert refused.current.fields["n"] == 2


async def test_wrong_credentials_pause_one_connection_and_no_other(kinto: Kinto, anyio_backend_name: str) -> None:
    resource = f"locked-{anyio_backend_name}"
    kinto.create_collection("crm", resource)
    async with (
        kinto_provider(kinto) as provider,
        SyncEngine(backend=MemoryBackend(), providers=[provider]) as engine,
    ):
        for connection in ("stranger", "default"):
            await engine.submit(
                Operation.create("kinto", resource, {"n": 1}, record_id=connection, connection=connection)
            )
        assert await engine.drain("kinto", "default", timeout=30)
        assert not await engine.drain("kinto", "stranger", timeout=1)
        assert (await engine.stats("kinto", "stranger")).pending == 1
        assert await engine.dead_letters() == []
