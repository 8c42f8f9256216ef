"""The adapter keeps the protocol, before a working Pipedrive over a socket and before one in trouble."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest

from ratesync import Applied, Kind, Operation
from ratesync.http import Account, ApiKey
from ratesync.protocols.provider import Charges, DescribesResources, FindsRecords, ListsRecords, PullsChanges
from ratesync.providers.pipedrive import PERSONS, PipedriveProvider
from ratesync.testing.provider_calls import Sample
from ratesync.testing.provider_suite import ProviderSuite
from tests.providers.pipedrive.speaking import MARK, execute, operation
from tests.servers.pipedrive_server import PipedriveServer

pytestmark = pytest.mark.anyio


def refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


def lose(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("reset")


def fail(request: httpx.Request) -> httpx.Response:
    return httpx.Response(500, json={"success": False, "error": "Internal error"})


def intrude(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, html="<p>Please log in to the hotel's network.</p>")


def miss(request: httpx.Request) -> httpx.Response:
    return httpx.Response(404, html="<p>No such page.</p>")


def echo(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, content=request.content or b"[]", headers={"content-type": "application/json"})


def block(request: httpx.Request) -> httpx.Response:
    return httpx.Response(403, html="<p>This error is produced by Cloudflare.</p>")


class TestPipedrive(ProviderSuite):
    @pytest.fixture
    async def provider(self, server: PipedriveServer) -> AsyncIterator[PipedriveProvider]:
        account = Account(ApiKey(server.company.api_token, header="x-api-token"))
        async with PipedriveProvider(account, base_url=server.url, timeout=5) as provider:
            yield provider

    @pytest.fixture
    def sample(self, server: PipedriveServer) -> Sample:
        async def make(kind: Kind) -> Operation:
            identity = uuid4().hex
            row = None if kind is Kind.CREATE else server.company.add("persons", {"name": "Ada Lovelace"})
            emails = [{"value": f"{identity}@example.org", "primary": True, "label": "work"}]
            return Operation(
                provider="pipedrive",
                resource="persons",
                kind=kind,
                record_id=None if row is None else str(row["id"]),
                fields={} if kind in {Kind.READ, Kind.DELETE} else {"name": "Grace Hopper", "emails": emails},
                id=identity,
                idempotency_key=identity,
            )

        return make

    @pytest.fixture(params=[refuse, lose, fail, intrude, miss, echo, block])
    def provider_in_trouble(self, request: pytest.FixtureRequest) -> PipedriveProvider:
        account = Account(ApiKey("secret", header="x-api-token"))
        return PipedriveProvider(account, transport=httpx.MockTransport(request.param))


class TestPipedriveWithMarks(TestPipedrive):
    """Creates can be looked up where a field for their mark is named."""

    @pytest.fixture
    async def provider(self, server: PipedriveServer) -> AsyncIterator[PipedriveProvider]:
        server.company.custom = {MARK}
        account = Account(ApiKey(server.company.api_token, header="x-api-token"))
        async with PipedriveProvider(
            account,
            base_url=server.url,
            resources={"persons": PERSONS},
            identity_fields={"persons": MARK},
            timeout=5,
        ) as provider:
            yield provider


async def test_one_bad_read_does_not_spoil_a_batch_that_is_one_request(server: PipedriveServer) -> None:
    """The suite's batches are smaller."""
    rows = [server.company.add("persons", {"name": "Ada"}) for _ in range(20)]
    server.company.delete("persons", rows[7]["id"])
    account = Account(ApiKey(server.company.api_token, header="x-api-token"))
    async with PipedriveProvider(account, base_url=server.url) as provider:
        outcomes, _ = await execute(provider, [operation(Kind.READ, str(row["id"])) for row in reversed(rows)])
    assert [isinstance(outcome, Applied) for outcome in outcomes] == [row is not rows[7] for row in reversed(rows)]
    assert len(server.company.asked) == 1


def test_it_can_do_all_that_an_adapter_may(server: PipedriveServer) -> None:
    account = Account(ApiKey("a secret key", header="x-api-token"))
    provider = PipedriveProvider(account, base_url=server.url)
    for protocol in (PullsChanges, ListsRecords, FindsRecords, DescribesResources, Charges):
        assert isinstance(provider, protocol)
    assert repr(provider) == "PipedriveProvider('pipedrive', ['deals', 'organizations', 'persons'])"
