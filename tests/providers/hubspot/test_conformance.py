"""The conformance suite of adapters, before a faithful HubSpot over HTTP and before troubles."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count

import httpx
import pytest

from ratesync.http import Account as Credentials
from ratesync.http import Bearer
from ratesync.model.operation import Kind, Operation
from ratesync.providers.hubspot import HubSpotProvider
from ratesync.testing.provider_calls import Sample
from ratesync.testing.provider_suite import ProviderSuite
from tests.providers.hubspot.world import OBJECTS
from tests.servers.hubspot_server import HubSpotServer

NUMBERS = count(1)


class Part(dict[str, str]):
    """Properties as they are written: equal to all that holds them, as HubSpot shows properties of its own as well."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, dict) and self.items() <= other.items()

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None


def refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def lose(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("reset", request=request)


def fail(_: httpx.Request) -> httpx.Response:
    return httpx.Response(500)


def intrude(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, html="<p>Please log in to the hotel's network.</p>")


def say_nothing(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={})


def be_locked(_: httpx.Request) -> httpx.Response:
    return httpx.Response(423, json={"status": "error", "message": "locked"})


def confuse(_: httpx.Request) -> httpx.Response:
    return httpx.Response(207, json={"status": "COMPLETE", "results": [{"id": "1"}, 7], "errors": [None]})


def answer_nothing(_: httpx.Request) -> httpx.Response:
    return httpx.Response(202)


@pytest.fixture(scope="module")
def server() -> Iterator[HubSpotServer]:
    with HubSpotServer() as server:
        yield server


class TestHubSpotProvider(ProviderSuite):
    @pytest.fixture
    async def provider(self, server: HubSpotServer) -> AsyncIterator[HubSpotProvider]:
        accounts = Credentials(Bearer(server.hubspot.token))
        async with HubSpotProvider(accounts, base_url=server.url, objects=OBJECTS) as provider:
            yield provider

    @pytest.fixture
    def sample(self, server: HubSpotServer) -> Sample:
        async def make(kind: Kind) -> Operation:
            number = next(NUMBERS)
            record_id = None
            if kind in {Kind.READ, Kind.UPDATE, Kind.DELETE}:
                (record_id,) = server.hubspot.account.seed("cars", 1, plate=f"s {number}", maker="Fiat")
            written = Part(maker="Audi") if kind is Kind.UPDATE else Part(plate=f"zh {number}", maker="Audi")
            return Operation(
                provider="hubspot",
                resource="cars",
                kind=kind,
                record_id=f"zh {number}" if kind is Kind.UPSERT else record_id,
                fields={} if kind in {Kind.READ, Kind.DELETE} else {"properties": written},
                id=f"o{number}",
                idempotency_key=f"o{number}",
            )

        return make

    @pytest.fixture(params=[refuse, lose, fail, intrude, say_nothing, be_locked, confuse, answer_nothing])
    def provider_in_trouble(self, request: pytest.FixtureRequest) -> HubSpotProvider:
        accounts = Credentials(Bearer("token"))
        return HubSpotProvider(accounts, objects=OBJECTS, transport=httpx.MockTransport(request.param))
