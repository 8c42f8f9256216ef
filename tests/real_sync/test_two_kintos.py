"""A real Kinto on both sides: two collections, each with fields of its own, edited by users at the same time."""

from __future__ import annotations

import random
from itertools import count

import httpx
import pytest

from ratesync import Rate, SyncEngine
from ratesync.engine.sync.binding import Binding
from ratesync.engine.sync.provider_records import ProviderRecords
from ratesync.http import Account, Basic
from ratesync.mapping import Field, Mapping
from ratesync.memory import MemoryLimiter, MemoryQueue, MemoryStateStore
from ratesync.model.difference import Side
from ratesync.providers.kinto import KintoProvider
from ratesync.rules.resolvers import prefer
from tests.real_sync.collection import MAPPING, Collection
from tests.servers.kinto_server import Kinto

pytestmark = pytest.mark.anyio

PLAIN = Mapping(*(Field(name, name) for name in ("origin", "name", "city", "note")))
numbers = count(1)


@pytest.fixture
def anyio_backend() -> str:
    """One event loop, as the server takes most of the time."""
    return "asyncio"


def records(client: httpx.Client, url: str) -> dict[str, dict[str, object]]:
    """The records of a collection whose fields are the view's, by their origin."""
    rows = client.get(url).raise_for_status().json()["data"]
    return {
        row["origin"]: {name: row[name] for name in ("origin", "name", "city", "note") if name in row} for row in rows
    }


async def test_two_collections_are_kept_alike_while_users_edit_both(calm_kinto: Kinto) -> None:
    names = [f"both-{next(numbers)}" for _ in range(2)]
    here_url, there_url = (calm_kinto.create_collection("crm", name) for name in names)
    binding = Binding(
        local=ProviderRecords(provider="ours", resource=names[0], mapping=PLAIN),
        provider="kinto",
        resource=names[1],
        mapping=MAPPING,
        resolve=prefer(Side.EXTERNAL),
    )
    account = Account(Basic(*calm_kinto.auth))
    async with (
        KintoProvider(calm_kinto.url, account, bucket="crm", name="ours") as ours,
        KintoProvider(calm_kinto.url, account, bucket="crm") as kinto,
        SyncEngine(
            queue=MemoryQueue(),
            limiter=MemoryLimiter(cold_start=False),
            state=MemoryStateStore(),
            providers=[ours, kinto],
            quotas={"ours": [Rate(400, per=1)], "kinto": [Rate(400, per=1)]},
            random=random.Random(1),
        ) as engine,
    ):
        with calm_kinto.client() as client:
            there = Collection(client, there_url)
            for number in range(3):
                data = {"origin": f"h{number}", "name": f"n{number}", "city": "Bern"}
                client.put(f"{here_url}/h{number}", json={"data": data}).raise_for_status()
                there.create({"origin": f"t{number}", "name": f"m{number}", "note": "-"})
            run = await engine.sync(binding)
            assert (run.actions["create"], run.errors) == (6, [])

            seen = there.records()
            by_origin = {fields["origin"]: record_id for record_id, fields in seen.items()}
            client.patch(f"{here_url}/h0", json={"data": {"city": "Paris"}}).raise_for_status()
            assert there.change(by_origin["h0"], {}, {"name": "Ada"})  # another field of the same record
            client.delete(f"{here_url}/h1").raise_for_status()
            client.patch(f"{here_url}/h2", json={"data": {"name": "mine"}}).raise_for_status()
            assert there.change(by_origin["h2"], {}, {"name": "theirs"})
            assert there.delete(by_origin["t1"], {})
            run = await engine.sync(binding)
            assert run.errors == []
            assert run.left == run.held == 0

            held = {fields["origin"]: fields for fields in there.records().values()}
            assert records(client, here_url) == held
            assert held.keys() == {"h0", "h2", "t0", "t2"}
            assert held["h0"] == {"origin": "h0", "name": "Ada", "city": "Paris"}
            assert held["h2"]["name"] == "theirs"
            lost = [loser.value async for dropped in engine.syncs.dropped(binding) for loser in dropped.losers]
            assert lost == ["mine"]
            await engine.sync(binding)  # it hears of its own writes
            before = there.writes(), client.head(here_url).headers["etag"]
            assert (await engine.sync(binding)).actions == {}
            assert (there.writes(), client.head(here_url).headers["etag"]) == before
