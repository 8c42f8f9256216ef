"""The conformance suite of adapters, before a faithful HubSpot over HTTP and before troubles."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from ratesync.http import Account as Credentials
from ratesync.http import Bearer
from ratesync.providers.hubspot import HubSpotProvider
from ratesync.testing.provider_calls import Sample
from ratesync.testing.provider_suite import ProviderSuite
from tests.providers.hubspot.sampling import sampler
from tests.providers.hubspot.world import OBJECTS
from tests.servers.hubspot_server import HubSpotServer


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
        return sampler(server.hubspot)

    @pytest.fixture(params=[refuse, lose, fail, intrude, say_nothing, be_locked, confuse, answer_nothing])
    def provider_in_trouble(self, request: pytest.FixtureRequest) -> HubSpotProvider:
        accounts = Credentials(Bearer("token"))
        return HubSpotProvider(accounts, objects=OBJECTS, transport=httpx.MockTransport(request.param))
