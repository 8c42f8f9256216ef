"""The guard against requests into one's own network, over both transports, with a real server that must not be met."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import pytest
from typing_extensions import override

from ratesync.errors import BlockedAddress, ConfigurationError, NotSent
from ratesync.http import (
    Account,
    AccountCallers,
    AddressGuard,
    ClientCredentials,
    HttpCaller,
    TokenEndpoint,
    fast_transport,
)
from tests.servers.fault_server import FaultServer
from tests.servers.replies import json_answer

pytestmark = pytest.mark.anyio

Maker = Callable[[str, AddressGuard], HttpCaller]


def stock(url: str, guard: AddressGuard) -> HttpCaller:
    return HttpCaller(url, guard=guard, timeout=10)


def fast(url: str, guard: AddressGuard) -> HttpCaller:
    return HttpCaller(url, transport=fast_transport(guard=guard), timeout=10)


@pytest.fixture(params=[stock, fast])
def make(request: pytest.FixtureRequest, anyio_backend: str) -> Maker:
    if request.param is fast and anyio_backend == "trio":
        pytest.skip("aiohttp is for asyncio only")
    maker: Maker = request.param
    return maker


def port(server: FaultServer) -> int:
    return int(server.url.rpartition(":")[2])


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "[::ffff:127.0.0.1]", "0.0.0.0", "[::1]"]
)
async def test_no_spelling_leads_home(fault_server: FaultServer, make: Maker, host: str) -> None:
    fault_server.script("/", json_answer({}))
    async with make(f"http://{host}:{port(fault_server)}", AddressGuard()) as caller:
        with pytest.raises(NotSent) as caught:
            await caller.send("GET", "/")
    assert isinstance(caught.value, BlockedAddress) or "InvalidUrlClientError" in str(caught.value)  # aiohttp's own no
    assert fault_server.requests == []


async def test_the_host_may_allow_an_address(fault_server: FaultServer, make: Maker) -> None:
    fault_server.script("/", json_answer({}))
    for host in ("127.0.0.1", "localhost"):
        async with make(f"http://{host}:{port(fault_server)}", AddressGuard(["127.0.0.0/8"])) as caller:
            assert (await caller.send("GET", "/")).status == 200
    assert fault_server.requests[1].header("host") == f"localhost:{port(fault_server)}"


async def test_a_name_is_resolved_once_and_the_checked_address_is_called(
    fault_server: FaultServer, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is public when looked at, and private when looked at again."""
    asked: list[Any] = []

    async def getaddrinfo(host: Any, at: Any, **_: Any) -> list[Any]:
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, at))]

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
    fault_server.script("/", json_answer({}))
    async with make(f"http://rebound.example:{port(fault_server)}", AddressGuard(["127.0.0.1"])) as caller:
        assert (await caller.send("GET", "/")).status == 200
    async with make(f"http://rebound.example:{port(fault_server)}", AddressGuard(["127.0.0.1"])) as caller:
        with pytest.raises(BlockedAddress):
            await caller.send("GET", "/")
    assert len(asked) == 2
    assert len(fault_server.requests) == 1


PUBLIC = "93.184.215.14"


class Asked(AddressGuard):
    """Notes what it lets through, and leads to where nobody listens."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    @override
    async def addresses(self, host: str, port: int) -> Sequence[str]:
        self.found += await super().addresses(host, port)
        return ["127.0.0.1"]


async def test_a_public_address_is_called_with_https_only(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(_host: Any, at: Any, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (PUBLIC, at))]

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
    guard = Asked()
    places = ("https://a.example", "http://a.example", f"http://{PUBLIC}")
    options: Any = {"guard": guard} if make is stock else {"transport": fast_transport(guard=guard)}
    callers = AccountCallers({place: Account(base_url=f"{place}:1") for place in places}, **options)
    with pytest.raises(NotSent) as caught:
        await callers.caller(places[0]).send("GET", "/")
    assert not isinstance(caught.value, BlockedAddress)
    for place in places[1:]:
        with pytest.raises(BlockedAddress, match="plain http"):
            await callers.caller(place).send("GET", "/")
    assert guard.found == [PUBLIC], "what was found for https was taken for http"
    await callers.aclose()


async def test_an_unknown_name_was_not_reached(make: Maker) -> None:
    async with make("http://nobody.invalid", AddressGuard()) as caller:
        with pytest.raises(NotSent):
            await caller.send("GET", "/")


def test_a_guard_needs_networks_and_a_transport_of_its_own() -> None:
    with pytest.raises(ConfigurationError, match="networks or addresses"):
        AddressGuard(["localhost"])
    with pytest.raises(ConfigurationError, match="own transport"):
        HttpCaller("http://a.example", transport=fast_transport(), guard=AddressGuard())
    with pytest.raises(ConfigurationError, match="own transport"):
        TokenEndpoint("https://a.example", transport=fast_transport(), guard=AddressGuard())


async def test_a_token_endpoint_is_guarded_too(fault_server: FaultServer) -> None:
    fault_server.script("/token", json_answer({"access_token": "a"}))
    form = ClientCredentials().form(None, 0.0)
    async with TokenEndpoint(f"{fault_server.url}/token", guard=AddressGuard()) as endpoint:
        with pytest.raises(BlockedAddress):
            await endpoint.ask(form, None)
    assert fault_server.requests == []
    async with TokenEndpoint(f"{fault_server.url}/token", guard=AddressGuard(["127.0.0.1"])) as endpoint:
        assert (await endpoint.ask(form, None)).access.reveal() == "a"
