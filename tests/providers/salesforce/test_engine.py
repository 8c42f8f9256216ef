"""SalesforceProvider in a real engine, before a Salesforce over HTTP: batches, limits, sessions, lost answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ratesync import Applied, Conflict, Operation, Rate, Rejected, SyncEngine
from ratesync.http import (
    Account,
    Bearer,
    JwtBearer,
    LocalVault,
    OAuth2,
    RefreshToken,
    TokenEndpoint,
    TokenKeeper,
    Tokens,
)
from ratesync.memory import MemoryBackend
from ratesync.model.secret import Secret
from ratesync.providers.salesforce import SalesforceProvider, default_quotas
from tests.providers.salesforce.world import OBJECTS
from tests.servers.salesforce_server import AUDIENCE, CLIENT_ID, USER, Salesforce, SalesforceServer

pytestmark = pytest.mark.anyio

FAST = {"salesforce": [Rate(1_000, per=1)]}


@pytest.fixture
def server() -> Iterator[SalesforceServer]:
    with SalesforceServer(Salesforce()) as server:
        yield server


@cache
def key_pair() -> tuple[str, str]:
    """A private key and its public one, in PEM."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


def org_of(server: SalesforceServer) -> Account:
    return Account(Bearer(server.salesforce.token), base_url=server.url)


async def test_many_records_take_few_calls(server: SalesforceServer) -> None:
    ids = server.salesforce.org.seed("Contact", 1_000, LastName="A")
    async with (
        SalesforceProvider(org_of(server), objects=OBJECTS) as salesforce,
        SyncEngine(backend=MemoryBackend(), providers=[salesforce], quotas={"salesforce": default_quotas()}) as engine,
    ):
        tickets = await engine.submit_many(
            Operation.update("salesforce", "contacts", identity, {"LastName": "B"}) for identity in ids
        )
        outcomes = [await ticket.outcome(timeout=30) for ticket in tickets]
    assert {type(outcome) for outcome in outcomes} == {Applied}
    assert all(row.fields["LastName"] == "B" for row in server.salesforce.org.rows.values())
    assert len(server.salesforce.requests) <= 7


async def test_bad_records_end_with_their_reasons_and_nothing_waits_for_them(server: SalesforceServer) -> None:
    (taken,) = server.salesforce.org.seed("Contact", 1, LastName="A", Customer_No__c="7")
    async with (
        SalesforceProvider(org_of(server), objects=OBJECTS) as salesforce,
        SyncEngine(backend=MemoryBackend(), providers=[salesforce], quotas=FAST) as engine,
    ):
        fields = [{"LastName": f"L{number}", "Customer_No__c": str(number)} for number in range(50)]
        del fields[9]["LastName"]
        tickets = await engine.submit_many(Operation.create("salesforce", "contacts", each) for each in fields)
        outcomes = [await ticket.outcome(timeout=30) for ticket in tickets]
    assert Counter(type(outcome) for outcome in outcomes) == {Applied: 48, Conflict: 1, Rejected: 1}
    conflict = outcomes[7]
    assert isinstance(conflict, Conflict)
    assert conflict.current is not None
    assert conflict.current.record_id == taken


async def test_a_throttling_salesforce_gets_every_record_in_the_end(server: SalesforceServer) -> None:
    org = server.salesforce.org
    server.salesforce.trouble.extend(["concurrent", "", "concurrent"])
    operations = [
        Operation.update("salesforce", resource, identity, {name: "new"})
        for resource, kind, name in (("contacts", "Contact", "LastName"), ("companies", "Account", "Name"))
        for identity in org.seed(kind, 3, **{name: "old"})
    ]
    async with (
        SalesforceProvider(org_of(server), objects=OBJECTS) as salesforce,
        SyncEngine(backend=MemoryBackend(), providers=[salesforce], quotas=FAST) as engine,
    ):
        tickets = await engine.submit_many(operations)
        outcomes = [await ticket.outcome(timeout=60) for ticket in tickets]
    assert {type(outcome) for outcome in outcomes} == {Applied}
    assert {row.fields.get("LastName", row.fields.get("Name")) for row in org.rows.values()} == {"new"}


@pytest.mark.parametrize("flow", ["refresh token", "JWT"])
async def test_a_session_that_ends_is_renewed_once_and_no_operation_notices(
    server: SalesforceServer, flow: str
) -> None:
    """Salesforce tells no lifetime with its tokens: that a session has ended shows when it refuses one."""
    ids = server.salesforce.org.seed("Contact", 3, LastName="A")
    private, server.salesforce.public_key = key_pair()
    endpoint = TokenEndpoint(f"{server.url}/services/oauth2/token", client_id=CLIENT_ID)
    if flow == "JWT":
        grant = JwtBearer(key=Secret(private), issuer=CLIENT_ID, audience=AUDIENCE, subject=USER)
        keeper = TokenKeeper(grant=grant, endpoint=endpoint, vault=LocalVault())
    else:
        keeper = TokenKeeper(grant=RefreshToken(), endpoint=endpoint, vault=LocalVault())
        await keeper.store(Tokens(access=Secret(server.salesforce.token), refresh=Secret("refresh-1"), expires_at=None))
    async with (
        endpoint,
        SalesforceProvider(Account(OAuth2(keeper), base_url=server.url), objects=OBJECTS) as salesforce,
        SyncEngine(backend=MemoryBackend(), providers=[salesforce], quotas=FAST) as engine,
    ):
        for identity in ids:
            update = Operation.update("salesforce", "contacts", identity, {"LastName": "B"})
            outcome = await (await engine.submit(update)).outcome(timeout=30)
            assert isinstance(outcome, Applied)
            server.salesforce.token = f"ended after {identity}"
    renewals = [asked for asked in server.salesforce.requests if asked.path == "/services/oauth2/token"]
    assert len(renewals) == (3 if flow == "JWT" else 2)


async def test_a_create_whose_answer_was_lost_is_not_made_twice(server: SalesforceServer) -> None:
    server.salesforce.trouble.append("lose")
    async with (
        SalesforceProvider(org_of(server), objects=OBJECTS, lag=0.0) as salesforce,
        SyncEngine(backend=MemoryBackend(), providers=[salesforce], quotas=FAST) as engine,
    ):
        create = Operation.create("salesforce", "contacts", {"LastName": "Ada", "Customer_No__c": "42"})
        outcome = await (await engine.submit(create)).outcome(timeout=30)
    (row,) = server.salesforce.org.rows.values()
    assert outcome == Applied(record_id=row.id)
    assert [asked.method for asked in server.salesforce.requests] == ["POST", "GET"]


async def test_a_dry_run_shows_the_request_and_sends_nothing(server: SalesforceServer) -> None:
    async with (
        SalesforceProvider(org_of(server), objects=OBJECTS) as salesforce,
        SyncEngine(backend=MemoryBackend(), providers=[salesforce], quotas=FAST) as engine,
    ):
        (preview,) = await engine.preview(
            Operation.upsert("salesforce", "contacts", "Customer_No__c/42", {"LastName": "Ada"})
        )
    assert preview.problems == ()
    (request,) = preview.requests
    path = "/services/data/v65.0/sobjects/Contact/Customer_No__c/42"
    assert (request.method, request.url) == ("PATCH", f"{server.url}{path}")
    assert request.body == {"LastName": "Ada"}
    assert server.salesforce.token not in str(request)
    assert server.salesforce.requests == []
