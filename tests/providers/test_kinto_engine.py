"""The engine and KintoProvider against a real Kinto while answers get lost and spoilt on the way."""

from __future__ import annotations

import httpx
import pytest
from typing_extensions import override

from ratesync import Applied, Conflict, Operation, SyncEngine
from ratesync.http import Account, Basic
from ratesync.memory import MemoryBackend
from ratesync.model.policy import CircuitPolicy, RetryPolicy
from ratesync.model.settings import Settings
from ratesync.providers.kinto import KintoProvider
from ratesync.testing.faulty_transport import FaultyTransport, random_troubles
from ratesync.testing.trouble import HARMLESS, UNENDING, Trouble
from tests.conftest import anyio_backend
from tests.servers.kinto_server import Kinto

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio

RECORDS = 60
# Many troubles in a row shall neither open the circuit nor be waited for.
HASTY = Settings(
    retry=RetryPolicy(base_delay=0.01, max_delay=0.05, budget_ratio=1.0, max_attempts=50),
    circuit=CircuitPolicy(min_calls=10_000),
)
# Those that name a wait are left out, as it would be waited for, and those that make dead letters.
SLOW = UNENDING | {Trouble.THROTTLED, Trouble.UNAVAILABLE}
FINAL = {Trouble.HIDDEN, Trouble.REDIRECTED}
QUICK = sorted(set(Trouble) - SLOW - FINAL)


class Hurried(httpx.AsyncHTTPTransport):
    """Leaves out Kinto's wish for a second of peace after each call; test_kinto_sync.py heeds it."""

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await super().handle_async_request(request)
        answer.headers.pop("backoff", "")
        return answer


def provider_for(kinto: Kinto, transport: httpx.AsyncBaseTransport) -> KintoProvider:
    accounts = {"default": Account(Basic(*kinto.auth)), "stranger": Account(Basic(kinto.user, "guess"))}
    return KintoProvider(kinto.url, accounts, bucket="crm", transport=transport)


def held(kinto: Kinto, url: str) -> dict[str, dict[str, object]]:
    with kinto.client() as client:
        rows = client.get(url).raise_for_status().json()["data"]
    return {row["id"]: {name: row[name] for name in row.keys() - {"id", "last_modified", "schema"}} for row in rows}


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_is_lost_on_the_way_kinto_ends_with_exactly_the_right_records(
    kinto: Kinto, anyio_backend_name: str, seed: int
) -> None:
    resource = f"storm-{anyio_backend_name}-{seed}"
    url = kinto.create_collection("crm", resource)
    faulty = FaultyTransport(Hurried(trust_env=False), random_troubles(seed, share=0.5, among=QUICK))
    names = [f"r{number}" for number in range(RECORDS)]
    async with (
        provider_for(kinto, faulty) as provider,
        SyncEngine(backend=MemoryBackend(), providers=[provider], settings=HASTY) as engine,
    ):
        for operations in (
            [Operation.create("kinto", resource, {"n": 0, "name": name}, record_id=name) for name in names],
            [Operation.update("kinto", resource, name, {"n": 1}) for name in names],
            [Operation.delete("kinto", resource, name) for name in names[::3]],
        ):
            await engine.submit_many(operations)
            assert await engine.drain(timeout=45)
        assert await engine.dead_letters() == []
    assert held(kinto, url) == {name: {"n": 1, "name": name} for name in names if name not in names[::3]}
    assert set(faulty.met) - HARMLESS, "there was trouble"
    assert faulty.requests < RECORDS, "operations go out in batches, also when they are repeated"


async def test_a_stale_version_conflicts_and_spoils_nothing_else_of_its_batch(
    kinto: Kinto, anyio_backend_name: str
) -> None:
    resource = f"stale-model-{anyio_backend_name}"
    kinto.create_collection("crm", resource)
    async with (
        provider_for(kinto, Hurried(trust_env=False)) as provider,
        SyncEngine(backend=MemoryBackend(), providers=[provider]) as engine,
    ):
        tickets = await engine.submit_many(
            Operation.create("kinto", resource, {"n": 0}, record_id=f"r{number}") for number in range(9)
        )
        created = [await ticket.outcome(timeout=30) for ticket in tickets]
        versions = [outcome.version for outcome in created if isinstance(outcome, Applied)]
        assert len(versions) == 9
        versions[4] = versions[3]
        tickets = await engine.submit_many(
            Operation.update("kinto", resource, f"r{number}", {"n": 1}, if_version=version)
            for number, version in enumerate(versions)
        )
        updated = [await ticket.outcome(timeout=30) for ticket in tickets]
    assert [number for number, outcome in enumerate(updated) if not isinstance(outcome, Applied)] == [4]
    refused = updated[4]
    assert isinstance(refused, Conflict)
    assert refused.current is not None
    assert refused.current.fields["n"] == 0


async def test_wrong_credentials_pause_one_connection_and_no_other(kinto: Kinto, anyio_backend_name: str) -> None:
    resource = f"locked-model-{anyio_backend_name}"
    kinto.create_collection("crm", resource)
    async with (
        provider_for(kinto, Hurried(trust_env=False)) as provider,
        SyncEngine(backend=MemoryBackend(), providers=[provider]) as engine,
    ):
        for connection in ("stranger", "default"):
            await engine.submit_many(
                Operation.create("kinto", resource, {"n": 1}, record_id=f"{connection}-{n}", connection=connection)
                for n in range(3)
            )
        assert await engine.drain("kinto", "default", timeout=30)
        assert not await engine.drain("kinto", "stranger", timeout=0.5)
        assert (await engine.stats("kinto", "stranger")).pending == 3
        assert await engine.dead_letters() == []
