"""Pipedrive through the real engine, over a socket: throttled, with tokens that run out, with answers that are lost."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ratesync import Applied, Operation, RetryPolicy, Settings, SyncEngine
from ratesync.http import Account, OAuth2, RefreshToken, TokenKeeper, Tokens
from ratesync.mapping.ready import pipedrive as ready
from ratesync.memory import MemoryBackend
from ratesync.model.secret import Secret
from ratesync.providers.pipedrive import DEALS, PERSONS, PipedriveProvider, PipedriveTokens, default_quotas
from tests.providers.pipedrive.speaking import MARK
from tests.servers.pipedrive_server import PipedriveServer

pytestmark = pytest.mark.anyio

SOON = Settings(retry=RetryPolicy(base_delay=0.01, max_delay=0.1))


@pytest.fixture
async def pipedrive(server: PipedriveServer) -> AsyncIterator[PipedriveProvider]:
    """Authorised by OAuth with an access token that the company no longer takes."""
    company = server.company
    company.custom = {MARK}
    endpoint = PipedriveTokens("app", "s3cret", url=f"{server.url}/oauth/token")
    keeper = TokenKeeper(grant=RefreshToken(), endpoint=endpoint)
    await keeper.store(Tokens(access=Secret("expired"), refresh=Secret(company.refresh)))
    account = Account(OAuth2(keeper), base_url=server.url)
    marks = {"persons": MARK, "deals": MARK}
    async with (
        endpoint,
        PipedriveProvider(
            account, resources={"persons": PERSONS, "deals": DEALS}, identity_fields=marks, lag=0.1
        ) as provider,
    ):
        yield provider


def engine_for(provider: PipedriveProvider) -> SyncEngine:
    return SyncEngine(
        backend=MemoryBackend(cold_start=False),
        providers=[provider],
        quotas={"pipedrive": default_quotas("ultimate", seats=10, is_app=True)},
        transformers={("pipedrive", "persons"): ready.contact(), ("pipedrive", "deals"): ready.deal()},
        settings=SOON,
    )


async def test_everything_arrives_whatever_goes_wrong(server: PipedriveServer, pipedrive: PipedriveProvider) -> None:
    company = server.company
    names = [f"Ada Lovelace{number}" for number in range(40)]
    throttled = company.failure(429, "request over limit")
    company.before.extend([None] * 7 + [throttled, None, None, company.failure(503, "Scheduled maintenance")])
    company.after.extend([None] * 12 + [company.failure(500, "Internal error")] + [None] * 9)
    async with engine_for(pipedrive) as engine:
        for name in names:
            first, last = name.split(" ")
            view = {"first_name": first, "last_name": last, "email": f"{last}@example.org"}
            await engine.submit(Operation.create("pipedrive", "persons", view))
        assert await engine.drain(timeout=30)
        assert await engine.dead_letters() == []
        created = {row["name"]: str(row["id"]) for row in company.held("persons").values()}
        assert sorted(created) == sorted(names)  # each once, also the one whose answer was lost
        tokens = [asked for asked in company.asked if asked.path == "/oauth/token"]
        assert len(tokens) == 1
        await engine.submit_many(Operation.delete("pipedrive", "persons", created[name]) for name in names[:30])
        await engine.submit_many(
            Operation.update("pipedrive", "persons", created[name], {"first_name": "Ada", "last_name": "King"})
            for name in names[30:]
        )
        company.access.clear()  # the tokens run out in the middle
        assert await engine.drain(timeout=30)
        assert await engine.dead_letters() == []
    assert {row["name"] for row in company.held("persons").values()} == {"Ada King"}
    assert len(company.held("persons")) == 10
    assert len([asked for asked in company.asked if asked.path == "/oauth/token"]) == 2


async def test_reads_go_together_and_writes_are_mapped(server: PipedriveServer, pipedrive: PipedriveProvider) -> None:
    company = server.company
    for number in range(30):
        company.add("deals", {"title": f"Deal {number}", "value": number, "is_archived": number == 3})
    async with engine_for(pipedrive) as engine:
        tickets = await engine.submit_many(Operation.read("pipedrive", "deals", str(n)) for n in range(1, 31))
        outcomes = [await ticket.outcome(timeout=20) for ticket in tickets]
        update = Operation.update("pipedrive", "deals", "1", {"amount": "12.50", "status": "won"})
        assert isinstance(await (await engine.submit(update)).outcome(timeout=20), Applied)
    names = [outcome.record.fields["name"] for outcome in outcomes if isinstance(outcome, Applied) and outcome.record]
    assert names == [f"Deal {number}" for number in range(30)]
    reads = [asked for asked in company.asked if asked.method == "GET" and asked.path.startswith("/api/v2/deals")]
    assert len(reads) < 15
    row = company.held("deals")["1"]
    assert (row["value"], row["status"]) == (12.5, "won")
