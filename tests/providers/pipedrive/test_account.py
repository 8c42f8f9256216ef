"""The accounts: by API token, by OAuth, and where each company's API is."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import httpx
import pytest
from attrs import evolve

from ratesync import Applied, Kind, RetryLater
from ratesync.errors import ConfigurationError, NotSent, Unauthorised
from ratesync.http import Account, ApiKey, RefreshToken, TokenKeeper, Tokens
from ratesync.model.outcome import Cause
from ratesync.model.secret import Secret
from ratesync.providers.pipedrive import (
    PipedriveProvider,
    PipedriveTokens,
    app_account,
    read_api_domain,
    token_account,
)
from tests.providers.pipedrive.speaking import MARK, execute, one, operation
from tests.servers.pipedrive_company import Company, Told
from tests.servers.pipedrive_server import transport

pytestmark = pytest.mark.anyio


def test_each_company_has_its_own_address() -> None:
    assert token_account("a token").base_url is None
    assert token_account("a token", "acme").base_url == "https://acme.pipedrive.com"
    for company in ("acme.pipedrive.com", "", "acme/", "acme@evil.example", "Acme"):
        with pytest.raises(ConfigurationError):
            token_account("a token", company)
    assert "a token" not in repr(token_account("a token"))


@pytest.mark.parametrize(
    "domain", ["https://acme.pipedrive.com", "https://acme.pipedrive.com/", "https://api.pipedrive.com"]
)
def test_the_token_endpoint_tells_the_address(domain: str) -> None:
    assert read_api_domain({"access_token": "x", "api_domain": domain}) == domain.rstrip("/")


@pytest.mark.parametrize(
    "domain",
    [
        "http://acme.pipedrive.com",
        "https://acme.pipedrive.com.evil.example",
        "https://evil.example/acme.pipedrive.com",
        "https://acme.pipedrive.com:8443",
        "https://user@acme.pipedrive.com",
        "https://pipedrive.com@evil.example",
        "acme",
    ],
)
def test_no_token_is_sent_elsewhere(domain: str) -> None:
    with pytest.raises(ConfigurationError, match="pipedrive"):
        read_api_domain({"api_domain": domain})


def test_an_answer_may_tell_no_address() -> None:
    for answer in ({}, {"api_domain": None}, {"api_domain": ""}, {"api_domain": 7}):
        assert read_api_domain(answer) is None


async def test_a_token_that_has_run_out_is_renewed_once_for_all(company: Company) -> None:
    company.add("persons", {"name": "Ada"})
    domains: list[str] = []
    endpoint = PipedriveTokens("app", "s3cret", on_domain=domains.append, transport=transport(company))
    keeper = TokenKeeper(grant=RefreshToken(), endpoint=endpoint)
    now = time.time()
    await keeper.store(Tokens(access=Secret("old"), refresh=Secret(company.refresh), expires_at=now + 900))
    async with (
        endpoint,
        PipedriveProvider(app_account(keeper, "https://acme.pipedrive.com"), transport=transport(company)) as pipedrive,
    ):
        assert isinstance(await one(pipedrive, Kind.READ, "1"), Applied)
        assert isinstance(await one(pipedrive, Kind.READ, "1"), Applied)
    assert [asked.path for asked in company.asked] == [
        "/api/v2/persons/1",
        "/oauth/token",
        "/api/v2/persons/1",
        "/api/v2/persons/1",
    ]
    assert company.asked[1].headers["authorization"].startswith("Basic ")
    assert domains == ["https://acme.pipedrive.com"]


async def test_an_address_elsewhere_is_not_told_and_the_tokens_are_kept(company: Company) -> None:
    domains: list[str] = []
    answer = '{"access_token": "new", "expires_in": 3600, "api_domain": "https://evil.example"}'
    company.before.append(Told(200, answer, {"content-type": "application/json"}))
    endpoint = PipedriveTokens("app", "s3cret", on_domain=domains.append, transport=transport(company))
    async with endpoint:
        tokens = await endpoint.ask({"grant_type": "refresh_token", "refresh_token": "r"}, None)
    assert tokens.access.reveal() == "new"
    assert domains == []


@pytest.mark.parametrize("raised", [ValueError("no room for acme"), SystemExit(1)], ids=["ValueError", "SystemExit"])
async def test_a_host_that_fails_over_the_domain_loses_no_token(
    company: Company, raised: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """The refresh token before it is used up: without the new one nobody could call any more."""

    def fail(domain: str) -> None:
        raise raised

    company.add("persons", {"name": "Ada"})
    endpoint = PipedriveTokens("app", "s3cret", on_domain=fail, transport=transport(company))
    keeper = TokenKeeper(grant=RefreshToken(), endpoint=endpoint)
    await keeper.store(Tokens(access=Secret("old"), refresh=Secret(company.refresh), expires_at=0.0))
    async with (
        endpoint,
        PipedriveProvider(app_account(keeper, "https://acme.pipedrive.com"), transport=transport(company)) as pipedrive,
    ):
        assert isinstance(await one(pipedrive, Kind.READ, "1"), Applied)
    assert [asked.path for asked in company.asked] == ["/oauth/token", "/api/v2/persons/1"]
    assert type(raised).__name__ in caplog.text
    assert "acme" not in caplog.text


async def test_a_refused_refresh_token_pauses_the_connection(company: Company) -> None:
    endpoint = PipedriveTokens("app", "s3cret", transport=transport(company))
    keeper = TokenKeeper(grant=RefreshToken(), endpoint=endpoint)
    await keeper.store(Tokens(access=Secret("old"), refresh=Secret("revoked"), expires_at=0.0))
    async with endpoint, PipedriveProvider(app_account(keeper), transport=transport(company)) as pipedrive:
        outcome = await one(pipedrive, Kind.READ, "1")
    assert isinstance(outcome, RetryLater)
    assert outcome.cause is Cause.UNAUTHORISED


async def test_each_connection_is_a_company_of_its_own() -> None:
    seen: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.host, request.headers["x-api-token"]))
        return httpx.Response(200, json={"success": True, "data": {"id": 1}})

    accounts = {"acme": token_account("token of acme", "acme"), "other": token_account("token of other")}
    async with PipedriveProvider(accounts, transport=httpx.MockTransport(answer)) as pipedrive:
        for connection in ("acme", "other"):
            await execute(pipedrive, [evolve(operation(Kind.READ, "1"), connection=connection)])
        with pytest.raises(Unauthorised):
            await pipedrive.pull_changes("nobody", "persons", None, limit=1)
    assert seen == [("acme.pipedrive.com", "token of acme"), ("api.pipedrive.com", "token of other")]


async def test_a_forgotten_account_is_asked_for_anew(company: Company) -> None:
    tokens = ["old token", company.api_token]
    pipedrive = PipedriveProvider(
        lambda connection: Account(ApiKey(tokens.pop(0), header="x-api-token")), transport=transport(company)
    )
    company.add("persons", {"name": "Ada"})
    assert isinstance(await one(pipedrive, Kind.READ, "1"), RetryLater)
    pipedrive.forget("default")
    assert isinstance(await one(pipedrive, Kind.READ, "1"), Applied)


async def test_settings_that_are_wrong_are_not_the_operations_fault(company: Company) -> None:
    class Unset(httpx.Auth):
        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
            raise ConfigurationError("the key cannot sign")
            yield request

    async with PipedriveProvider(Account(Unset()), transport=transport(company)) as pipedrive:
        outcome = await one(pipedrive, Kind.CREATE, name="Ada")
        for ask in (
            pipedrive.pull_changes("default", "persons", None, limit=10),
            pipedrive.list_records("default", "persons", None, limit=10),
            pipedrive.find("default", "persons", "name", ["Ada"]),
            pipedrive.describe("default", "persons"),
            execute(pipedrive, [operation(Kind.READ, str(number)) for number in range(11)]),
        ):
            with pytest.raises(NotSent, match="the key cannot sign"):
                await ask
    assert outcome == RetryLater("the key cannot sign", Cause.NOT_SENT)
    assert company.asked == []


def test_a_configuration_that_cannot_work_is_refused() -> None:
    account = token_account("a token")
    mistakes: list[dict[str, Any]] = [
        {"resources": {}},
        {"identity_fields": {"people": MARK}},
        {"lag": -1.0},
        {"lag": float("nan")},
        {"lag": float("inf")},
        {"base_url": "ftp://example.org"},
    ]
    for mistake in mistakes:
        with pytest.raises(ConfigurationError):
            PipedriveProvider(account, **mistake)
