"""No adapter and no store shows its credentials, whatever goes wrong."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from ratesync import Operation, RetryPolicy, Settings, SyncEngine
from ratesync.errors import RateSyncError
from ratesync.http import Account, Bearer, redact_http_logs
from ratesync.memory import MemoryBackend
from ratesync.postgres import PostgresStateStore
from ratesync.providers.hubspot import HubSpotProvider
from ratesync.providers.kinto import KintoProvider
from ratesync.providers.pipedrive import PipedriveProvider, token_account
from ratesync.providers.salesforce import SalesforceProvider

pytestmark = pytest.mark.anyio

CANARY = "canary-0123456789-token"
Trouble = Callable[[httpx.Request], httpx.Response]


def echo(status: int) -> Trouble:
    """Answers with all that it was sent."""

    def answer(request: httpx.Request) -> httpx.Response:
        told = " ".join(f"{name}={value}" for name, value in request.headers.items())
        return httpx.Response(status, json={"message": told, "error": told, "errors": [{"message": told}]})

    return answer


def lose(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError(f"reset {request.headers}", request=request)


def redirect(_: httpx.Request) -> httpx.Response:
    return httpx.Response(307, headers={"location": "https://elsewhere.example/"})


def intrude(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, html=f"<p>{CANARY}</p>")


TROUBLES: dict[str, Trouble] = {
    **{str(status): echo(status) for status in (400, 401, 403, 429, 500)},
    "lost": lose,
    "redirect": redirect,
    "intruder": intrude,
}


def provider_of(name: str, trouble: Trouble) -> Any:
    transport, account = httpx.MockTransport(trouble), Account(Bearer(CANARY), base_url="https://acme.example")
    match name:
        case "salesforce":
            return SalesforceProvider(account, transport=transport)
        case "hubspot":
            return HubSpotProvider(account, transport=transport)
        case "pipedrive":
            return PipedriveProvider(token_account(CANARY, "acme"), transport=transport)
        case _:
            return KintoProvider("https://acme.example/v1", account, bucket="b", transport=transport)


RESOURCES = {"salesforce": "Contact", "hubspot": "contacts", "pipedrive": "persons", "kinto": "contacts"}


async def all_of_it(provider: Any, resource: str, told: list[object]) -> None:
    """Everything that an adapter can be asked; what comes of it is put down."""
    engine = SyncEngine(
        backend=MemoryBackend(cold_start=False),
        providers=[provider],
        settings=Settings(retry=RetryPolicy(max_attempts=1, base_delay=0.001, max_delay=0.001), grace=0),
        observers=[told.append],
    )
    update = Operation.update(provider.name, resource, "1" * 15, {"a": 1})
    told += await engine.preview(update)
    async with engine:
        ticket = await engine.submit(update)
        await engine.drain(timeout=0.1)
        told += [await engine.status(ticket.id), *await engine.dead_letters()]
    field = "properties.email" if provider.name == "hubspot" else "id"
    for asked in (
        provider.pull_changes("default", resource, None, limit=5),
        provider.list_records("default", resource, None, limit=5),
        provider.find("default", resource, field, ["x"]),
        provider.describe("default", resource),
    ):
        try:
            told.append(await asked)
        except RateSyncError as error:
            told += [error, "".join(traceback.format_exception(error))]


@pytest.mark.parametrize("name", RESOURCES)
@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
async def test_no_adapter_shows_its_credentials(name: str, trouble: Trouble, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    redact_http_logs()
    told: list[object] = []
    provider = provider_of(name, trouble)
    async with provider:
        await all_of_it(provider, RESOURCES[name], told)
        told += [provider, vars(provider)]
    shown = "\n".join([*map(repr, told), *map(str, told), caplog.text])
    assert len(told) > 6
    if trouble is not intrude:  # what the network says is not ours to hide, and nobody repeats it either
        assert CANARY not in shown
    assert f"Bearer {CANARY}" not in shown


async def use(store: PostgresStateStore) -> None:
    await store.open()
    await store.load(["key"])


async def test_a_state_store_does_not_show_its_password(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    store = PostgresStateStore.from_url(f"postgresql://ada:{CANARY}@127.0.0.1:1/db", patience=0.2)
    with pytest.raises(RateSyncError) as caught:
        await use(store)
    told = [repr(store), str(store), str(caught.value), "".join(traceback.format_exception(caught.value)), caplog.text]
    assert CANARY not in "\n".join(told)


def test_what_would_leak_is_found() -> None:
    """So that the tests above can fail."""
    assert CANARY in repr(echo(500)(httpx.Request("GET", "https://a.example", headers={"x": CANARY})).json())
