"""HubSpotProvider in a real engine, before a HubSpot over HTTP: batches, limits, tokens that run out, lost answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from ratesync import Applied, Conflict, Kind, Operation, Rate, Rejected, SyncEngine
from ratesync.http import Account as Credentials
from ratesync.http import Bearer, LocalVault, OAuth2, RefreshToken, TokenEndpoint, TokenKeeper, Tokens
from ratesync.memory import MemoryBackend
from ratesync.model.secret import Secret
from ratesync.providers.hubspot import HubSpotProvider, ObjectType, default_quotas
from tests.providers.hubspot.world import OBJECTS
from tests.servers.hubspot_server import HubSpot, HubSpotServer

pytestmark = pytest.mark.anyio

CONTACTS = {"contacts": ObjectType(properties=("email", "firstname"), unique_property="email")}


@pytest.fixture
def server() -> Iterator[HubSpotServer]:
    with HubSpotServer(HubSpot()) as server:
        yield server


def create(number: int) -> Operation:
    fields = {"properties": {"email": f"c{number}@example.org", "firstname": "Ada"}}
    return Operation.create("hubspot", "contacts", fields)


async def test_many_records_take_few_calls(server: HubSpotServer) -> None:
    ids = server.hubspot.account.seed("contacts", 1_000)
    async with (
        HubSpotProvider(Credentials(Bearer(server.hubspot.token)), base_url=server.url) as hubspot,
        SyncEngine(backend=MemoryBackend(), providers=[hubspot], quotas={"hubspot": default_quotas()}) as engine,
    ):
        tickets = await engine.submit_many(
            Operation.update("hubspot", "contacts", identity, {"properties": {"city": "Bern"}}) for identity in ids
        )
        outcomes = [await ticket.outcome(timeout=30) for ticket in tickets]
    assert {type(outcome) for outcome in outcomes} == {Applied}
    assert all(row.properties["city"] == "Bern" for row in server.hubspot.account.rows["contacts"].values())
    assert len(server.hubspot.requests) <= 13


async def test_bad_records_end_with_their_reasons_and_nothing_waits_for_them(server: HubSpotServer) -> None:
    (taken,) = server.hubspot.account.seed("contacts", 1, email="c7@example.org")
    async with (
        HubSpotProvider(Credentials(Bearer(server.hubspot.token)), base_url=server.url) as hubspot,
        SyncEngine(backend=MemoryBackend(), providers=[hubspot], quotas={"hubspot": [Rate(1_000, per=1)]}) as engine,
    ):
        operations = [create(number) for number in range(50)]
        operations.append(Operation.update("hubspot", "deals", "77", {"properties": {"amount": 1}}))
        tickets = await engine.submit_many(operations)
        outcomes = [await ticket.outcome(timeout=30) for ticket in tickets]
    assert Counter(type(outcome) for outcome in outcomes) == {Applied: 49, Conflict: 1, Rejected: 1}
    conflict = outcomes[7]
    assert isinstance(conflict, Conflict)
    assert conflict.current is not None
    assert conflict.current.record_id == taken


async def test_a_throttling_hubspot_gets_every_record_in_the_end(server: HubSpotServer) -> None:
    server.hubspot.burst, server.hubspot.window = 2, 0.1
    server.hubspot.trouble.extend(["429", "", "429"])
    account = server.hubspot.account
    resources = {"contacts": "city", "companies": "city", "deals": "dealname", "cars": "maker"}
    operations = [
        Operation.update("hubspot", resource, identity, {"properties": {name: "new"}})
        for resource, name in resources.items()
        for identity in account.seed(resource, 2)
    ]
    async with (
        HubSpotProvider(Credentials(Bearer(server.hubspot.token)), base_url=server.url, objects=OBJECTS) as hubspot,
        SyncEngine(backend=MemoryBackend(), providers=[hubspot], quotas={"hubspot": [Rate(110, per=0.1)]}) as engine,
    ):
        tickets = await engine.submit_many(operations)
        outcomes = [await ticket.outcome(timeout=30) for ticket in tickets]
    assert {type(outcome) for outcome in outcomes} == {Applied}
    for resource, name in resources.items():
        assert {row.properties[name] for row in account.rows[resource].values()} == {"new"}
    assert server.hubspot.refused[:2] == ["TEN_SECONDLY_ROLLING"] * 2


async def test_a_token_that_runs_out_is_renewed_and_no_operation_notices(server: HubSpotServer) -> None:
    ids = server.hubspot.account.seed("contacts", 3)
    endpoint = TokenEndpoint(f"{server.url}/oauth/v1/token", client_id="app", client_secret="secret", in_body=True)
    keeper = TokenKeeper(grant=RefreshToken(), endpoint=endpoint, vault=LocalVault())
    await keeper.store(Tokens(access=Secret(server.hubspot.token), refresh=Secret("refresh-1"), expires_at=None))
    async with (
        endpoint,
        HubSpotProvider(Credentials(OAuth2(keeper)), base_url=server.url) as hubspot,
        SyncEngine(backend=MemoryBackend(), providers=[hubspot], quotas={"hubspot": [Rate(1_000, per=1)]}) as engine,
    ):
        for identity in ids:
            update = Operation.update("hubspot", "contacts", identity, {"properties": {"city": "Bern"}})
            outcome = await (await engine.submit(update)).outcome(timeout=30)
            assert isinstance(outcome, Applied)
            server.hubspot.token = f"expired after {identity}"
    renewals = [asked for asked in server.hubspot.requests if asked.path == "/oauth/v1/token"]
    assert len(renewals) == 2


async def test_a_create_whose_answer_was_lost_is_not_made_twice(server: HubSpotServer) -> None:
    server.hubspot.trouble.append("lose")
    async with (
        HubSpotProvider(
            Credentials(Bearer(server.hubspot.token)), base_url=server.url, objects=CONTACTS, lag=0.0
        ) as hubspot,
        SyncEngine(backend=MemoryBackend(), providers=[hubspot], quotas={"hubspot": [Rate(1_000, per=1)]}) as engine,
    ):
        outcome = await (await engine.submit(create(1))).outcome(timeout=30)
    (identity,) = server.hubspot.account.rows["contacts"]
    assert outcome == Applied(record_id=str(identity))
    assert [asked.path.rpartition("/")[2] for asked in server.hubspot.requests] == ["contacts", "read"]
    assert Kind.CREATE in hubspot.capabilities.kinds
